//! Who the builder is: the ids it has, and becoming root over them.
//!
//! [`enter`] runs once, before any thread is started. Root gets a private mount
//! namespace. An ordinary user gets a user namespace as well, in which he is
//! root: with his subordinate ids if he has them (`newuidmap`), else with his
//! one id. From then on the rest of the program sees uid 0 and may mount,
//! whoever called it.

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process;

use rustix::mount::MountPropagationFlags;
use rustix::process::{Gid, Resource, Rlimit, Uid, WaitOptions};
use rustix::thread::{CapabilitySet, UnshareFlags};

use super::SandboxError;
use super::probe::attempt;
use crate::image::Digest;
use crate::sys::{self, Fork};

/// What was asked for with `--isolation`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IsolationChoice {
    /// The best that is possible.
    #[default]
    Auto,
    /// Namespaces, or fail.
    Namespaces,
    /// A plain chroot, or fail.
    Chroot,
}

/// How a step gets its root file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    /// User, mount, pid, ipc and uts namespaces, `pivot_root`.
    Namespaces,
    /// `chroot` only: root where namespaces are refused.
    Chroot,
    /// No step can run; why not.
    None(String),
}

/// Whose ids files have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// All ids that root has.
    Real,
    /// An ordinary user's own and subordinate ids.
    Subordinate,
    /// An ordinary user's one id.
    Single,
}

/// The isolation that was chosen.
#[derive(Clone, Debug)]
pub struct Isolation {
    /// How a step gets its root.
    pub view: View,
    /// Whose ids files have.
    pub identity: Identity,
    /// The ids that there are.
    pub ids: IdMap,
    /// What a better isolation would need, for people.
    pub remarks: Vec<String>,
    /// The limit of open files that steps get: the caller's, which is raised for
    /// the builder itself. `None` is no limit.
    pub open_files: Option<u64>,
}

impl Isolation {
    /// One line for people.
    pub fn describe(&self) -> String {
        let view = match &self.view {
            View::Namespaces => "namespaces (user, mount, pid, ipc, uts)",
            View::Chroot => "chroot",
            View::None(_) => "none, RUN is not possible",
        };
        let identity = match self.identity {
            Identity::Real => "real ids",
            Identity::Subordinate => "subordinate ids",
            Identity::Single => "one id",
        };
        format!("isolation: {view}, {identity}")
    }

    /// A short name of the owners that files on disk have here; trees made under
    /// others are of no use.
    pub fn fingerprint(&self) -> String {
        let owners = (&self.ids.uids, &self.ids.gids, self.identity == Identity::Single);
        Digest::of(format!("{owners:?}").as_bytes()).short().to_owned()
    }
}

/// The ids of a user namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdMap {
    uids: Vec<Extent>,
    gids: Vec<Extent>,
}

/// A range of ids: the first inside, the first outside, how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent(u64, u64, u64);

impl IdMap {
    /// The ids of the namespace that this process is in.
    pub fn current() -> io::Result<Self> {
        Ok(Self {
            uids: parse_map(&fs::read_to_string("/proc/self/uid_map")?),
            gids: parse_map(&fs::read_to_string("/proc/self/gid_map")?),
        })
    }

    /// Whether files can belong to this user and group.
    pub fn holds(&self, uid: u32, gid: u32) -> bool {
        let within = |map: &[Extent], id: u32| {
            map.iter()
                .any(|Extent(inside, _, count)| (*inside..inside + count).contains(&u64::from(id)))
        };
        within(&self.uids, uid) && within(&self.gids, gid)
    }

    fn is_single(&self) -> bool {
        let count = |map: &[Extent]| map.iter().map(|Extent(_, _, count)| count).sum::<u64>();
        count(&self.uids) <= 1 || count(&self.gids) <= 1
    }

