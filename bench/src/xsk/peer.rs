//! The C program: `bench/xsk/peer.c`, compiled when it is needed.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;

/// Compiles it; Debian has all that it takes.
pub(super) fn compile() -> Result<PathBuf> {
    if !Path::new("/usr/include/xdp/xsk.h").exists() {
        tests::packages(&["gcc", "libc6-dev", "libbpf-dev", "libxdp-dev"]);
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("xsk/peer.c");
    let program = tests::scratch().join("xsk-peer");
    let output = Command::new("cc")
        .args(["-O2", "-Wall", "-Wextra", "-Werror", "-o"])
        .args([&program, &source])
        .args(["-lxdp", "-lbpf"])
        .output()?;
    if output.status.success() {
        Ok(program)
    } else {
        let errors = String::from_utf8_lossy(&output.stderr);
        Err(format!("cc {}: {errors}", source.display()).into())
    }
}
