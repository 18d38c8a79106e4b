//! The Debian packages that building, testing, measuring and the demo need.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::command::{self, Failure};

/// To build the workspace: libbpf-sys compiles libbpf.
pub(crate) const BUILD: &[&str] = &["gcc", "make", "pkg-config", "libelf-dev", "zlib1g-dev"];
/// To build the eBPF objects: a `core` for BPF, and the LLVM that bpf-linker is for.
pub(crate) const BPF: &[&str] = &[
    "gcc",
    "libpolly-22-dev",
    "libstd-rust-web-dev-bpf",
    "llvm-22-dev",
    "rustc-web",
];
/// To show it: namespaces, cables, pings.
pub(crate) const DEMO: &[&str] = &["iproute2", "iputils-ping"];
/// To test it: programs of other people, and a compiler for more of them.
pub(crate) const TEST: &[&str] = &[
    "clang",
    "ethtool",
    "iproute2",
    "iputils-ping",
    "libbpf-dev",
    "strace",
    "xdp-tools",
];

/// To run it under other kernels: QEMU, and what is carried into the guest.
pub(crate) const VM: &[&str] = &[
    "binutils",
    "bpftool",
    "busybox-static",
    "debian-archive-keyring",
    "ethtool",
    "iproute2",
    "iputils-ping",
    "qemu-system-x86",
    "strace",
    "xdp-tools",
    "xz-utils",
];

/// To measure it beside nftables and the current libxdp, which is compiled for that.
pub(crate) const BENCH: &[&str] = &["clang", "m4", "nftables"];

/// Installs what is missing; says exactly what, where it can't.
pub(crate) fn ensure(wanted: &[&[&str]]) -> Result<(), Failure> {
    let mut missing: Vec<&str> = wanted
        .iter()
        .flat_map(|group| group.iter().copied())
        .filter(|package| !is_installed(package))
        .collect();
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !Path::new("/usr/bin/apt-get").exists() {
        return Err(Failure::new(format!(
            "this is not a Debian system; install what these Debian packages have: {list}"
        )));
    }
    if !is_root() {
        return Err(Failure::new(format!(
            "missing Debian packages; as root: apt-get install {list}"
        )));
    }
    println!("Installing Debian packages: {list}");
    command::quiet(Command::new("apt-get").arg("update"))?;
    command::quiet(
        Command::new("apt-get")
            .args(["install", "--yes", "--no-install-recommends"])
            .args(&missing)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}

/// Whether this process may make namespaces and load programs.
pub(crate) fn is_root() -> bool {
    let uid = Command::new("id").arg("-u").output();
    uid.is_ok_and(|output| output.stdout == b"0\n")
}

fn is_installed(package: &str) -> bool {
    let query: io::Result<_> = Command::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Status}", package])
        .stderr(Stdio::null())
        .output();
    query.is_ok_and(|output| output.stdout == b"installed")
}
