//! Who may get at a store: its user alone.
//!
//! Unpacked layers have set-id programs and device nodes, and what another user
//! could change there would be in the next image. So the directories inside are
//! closed to others each time, and those of another user are refused. What holds
//! them may belong to anybody: a volume of a pod is writable for all. The
//! machine's root may use any store: he can read and change all of them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::StoreError;

/// The owner that the kernel shows of files whose owner has no number in this
/// user namespace: an ordinary user's view of everybody else.
const UNMAPPED: u32 = 65_534;

/// Takes from others what they may do in a directory of the store.
pub(super) fn make_private(dir: &Path) -> Result<(), StoreError> {
    let metadata = fs::metadata(dir).map_err(StoreError::io("read", dir))?;
    if !is_own(metadata.uid()) {
        return if is_machine_root() { Ok(()) } else { Err(owned_by(dir, metadata.uid())) };
    }
    if metadata.mode().trailing_zeros() >= 6 {
        return Ok(());
    }
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))
        .map_err(StoreError::io("set the mode of", dir))
}

fn owned_by(path: &Path, uid: u32) -> StoreError {
    let owner = match uid {
        UNMAPPED => "another user".to_owned(),
        uid => format!("the user {uid}"),
    };
    StoreError::Owner { path: path.to_owned(), owner }
}

fn is_own(uid: u32) -> bool {
    uid == rustix::process::geteuid().as_raw()
}

/// Whether this is root, and not only in a user namespace of an ordinary user's.
fn is_machine_root() -> bool {
    let all = ["0", "0", "4294967295"];
    rustix::process::geteuid().is_root()
        && fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| map.split_whitespace().eq(all))
}
