//! `firewall`: see `firewall --help` and docs/firewall.md.

use std::process::ExitCode;

fn main() -> ExitCode {
    firewall::main()
}
