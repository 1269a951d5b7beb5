//! Users and groups of an image, from its own `/etc/passwd` and `/etc/group`.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// The most that is read of either file.
const LIMIT: u64 = 16 * 1024 * 1024;

/// The users and groups of a root file system.
#[derive(Clone, Debug, Default)]
pub struct Users {
    passwd: String,
    group: String,
}

/// A user found by name or number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// The supplementary groups; none when a group was named.
    pub groups: Vec<u32>,
    /// The home directory; `/` when it is not known.
    pub home: String,
}

/// A name that the image does not know.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UserError {
    /// Not a user.
    #[error(
        "there is no user {0:?} in the image's /etc/passwd; create it in a RUN before, or give its number"
    )]
    User(String),
    /// Not a group.
    #[error(
        "there is no group {0:?} in the image's /etc/group; create it in a RUN before, or give its number"
    )]
    Group(String),
}

impl Users {
    /// Reads both files inside `root`; a missing one knows no one.
    pub fn read(root: impl AsFd) -> io::Result<Self> {
        let read = |path: &str| -> io::Result<String> {
            let file = match crate::fs::open_in_root(
                &root,
                Path::new(path),
                OFlags::RDONLY | OFlags::NONBLOCK,
                Mode::empty(),
            ) {
                Ok(fd) => File::from(fd),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
                Err(error) => return Err(error),
            };
            let mut bytes = Vec::new();
            file.take(LIMIT).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        Ok(Self { passwd: read("etc/passwd")?, group: read("etc/group")? })
    }

    /// The user of `USER name[:group]`: a number without an entry has group 0.
    pub fn user(&self, text: &str) -> Result<User, UserError> {
        let (name, group) = split(text);
        if name.is_empty() {
            return self.user(&format!("0{}", group.map(|g| format!(":{g}")).unwrap_or_default()));
        }
        let entry = self.find_user(name);
        let (uid, gid, home) = match (&entry, name.parse()) {
            (Some(fields), _) => {
                (number(fields, 2), number(fields, 3), fields.get(5).copied().unwrap_or("/"))
            }
            (None, Ok(uid)) => (uid, 0, "/"),
            (None, Err(_)) => return Err(UserError::User(name.to_owned())),
        };
        let (gid, groups) = match group {
            Some(group) => (self.group(group)?, Vec::new()),
            None => (gid, entry.map_or_else(Vec::new, |fields| self.supplementary(fields[0]))),
        };
        let home = if home.is_empty() { "/" } else { home };
        Ok(User { uid, gid, groups, home: home.to_owned() })
    }

    /// The owner of `--chown=name[:group]`: a number without a group has the group of the same number.
    pub fn owner(&self, text: &str) -> Result<(u32, u32), UserError> {
        let (name, group) = split(text);
        let user = self.user(name)?;
        let gid = match group {
            Some(group) => self.group(group)?,
            None => name.parse().unwrap_or(user.gid),
        };
        Ok((user.uid, gid))
    }

    fn group(&self, name: &str) -> Result<u32, UserError> {
        let entry = self.group.lines().map(fields).find(|fields| fields[0] == name);
        match (entry, name.parse()) {
            (Some(fields), _) => Ok(number(&fields, 2)),
            (None, Ok(gid)) => Ok(gid),
            (None, Err(_)) => Err(UserError::Group(name.to_owned())),
        }
    }

    fn find_user(&self, name: &str) -> Option<Vec<&str>> {
        let by = |index: usize| {
            self.passwd
                .lines()
                .map(fields)
                .find(|fields| fields.get(index) == Some(&name) && fields.len() > 3)
        };
        by(0).or_else(|| if name.parse::<u32>().is_ok() { by(2) } else { None })
    }

    fn supplementary(&self, user: &str) -> Vec<u32> {
        self.group
            .lines()
            .map(fields)
            .filter(|fields| {
                fields.get(3).is_some_and(|members| members.split(',').any(|m| m.trim() == user))
            })
            .map(|fields| number(&fields, 2))
            .collect()
    }
}

fn split(text: &str) -> (&str, Option<&str>) {
    match text.split_once(':') {
        Some((name, group)) => (name, Some(group).filter(|group| !group.is_empty())),
        None => (text, None),
    }
}

fn fields(line: &str) -> Vec<&str> {
    line.trim().split(':').collect()
}

fn number(fields: &[&str], index: usize) -> u32 {
    fields.get(index).and_then(|field| field.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users() -> Users {
        Users {
            passwd: "root:x:0:0:root:/root:/bin/sh\napp:x:4242:4243::/home/app:/bin/sh\nbroken\n"
                .into(),
            group: "root:x:0:\nwheel:x:10:root,app\napps:x:4243:\nmore:x:11: app\n".into(),
        }
    }

    #[test]
    fn users_by_name_and_number() {
        let user = |uid, gid, groups: &[u32], home: &str| {
            Ok(User { uid, gid, groups: groups.to_vec(), home: home.to_owned() })
        };
        let users = users();
        for (text, expected) in [
            ("app", user(4242, 4243, &[10, 11], "/home/app")),
            ("4242", user(4242, 4243, &[10, 11], "/home/app")),
            ("app:wheel", user(4242, 10, &[], "/home/app")),
            ("app:77", user(4242, 77, &[], "/home/app")),
            ("1234", user(1234, 0, &[], "/")),
            ("1234:wheel", user(1234, 10, &[], "/")),
            ("", user(0, 0, &[10], "/root")),
            ("nobody", Err(UserError::User("nobody".into()))),
            ("app:nogroup", Err(UserError::Group("nogroup".into()))),
            ("broken", Err(UserError::User("broken".into()))),
        ] {
            assert_eq!(users.user(text), expected, "{text}");
        }
    }

    #[test]
    fn owners_differ_from_users_in_the_group_of_a_number() {
        let users = users();
        for (text, expected) in [
            ("app", (4242, 4243)),
            ("55", (55, 55)),
            ("55:0", (55, 0)),
            ("4242", (4242, 4242)),
            ("app:root", (4242, 0)),
        ] {
            assert_eq!(users.owner(text), Ok(expected), "{text}");
        }
    }
}
