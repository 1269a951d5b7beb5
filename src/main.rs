//! The `yado` program: the sandbox's child when it is re-executed as such, else the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else, since the child must have one thread only.
    if std::env::args_os().next().is_some_and(|name| name == yado::sandbox::ARG0) {
        yado::sandbox::launcher_main();
    }
    yado::cli::run()
}
