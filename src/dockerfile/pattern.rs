//! Wildcards, by the rules of Go's `filepath.Match`.
//!
//! `*` and `?` stop at `/`, `[a-z]` and `[^a-z]` are classes, a backslash
//! escapes. The `.dockerignore` dialect adds `**`, see [`super::Ignore`].

/// A pattern that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "malformed pattern {0:?}: a '[' without its ']', a class that is empty or backwards, or a '\\' that escapes nothing"
)]
pub struct PatternError(pub String);

/// A wildcard pattern of COPY and ADD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    tokens: Vec<Token>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Exactly(char),
    /// One character but `/`.
    Any,
    /// Any number of characters but `/`.
    Star,
    /// One character of a class, or outside of it; `/` only where `slash` is set.
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
        slash: bool,
    },
    /// `**/`: nothing, or anything that ends in `/`.
    Directories,
    /// `**` at the end, or in front of nothing but plain text: anything.
    Everything,
}

/// Whether a path of COPY has a wildcard in it.
pub fn has_wildcard(path: &str) -> bool {
    let mut chars = path.chars();
    while let Some(c) = chars.next() {
        match c {
            '*' | '?' | '[' => return true,
            '\\' => {
                chars.next();
            }
            _ => {}
        }
    }
    false
}

impl Pattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        Ok(Self { tokens: tokens(text, false)? })
    }

    /// Whether the whole of `path` fits.
    pub fn matches(&self, path: &str) -> bool {
        matches(&self.tokens, path)
    }
}

/// Reads a pattern. `deep` is the dialect of `.dockerignore`: it knows `**`, its
/// classes may hold a `/`, and ranges that run backwards and escaped letters are
/// mistakes.
pub(super) fn tokens(text: &str, deep: bool) -> Result<Vec<Token>, PatternError> {
    let bad = || PatternError(text.to_owned());
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    // `**text` is any path that ends in the text, also within a name.
    if deep
        && let Some(plain) = text.strip_prefix("**")
        && !plain.starts_with('/')
        && !plain.contains(['*', '?', '[', ']', '\\'])
    {
        tokens.push(Token::Everything);
        chars = plain.chars().peekable();
    }
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' if deep && chars.peek() == Some(&'*') => {
                chars.next();
                chars.next_if_eq(&'/');
                if chars.peek().is_none() { Token::Everything } else { Token::Directories }
            }
            '*' => Token::Star,
            '?' => Token::Any,
            '\\' => {
                let c = chars.next().ok_or_else(bad)?;
                // For ignore files these are escapes of regular expressions, most of them none.
                if deep && (c.is_ascii_alphanumeric() || !c.is_ascii()) {
                    return Err(bad());
                }
                Token::Exactly(c)
            }
            '[' => {
                let negated = chars.next_if_eq(&'^').is_some();
                class(&mut chars, negated, deep).ok_or_else(bad)?
            }
            c => Token::Exactly(c),
        });
    }
    Ok(tokens)
}

/// Reads a class behind its `[` and `^`; `None` if it is malformed.
fn class(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    negated: bool,
    deep: bool,
) -> Option<Token> {
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && chars.next_if_eq(&']').is_some() {
            return Some(Token::Class { negated, ranges, slash: deep });
        }
        let low = bound(chars)?;
        let high = if chars.next_if_eq(&'-').is_some() { bound(chars)? } else { low };
        if deep && high < low {
            return None;
        }
        ranges.push((low, high));
    }
}

/// One end of a range of a class.
fn bound(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    match chars.next()? {
        '-' | ']' => None,
        '\\' => chars.next(),
        c => Some(c),
    }
}

/// Whether `tokens` match the whole of `path`, in time of the product of both.
pub(super) fn matches(tokens: &[Token], path: &str) -> bool {
    let path: Vec<char> = path.chars().collect();
    let mut reached = vec![false; path.len() + 1];
    reached[0] = true;
    for token in tokens {
        let mut next = vec![false; path.len() + 1];
        for at in (0..=path.len()).filter(|at| reached[*at]) {
            let c = path.get(at).copied();
            match token {
                Token::Exactly(wanted) if c == Some(*wanted) => next[at + 1] = true,
                Token::Any if c.is_some_and(|c| c != '/') => next[at + 1] = true,
                Token::Class { negated, ranges, slash } => {
                    if let Some(c) = c.filter(|c| *slash || *c != '/') {
                        let inside = ranges.iter().any(|(low, high)| (*low..=*high).contains(&c));
                        next[at + 1] |= inside != *negated;
                    }
                }
                Token::Star => {
                    let length = path[at..].iter().take_while(|c| **c != '/').count();
                    next[at..=at + length].fill(true);
                }
                Token::Directories => {
                    next[at] = true;
                    for slash in at..path.len() {
                        next[slash + 1] |= path[slash] == '/';
                    }
                }
                Token::Everything => next[at..].fill(true),
                Token::Exactly(_) | Token::Any => {}
            }
        }
        reached = next;
    }
    reached[path.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_go_does() {
        for (pattern, path, expected) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "a", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*/b", "a/c/b", false),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^c]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "a☺b", true),
            ("a[^a]b", "a☺b", true),
            ("a?b", "a/b", false),
            ("a[\\]]b", "a]b", true),
            ("a**b", "a/b", false),
            ("", "", true),
        ] {
            assert_eq!(
                Pattern::parse(pattern).unwrap().matches(path),
                expected,
                "{pattern} {path}"
            );
        }
        for bad in ["[", "[]a]", "[-]", "[x-]", "[a", "a\\", "[^]", "[a-b-c]"] {
            assert_eq!(Pattern::parse(bad), Err(PatternError(bad.into())), "{bad}");
        }
    }

    #[test]
    fn finds_wildcards() {
        assert!(has_wildcard("a*") && has_wildcard("a?b") && has_wildcard("[a]"));
        assert!(!has_wildcard("a\\*") && !has_wildcard("a/b.c"));
    }
}
