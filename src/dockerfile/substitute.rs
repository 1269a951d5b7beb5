//! The patterns of `${v#p}`, `${v%p}` and `${v/p/r}`.
//!
//! `*` is any text, `?` any character; a backslash escapes these, itself, and
//! the `/` and `}` that would end the pattern.

use super::ExpandError;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Token {
    Exactly(char),
    Any,
    Star,
}

fn tokens(pattern: &str) -> Result<Vec<Token>, ExpandError> {
    let invalid = || ExpandError::InvalidPattern(pattern.to_owned());
    let mut tokens = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' => Token::Star,
            '?' => Token::Any,
            '\\' => match chars.next() {
                Some(c @ ('*' | '?' | '\\' | '/' | '}')) => Token::Exactly(c),
                _ => return Err(invalid()),
            },
            c => Token::Exactly(c),
        });
    }
    Ok(tokens)
}

/// The lengths, rising, of the prefixes of `text` that `tokens` match.
fn prefixes(tokens: &[Token], text: &[char]) -> Vec<usize> {
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for token in tokens {
        let mut next = vec![false; text.len() + 1];
        for at in (0..=text.len()).filter(|at| reached[*at]) {
            match token {
                Token::Star => {
                    next[at..].fill(true);
                    break;
                }
                Token::Any if at < text.len() => next[at + 1] = true,
                Token::Exactly(c) if text.get(at) == Some(c) => next[at + 1] = true,
                _ => {}
            }
        }
        reached = next;
    }
    (0..=text.len()).filter(|at| reached[*at]).collect()
}

/// `${v#p}`, `##`, `%`, `%%`: `value` without what matches at its `side`, `#`
/// for the front; a pattern that begins with `side` again cuts the longest match.
pub(super) fn trim(value: &str, pattern: &str, side: char) -> Result<String, ExpandError> {
    let (longest, pattern) = match pattern.strip_prefix(side) {
        Some(rest) => (true, rest),
        None => (false, pattern),
    };
    let mut tokens = tokens(pattern)?;
    let mut text: Vec<char> = value.chars().collect();
    if side == '%' {
        tokens.reverse();
        text.reverse();
    }
    let lengths = prefixes(&tokens, &text);
    let cut = if longest { lengths.last() } else { lengths.first() };
    let mut rest = text.split_off(cut.copied().unwrap_or(0));
    if side == '%' {
        rest.reverse();
    }
    Ok(rest.into_iter().collect())
}

/// `${v/p/r}` and, for `all`, `${v//p/r}`: each match is the longest at its place.
pub(super) fn replace(
    value: &str,
    pattern: &str,
    by: &str,
    all: bool,
) -> Result<String, ExpandError> {
    let tokens = tokens(pattern)?;
    let text: Vec<char> = value.chars().collect();
    let mut out = String::new();
    let mut at = 0;
    let mut done = false;
    // Where the last match ended: an empty match directly behind it does not count.
    let mut last_end = None;
    while at <= text.len() {
        let found = if done { None } else { prefixes(&tokens, &text[at..]).last().copied() };
        match found {
            Some(length) if length > 0 || last_end != Some(at) => {
                out.push_str(by);
                at += length;
                last_end = Some(at);
                done = !all;
                if length > 0 {
                    continue;
                }
            }
            _ => {}
        }
        out.extend(text.get(at));
        at += 1;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_the_shortest_and_the_longest() {
        for (value, pattern, side, expected) in [
            ("aXbXc", "*X", '#', "bXc"),
            ("aXbXc", "#*X", '#', "c"),
            ("aXbXc", "X*", '%', "aXb"),
            ("aXbXc", "%X*", '%', "a"),
            ("abc", "", '#', "abc"),
            ("é日x", "??", '#', "x"),
            ("é日x", "?", '%', "é日"),
            ("abc", "b", '#', "abc"),
        ] {
            assert_eq!(trim(value, pattern, side), Ok(expected.into()), "{value} {side}{pattern}");
        }
    }

    #[test]
    fn replaces_the_longest_match_and_never_loops() {
        for (value, pattern, by, all, expected) in [
            ("banana", "an", "-", true, "b--a"),
            ("banana", "an", "-", false, "b-ana"),
            ("banana", "a*a", "-", true, "b-"),
            ("ab", "", "-", true, "-a-b-"),
            ("ab", "", "-", false, "-ab"),
            ("", "x", "-", true, ""),
        ] {
            assert_eq!(
                replace(value, pattern, by, all),
                Ok(expected.into()),
                "{value} /{pattern}/"
            );
        }
    }
}
