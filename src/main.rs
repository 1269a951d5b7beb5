//! The `yado` program: the sandbox's child when re-executed as such, else the command line.

fn main() {}
