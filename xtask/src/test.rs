//! Runs every test: those without privilege first, then those that need a kernel, on the host's and
//! on others.

use std::path::Path;
use std::thread;

use vm::Series;

use crate::command::{self, Failure};
use crate::packages;
use crate::vm::Choice;
use crate::vm::suite::Suite;

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
        return on_every_kernel(filter);
    }
    if arguments.host {
        heading("Tests on the host's kernel");
        on_the_kernel(&[], filter)?;
    }
    if arguments.vm.is_empty() {
        return Ok(());
    }
    heading("Tests in machines");
    Suite::of(&arguments.vm, filter)?.run()
}

/// On the host's kernel and in machines at once: what one waits for, another has time for. Tests that
/// fail on one end nothing on another.
fn on_every_kernel(filter: &str) -> Result<(), Failure> {
    heading("Tests on the host's kernel, and in machines (lines that begin with a kernel's name)");
    let suite = Suite::of(&Series::ALL.map(Choice::Debian), filter)?;
    let (in_machines, on_the_host) = thread::scope(|scope| {
        let machines = scope.spawn(|| suite.run());
        let on_the_host = on_the_kernel(&[], filter);
        let in_machines = machines
            .join()
            .unwrap_or_else(|_| Err(Failure::new("this task panicked")));
        (in_machines, on_the_host)
    });
    on_the_host.map_err(|failure| Failure::new(format!("on the host's kernel: {failure}")))?;
    in_machines
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
    command::run(cargo().args(["build", "--workspace", "--all-features", "--bins"]))?;
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
