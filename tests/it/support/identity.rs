//! As whom the tests run, which decides what owners a step can have.

use std::fs;
use std::path::Path;

/// The kinds of users that build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// All ids are real.
    Root,
    /// An ordinary user with a range of ids in `/etc/subuid`.
    Subordinate,
    /// An ordinary user with one id.
    Single,
}

impl Identity {
    /// Of this process.
    pub(crate) fn here() -> Self {
        let uid = rustix::process::getuid().as_raw();
        if uid == 0 {
            return Self::Root;
        }
        let passwd = fs::read_to_string("/etc/passwd").unwrap();
        let name = passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)? == uid.to_string()).then_some(name)
        });
        let listed = |file: &str| {
            fs::read_to_string(file).is_ok_and(|text| {
                text.lines()
                    .filter_map(|line| line.split(':').next())
                    .any(|owner| owner == uid.to_string() || Some(owner) == name)
            })
        };
        let tools = ["newuidmap", "newgidmap"];
        let installed = tools.iter().all(|tool| Path::new("/usr/bin").join(tool).exists());
        if installed && listed("/etc/subuid") && listed("/etc/subgid") {
            Self::Subordinate
        } else {
            Self::Single
        }
    }
}
