//! Finds the eBPF object that is embedded: the checked-in one, or the one in the folder that
//! `DISPATCHD_OBJECTS` names (`cargo xtask ebpf --out FOLDER` fills one).

use std::env;
use std::path::PathBuf;

const OBJECT: &str = "stats.o";

fn main() {
    println!("cargo::rerun-if-env-changed=DISPATCHD_OBJECTS");
    let folder = env::var_os("DISPATCHD_OBJECTS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("objects"),
        PathBuf::from,
    );
    let object = folder.join(OBJECT);
    println!("cargo::rerun-if-changed={}", object.display());
    println!("cargo::rustc-env=EBPF_OBJECT={}", object.display());
}
