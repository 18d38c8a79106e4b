//! Finds the eBPF objects that are embedded: the checked-in ones, or those in the folder that
//! `DISPATCHD_OBJECTS` names (`cargo xtask ebpf --out FOLDER` fills one).

use std::env;
use std::path::PathBuf;

const OBJECTS: [&str; 5] = [
    "dispatcher",
    "dispatcher_ext_16",
    "dispatcher_ext_64",
    "dispatcher_ext_128",
    "xsk_redirect",
];

fn main() {
    println!("cargo::rerun-if-env-changed=DISPATCHD_OBJECTS");
    let folder = env::var_os("DISPATCHD_OBJECTS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("objects"),
        PathBuf::from,
    );
    for name in OBJECTS {
        let object = folder.join(format!("{name}.o"));
        let variable = name.to_uppercase();
        println!("cargo::rerun-if-changed={}", object.display());
        println!("cargo::rustc-env={variable}_OBJECT={}", object.display());
    }
}
