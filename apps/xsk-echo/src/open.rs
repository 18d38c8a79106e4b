//! The sockets: where privilege is needed, and nowhere else.

use libdispatch::xsk::{Error, Options, Socket, Umem};
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use shell::Failure;

use crate::netns;

/// An interface.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interface<'a> {
    pub(crate) name: &'a str,
    /// The network namespace that it is in, if it isn't ours.
    pub(crate) netns: Option<&'a str>,
}

/// A socket for this queue; `None` if the interface has no such queue.
pub(crate) fn open<'u>(
    interface: Interface<'_>,
    queue: u32,
    umem: &'u Umem,
    options: &Options,
) -> Result<Option<Socket<'u>>, Failure> {
    let Interface { name, netns } = interface;
    let what = || format!("queue {queue} of {name}");
    let opened = netns::inside(netns, || {
        let ifindex = if_nametoindex(name).map_err(|error| failed("if_nametoindex", error))?;
        Socket::open(umem, ifindex, queue, options)
    });
    match opened.map_err(Failure::interface(what()))? {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if means_no_such_queue(&error) => Ok(None),
        Err(error) => Err(Failure::interface(what())(error)),
    }
}

fn means_no_such_queue(error: &Error) -> bool {
    let Error::System { call, source } = error else {
        return false;
    };
    *call == "bind(AF_XDP)" && source.raw_os_error() == Some(Errno::EINVAL as i32)
}

fn failed(call: &'static str, error: Errno) -> Error {
    Error::System {
        call,
        source: error.into(),
    }
}
