//! Bytes that the sender can't change any more: a memfd with seals.
//!
//! The receiver trusts nothing else about the descriptor. It asks for the seals first, which any
//! other kind of file fails, and only then for the size; it copies the bytes and never maps them.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{FileType, MemfdFlags, OFlags, SealFlags};
use rustix::io::Errno;

/// Largest object that is staged, in bytes. Real objects with BTF have 10 to 500 KiB; 16 MiB is
/// what a program of a million instructions takes, the verifier's limit, with its relocations.
pub const OBJECT_BYTES_MAX: usize = 16 << 20;

/// Without these the sender could still change what was checked.
const REQUIRED: SealFlags = SealFlags::SHRINK
    .union(SealFlags::GROW)
    .union(SealFlags::WRITE);

/// Why a descriptor's contents were not taken.
#[derive(Debug, thiserror::Error)]
pub enum MemfdError {
    /// A message that needs a descriptor has none.
    #[error("descriptor is missing: a sealed memfd is needed")]
    Missing,
    /// It can't have seals. It was not read.
    #[error("descriptor is {kind}, not a sealed memfd")]
    NotMemfd {
        /// What it is, with its article.
        kind: &'static str,
    },
    /// The sender could still change it. It was not read.
    #[error("memfd is not sealed against {missing}")]
    NotSealed {
        /// The seals it lacks: `SHRINK, GROW, WRITE` or some of them.
        missing: String,
    },
    /// It was not read.
    #[error("memfd has {size} bytes, {max} at most")]
    TooLarge {
        /// Its size.
        size: u64,
        /// The largest that was asked for.
        max: usize,
    },
    /// The kernel didn't give the bytes, as for a memfd that is open only for writing.
    #[error("memfd can't be read")]
    Unreadable(#[source] io::Error),
}

/// A memfd with these bytes, sealed. The name shows in `/proc/PID/fd`.
pub fn sealed(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(create(name)?);
    file.write_all(bytes)?;
    rustix::fs::fcntl_add_seals(&file, REQUIRED | SealFlags::SEAL)?;
    Ok(file.into())
}

/// Not executable where the kernel knows the flag (6.3): there the sysctl `vm.memfd_noexec` may
/// refuse any other.
fn create(name: &str) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match rustix::fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => Ok(rustix::fs::memfd_create(name, flags)?),
        result => Ok(result?),
    }
}

/// A copy of a sealed memfd's bytes, `max` of them at most. Every other descriptor is refused
/// unread, so that nobody can make the reader wait on a pipe or change the bytes after the check.
pub fn read_sealed(fd: BorrowedFd<'_>, max: usize) -> Result<Vec<u8>, MemfdError> {
    check_seals(fd)?;
    // The size can't change any more.
    let size = rustix::fs::fstat(fd).map_err(unreadable)?.st_size;
    let size = u64::try_from(size).unwrap_or(u64::MAX);
    let Some(length) = usize::try_from(size).ok().filter(|&length| length <= max) else {
        return Err(MemfdError::TooLarge { size, max });
    };
    let mut bytes = vec![0; length];
    read_whole(fd, &mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

/// A file of a tmpfs answers too, but only with `F_SEAL_SEAL`, so it never has the required ones.
fn check_seals(fd: BorrowedFd<'_>) -> Result<(), MemfdError> {
    match rustix::fs::fcntl_get_seals(fd) {
        Ok(seals) if seals.contains(REQUIRED) => Ok(()),
        Ok(seals) => Err(MemfdError::NotSealed {
            missing: names(REQUIRED.difference(seals)),
        }),
        Err(Errno::INVAL | Errno::BADF) => Err(MemfdError::NotMemfd { kind: kind(fd) }),
        Err(error) => Err(unreadable(error)),
    }
}

fn names(seals: SealFlags) -> String {
    let names: Vec<_> = seals.iter_names().map(|(name, _)| name).collect();
    names.join(", ")
}

/// What the descriptor is, for the refusal's text.
fn kind(fd: BorrowedFd<'_>) -> &'static str {
    if rustix::fs::fcntl_getfl(fd).is_ok_and(|flags| flags.contains(OFlags::PATH)) {
        return "an O_PATH descriptor";
    }
    let Ok(stat) = rustix::fs::fstat(fd) else {
        return "an unknown file";
    };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a directory",
        FileType::Fifo => "a pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice => "a character device",
        FileType::BlockDevice => "a block device",
        FileType::Symlink => "a symbolic link",
        FileType::Unknown => "an unknown file",
    }
}

/// Reads at positions: the descriptor's offset is shared with the sender, who may move it.
fn read_whole(fd: BorrowedFd<'_>, mut buffer: &mut [u8]) -> rustix::io::Result<()> {
    let mut offset = 0;
    while !buffer.is_empty() {
        match rustix::io::pread(fd, &mut *buffer, offset) {
            // Shorter than its size, which the seals exclude.
            Ok(0) => return Err(Errno::IO),
            Ok(read) => {
                buffer = &mut buffer[read..];
                offset += read as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn unreadable(error: Errno) -> MemfdError {
    MemfdError::Unreadable(error.into())
}
