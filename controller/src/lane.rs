//! One interface's lane: what happens to it, one after the other.

use std::collections::VecDeque;
use std::sync::Arc;

use planner::{
    Build, ChainDir, Cleanup, ConnectionId, Facts, HookProgram, Moment, Note, Plan, SocketKey,
};

use crate::{Act, Answer, RequestId};

/// One interface's lane.
#[derive(Clone, Debug)]
pub(crate) struct Lane<E> {
    /// What comes next, the first first.
    pub(crate) waiting: VecDeque<Work>,
    /// What is being done, until its job comes back.
    pub(crate) doing: Option<Doing<E>>,
    /// What the daemon does by itself failed: it is not tried again before this.
    pub(crate) not_before: Moment,
    /// The interface was seen to be gone: its chain is not removed again before this, if it is there
    /// still.
    pub(crate) next_removal: Moment,
}

impl<E> Default for Lane<E> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            doing: None,
            not_before: Moment::default(),
            next_removal: Moment::default(),
        }
    }
}

impl<E> Lane<E> {
    pub(crate) fn is_at_rest(&self) -> bool {
        self.doing.is_none() && self.waiting.is_empty()
    }

    /// Whether the hook is being looked at, or will be before long.
    pub(crate) fn will_look(&self) -> bool {
        matches!(self.doing, Some(Doing::Looking(_))) || self.waiting.contains(&Work::Look)
    }

    /// Whether something is being done, or waits, that may change the chain.
    pub(crate) fn has_changes(&self) -> bool {
        let waits = |work: &Work| matches!(work, Work::Request(_) | Work::Expire);
        let is_change = match &self.doing {
            Some(Doing::Looking(purpose)) => *purpose != Purpose::Look,
            Some(Doing::Preparing(..) | Doing::Committing(..)) => true,
            Some(
                Doing::Freeing(_) | Doing::Mending | Doing::Giving { .. } | Doing::Taking { .. },
            )
            | None => false,
        };
        is_change || self.waiting.iter().any(waits)
    }
}

/// Something to be done in a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// What a client asks for.
    Request(RequestId),
    /// A connection is gone: its members linger.
    Gone(ConnectionId),
    /// Members are removed whose clients did not come back.
    Expire,
    /// Queues are given back.
    DropSockets(Vec<SocketKey>),
    /// Queues are given back that could not be before.
    DropAgain,
    /// Queues are given back whose clients did not come back.
    ExpireSockets,
    /// The redirect program is removed where no socket needs it.
    DropRedirect,
    /// Sockets are put into the maps of a redirect program that may be new.
    GiveAgain(Vec<SocketKey>),
    /// A queue is given back, and the request for it is answered.
    Closed(RequestId),
    /// The chain is removed: its interface is gone, or the daemon stops.
    RemoveChain,
    /// What is left in a directory is freed.
    Free(ChainDir),
    /// What could not be mended of the chain in a directory is tried again.
    Mend(ChainDir),
    /// The hook is looked at.
    Look,
}

/// Why a chain is not known to be on its hook after it was looked at.
#[derive(Clone, Debug)]
pub(crate) enum OffHook<E> {
    /// Somebody else's program is there.
    Taken(HookProgram),
    /// There is no such interface any more.
    Gone,
    /// The chain can't be attached, or it can't be told.
    Failed(E),
}

/// What a hook is looked at for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// This request.
    Request(RequestId),
    /// Members whose clients did not come back.
    Expire,
    /// Itself.
    Look,
}

impl Purpose {
    /// The request whose namespace the interface may be in.
    pub(crate) fn request(self) -> Option<RequestId> {
        match self {
            Self::Request(id) => Some(id),
            Self::Expire | Self::Look => None,
        }
    }
}

/// What is being done in a lane.
#[derive(Clone, Debug)]
pub(crate) enum Doing<E> {
    Looking(Purpose),
    Preparing(Arc<Plan>, After<E>),
    Committing(Arc<Plan>, After<E>),
    Freeing(Freeing<E>),
    Mending,
    /// A socket gets its queue's packets, for this request.
    Giving {
        id: Option<RequestId>,
        key: SocketKey,
    },
    Taking {
        keys: Vec<SocketKey>,
        /// The request that gives the queue back.
        closing: Option<RequestId>,
    },
}

/// What is left in a directory is being freed.
#[derive(Clone, Debug)]
pub(crate) struct Freeing<E> {
    pub(crate) dir: ChainDir,
    /// The newest build that was left when the present steps were begun.
    pub(crate) newest: Build,
    /// Steps that failed: they are tried another time.
    pub(crate) failed: Vec<Cleanup>,
    pub(crate) then: Then<E>,
}

/// What comes after something was freed.
#[derive(Clone, Debug)]
pub(crate) enum Then<E> {
    Nothing,
    /// The plan is done.
    Finish(Arc<Plan>, After<E>),
    /// The plan failed.
    Fail(After<E>, Failed<E>),
    /// The request's change is decided again.
    Again(RequestId),
}

/// A plan that failed.
#[derive(Clone, Debug)]
pub(crate) struct Failed<E> {
    pub(crate) error: E,
    pub(crate) in_the_way: Vec<String>,
}

impl<E> From<Failed<E>> for Answer<E> {
    fn from(failed: Failed<E>) -> Self {
        Self::Failed {
            error: failed.error,
            in_the_way: failed.in_the_way,
        }
    }
}

/// What comes after a plan.
#[derive(Clone, Debug)]
pub(crate) enum After<E> {
    /// The request goes on, or is answered.
    Request {
        id: RequestId,
        facts: Vec<Facts>,
        notes: Vec<Note>,
    },
    /// Nobody waits for it.
    Own(Act),
    /// A chain was put back on its hook: then what it was looked at for goes on.
    Rearm(Purpose),
    /// A change of mode failed, and the chain was attached as it was: then that is said.
    WayBack(Box<After<E>>, Failed<E>),
}

impl<E> After<E> {
    /// The request whose programs and namespace the plan uses.
    pub(crate) fn request(&self) -> Option<RequestId> {
        match self {
            Self::Request { id, .. } => Some(*id),
            Self::Rearm(purpose) => purpose.request(),
            Self::WayBack(after, _) => after.request(),
            Self::Own(_) => None,
        }
    }
}
