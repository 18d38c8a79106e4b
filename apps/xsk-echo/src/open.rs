//! Queues and their sockets, which the daemon opens: no privilege is needed for anything here.

use std::io;
use std::os::fd::OwnedFd;

use libdispatch::xsk::{Options, Socket, Umem};
use libdispatch::{Client, RefusalCode, SocketLease, SocketRequest};
use shell::Failure;

/// Entries of each ring.
const ENTRIES: u32 = 2048;
/// Twice as many as the rings hold that have frames of the kernel's, so that there are always some
/// to receive into.
const FRAMES: u32 = 4 * ENTRIES;

/// A queue whose packets are to be had, and where they can leave.
pub(crate) struct Lease {
    receiving: SocketLease,
    /// If not where they came from.
    sending: Option<SocketLease>,
}

/// What treats a queue's packets: memory and sockets, not mapped yet.
pub(crate) struct Handed {
    umem: Umem,
    receiving: Bound,
    sending: Option<Bound>,
}

/// A socket that is bound.
struct Bound {
    descriptor: OwnedFd,
    ifindex: u32,
    queue: u32,
    options: Options,
}

/// The sockets, mapped.
pub(crate) struct Sockets<'u> {
    pub(crate) receiving: Socket<'u>,
    pub(crate) sending: Option<Socket<'u>>,
}

impl Lease {
    /// Claims a queue of an interface, and, to send by another interface, the queue of the same
    /// number there. `None` if the first has no such queue.
    pub(crate) fn open(
        client: &Client,
        interface: &str,
        queue: u32,
        out: Option<&str>,
    ) -> Result<Option<(Self, Handed)>, Failure> {
        let what = || format!("queue {queue} of {interface}");
        let umem = Umem::builder().frames(FRAMES).build();
        let umem = umem.map_err(Failure::interface(what()))?;
        let request = SocketRequest::new(interface, queue).rings(ENTRIES);
        let receiving = match client.open_socket(&request, &umem) {
            Err(error) if means_no_such_queue(&error) => return Ok(None),
            opened => opened.map_err(Failure::on(interface))?,
        };
        let sending = match out {
            None => None,
            Some(out) => {
                let request = SocketRequest::new(out, queue).rings(ENTRIES);
                let request = request.rx(0).without_redirect();
                let opened = client.open_shared_socket(&request, &receiving);
                Some(opened.map_err(Failure::on(out))?)
            }
        };
        let lease = Self { receiving, sending };
        let handed = lease.hand(umem).map_err(Failure::interface(what()))?;
        Ok(Some((lease, handed)))
    }

    /// Has the queue's packets come, from now on: there have to be frames for them. Returns what
    /// the daemon has to say about it.
    pub(crate) fn activate(&self) -> Result<Vec<String>, Failure> {
        let activated = self.receiving.activate();
        activated.map_err(Failure::on(self.receiving.interface()))
    }

    /// Fails if the queue is not ours any more. A daemon that isn't there takes nothing away.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        for lease in [Some(&self.receiving), self.sending.as_ref()]
            .into_iter()
            .flatten()
        {
            if let Err(error @ libdispatch::Error::Lost { .. }) = lease.check_held() {
                return Err(Failure::on(lease.interface())(error));
            }
        }
        Ok(())
    }

    fn hand(&self, umem: Umem) -> io::Result<Handed> {
        let options = Options::default().rings(ENTRIES);
        let sends_only = Options { rx: 0, ..options };
        let sending = self.sending.as_ref();
        Ok(Handed {
            umem,
            receiving: Bound::of(&self.receiving, options)?,
            sending: sending
                .map(|lease| Bound::of(lease, sends_only))
                .transpose()?,
        })
    }
}

impl Bound {
    fn of(lease: &SocketLease, options: Options) -> io::Result<Self> {
        Ok(Self {
            descriptor: lease.try_clone_socket()?,
            ifindex: lease.ifindex(),
            queue: lease.queue(),
            options,
        })
    }

    fn map(self, umem: &Umem) -> Result<Socket<'_>, libdispatch::xsk::Error> {
        let Self {
            descriptor,
            ifindex,
            queue,
            options,
        } = self;
        Socket::from_bound(umem, descriptor, ifindex, queue, &options)
    }
}

impl Handed {
    /// Does it with the sockets, mapped.
    pub(crate) fn with<T>(
        self,
        work: impl FnOnce(Sockets<'_>) -> T,
    ) -> Result<T, libdispatch::xsk::Error> {
        let Self {
            umem,
            receiving,
            sending,
        } = self;
        let sockets = Sockets {
            receiving: receiving.map(&umem)?,
            sending: sending.map(|bound| bound.map(&umem)).transpose()?,
        };
        Ok(work(sockets))
    }
}

fn means_no_such_queue(error: &libdispatch::Error) -> bool {
    let refusal = error.refusal();
    refusal.is_some_and(|refusal| refusal.code == RefusalCode::NoSuchQueue)
}
