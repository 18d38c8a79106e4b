//! Runs every test: those without privilege first, then those that need a kernel, on the host's and
//! on others.

use std::path::Path;

use vm::Series;

use crate::command::{self, Failure};
use crate::packages;
use crate::vm::{Choice, suite};

/// `cargo xtask test`. With neither `--host` nor `--vm`, every test runs everywhere.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Run only tests that need a kernel, on the host's
    #[arg(long)]
    host: bool,

    /// Run only tests that need a kernel, under this one in QEMU: 6.1, 6.12, or an image; may be
    /// repeated
    #[arg(long, value_name = "KERNEL")]
    vm: Vec<Choice>,

    /// Run only tests with this in their name
    #[arg(default_value = "")]
    filter: String,
}

/// Builds and runs tests; fails if any of them can't run.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let everywhere = !arguments.host && arguments.vm.is_empty();
    let filter = arguments.filter.as_str();
    packages::ensure(&[packages::BUILD, packages::TEST, packages::VM])?;
    if everywhere {
        heading("Tests that need no privilege");
        let tests = ["test", "--workspace", "--all-features", filter];
        command::run(command::cargo().args(tests))?;
    }
    if everywhere || arguments.host {
        heading("Tests on the host's kernel");
        on_the_kernel(&[], filter)?;
    }
    if everywhere {
        return suite::run(&Series::ALL.map(Choice::Debian), filter);
    }
    if arguments.vm.is_empty() {
        return Ok(());
    }
    suite::run(&arguments.vm, filter)
}

/// Runs the tests that need root and a BPF kernel and have `filter` in their name, with these
/// variables set.
pub(crate) fn on_the_kernel(variables: &[(&str, &Path)], filter: &str) -> Result<(), Failure> {
    packages::ensure(&[packages::BUILD, packages::TEST, packages::VM])?;
    if !packages::is_root() {
        return Err(Failure::new(
            "the kernel's tests need root: they make namespaces and load programs",
        ));
    }
    let cargo = || {
        let mut cargo = command::cargo();
        cargo.envs(variables.iter().copied());
        cargo
    };
    command::run(cargo().args(["build", "--workspace", "--bins"]))?;
    // One at a time: several count every program, map and link that the kernel has.
    command::run(cargo().args([
        "test",
        "--workspace",
        "--all-features",
        "--no-fail-fast",
        "--",
        "--ignored",
        "--test-threads=1",
        // Tests in modules of this name need a kernel that takes freplace; many hosts' refuse it,
        // and those in the machines take it.
        "--skip=needs_freplace",
        filter,
    ]))
}

fn heading(text: &str) {
    println!("\n== {text}\n");
}
