//! Sockets that the daemon lends to an application without privileges, mapped by it.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::os::fd::OwnedFd;

use libdispatch::xsk::{Options, Socket, Umem};
use libdispatch::{Client, Error, SocketLease, SocketRequest};
use tests::{PairOptions, Rig, as_user, is_too_old};

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

pub(crate) fn options() -> Options {
    Options::default().rings(RING)
}

/// A socket that gets the queue's packets: bound, where the kernel lets a bound one be used.
pub(crate) fn open<'u>(client: &Client, umem: &'u Umem, queue: u32) -> Lent<'u> {
    open_as(client, umem, queue, &options())
}

/// The same with these options.
#[track_caller]
pub(crate) fn open_as<'u>(
    client: &Client,
    umem: &'u Umem,
    queue: u32,
    options: &Options,
) -> Lent<'u> {
    as_user(NOBODY, || {
        let mut lent = ready(client, umem, queue, options).expect("the queue is free");
        activate(&mut lent).expect("it is bound");
        lent
    })
}

/// The same, unless the daemon refuses it.
pub(crate) fn try_open<'u>(client: &Client, umem: &'u Umem, queue: u32) -> Result<Lent<'u>, Error> {
    let mut lent = ready(client, umem, queue, &options())?;
    activate(&mut lent)?;
    Ok(lent)
}

/// Its packets come from now on, after a first fill.
fn activate((lease, socket): &mut Lent<'_>) -> Result<(), Error> {
    assert_eq!(socket.halves().0.receive(1).count(), 0, "the first fill");
    lease.activate().map(drop)
}

/// A socket that has no frame to receive into yet, and gets nothing.
pub(crate) fn ready<'u>(
    client: &Client,
    umem: &'u Umem,
    queue: u32,
    options: &Options,
) -> Result<Lent<'u>, Error> {
    let request = request(umem, queue, options);
    let opened = client.open_socket(&request, umem);
    if is_too_old(&opened) {
        let lease = client.open_bare_socket(&request)?;
        let socket = bind(&lease, umem, options).expect("it can be bound");
        return Ok((lease, socket));
    }
    let lease = opened?;
    let socket = mapped(&lease, umem, options);
    Ok((lease, socket))
}

/// Maps a bound socket.
pub(crate) fn mapped<'u>(lease: &SocketLease, umem: &'u Umem, options: &Options) -> Socket<'u> {
    let (ifindex, queue) = (lease.ifindex(), lease.queue());
    let socket = Socket::from_bound(umem, descriptor(lease), ifindex, queue, options);
    socket.expect("it is ready")
}

/// Binds a bare socket.
pub(crate) fn bind<'u>(
    lease: &SocketLease,
    umem: &'u Umem,
    options: &Options,
) -> Result<Socket<'u>, libdispatch::xsk::Error> {
    let (ifindex, queue) = (lease.ifindex(), lease.queue());
    Socket::from_bare(umem, descriptor(lease), ifindex, queue, options)
}

fn descriptor(lease: &SocketLease) -> OwnedFd {
    lease.try_clone_socket().expect("it can be copied")
}

/// What has to be asked for, for a socket of these frames and rings.
pub(crate) fn request(umem: &Umem, queue: u32, options: &Options) -> SocketRequest {
    let layout = umem.layout();
    SocketRequest::new("xd0", queue)
        .frame_size(layout.frame_size())
        .headroom(layout.headroom())
        .unaligned(layout.unaligned())
        .fill(options.fill)
        .completion(options.completion)
        .rx(options.rx)
        .tx(options.tx)
        .need_wakeup(options.need_wakeup)
        .multi_buffer(options.multi_buffer)
}
