//! The project's own chores: `cargo xtask --help`.

#![forbid(unsafe_code)]

mod bench;
mod btf;
mod command;
mod demo;
mod ebpf;
mod packages;
mod test;
mod tidy;
mod traffic;
mod upgrade;
mod vm;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Build, demonstrate, test.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Show three applications sharing an interface, on real packets (needs root)
    Demo,
    /// Run every test: without privilege, on the host's kernel (needs root), and under others in QEMU
    Test(test::Arguments),
    /// Run a command under another kernel, in QEMU
    Vm(vm::Arguments),
    /// Measure the project beside its peers (needs root)
    Bench(bench::Arguments),
    /// Upgrade a chain of the first version's under traffic, and count what is lost (needs root)
    Upgrade,
    /// Build the eBPF objects from source
    Ebpf(ebpf::Arguments),
    /// Check that the tree is as ARCHITECTURE.md says
    Tidy,
    /// Install the Debian packages that building and testing need
    Packages,
    #[command(hide = true)]
    DemoTraffic(traffic::Arguments),
}

fn main() -> ExitCode {
    let result: Result<(), Box<dyn Error>> = match Arguments::parse().task {
        Task::Demo => demo::run().map_err(Into::into),
        Task::Test(arguments) => test::run(&arguments).map_err(Into::into),
        Task::Vm(arguments) => return vm::run(&arguments),
        Task::Bench(arguments) => bench::run(&arguments).map_err(Into::into),
        Task::Upgrade => upgrade::run().map_err(Into::into),
        Task::Ebpf(arguments) => ebpf::run(&arguments),
        Task::Tidy => tidy::run().map_err(Into::into),
        Task::Packages => {
            packages::ensure(&[packages::BUILD, packages::TEST, packages::VM]).map_err(Into::into)
        }
        Task::DemoTraffic(arguments) => traffic::run(&arguments).map_err(Into::into),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
