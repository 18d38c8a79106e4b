//! The project's own chores: `cargo xtask --help`.

mod ebpf;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the eBPF objects from source
    Ebpf(ebpf::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().task {
        Task::Ebpf(arguments) => ebpf::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
