//! The daemon's directory of pins: on a bpffs that stays, and of one daemon.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::linux::Linux;
use super::pins::{self, Pins};

/// Why the pins' directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Something else is there.
    #[error(
        "{0} is not on a bpffs; mount one there (mount -t bpf bpf {0}) or name another with --bpffs"
    )]
    NotBpffs(PathBuf),
    /// It goes with the daemon.
    #[error(
        "{0} is a bpffs that only this process's mount namespace has: its pins would be lost with it; mount it on the host"
    )]
    Private(PathBuf),
    /// A second daemon.
    #[error("another dispatchd holds {0}")]
    Locked(PathBuf),
    /// The system said no.
    #[error("{path}")]
    Io {
        /// The file or directory that it said it of.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

impl Linux {
    /// Takes the lock on `<bpffs>/dispatchd`.
    pub fn open(bpffs: &Path) -> Result<Self, OpenError> {
        let at = |source| OpenError::Io {
            path: bpffs.to_owned(),
            source,
        };
        check_mount(bpffs)?;
        let pins = Pins::under(bpffs);
        pins::make_dir(pins.root()).map_err(at)?;
        let lock = OwnedFd::from(File::open(pins.root()).map_err(at)?);
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| OpenError::Locked(pins.root().to_owned()))?;
        Ok(Self::new(pins, lock))
    }
}

/// `BPF_FS_MAGIC`, `include/uapi/linux/magic.h`.
const BPF_FS_MAGIC: u32 = 0xcafe_4a11;

fn check_mount(bpffs: &Path) -> Result<(), OpenError> {
    let at = |source: io::Error| OpenError::Io {
        path: bpffs.to_owned(),
        source,
    };
    let statfs = rustix::fs::statfs(bpffs).map_err(|errno| at(errno.into()))?;
    if i64::from(BPF_FS_MAGIC) != statfs.f_type {
        return Err(OpenError::NotBpffs(bpffs.to_owned()));
    }
    let stat = rustix::fs::stat(bpffs).map_err(|errno| at(errno.into()))?;
    let device = format!(
        "{}:{}",
        rustix::fs::major(stat.st_dev),
        rustix::fs::minor(stat.st_dev)
    );
    // What the host's first process sees; where that can't be read, nothing is known against it.
    let Ok(mounts) = fs::read_to_string("/proc/1/mountinfo") else {
        return Ok(());
    };
    if mounts
        .lines()
        .any(|line| line.split(' ').nth(2) == Some(&device))
    {
        return Ok(());
    }
    Err(OpenError::Private(bpffs.to_owned()))
}
