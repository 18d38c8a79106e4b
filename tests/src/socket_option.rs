//! Socket options that no crate reads.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

use nix::libc;

/// One of the options of `SOL_SOCKET` that are a number.
pub fn socket_option(socket: impl AsFd, option: i32) -> i32 {
    let mut value: libc::c_int = 0;
    let mut length = libc::socklen_t::try_from(size_of::<libc::c_int>()).expect("it is 4");
    // SAFETY: the value has room for as many bytes as the length says, and both outlive the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    assert_eq!(result, 0, "getsockopt: {}", io::Error::last_os_error());
    value
}
