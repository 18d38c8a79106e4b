//! A bpffs of a test's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

/// A bpffs mounted in the host's mount namespace; unmounted on drop, which frees what is pinned.
pub struct BpfFs {
    directory: TempDir,
}

impl BpfFs {
    /// A new, empty one.
    pub fn new() -> Self {
        let directory = TempDir::with_prefix("xdt-bpffs-").expect("a directory can be made");
        mount(
            Some("bpf"),
            directory.path(),
            Some("bpf"),
            MsFlags::empty(),
            Some("mode=0700"),
        )
        .expect("root may mount bpffs");
        Self { directory }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Every file that a daemon pinned, relative to the mount. (The kernel itself puts two
    /// iterators into some mounts.)
    pub fn pins(&self) -> Vec<PathBuf> {
        let mut pins = Vec::new();
        collect(&self.path().join("dispatchd"), &mut pins);
        for pin in &mut pins {
            *pin = pin
                .strip_prefix(self.path())
                .expect("it is below")
                .to_owned();
        }
        pins.sort();
        pins
    }
}

impl Default for BpfFs {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for BpfFs {
    fn drop(&mut self) {
        let unmounted = umount2(self.path(), MntFlags::MNT_DETACH);
        if !thread::panicking() {
            unmounted.expect("root may unmount it");
        }
    }
}

/// A directory may vanish while it is read: the daemon at work.
fn collect(directory: &Path, pins: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), pins);
        } else {
            pins.push(entry.path());
        }
    }
}
