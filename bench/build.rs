//! Finds the root's objects: the checked-in ones, or those in the folder that `DISPATCHD_OBJECTS`
//! names.

use std::env;
use std::path::{Path, PathBuf};

/// Variable and object.
const OBJECTS: [(&str, &str); 2] = [
    ("DISPATCHER_OBJECT", "dispatcher.o"),
    ("DISPATCHER_EXT_16_OBJECT", "dispatcher_ext_16.o"),
];

fn main() {
    println!("cargo::rerun-if-env-changed=DISPATCHD_OBJECTS");
    let folder = env::var_os("DISPATCHD_OBJECTS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../dispatchd/objects"),
        PathBuf::from,
    );
    for (variable, object) in OBJECTS {
        let object = folder.join(object);
        println!("cargo::rerun-if-changed={}", object.display());
        println!("cargo::rustc-env={variable}={}", object.display());
    }
}
