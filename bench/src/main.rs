//! Measures the project beside its peers: `cargo xtask bench`.
//!
//! Each [`group`] measures what belongs together and returns [`Figure`]s. A
//! figure has a target and a peer that was measured in the same run, in turns with ours, so that
//! what disturbs one disturbs both.

#![deny(unsafe_code)]

mod application;
mod bpf;
mod chart;
mod cpus;
mod daemon;
mod data_plane;
mod echo;
mod figure;
mod firewall;
mod group;
mod sample;
mod table;
mod xsk;

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use figure::Figure;
use group::Setup;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Measure the project beside its peers.
#[derive(Parser)]
struct Arguments {
    /// Only figures whose name starts with one of these
    #[arg(long, value_name = "NAME", num_args = 1..)]
    only: Vec<String>,

    /// Write the figures here as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Draw the figures here, as SVG
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,

    /// The dispatcher object of the current libxdp; without it that peer is left out
    #[arg(long, value_name = "FILE")]
    libxdp: Option<PathBuf>,

    #[command(subcommand)]
    guest: Option<Guest>,
}

/// What runs in a virtual machine, or beside others on this one.
#[derive(Subcommand)]
enum Guest {
    /// Print what packets cost on this machine, as JSON
    #[command(hide = true)]
    Instructions,
    /// Print how long two loaders take on this machine, as JSON
    #[command(hide = true)]
    Add,
    /// Treat an interface's packets until SIGTERM, and print how fast, as JSON
    #[command(hide = true)]
    Xsk {
        /// What is done with them
        mode: xsk::Mode,
        /// Where they come from
        interface: String,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.guest {
        Some(Guest::Instructions) => data_plane::instructions::print(),
        Some(Guest::Add) => daemon::add::print(),
        Some(Guest::Xsk { mode, interface }) => xsk::print(*mode, interface),
        None => run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let wanted = |name: &str| {
        let only = &arguments.only;
        only.is_empty() || only.iter().any(|prefix| name.starts_with(prefix))
    };
    let setup = Setup {
        libxdp: arguments.libxdp.clone(),
    };
    let mut figures: Vec<Figure> = Vec::new();
    for group in &group::ALL {
        if !group.figures.iter().any(|name| wanted(name)) {
            continue;
        }
        let measured = (group.measure)(&setup)?;
        for table in measured.tables {
            println!("{table}");
        }
        figures.extend(
            measured
                .figures
                .into_iter()
                .filter(|figure| wanted(figure.name)),
        );
    }
    if figures.is_empty() {
        return Err("no figure has such a name".into());
    }
    println!("{}", figure::table(&figures));
    if let Some(file) = &arguments.json {
        fs::write(file, figure::json(&figures)?)?;
    }
    if let Some(file) = &arguments.chart {
        fs::write(file, chart::svg(&figures))?;
    }
    Ok(())
}
