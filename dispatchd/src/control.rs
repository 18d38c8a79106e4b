//! The controller's thread: what happens goes in, jobs come out and are handed on. It never waits
//! for the kernel: `hands` does, and a thread for each load.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender};
use std::time::Duration;

use controller::{Answer, Asking, Controller, Done, Event, Job, LoadFailure, Request, RequestId};
use planner::{LoadOrder, Moment, SocketKey};
use protocol::{Refused, with_causes};

use crate::desk::Desk;
use crate::kernel::{KernelError, Remnants};
use crate::load_job::LoadJobs;
use crate::notices;
use crate::published::{Board, Published, Shelf};
use crate::sockets::Sockets;

/// What the controller's thread is told.
#[derive(Debug)]
pub enum Message {
    /// A client asks for something.
    Asked {
        /// The request, and the client that it is from.
        asking: Box<Asking>,
        /// Where the answer goes.
        reply: SyncSender<Answer<Trouble>>,
    },
    /// Something else happened.
    Event(Event<Trouble>),
}

/// An error that somebody is told of: the controller hands it on.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// A system call failed.
    Kernel(Arc<KernelError>),
    /// A program could not be loaded.
    Load(Arc<Refused>),
    /// A socket or the redirect program's maps made trouble.
    Socket(Arc<io::Error>),
}

impl Trouble {
    /// Of a socket or the redirect program's maps.
    pub fn socket(error: io::Error) -> Self {
        Self::Socket(Arc::new(error))
    }
}

impl From<KernelError> for Trouble {
    fn from(error: KernelError) -> Self {
        Self::Kernel(Arc::new(error))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(error) => f.write_str(&with_causes(&**error)),
            Self::Load(refused) => refused.message.fmt(f),
            Self::Socket(error) => error.fmt(f),
        }
    }
}

/// Boot time, as the controller counts it.
pub fn now() -> Moment {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
    Moment(1000 * seconds + nanoseconds / 1_000_000)
}

/// Everything that the controller's thread works with.
#[derive(Debug)]
pub struct Control {
    /// The controller.
    pub controller: Controller<Trouble>,
    /// Jobs for the thread that holds the chains' descriptors.
    pub hands: Sender<Job<Trouble>>,
    /// Loads programs, each on a thread of its own.
    pub loads: LoadJobs,
    /// To this thread.
    pub told: SyncSender<Message>,
    /// What requests brought.
    pub desk: Desk,
    /// The daemon's copies of sockets.
    pub sockets: Sockets,
    /// Sockets that were given back.
    pub(crate) remnants: Remnants,
    /// What may be read of the kernel's side.
    pub shelf: Shelf,
    /// Where everybody reads.
    pub board: Board,
    /// Where the answers go.
    pub replies: BTreeMap<RequestId, SyncSender<Answer<Trouble>>>,
    /// Told once what an earlier daemon left is looked at and freed.
    pub ready: Option<SyncSender<()>>,
}

impl Control {
    /// Handles what happens until everything has come to an end after a stop. `first`: the jobs that
    /// the controller started with.
    pub fn run(mut self, first: Vec<Job<Trouble>>, inbox: &Receiver<Message>) {
        let mut jobs = first;
        loop {
            while !jobs.is_empty() {
                for job in std::mem::take(&mut jobs) {
                    if matches!(job, Job::Stopped) {
                        return;
                    }
                    jobs.extend(self.hand_out(job));
                }
            }
            if self.controller.is_at_rest()
                && let Some(ready) = self.ready.take()
            {
                let _ = ready.send(());
            }
            let wait = Duration::from_millis(self.controller.poll_timeout(now()));
            let event = match inbox.recv_timeout(wait) {
                Ok(Message::Asked { asking, reply }) => {
                    self.replies.insert(asking.id, reply);
                    jobs.extend(self.forget_gone(&asking.request));
                    Event::Asked(asking)
                }
                Ok(Message::Event(event)) => event,
                Err(RecvTimeoutError::Timeout) => Event::Time,
                Err(RecvTimeoutError::Disconnected) => Event::Stop { detach: false },
            };
            jobs.extend(self.controller.handle(event, now()));
        }
    }

