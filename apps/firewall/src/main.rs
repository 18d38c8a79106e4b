//! `firewall`: see `firewall --help` and docs/firewall.md.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    firewall::main()
}