    /// Gives the process `pid`, in a user namespace just made, every id that
    /// this process has, under the same number.
    pub(super) fn write_same(&self, pid: u32) -> io::Result<()> {
        let lines = |extents: &[Extent]| {
            extents.iter().fold(String::new(), |text, Extent(inside, _, count)| {
                text + &format!("{inside} {inside} {count}\n")
            })
        };
        fs::write(format!("/proc/{pid}/uid_map"), lines(&self.uids))?;
        fs::write(format!("/proc/{pid}/gid_map"), lines(&self.gids))
    }
}

fn parse_map(text: &str) -> Vec<Extent> {
    text.lines()
        .filter_map(|line| {
            let mut numbers = line.split_whitespace().map(str::parse);
            Some(Extent(numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?))
        })
        .collect()
}

/// Becomes root over a private mount namespace; see the module's head.
///
/// Must be called while the process has one thread.
pub fn enter(choice: IsolationChoice) -> Result<Isolation, SandboxError> {
    let mut isolation = if rustix::process::geteuid().is_root() {
        enter_as_root(choice)?
    } else {
        enter_as_user(choice)?
    };
    isolation.open_files = raise_open_files();
    let refused =
        |wanted, reason: &str| Err(SandboxError::Unavailable { wanted, reason: reason.to_owned() });
    match (choice, &isolation.view) {
        (IsolationChoice::Namespaces, View::Chroot) => refused(
            "isolation by namespaces",
            isolation.remarks.first().map_or("refused", String::as_str),
        ),
        (IsolationChoice::Namespaces, View::None(reason)) => {
            refused("isolation by namespaces", reason)
        }
        (IsolationChoice::Chroot, View::None(reason)) => refused("isolation by chroot", reason),
        _ => Ok(isolation),
    }
}

/// Raises the limit of open files as far as it goes, since a walk holds a
/// directory open for each level; gives the old one.
fn raise_open_files() -> Option<u64> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    // Refused by nobody; and if it were, the old limit would still do for most trees.
    let _ =
        rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    limit.current
}

fn current_ids() -> Result<IdMap, SandboxError> {
    IdMap::current().map_err(SandboxError::system("read /proc/self/uid_map"))
}

fn enter_as_root(choice: IsolationChoice) -> Result<Isolation, SandboxError> {
    let ids = current_ids()?;
    // Without CAP_CHOWN, or in a user namespace with one id, root is a user like any other.
    let owners = may(CapabilitySet::CHOWN) && !ids.is_single();
    let identity = if owners { Identity::Real } else { Identity::Single };
    let root =
        |view, remarks| Isolation { view, identity, ids: ids.clone(), remarks, open_files: None };
    if choice == IsolationChoice::Chroot {
        // A private mount namespace does no harm where it can be had.
        let _ = private_mounts(UnshareFlags::empty());
        return Ok(root(chroot_view("it was asked for"), Vec::new()));
    }
    let step = UnshareFlags::NEWUSER | UnshareFlags::NEWNS | UnshareFlags::NEWPID;
    let error = match private_mounts(UnshareFlags::empty()) {
        Ok(()) => match attempt(|| sys::unshare(step)) {
            Ok(()) => return Ok(root(View::Namespaces, Vec::new())),
            Err(error) => error,
        },
        // Without CAP_SYS_ADMIN a user namespace may give it. A failed attempt would
        // leave this process in a namespace without ids, where chroot is of no use.
        Err(_) => match attempt(|| user_namespace(&Mapping::Same(ids.clone())).map(drop)) {
            Ok(()) => {
                user_namespace(&Mapping::Same(ids.clone()))
                    .map_err(SandboxError::system("make a user namespace"))?;
                return Ok(root(View::Namespaces, Vec::new()));
            }
            Err(error) => error,
        },
    };
    let remark = format!(
        "user namespaces are refused ({error}); a pod gets them with the seccomp profile Unconfined or a runtime profile that allows unshare"
    );
    Ok(root(chroot_view(&remark), vec![remark]))
}

/// The effective user and group.
fn own_ids() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

