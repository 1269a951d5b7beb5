//! Patterns of paths, matched one name after the other, so that only directories are fetched in
//! which something can match. Pure.

/// A pattern: names with `*`, `?` and `[...]`, or `**` for any number of directories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    names: Vec<Name>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    AnyDepth,
    One(Vec<Piece>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Char(char),
    AnyChar,
    Any,
    /// Ranges, and whether what is in none of them is meant.
    Set(Vec<(char, char)>, bool),
}

impl Pattern {
    /// Reads a pattern; `None` for what is no path.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let names = text.split('/').map(|name| match name {
            "" | "." | ".." => None,
            "**" => Some(Name::AnyDepth),
            name => Some(Name::One(pieces(name)?)),
        });
        let mut names: Vec<Name> = names.collect::<Option<_>>()?;
        // At the end it stands for all that is in directories, not for the one that they are in.
        if names.last() == Some(&Name::AnyDepth) {
            names.push(Name::One(vec![Piece::Any]));
        }
        Some(Self { names })
    }

    /// Where matching begins. A state is how many names are behind it.
    pub(super) fn start(&self) -> Vec<usize> {
        self.closed(vec![0])
    }

    /// Where it stands after one more name.
    pub(super) fn step(&self, states: &[usize], name: &str) -> Vec<usize> {
        let letters: Vec<char> = name.chars().collect();
        let mut next = Vec::new();
        for state in states {
            match self.names.get(*state) {
                Some(Name::AnyDepth) => next.push(*state),
                Some(Name::One(pieces)) if matches(pieces, &letters) => next.push(state + 1),
                _ => {}
            }
        }
        self.closed(next)
    }

    /// `**` stands for no directory too.
    fn closed(&self, mut states: Vec<usize>) -> Vec<usize> {
        let mut at = 0;
        while let Some(state) = states.get(at).copied() {
            if self.names.get(state) == Some(&Name::AnyDepth) && !states.contains(&(state + 1)) {
                states.push(state + 1);
            }
            at += 1;
        }
        states.sort_unstable();
        states.dedup();
        states
    }

    /// Whether all names are behind it.
    pub(super) fn matched(&self, states: &[usize]) -> bool {
        states.contains(&self.names.len())
    }

    /// Whether something below can match.
    pub(super) fn goes_on(&self, states: &[usize]) -> bool {
        states.iter().any(|state| *state < self.names.len())
    }

    /// Whether directories of any depth below can match.
    pub(super) fn any_depth(&self, states: &[usize]) -> bool {
        states.iter().any(|state| self.names.get(*state) == Some(&Name::AnyDepth))
    }
}

fn pieces(name: &str) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = name.chars();
    while let Some(c) = rest.next() {
        pieces.push(match c {
            '*' => Piece::Any,
            '?' => Piece::AnyChar,
            '\\' => Piece::Char(rest.next()?),
            '[' => {
                let text = rest.as_str();
                // A bracket that comes first is one of the set.
                let negated = text.starts_with(['!', '^']);
                let body = &text[usize::from(negated)..];
                let first = body.chars().next()?.len_utf8();
                let end = first + body[first..].find(']')?;
                let mut set = Vec::new();
                let letters: Vec<char> = body[..end].chars().collect();
                let mut at = 0;
                while at < letters.len() {
                    let range = letters.get(at + 1) == Some(&'-') && at + 2 < letters.len();
                    set.push((letters[at], letters[if range { at + 2 } else { at }]));
                    at += if range { 3 } else { 1 };
                }
                rest = body[end + 1..].chars();
                Piece::Set(set, negated)
            }
            c => Piece::Char(c),
        });
    }
    Some(pieces)
}

/// Goes back to the last `*` when something does not match, which is enough.
fn matches(pieces: &[Piece], name: &[char]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while n < name.len() {
        let one = match pieces.get(p) {
            Some(Piece::Any) => {
                back = Some((p, n));
                p += 1;
                continue;
            }
            Some(Piece::AnyChar) => true,
            Some(Piece::Char(c)) => *c == name[n],
            Some(Piece::Set(set, negated)) => {
                set.iter().any(|(from, to)| (*from..=*to).contains(&name[n])) != *negated
            }
            None => false,
        };
        if one {
            (p, n) = (p + 1, n + 1);
        } else if let Some((star, from)) = back {
            back = Some((star, from + 1));
            (p, n) = (star + 1, from + 1);
        } else {
            return false;
        }
    }
    pieces[p..].iter().all(|piece| *piece == Piece::Any)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matched(pattern: &str, path: &str) -> bool {
        let pattern = Pattern::parse(pattern).unwrap();
        let mut states = pattern.start();
        for name in path.split('/') {
            if !pattern.goes_on(&states) {
                return false;
            }
            states = pattern.step(&states, name);
        }
        pattern.matched(&states)
    }

    #[test]
    fn matches_paths() {
        for (pattern, path, expected) in [
            ("a/b", "a/b", true),
            ("a/b", "a/b/c", false),
            ("a/*", "a/b", true),
            ("a/*", "a/b/c", false),
            ("*/values.yaml", "x/values.yaml", true),
            ("*.yaml", "x.yml", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-d", false),
            ("?.y", "é.y", true),
            ("[a-cx].y", "b.y", true),
            ("[a-cx].y", "d.y", false),
            ("[!a-c].y", "d.y", true),
            ("[]].y", "].y", true),
            ("[a-].y", "-.y", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("**", "a/b/c", true),
            ("**/v.yaml", "v.yaml", true),
            ("**/v.yaml", "a/b/v.yaml", true),
            ("**/v.yaml", "a/b/v.yaml/c", false),
            ("a/**/c", "a/c", true),
            ("a/**/c", "a/b/b/c", true),
            ("a/**/c", "b/c", false),
            ("a/**/b/**/c", "a/x/b/c", true),
            ("a/**", "a/b", true),
            ("a/**", "a", false),
            ("a**", "ab", true),
        ] {
            assert_eq!(matched(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn refuses_what_is_no_path() {
        for pattern in ["", "/a", "a//b", "a/", "../a", "a/./b", "[a", "\\"] {
            assert_eq!(Pattern::parse(pattern), None, "{pattern}");
        }
    }
}
