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

/// How many tokens may be compared with characters for one substitution: some
/// hundredths of a second, or a pattern of twenty characters on 200 KiB.
const MAX_WORK: usize = 1 << 22;

/// The lengths, rising, of the prefixes of `text` that `tokens` match. Wildcards
/// end at a line's end, as they do in `BuildKit`.
fn prefixes(tokens: &[Token], text: &[char]) -> Vec<usize> {
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for token in tokens {
        let mut next = vec![false; text.len() + 1];
        for at in (0..=text.len()).filter(|at| reached[*at]) {
            let c = text.get(at).copied();
            match token {
                Token::Star => next[at] = true,
                Token::Any if c.is_some_and(|c| c != '\n') => next[at + 1] = true,
                Token::Exactly(wanted) if c == Some(*wanted) => next[at + 1] = true,
                _ => {}
            }
        }
        if *token == Token::Star {
            for at in 0..text.len() {
                next[at + 1] |= next[at] && text[at] != '\n';
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
    if tokens.len().saturating_mul(text.len()) > MAX_WORK {
        return Err(ExpandError::TooSlow(pattern.to_owned()));
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
/// The result has `limit` bytes at most.
pub(super) fn replace(
    value: &str,
    pattern: &str,
    by: &str,
    all: bool,
    limit: usize,
) -> Result<String, ExpandError> {
    let tokens = tokens(pattern)?;
    let fixed = !tokens.contains(&Token::Star);
    let text: Vec<char> = value.chars().collect();
    let mut out = String::new();
    let mut at = 0;
    let mut done = false;
    let mut work = 0_usize;
    // Where the last match ended: an empty match directly behind it does not count.
    let mut last_end = None;
    while at <= text.len() && out.len() <= limit {
        let rest = &text[at..];
        let found = if done {
            None
        } else if fixed {
            // Without stars a match is as long as the pattern.
            work += tokens.len();
            let whole = rest.get(..tokens.len()).unwrap_or_default();
            let same = whole.len() == tokens.len() && tokens.iter().zip(whole).all(fits);
            same.then_some(tokens.len())
        } else if tokens.first().zip(rest.first()).is_some_and(|pair| !fits(pair)) {
            None
        } else {
            work = work.saturating_add(tokens.len().saturating_mul(rest.len()));
            if work > MAX_WORK { None } else { prefixes(&tokens, rest).last().copied() }
        };
        if work > MAX_WORK {
            return Err(ExpandError::TooSlow(pattern.to_owned()));
        }
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
    if out.len() > limit { Err(ExpandError::TooLong) } else { Ok(out) }
}

/// Whether a match can begin with this character.
fn fits((token, c): (&Token, &char)) -> bool {
    match token {
        Token::Star => true,
        Token::Any => *c != '\n',
        Token::Exactly(wanted) => wanted == c,
    }
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
            ("a\nbX", "#*X", '#', "a\nbX"),
            ("aX\nb", "%X*", '%', "aX\nb"),
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
            ("a1\na2", "a*", "-", true, "-\n-"),
            ("a1\na2", "?", "-", true, "--\n--"),
        ] {
            assert_eq!(
                replace(value, pattern, by, all, 1000),
                Ok(expected.into()),
                "{value} /{pattern}/"
            );
        }
    }
}
