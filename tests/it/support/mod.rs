//! What the tests stand on: the binary, a registry, a base image, a judge.

pub(crate) mod argocd;
pub(crate) mod base;
mod browser;
pub(crate) mod git;
mod http;
mod identity;
mod image;
pub(crate) mod kubernetes;
mod meter;
mod registry;
mod schema;
pub(crate) mod ssh;
mod web;
mod workdir;
mod yado;

pub(crate) use base::base;
pub(crate) use browser::{Document, Tag};
pub(crate) use identity::Identity;
pub(crate) use image::{Entry, Image, Kind, Layer};
pub(crate) use meter::Meter;
pub(crate) use registry::{Options, Registry, Request};
pub(crate) use web::{Answer, Web};
pub(crate) use workdir::WorkDir;
pub(crate) use yado::{Output, Yado, binary};

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Runs a tool and gives what it printed; fails with what it said.
pub(crate) fn tool(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("start {command:?}: {e}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{stderr}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Asks again and again until there is an answer; fails after half a minute.
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not within 30 s");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Writes a file and the directories above it.
pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap_or_else(|e| panic!("write {}: {e}", path.display()));
}
