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

/// Of memory that both sides go on writing: without these it could go away under its pages.
const REQUIRED_OF_MEMORY: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);

/// With one of these nobody could write it any more.
const READ_ONLY: SealFlags = SealFlags::WRITE.union(SealFlags::FUTURE_WRITE);

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
    /// It is to be written, and can't be.
    #[error("memfd is sealed against WRITE")]
    ReadOnly,
    /// Somebody would have to pay for the rest.
    #[error(
        "only {allocated} of the memfd's {size} bytes are allocated: that all is allocated takes fallocate(2)"
    )]
    Sparse {
        /// Its size.
        size: u64,
        /// What of it has pages.
        allocated: u64,
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
    check_seals(fd, REQUIRED)?;
    // The size can't change any more.
    let size = size(fd)?;
    let Some(length) = usize::try_from(size).ok().filter(|&length| length <= max) else {
        return Err(MemfdError::TooLarge { size, max });
    };
    let mut bytes = vec![0; length];
    read_whole(fd, &mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

/// The size of a memfd whose memory both sides use: nobody can change the size, and both can write.
pub fn check_memory(fd: BorrowedFd<'_>) -> Result<u64, MemfdError> {
    check_seals(fd, REQUIRED_OF_MEMORY)?;
    let seals = rustix::fs::fcntl_get_seals(fd).map_err(unreadable)?;
    if seals.intersects(READ_ONLY) {
        return Err(MemfdError::ReadOnly);
    }
    size(fd)
}

/// Whether a memfd has all its pages, so that its user has paid for them.
pub fn check_allocated(fd: BorrowedFd<'_>) -> Result<(), MemfdError> {
    /// What `st_blocks` counts, whatever the file system's own blocks.
    const BLOCK_BYTES: u64 = 512;

    let size = size(fd)?;
    let blocks = rustix::fs::fstat(fd).map_err(unreadable)?.st_blocks;
    let allocated = u64::try_from(blocks)
        .unwrap_or(0)
        .saturating_mul(BLOCK_BYTES);
    if allocated < size {
        return Err(MemfdError::Sparse { size, allocated });
    }
    Ok(())
}

fn size(fd: BorrowedFd<'_>) -> Result<u64, MemfdError> {
    let size = rustix::fs::fstat(fd).map_err(unreadable)?.st_size;
    Ok(u64::try_from(size).unwrap_or(u64::MAX))
}

/// A file of a tmpfs answers too, but only with `F_SEAL_SEAL`, so it never has the required ones.
fn check_seals(fd: BorrowedFd<'_>, required: SealFlags) -> Result<(), MemfdError> {
    match rustix::fs::fcntl_get_seals(fd) {
        Ok(seals) if seals.contains(required) => Ok(()),
        Ok(seals) => Err(MemfdError::NotSealed {
            missing: names(required.difference(seals)),
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

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;
    use std::path::Path;

    use rustix::fs::Mode;

    use super::*;

    #[test]
    fn sealed_bytes_are_read_whatever_the_offset() {
        let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        let fd = sealed("bytes", &bytes).unwrap();
        rustix::fs::seek(&fd, rustix::fs::SeekFrom::Start(77)).unwrap();
        assert_eq!(read_sealed(fd.as_fd(), bytes.len()).unwrap(), bytes);
        assert_eq!(rustix::fs::tell(&fd).unwrap(), 77);
    }

    #[test]
    fn no_bytes_are_bytes_too() {
        let fd = sealed("nothing", &[]).unwrap();
        assert_eq!(read_sealed(fd.as_fd(), 0).unwrap(), []);
    }

    #[test]
    fn nobody_changes_sealed_bytes() {
        let fd = sealed("fixed", b"bytes").unwrap();
        assert_eq!(rustix::io::pwrite(&fd, b"B", 0), Err(Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(&fd, 0), Err(Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(&fd, 9), Err(Errno::PERM));
        let unseal = rustix::fs::fcntl_add_seals(&fd, SealFlags::FUTURE_WRITE);
        assert_eq!(unseal, Err(Errno::PERM), "the seals are sealed");
    }

    #[test]
    fn one_byte_too_many_is_refused() {
        let fd = sealed("large", &[0; 11]).unwrap();
        let refused = read_sealed(fd.as_fd(), 10).unwrap_err();
        assert_eq!(refused.to_string(), "memfd has 11 bytes, 10 at most");
    }

    #[test]
    fn a_huge_memfd_is_refused_before_memory_is_taken() {
        let fd = create("sparse").unwrap();
        rustix::fs::ftruncate(&fd, 1 << 62).unwrap();
        rustix::fs::fcntl_add_seals(&fd, REQUIRED).unwrap();
        let refused = read_sealed(fd.as_fd(), OBJECT_BYTES_MAX).unwrap_err();
        assert!(matches!(refused, MemfdError::TooLarge { size, .. } if size == 1 << 62));
    }

    #[test]
    fn every_required_seal_is_required() {
        for (missing, name) in [
            (SealFlags::SHRINK, "SHRINK"),
            (SealFlags::GROW, "GROW"),
            (SealFlags::WRITE, "WRITE"),
            (REQUIRED, "SHRINK, GROW, WRITE"),
        ] {
            let fd = create("open").unwrap();
            rustix::fs::fcntl_add_seals(&fd, REQUIRED.difference(missing)).unwrap();
            let refused = read_sealed(fd.as_fd(), 10).unwrap_err().to_string();
            assert_eq!(refused, format!("memfd is not sealed against {name}"));
        }
    }

    #[test]
    fn other_descriptors_are_refused_unread() {
        let directory = tempfile::tempdir().unwrap();
        let (pipe, _writer) = io::pipe().unwrap();
        let socket = std::os::unix::net::UnixDatagram::unbound().unwrap();
        let path = open(directory.path(), OFlags::PATH);
        let device = open(Path::new("/dev/zero"), OFlags::RDONLY);
        let proc = open(Path::new("/proc/self/status"), OFlags::RDONLY);
        let directory = open(directory.path(), OFlags::RDONLY);
        for (fd, kind) in [
            (pipe.as_fd(), "a pipe"), // empty: reading it would wait for ever
            (socket.as_fd(), "a socket"),
            (path.as_fd(), "an O_PATH descriptor"),
            (device.as_fd(), "a character device"),
            (proc.as_fd(), "a regular file"),
            (directory.as_fd(), "a directory"),
        ] {
            let refused = read_sealed(fd, 10).unwrap_err().to_string();
            assert_eq!(refused, format!("descriptor is {kind}, not a sealed memfd"));
        }
    }

    #[test]
    fn a_file_of_a_tmpfs_is_refused() {
        let Ok(file) = tempfile::tempfile_in("/dev/shm") else {
            panic!("/dev/shm is needed: a tmpfs that anybody can write to");
        };
        file.set_len(5).unwrap();
        let refused = read_sealed(file.as_fd(), 10).unwrap_err().to_string();
        assert_eq!(refused, "memfd is not sealed against SHRINK, GROW, WRITE");
    }

    #[test]
    fn a_memfd_open_for_writing_only_is_unreadable() {
        let fd = create("write only").unwrap();
        rustix::fs::ftruncate(&fd, 5).unwrap();
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd));
        let writer = open(Path::new(&path), OFlags::WRONLY);
        rustix::fs::fcntl_add_seals(&fd, REQUIRED).unwrap();
        let refused = read_sealed(writer.as_fd(), 10).unwrap_err();
        assert!(matches!(refused, MemfdError::Unreadable(_)));
    }

    fn open(path: &Path, flags: OFlags) -> OwnedFd {
        rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }
}
