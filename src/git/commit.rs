//! Commits as text: who, when, why, and on what. Pure.

use std::fmt;

use super::id::ObjectId;

/// A commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its id.
    pub id: ObjectId,
    /// Its root directory.
    pub tree: ObjectId,
    /// What it was made on.
    pub parents: Vec<ObjectId>,
    /// Who made the change.
    pub author: Author,
    /// Who made the commit.
    pub committer: Author,
    /// The whole message; what is not UTF-8 is replaced.
    pub message: String,
}

/// Somebody at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// The name.
    pub name: String,
    /// The address.
    pub email: String,
    /// Seconds since 1970.
    pub seconds: i64,
    /// Minutes east of Greenwich.
    pub offset: i32,
}

/// As it stands in a commit.
impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, email, seconds, offset } = self;
        let sign = if *offset < 0 { '-' } else { '+' };
        let minutes = offset.unsigned_abs();
        write!(f, "{name} <{email}> {seconds} {sign}{:02}{:02}", minutes / 60, minutes % 60)
    }
}

impl Author {
    /// What is wrong with it, if git would not take it.
    fn problem(&self) -> Option<&'static str> {
        let breaks = |text: &str| text.contains(['<', '>', '\n', '\0']) || text.trim() != text;
        if self.name.is_empty() {
            Some("a name is empty")
        } else if breaks(&self.name) || breaks(&self.email) {
            Some("a name or an address holds <, >, a line end or spaces around it")
        } else if self.seconds < 0 || self.offset.abs() >= 24 * 60 {
            Some("a time is before 1970, or its zone is none")
        } else {
            None
        }
    }

    /// Names may hold anything, so the line is read from its end.
    fn parse(line: &str) -> Option<Self> {
        let (rest, zone) = line.rsplit_once(' ')?;
        let (rest, seconds) = rest.rsplit_once(' ')?;
        let (name, email) = rest.rsplit_once('<')?;
        let value: i32 = zone.parse().ok()?;
        Some(Self {
            name: name.trim().to_owned(),
            email: email.trim_end_matches('>').to_owned(),
            seconds: seconds.parse().ok()?,
            offset: value / 100 * 60 + value % 100,
        })
    }
}

impl Commit {
    /// Reads a commit; `None` if it is malformed.
    pub(super) fn parse(id: ObjectId, bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let (head, message) = text.split_once("\n\n").unwrap_or((&text, ""));
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
        let parents = head.lines().filter_map(|line| line.strip_prefix("parent "));
        Some(Self {
            id,
            tree: ObjectId::parse(field("tree ")?)?,
            parents: parents.map(ObjectId::parse).collect::<Option<_>>()?,
            author: Author::parse(field("author ")?)?,
            committer: Author::parse(field("committer ")?)?,
            message: message.to_owned(),
        })
    }

    /// The first line of the message.
    pub fn subject(&self) -> &str {
        self.message.lines().next().unwrap_or_default()
    }

    /// The lines `Key: value` in the last paragraph of the message, if that holds no others but
    /// lines that go on with the one before.
    pub fn trailers(&self) -> Vec<(&str, String)> {
        let message = self.message.trim_end();
        // The subject is no trailer, whatever it looks like.
        let Some((_, last)) = message.rsplit_once("\n\n") else { return Vec::new() };
        let mut trailers: Vec<(&str, String)> = Vec::new();
        for line in last.lines() {
            if line.starts_with([' ', '\t']) {
                let Some((_, value)) = trailers.last_mut() else { return Vec::new() };
                value.push(' ');
                value.push_str(line.trim());
                continue;
            }
            let Some((key, value)) = line.split_once(':') else { return Vec::new() };
            if key.is_empty() || !key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
                return Vec::new();
            }
            trailers.push((key, value.trim().to_owned()));
        }
        trailers
    }

    /// The value of a trailer, whose name is compared without regard to case; the last of several.
    pub fn trailer(&self, name: &str) -> Option<String> {
        let mut trailers = self.trailers().into_iter().rev();
        trailers.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// What a commit says that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCommit {
    /// Who makes the change.
    pub author: Author,
    /// Who makes the commit.
    pub committer: Author,
    /// The message.
    pub message: String,
}

