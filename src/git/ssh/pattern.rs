//! Patterns of host names, as `known_hosts` and `Host` lines have them: `*`, `?` and `!`. Pure.

/// Whether a name matches one of the patterns, and none of those that are negated.
pub(super) fn matches<'a>(patterns: impl IntoIterator<Item = &'a str>, name: &str) -> bool {
    let mut found = false;
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(pattern) if one(pattern.as_bytes(), name.as_bytes()) => return false,
            Some(_) => {}
            None => found |= one(pattern.as_bytes(), name.as_bytes()),
        }
    }
    found
}

/// Goes back to the last star when a letter does not fit, so it takes no more than the product of
/// both lengths.
fn one(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(letter) if *letter == b'?' || *letter == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                (p, n) = (at + 1, from + 1);
            }
        }
    }
    pattern[p..].iter().all(|letter| *letter == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_questions() {
        for (pattern, name, expected) in [
            ("h", "h", true),
            ("h", "hh", false),
            ("*", "", true),
            ("*", "h", true),
            ("?", "", false),
            ("*.io", "a.b.io", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("10.0.?.*", "10.0.3.44", true),
            ("10.0.?.*", "10.0.33.44", false),
        ] {
            assert_eq!(matches([pattern], name), expected, "{pattern} {name}");
        }
        assert!(!matches(["*", "!h"], "h") && !matches(["!h"], "x") && matches(["!h", "*"], "x"));
    }

    #[test]
    fn many_stars_take_no_time() {
        assert!(!one("*a".repeat(40).as_bytes(), "a".repeat(30).as_bytes()));
        assert!(!one(format!("{}b", "*a".repeat(30)).as_bytes(), "a".repeat(2000).as_bytes()));
    }
}