    /// Hands a job on, or does it. What happened meanwhile may ask for more.
    fn hand_out(&mut self, job: Job<Trouble>) -> Vec<Job<Trouble>> {
        match job {
            Job::Load { id, order } => return self.load(id, *order),
            // What the request brought is cleared away by who brought it: closing it may take long.
            Job::Cancel(id) => drop(self.replies.remove(&id)),
            Job::Answer { id, answer } => {
                if let Some(reply) = self.replies.remove(&id) {
                    // A client that went away in between has no use for the answer.
                    let _ = reply.send(answer);
                }
            }
            Job::Publish => {
                let state = self.controller.state().clone();
                self.board
                    .publish(Published::new(state, &self.shelf, &self.sockets));
            }
            Job::ShowLook { chain, at } => self.board.show_look(chain, at),
            Job::Keep(id) => self.keep_socket(id),
            Job::Release { key, counts } => return self.release(key, counts),
            Job::Tell(notice) => notices::tell(&notice, self.controller.state()),
            Job::Prepare { .. }
            | Job::Commit { .. }
            | Job::Free { .. }
            | Job::Look { .. }
            | Job::Mend { .. }
            | Job::Give { .. }
            | Job::Take { .. }
            | Job::Sweep { .. }
            | Job::DropObjects { .. } => {
                self.hands
                    .send(job)
                    .expect("the hands end with the controller");
            }
            Job::Stopped => unreachable!("it ends the loop"),
        }
        Vec::new()
    }

    /// Keeps the socket that a request brought.
    fn keep_socket(&self, id: RequestId) {
        let brought = self.desk.brought(id);
        if let Some((key, held)) = brought.and_then(|brought| brought.socket) {
            self.sockets.hold(key, held);
        }
    }

    /// Loads a program on a thread of its own.
    fn load(&mut self, id: RequestId, order: LoadOrder) -> Vec<Job<Trouble>> {
        let Err(error) = self.loads.start(id, order, self.told.clone()) else {
            return Vec::new();
        };
        let outcome = Err(LoadFailure {
            by_kernel: false,
            error: KernelError::thread("a load", error).into(),
        });
        let failed = Event::Done(Done::Loaded { id, outcome });
        self.controller.handle(failed, now())
    }

    /// Lets go of a socket, which counts as its user's until nobody has it open.
    fn release(&mut self, key: SocketKey, counts: bool) -> Vec<Job<Trouble>> {
        let Some(held) = self.sockets.release(key) else {
            return Vec::new();
        };
        let watched = self.remnants.watch(held.socket.as_fd(), key.token);
        self.sockets.close(held);
        let Err(error) = watched else {
            return Vec::new();
        };
        tracing::warn!(chain = %key.place.chain, queue = key.place.queue, %error, "a socket can't be watched: it counts as its user's, other than root's, until the daemon ends");
        if counts {
            return Vec::new();
        }
        // Nobody is wronged if this one is forgotten.
        let gone = Event::SocketsGone(vec![key.token]);
        self.controller.handle(gone, now())
    }

    /// Learns which sockets nobody has open any more, before it matters.
    fn forget_gone(&mut self, request: &Request) -> Vec<Job<Trouble>> {
        if !matches!(
            request,
            Request::Open(_) | Request::Made { made: false, .. }
        ) {
            return Vec::new();
        }
        match self.remnants.take_gone() {
            Ok(gone) => self.controller.handle(Event::SocketsGone(gone), now()),
            Err(error) => {
                tracing::warn!(%error, "whether sockets were closed can't be read: they go on counting");
                Vec::new()
            }
        }
    }
}
