//! Whether peers may send descriptors.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

use nix::libc;

/// `SO_PASSRIGHTS`, `include/uapi/asm-generic/socket.h`, Linux 6.16.
const SO_PASSRIGHTS: libc::c_int = 83;

/// Lets no descriptor come through this socket, or lets them again; who connects to a listener finds
/// it as the listener has it. What nobody reads is closed with the socket, which may take as long as
/// its sender likes. Without effect before Linux 6.16.
pub(crate) fn let_descriptors_in(socket: impl AsFd, let_in: bool) -> io::Result<()> {
    let value = libc::c_int::from(let_in);
    // SAFETY: the value outlives the call, and its length is given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PASSRIGHTS,
            (&raw const value).cast(),
            4,
        )
    };
    match io::Error::last_os_error() {
        _ if result == 0 => Ok(()),
        error if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(()),
        error => Err(error),
    }
}
