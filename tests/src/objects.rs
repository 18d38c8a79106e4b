//! Programs for tests: `tests/objects/*.c`, compiled once, and those of Debian packages.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::{env, process};

use crate::Output;

/// The compiled object of `tests/objects/<name>.c`: the one in the folder that the variable
/// `TEST_OBJECTS` names, where there is no compiler; otherwise one that is compiled now.
pub fn object(name: &str) -> PathBuf {
    static COMPILED: LazyLock<Mutex<BTreeMap<String, PathBuf>>> = LazyLock::new(Mutex::default);
    if let Some(folder) = env::var_os("TEST_OBJECTS") {
        let object = Path::new(&folder).join(name).with_extension("o");
        assert!(object.exists(), "there is no {}", object.display());
        return object;
    }
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    compiled
        .entry(name.to_owned())
        .or_insert_with(|| compile(name, &scratch().join("objects")))
        .clone()
}

/// Compiles every object into a folder, for `TEST_OBJECTS`.
pub fn compile_objects(folder: &Path) {
    for entry in fs::read_dir(sources()).expect("the sources can be read") {
        let source = entry.expect("the sources can be read").path();
        if source.extension().is_some_and(|extension| extension == "c") {
            let name = source.file_stem().and_then(OsStr::to_str);
            compile(name.expect("it has an ordinary name"), folder);
        }
    }
}

/// An object that Debian's packages `xdp-tools` and `libxdp1` bring; installs them if they are
/// missing.
pub fn package_object(name: &str) -> PathBuf {
    let path = Path::new("/usr/lib")
        .join(multiarch())
        .join("bpf")
        .join(name);
    if !path.exists() {
        packages(&["xdp-tools", "libxdp1"]);
    }
    assert!(
        path.exists(),
        "{} is in Debian's xdp-tools or libxdp1",
        path.display()
    );
    path
}

/// Installs Debian packages.
pub fn packages(names: &[&str]) {
    let output = Command::new("apt-get")
        .args(["install", "--yes", "--no-install-recommends"])
        .args(names)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .output()
        .unwrap_or_else(|error| panic!("install Debian's {names:?}: no apt-get here: {error}"));
    let output = Output::from(output);
    assert_eq!(
        output.code,
        Some(0),
        "Debian packages {names:?} are needed: {output}"
    );
}

/// Where tests may leave files: the `tmp` of the target directory, which is not the test's alone.
pub fn scratch() -> PathBuf {
    let scratch = target().join("tmp");
    fs::create_dir_all(&scratch).expect("the target directory can be written");
    scratch
}

/// The target directory: binaries are in `<target>/<profile>`, those of tests in its `deps`.
fn target() -> PathBuf {
    let binary = env::current_exe().expect("a process knows its binary");
    let profile = binary
        .ancestors()
        .skip(1)
        .find(|folder| !folder.ends_with("deps"))
        .expect("a binary is in a folder");
    profile.parent().expect("cargo makes both").to_owned()
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("objects")
}

/// Compiles one object into a folder, unless what was compiled before is newer than all the sources. Another
/// process may do the same: each writes a file of its own and renames it.
fn compile(name: &str, folder: &Path) -> PathBuf {
    let sources = sources();
    let source = sources.join(name).with_extension("c");
    assert!(source.exists(), "there is no {}", source.display());
    fs::create_dir_all(folder).expect("the target directory can be written");
    let object = folder.join(name).with_extension("o");
    if is_newer(&object, &sources) {
        return object;
    }
    let fresh = folder.join(format!("{name}.{}", process::id()));
    let output = Command::new("clang")
        .args(["-O2", "-g", "-Wall", "-Werror", "-target", "bpf", "-c"])
        .arg("-I")
        .arg(Path::new("/usr/include").join(multiarch()))
        .arg(&source)
        .arg("-o")
        .arg(&fresh)
        .output()
        .expect("clang runs (Debian packages clang, libbpf-dev and linux-libc-dev)");
    let output = Output::from(output);
    assert_eq!(
        output.code,
        Some(0),
        "clang on {name}.c (Debian packages clang, libbpf-dev, linux-libc-dev): {output}"
    );
    fs::rename(&fresh, &object).expect("a file can be renamed");
    object
}

fn is_newer(object: &Path, sources: &Path) -> bool {
    let time = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified());
    let Ok(made) = time(object) else { return false };
    fs::read_dir(sources)
        .expect("the sources can be read")
        .map(|entry| time(&entry.expect("the sources can be read").path()))
        .all(|changed| changed.is_ok_and(|changed| changed < made))
}

fn multiarch() -> String {
    format!("{}-linux-gnu", env::consts::ARCH)
}
