//! Queues and their sockets, which the daemon opens: no privilege is needed for anything here.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use libdispatch::xsk::{BusyPoll, Options, Socket, Umem};
use libdispatch::{Client, RefusalCode, SocketLease, SocketRequest};
use shell::Failure;
use xsk_echo::BATCH;

/// A queue whose packets are to be had, and where they can leave.
pub(crate) struct Lease {
    grant: Grant,
    receiving: SocketLease,
    /// If not where they came from.
    sending: Option<SocketLease>,
    busy_poll: Option<Duration>,
}

/// What the daemon does of a socket.
#[derive(Clone, Copy)]
enum Grant {
    /// Everything. It has no memory of ours to account for, so it is what is asked for first.
    Bound,
    /// It ties it to the interface, and the rest is ours: before Linux 6.4 nobody could map the
    /// rings of a bound one.
    Bare,
}

impl Grant {
    /// Entries of each ring.
    fn entries(self) -> u32 {
        match self {
            Self::Bound => 2048,
            Self::Bare => 1024,
        }
    }

    /// More frames than the rings hold that have frames of the kernel's, so that there are always
    /// some to receive into. What is ours to pin has to fit into `RLIMIT_MEMLOCK`, 8 MiB mostly.
    fn umem(self) -> Result<Umem, libdispatch::xsk::Error> {
        let frames = match self {
            Self::Bound => 4 * self.entries(),
            Self::Bare => 2 * self.entries(),
        };
        Umem::builder().frames(frames).build()
    }
}

/// What treats a queue's packets: memory and sockets, not mapped yet.
pub(crate) struct Handed {
    umem: Umem,
    receiving: Granted,
    sending: Option<Granted>,
    busy_poll: Option<Duration>,
}

/// A socket as it came.
struct Granted {
    grant: Grant,
    descriptor: OwnedFd,
    ifindex: u32,
    queue: u32,
    options: Options,
}

/// The sockets, mapped.
pub(crate) struct Sockets<'u> {
    pub(crate) receiving: Socket<'u>,
    pub(crate) sending: Option<Socket<'u>>,
    /// How long to go on polling before sleeping.
    pub(crate) busy_poll: Duration,
}

/// Packets that a call may process when it polls: as many as are then treated at a time.
const BUDGET: u16 = 64;
const _: () = assert!(BUDGET as usize == BATCH);

impl Lease {
    /// Claims a queue of an interface, to be polled for so long if it is to be, and, to send by another
    /// interface, the queue of the same number there. `None` if the first has no such queue.
    pub(crate) fn open(
        client: &Client,
        interface: &str,
        queue: u32,
        out: Option<&str>,
        busy_poll: Option<Duration>,
    ) -> Result<Option<(Self, Handed)>, Failure> {
        let what = || format!("queue {queue} of {interface}");
        let memory = |grant: Grant| grant.umem().map_err(Failure::interface(what()));
        let mut umem = memory(Grant::Bound)?;
        let mut request = SocketRequest::new(interface, queue).rings(Grant::Bound.entries());
        if let Some(time) = busy_poll {
            request = request.busy_poll(time, BUDGET);
        }
        let (grant, opened) = match client.open_socket(&request, &umem) {
            Err(error) if is(&error, RefusalCode::NoSuchQueue) => return Ok(None),
            Err(error) if is(&error, RefusalCode::Unsupported) => {
                umem = memory(Grant::Bare)?;
                let opened = client.open_bare_socket(&request);
                // Who isn't allowed that is told why it would be needed.
                let not_allowed =
                    matches!(&opened, Err(error) if is(error, RefusalCode::NotAllowed));
                (Grant::Bare, if not_allowed { Err(error) } else { opened })
            }
            opened => (Grant::Bound, opened),
        };
        let receiving = opened.map_err(Failure::on(interface))?;
        let sending = match out {
            None => None,
            Some(out) => {
                let request = SocketRequest::new(out, queue).rings(grant.entries());
                let request = request.rx(0).without_redirect();
                let opened = match grant {
                    Grant::Bound => client.open_shared_socket(&request, &receiving),
                    Grant::Bare => client.open_bare_socket(&request),
                };
                Some(opened.map_err(Failure::on(out))?)
            }
        };
        let lease = Self {
            grant,
            receiving,
            sending,
            busy_poll,
        };
        let handed = lease.hand(umem).map_err(Failure::interface(what()))?;
        Ok(Some((lease, handed)))
    }

    /// Has the queue's packets come, from now on: there have to be frames for them. Returns what
    /// the daemon has to say about it.
    pub(crate) fn activate(&self) -> Result<Vec<libdispatch::Note>, Failure> {
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
        let options = Options::default().rings(self.grant.entries());
        let sends_only = Options { rx: 0, ..options };
        let receives = Options {
            busy_poll: self.busy_poll.map(|time| BusyPoll {
                microseconds: u32::try_from(time.as_micros()).unwrap_or(u32::MAX),
                budget: BUDGET,
            }),
            ..options
        };
        let sending = self.sending.as_ref();
        Ok(Handed {
            umem,
            receiving: Granted::of(self.grant, &self.receiving, receives)?,
            sending: sending
                .map(|lease| Granted::of(self.grant, lease, sends_only))
                .transpose()?,
            busy_poll: self.busy_poll,
        })
    }
}

impl Granted {
    fn of(grant: Grant, lease: &SocketLease, options: Options) -> io::Result<Self> {
        Ok(Self {
            grant,
            descriptor: lease.try_clone_socket()?,
            ifindex: lease.ifindex(),
            queue: lease.queue(),
            options,
        })
    }

    fn map(self, umem: &Umem) -> Result<Socket<'_>, libdispatch::xsk::Error> {
        let Self {
            grant,
            descriptor,
            ifindex,
            queue,
            options,
        } = self;
        match grant {
            Grant::Bound => Socket::from_bound(umem, descriptor, ifindex, queue, &options),
            Grant::Bare => Socket::from_bare(umem, descriptor, ifindex, queue, &options),
        }
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
            busy_poll,
        } = self;
        let sockets = Sockets {
            receiving: receiving.map(&umem)?,
            sending: sending.map(|sending| sending.map(&umem)).transpose()?,
            busy_poll: busy_poll.unwrap_or_default(),
        };
        Ok(work(sockets))
    }
}

fn is(error: &libdispatch::Error, code: RefusalCode) -> bool {
    error.refusal().is_some_and(|refusal| refusal.code == code)
}
