//! Finds the eBPF objects that tests load by themselves: the checked-in ones, or those in the
//! folder that `DISPATCHD_OBJECTS` names (`cargo xtask ebpf --check` rebuilds them there).

use std::env;
use std::path::{Path, PathBuf};

/// Variable, object, and the crate that it is checked in with.
const OBJECTS: [(&str, &str, &str); 7] = [
    ("DISPATCHER_OBJECT", "dispatcher.o", "dispatchd"),
    (
        "DISPATCHER_EXT_16_OBJECT",
        "dispatcher_ext_16.o",
        "dispatchd",
    ),
    (
        "DISPATCHER_EXT_64_OBJECT",
        "dispatcher_ext_64.o",
        "dispatchd",
    ),
    (
        "DISPATCHER_EXT_128_OBJECT",
        "dispatcher_ext_128.o",
        "dispatchd",
    ),
    ("STATS_OBJECT", "stats.o", "apps/stats"),
    ("FIREWALL_OBJECT", "firewall.o", "apps/firewall"),
    ("XSK_REDIRECT_OBJECT", "xsk_redirect.o", "dispatchd"),
];

fn main() {
    println!("cargo::rerun-if-env-changed=DISPATCHD_OBJECTS");
    let rebuilt = env::var_os("DISPATCHD_OBJECTS").map(PathBuf::from);
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (variable, object, owner) in OBJECTS {
        let folder = rebuilt
            .clone()
            .unwrap_or_else(|| workspace.join(owner).join("objects"));
        let object = folder.join(object);
        println!("cargo::rerun-if-changed={}", object.display());
        println!("cargo::rustc-env={variable}={}", object.display());
    }
}
