//! Sockets that the daemon lends to an application without privileges, mapped by it.

#![allow(dead_code, reason = "each test binary uses its part")]

use libdispatch::xsk::{Options, Socket, Umem};
use libdispatch::{Client, Error, RefusalCode, SocketLease, SocketRequest};
use tests::{PairOptions, Rig, as_user};

pub(crate) const NOBODY: u32 = 65_534;
/// Entries of each ring.
pub(crate) const RING: u32 = 64;

/// What an application has of a queue.
pub(crate) type Lent<'u> = (SocketLease, Socket<'u>);

/// A daemon that lends sockets to the user nobody.
pub(crate) fn rig(options: &PairOptions) -> Rig {
    Rig::with(&["--allow-bare", &NOBODY.to_string()], options)
}

/// A connection of the user nobody.
pub(crate) fn client(rig: &Rig, name: &str) -> Client {
    as_user(NOBODY, || rig.client(name))
}

pub(crate) fn umem() -> Umem {
    Umem::builder()
        .frames(256)
        .build()
        .expect("there is memory")
}

/// A socket that gets the queue's packets: bound, where the kernel lets a bound one be used.
pub(crate) fn open<'u>(client: &Client, umem: &'u Umem, queue: u32) -> Lent<'u> {
    as_user(NOBODY, || {
        try_open(client, umem, queue).expect("the queue is free")
    })
}

/// The same, unless the daemon refuses it.
pub(crate) fn try_open<'u>(client: &Client, umem: &'u Umem, queue: u32) -> Result<Lent<'u>, Error> {
    let request = SocketRequest::new("xd0", queue).rings(RING);
    let options = Options::default().rings(RING);
    let place = |lease: &SocketLease| {
        let socket = lease.try_clone_socket().expect("it can be copied");
        (socket, lease.ifindex(), lease.queue())
    };
    let (lease, mut socket) = match client.open_socket(&request, umem) {
        Err(Error::Refused(refusal)) if refusal.code == RefusalCode::Unsupported => {
            let lease = client.open_bare_socket(&request)?;
            let (socket, ifindex, queue) = place(&lease);
            let socket = Socket::from_bare(umem, socket, ifindex, queue, &options);
            (lease, socket.expect("it can be bound"))
        }
        opened => {
            let lease = opened?;
            let (socket, ifindex, queue) = place(&lease);
            let socket = Socket::from_bound(umem, socket, ifindex, queue, &options);
            (lease, socket.expect("it is ready"))
        }
    };
    assert_eq!(socket.halves().0.receive(1).count(), 0, "the first fill");
    lease.activate()?;
    Ok((lease, socket))
}
