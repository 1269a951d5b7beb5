//! `yado info`.
#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::process::ExitCode;

use super::Global;
use super::exit::CliError;
use super::session::open_store;
use crate::sandbox::{Identity, View, probe};

pub(super) fn run(global: &Global) -> Result<ExitCode, CliError> {
    let caller = rustix::process::getuid().as_raw();
    let (store, isolation) = open_store(global)?;
    let scratch = store.work().fresh("probe");
    std::fs::create_dir(&scratch).map_err(crate::store::StoreError::io("create", &scratch))?;
    let kernel = rustix::system::uname();
    println!("yado {}", env!("CARGO_PKG_VERSION"));
    println!("kernel   {}", kernel.release().to_string_lossy());
    println!("caller   uid {caller}");
    println!("store    {}", store.root().display());
    println!();
    for attempt in probe(&scratch) {
        match attempt.result {
            Ok(()) => println!("yes  {}", attempt.name),
            Err(reason) => println!("no   {}: {reason}", attempt.name),
        }
    }
    println!();
    println!("{}", isolation.describe());
    if let View::None(reason) = &isolation.view {
        println!("  {reason}");
    }
    if isolation.identity == Identity::Single {
        println!(
            "  owners of base images are recorded beside their files; a step cannot chown to another user"
        );
    }
    for remark in &isolation.remarks {
        println!("  {remark}");
    }
    Ok(ExitCode::SUCCESS)
}
