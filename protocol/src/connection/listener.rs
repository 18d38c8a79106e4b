//! A socket in the file system that accepts connections.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{SocketAddrUnix, SocketFlags};

use super::{Connection, seqpacket};

/// Connections that may wait to be accepted. The kernel lowers it to `net.core.somaxconn`.
const BACKLOG: i32 = 128;

/// A listening socket, unlinked on drop if the path still leads to it.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    path: PathBuf,
    /// Device and inode of what was bound.
    file: (u64, u64),
}

impl Listener {
    /// Listens at this path, with these permission bits. Takes the place of a socket that nobody
    /// listens on; fails with `AddrInUse` if somebody does, with `AlreadyExists` if the path is
    /// something else.
    ///
    /// Of two that do this at the same moment, both may find the old socket dead and the second
    /// take the first one's place: hold a lock of your own.
    pub fn bind(path: &Path, mode: u32) -> io::Result<Self> {
        let address = SocketAddrUnix::new(path)?;
        let socket = seqpacket(SocketFlags::CLOEXEC)?;
        remove_stale(path, &address)?;
        rustix::net::bind(&socket, &address)?;
        let listener = Self {
            socket,
            path: path.to_owned(),
            file: identity(path)?,
        };
        // Nobody can connect before `listen`, so the permissions are in force from the start.
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        rustix::net::listen(&listener.socket, BACKLOG)?;
        Ok(listener)
    }

    /// Waits for a client.
    pub fn accept(&self) -> io::Result<Connection> {
        let socket = rustix::io::retry_on_intr(|| {
            rustix::net::accept_with(&self.socket, SocketFlags::CLOEXEC)
        })?;
        Ok(Connection::from_fd(socket))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|file| file == self.file) {
            // If it can't be removed, the next `bind` finds it stale.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let file = fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}

/// Makes room at the path if what is there is a socket without a listener.
fn remove_stale(path: &Path, address: &SocketAddrUnix) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(file) if !file.file_type().is_socket() => return Err(Errno::EXIST.into()),
        Ok(_) => {}
    }
    // Non-blocking: a listener whose backlog is full is alive, and shall not be waited for.
    let probe = seqpacket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    match rustix::net::connect(&probe, address) {
        Err(Errno::CONNREFUSED) => fs::remove_file(path),
        // EPROTOTYPE: somebody listens with another type of socket.
        Ok(()) | Err(Errno::AGAIN | Errno::PROTOTYPE) => Err(Errno::ADDRINUSE.into()),
        Err(error) => Err(error.into()),
    }
}