impl NewCommit {
    /// What is wrong with it, if git would not take it.
    pub(super) fn problem(&self) -> Option<&'static str> {
        if self.message.trim().is_empty() {
            return Some("the message is empty");
        }
        if self.message.contains('\0') {
            return Some("the message holds a zero byte");
        }
        self.author.problem().or_else(|| self.committer.problem())
    }

    /// Its text, and the place in it where a signature is put.
    pub(super) fn text(&self, tree: &ObjectId, parents: &[ObjectId]) -> (String, usize) {
        let mut text = format!("tree {tree}\n");
        for parent in parents {
            text.extend(["parent ", &parent.to_string(), "\n"]);
        }
        text.extend(["author ", &self.author.to_string(), "\n"]);
        text.extend(["committer ", &self.committer.to_string(), "\n"]);
        let end = text.len();
        text.push('\n');
        text.push_str(self.message.trim_end());
        text.push('\n');
        (text, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef01234567";

    fn author(offset: i32) -> Author {
        let (name, email) = ("A <b> C".to_owned(), "d@e".to_owned());
        Author { name, email, seconds: 1_700_000_000, offset }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let id = ObjectId::parse(ID).unwrap();
        for offset in [0, 330, -210, -90, 840] {
            let mut author = author(offset);
            author.name = "Zoë Q".to_owned();
            let message = "subject\n\nbody: no\n\nImage: a\nSource-Commit: b\n  c\nimage: d\n";
            let new = NewCommit {
                author: author.clone(),
                committer: author.clone(),
                message: message.to_owned(),
            };
            assert_eq!(new.problem(), None);
            let (text, _) = new.text(&id, &[id, id]);
            let commit = Commit::parse(id, text.as_bytes()).unwrap();
            assert_eq!((&commit.author, &commit.committer), (&author, &author));
            assert_eq!((commit.tree, commit.parents.len()), (id, 2));
            assert_eq!(commit.message, message);
            assert_eq!(commit.subject(), "subject");
            assert_eq!(commit.trailer("IMAGE").as_deref(), Some("d"));
            assert_eq!(commit.trailer("source-commit").as_deref(), Some("b c"));
            assert_eq!(commit.trailer("body"), None);
        }
    }

    #[test]
    fn trailers_are_a_paragraph_of_their_own() {
        let id = ObjectId::parse(ID).unwrap();
        let trailers = |message: &str| {
            let new =
                NewCommit { author: author(0), committer: author(0), message: message.to_owned() };
            let commit = Commit::parse(id, new.text(&id, &[]).0.as_bytes()).unwrap();
            commit.trailers().len()
        };
        for (message, expected) in [
            ("Key: value", 0),
            ("s\n\nKey: value", 1),
            ("s\n\nKey: value\nand more", 0),
            ("s\n\n more\nKey: value", 0),
            ("s\n\nNo key: value", 0),
            ("s\n\nA: b\nC:d", 2),
        ] {
            assert_eq!(trailers(message), expected, "{message:?}");
        }
    }

    #[test]
    fn refuses_what_git_would_not_take() {
        let good = NewCommit {
            author: Author { name: "a".to_owned(), ..author(0) },
            committer: Author { name: "a".to_owned(), ..author(0) },
            message: "m".to_owned(),
        };
        assert_eq!(good.problem(), None);
        let with = |change: fn(&mut NewCommit)| {
            let mut new = good.clone();
            change(&mut new);
            new.problem()
        };
        for change in [
            |new: &mut NewCommit| new.message = " \n".to_owned(),
            |new: &mut NewCommit| new.message = "a\0".to_owned(),
            |new: &mut NewCommit| new.author.name = String::new(),
            |new: &mut NewCommit| new.author.name = "a\nparent x".to_owned(),
            |new: &mut NewCommit| new.committer.email = "a>b".to_owned(),
            |new: &mut NewCommit| new.committer.seconds = -1,
            |new: &mut NewCommit| new.committer.offset = 1440,
        ] {
            assert!(with(change).is_some());
        }
    }
}