/// Whether this process has a capability in effect.
fn may(capability: CapabilitySet) -> bool {
    rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(capability))
}

/// The chroot view, if the capability for it is there.
fn chroot_view(remark: &str) -> View {
    if may(CapabilitySet::SYS_CHROOT) {
        View::Chroot
    } else {
        View::None(format!("{remark}, and chroot needs CAP_SYS_CHROOT"))
    }
}

fn enter_as_user(choice: IsolationChoice) -> Result<Isolation, SandboxError> {
    let mut remarks = Vec::new();
    let mut identity = Identity::Single;
    let mut mapping = Mapping::Single;
    match subordinate(own_ids().0) {
        Ok((uids, gids)) => {
            identity = Identity::Subordinate;
            mapping = Mapping::Subordinate { uids, gids };
        }
        Err(remark) => remarks.push(remark),
    }
    if choice == IsolationChoice::Chroot {
        return Ok(Isolation {
            view: View::None("an ordinary user may not chroot".to_owned()),
            identity: Identity::Single,
            ids: current_ids()?,
            remarks,
            open_files: None,
        });
    }
    match user_namespace(&mapping) {
        Ok(fallen_back) => {
            if let Some(reason) = fallen_back {
                identity = Identity::Single;
                remarks.push(format!(
                    "the subordinate ids cannot be had ({reason}), so files can have one owner only; newuidmap wants its set-user-id bit or file capability, and a process that may gain privileges (in a pod allowPrivilegeEscalation)"
                ));
            }
            Ok(Isolation {
                view: View::Namespaces,
                identity,
                ids: current_ids()?,
                remarks,
                open_files: None,
            })
        }
        Err(error) => {
            let reason = format!(
                "user namespaces are refused ({error}); allow them (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns=0; in a pod the seccomp profile Unconfined), or run as root"
            );
            Ok(Isolation {
                view: View::None(reason),
                identity: Identity::Single,
                ids: current_ids()?,
                remarks,
                open_files: None,
            })
        }
    }
}

/// Moves into a mount namespace (and what else `flags` name) from which no mount gets out.
fn private_mounts(flags: UnshareFlags) -> io::Result<()> {
    sys::unshare(flags | UnshareFlags::NEWNS)?;
    Ok(rustix::mount::mount_change(
        c"/",
        MountPropagationFlags::REC | MountPropagationFlags::PRIVATE,
    )?)
}

/// Which ids a new user namespace gets.
enum Mapping {
    /// All of this process's, under the same numbers.
    Same(IdMap),
    /// The own id as 0, the subordinate ones from 1 on.
    Subordinate { uids: Ranges, gids: Ranges },
    /// The own id as 0.
    Single,
}

/// Makes a user namespace with a private mount namespace and becomes root in it.
///
/// The ids are written by a forked helper that stays outside, since only there
/// it (or the set-id program `newuidmap`) may map more than one. Where that
/// program is refused, it is one id after all; then the result says why.
fn user_namespace(mapping: &Mapping) -> io::Result<Option<String>> {
    let (ready_read, ready_write) = io::pipe()?;
    let (answer_read, mut answer_write) = io::pipe()?;
    let pid = process::id();
    let (uid, gid) = own_ids();
    let mut helper = None;
    if !matches!(mapping, Mapping::Single) {
        match sys::fork()? {
            Fork::Child => {
                drop(ready_write);
                let mut ready_read = ready_read;
                let mut byte = [0];
                let started = ready_read.read(&mut byte).is_ok_and(|count| count == 1);
                let result = if started { write_maps(mapping, pid, (uid, gid)) } else { Ok(()) };
                if let Err(error) = result {
                    let _ = answer_write.write_all(error.to_string().as_bytes());
                }
                sys::exit_now(0)
            }
            Fork::Parent(child) => helper = Some(child),
        }
    }
    drop(answer_write);
    let unshared = sys::unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS);
    let result = unshared.and_then(|()| {
        if let Mapping::Single = mapping {
            return write_single(uid, gid).map(|()| None);
        }
        (&ready_write).write_all(&[1])?;
        let mut answer = String::new();
        (&answer_read).read_to_string(&mut answer)?;
        if answer.is_empty() {
            return Ok(None);
        }
        match mapping {
            Mapping::Subordinate { .. } => write_single(uid, gid).map(|()| Some(answer)),
            _ => Err(io::Error::other(answer)),
        }
    });
    drop(ready_write);
    if let Some(child) = helper {
        rustix::process::waitpid(Some(child), WaitOptions::empty())?;
    }
    let fallen_back = result?;
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?;
    rustix::mount::mount_change(c"/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
    Ok(fallen_back)
}

