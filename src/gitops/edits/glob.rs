//! Names and paths with `*` and `?`.

/// A name or a path in which `?` stands for one character and `*` for any number of them, neither
/// for a `/`; `**` stands for any number of whole folders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(String);

impl Glob {
    /// The pattern `text`; any text is one.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it can match more than one name.
    pub fn has_wildcard(&self) -> bool {
        self.0.contains(['*', '?'])
    }

    /// Whether it stands for all of `name`.
    pub fn matches(&self, name: &str) -> bool {
        let pattern: Vec<&str> = self.0.split('/').collect();
        let name: Vec<&str> = name.split('/').collect();
        folders(&pattern, &name)
    }
}

fn folders(pattern: &[&str], name: &[&str]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        (["**", rest @ ..], _) => (0..=name.len()).any(|skipped| folders(rest, &name[skipped..])),
        ([first, pattern @ ..], [word, name @ ..]) => {
            let (first, word): (Vec<char>, Vec<char>) =
                (first.chars().collect(), word.chars().collect());
            characters(&first, &word) && folders(pattern, name)
        }
        _ => false,
    }
}

/// Goes back to the last `*` only, so the time is at most the product of the lengths.
fn characters(pattern: &[char], word: &[char]) -> bool {
    let (mut at, mut read) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while read < word.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(c) if *c == '?' || *c == word[read] => (at, read) = (at + 1, read + 1),
            _ => match star {
                Some((place, taken)) => {
                    star = Some((place, taken + 1));
                    (at, read) = (place + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stay_within_a_folder_and_two_go_over_them() {
        for (pattern, name, expected) in [
            ("app", "app", true),
            ("app", "app2", false),
            ("app*", "app", true),
            ("*-a?p*", "web-app-1", true),
            ("*-a?p", "web-app-1", false),
            ("apps/*.yaml", "apps/a.yaml", true),
            ("apps/*.yaml", "apps/a/b.yaml", false),
            ("apps/**/*.yaml", "apps/a/b.yaml", true),
            ("apps/**/*.yaml", "apps/b.yaml", true),
            ("**", "a/b/c", true),
            ("*", "a/b", false),
            ("a*b*c", "abxbc", true),
            ("", "", true),
            ("*", "", true),
            ("é?", "éa", true),
        ] {
            assert_eq!(Glob::new(pattern).matches(name), expected, "{pattern} {name}");
        }
    }
}
