//! Measures the project beside its peers.

use std::path::{Path, PathBuf};

use crate::command::{self, Failure};
use crate::packages;

/// `cargo xtask bench`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Measure only figures whose name starts with one of these
    #[arg(long, value_name = "NAME", num_args = 1..)]
    only: Vec<String>,

    /// Write the figures here as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Draw the figures here, as SVG
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
}

/// Builds what is measured, as it is released, and measures it.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    packages::ensure(&[
        packages::BUILD,
        packages::TEST,
        packages::VM,
        packages::BENCH,
    ])?;
    if !packages::is_root() {
        return Err(Failure::new("measuring needs root: it loads programs"));
    }
    command::run(command::cargo().args(["build", "--release", "--workspace", "--bins"]))?;
    let mut bench = command::cargo();
    bench.args(["run", "--quiet", "--release", "--package", "bench", "--"]);
    match current_libxdp() {
        Ok(object) => drop(bench.arg("--libxdp").arg(object)),
        Err(failure) => println!("Without the current libxdp, which does not build: {failure}"),
    }
    if let Some(file) = &arguments.json {
        bench.arg("--json").arg(file);
    }
    if let Some(file) = &arguments.chart {
        bench.arg("--chart").arg(file);
    }
    for name in &arguments.only {
        bench.arg("--only").arg(name);
    }
    command::run(&mut bench)
}

/// Builds the current libxdp and takes the dispatcher's object from it.
fn current_libxdp() -> Result<PathBuf, Failure> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench/libxdp/Cargo.toml");
    let folder = vm::cache().join("libxdp");
    let object = folder.join("dispatcher.o");
    command::quiet(
        command::cargo()
            .args(["run", "--quiet", "--release", "--locked", "--manifest-path"])
            .arg(manifest)
            .arg("--target-dir")
            .arg(&folder)
            .arg("--")
            .arg(&object),
    )?;
    Ok(object)
}