/// Gives this process, in a user namespace just made, one id: the old one, as 0.
fn write_single(uid: u32, gid: u32) -> io::Result<()> {
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1\n"))?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1\n"))
}

fn write_maps(mapping: &Mapping, pid: u32, (uid, gid): (u32, u32)) -> io::Result<()> {
    match mapping {
        Mapping::Same(ids) => ids.write_same(pid),
        Mapping::Subordinate { uids, gids } => {
            newidmap("newuidmap", pid, uid, uids)?;
            newidmap("newgidmap", pid, gid, gids)
        }
        Mapping::Single => Ok(()),
    }
}

fn newidmap(program: &str, pid: u32, own: u32, ranges: &[(u64, u64)]) -> io::Result<()> {
    let mut command = process::Command::new(program);
    command.arg(pid.to_string()).args(["0", &own.to_string(), "1"]);
    let mut inside = 1;
    for (start, count) in ranges {
        command.args([inside, *start, *count].map(|number| number.to_string()));
        inside += count;
    }
    let output =
        command.output().map_err(|e| io::Error::new(e.kind(), format!("{program}: {e}")))?;
    if output.status.success() {
        return Ok(());
    }
    // It says its own name.
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

type Ranges = Vec<(u64, u64)>;

/// The subordinate ids of a user, or why there are none.
fn subordinate(uid: u32) -> Result<(Ranges, Ranges), String> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    });
    let read = |file: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        parse_subordinate(&text, name, uid)
    };
    let (uids, gids) = (read("/etc/subuid"), read("/etc/subgid"));
    let who = name.map_or_else(|| uid.to_string(), str::to_owned);
    if uids.is_empty() || gids.is_empty() {
        return Err(format!(
            "{who} has no subordinate ids, so files can have one owner only; for more: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {who}"
        ));
    }
    for program in ["newuidmap", "newgidmap"] {
        let there = ["/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin"]
            .iter()
            .any(|dir| Path::new(dir).join(program).exists());
        if !there {
            return Err(format!(
                "{program} is not installed (Debian's package uidmap), so files can have one owner only"
            ));
        }
    }
    Ok((uids, gids))
}

fn parse_subordinate(text: &str, name: Option<&str>, uid: u32) -> Ranges {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.trim().split(':');
            let who = fields.next()?;
            let (start, count): (u64, u64) =
                (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
            let own = Some(who) == name || who == uid.to_string();
            (own && count > 0).then_some((start, count))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_subordinate_ids_by_name_and_number() {
        let text = "# c\nann:100000:65536\nbob:200000:10\n1000:300000:5\nann:bad:1\nann:400000:0\n";
        assert_eq!(parse_subordinate(text, Some("ann"), 1000), [(100_000, 65_536), (300_000, 5)]);
        assert_eq!(parse_subordinate(text, None, 7), []);
    }

    #[test]
    fn knows_which_ids_there_are() {
        let ids = IdMap {
            uids: parse_map("         0       1000          1\n         1     100000      65536\n"),
            gids: parse_map("0 1000 1\n"),
        };
        assert!(ids.holds(0, 0) && ids.holds(65_536, 0));
        assert!(!ids.holds(65_537, 0) && !ids.holds(0, 1));
    }
}
