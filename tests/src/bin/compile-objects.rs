//! Compiles the tests' objects into a folder, for tests that run where there is no compiler.

#![forbid(unsafe_code)]

use std::env;
use std::path::Path;

fn main() {
    let folder = env::args_os().nth(1).expect("compile-objects FOLDER");
    tests::compile_objects(Path::new(&folder));
}
