//! The answers of one connection, for the threads that wait for them.
//!
//! Memory only: reading and waiting are done in [`line`](crate::line).

use std::{collections::BTreeMap, os::fd::OwnedFd};

use protocol::{Refused, Reply, ReplyBody};

use crate::Refusal;

/// What the daemon said to one request, with the descriptors that came along.
pub(crate) type Said = Result<(ReplyBody, Vec<OwnedFd>), Refused>;

/// What was asked on a connection and what has come back.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    last_id: u64,
    asked: BTreeMap<u64, Asked>,
    end: Option<End>,
}

/// A request that was sent.
#[derive(Debug)]
enum Asked {
    /// A thread waits for the answer.
    Waiting,
    /// Nobody waits any more, and the daemon is still at it.
    Abandoned,
    /// The answer is there.
    Answered(Said),
    /// It came, and this process had no room for its descriptors.
    Bereft,
}

/// Why no further answer will come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The connection is closed.
    HungUp,
    /// The daemon said no to the whole connection.
    Refused(Refusal),
    /// The daemon sent something that isn't a message.
    Garbled(String),
}

/// How a request ended.
#[derive(Debug)]
pub(crate) enum Fate {
    Answered(Said),
    /// The answer came without its descriptors.
    Bereft,
    Ended(End),
}

impl Inbox {
    /// The id of a new request, whose answer is waited for from now on.
    pub(crate) fn ask(&mut self) -> u64 {
        self.last_id += 1;
        self.asked.insert(self.last_id, Asked::Waiting);
        self.last_id
    }

    /// The request was not sent.
    pub(crate) fn forget(&mut self, id: u64) {
        self.asked.remove(&id);
    }

    /// Nobody waits for this answer any more. Until it comes, the daemon is not idle.
    pub(crate) fn abandon(&mut self, id: u64) {
        match self.asked.get_mut(&id) {
            Some(asked @ Asked::Waiting) => *asked = Asked::Abandoned,
            Some(Asked::Answered(_) | Asked::Bereft | Asked::Abandoned) | None => self.forget(id),
        }
    }

    /// An answer came, without descriptors if some of them were lost. One that answers no request is a push, which nobody waits for.
    pub(crate) fn deliver(&mut self, reply: Reply, fds: Option<Vec<OwnedFd>>) {
        match reply.body {
            // A refusal with id 0 is for the whole connection.
            Err(refused) if reply.id == 0 => self.end(End::Refused(refused.into())),
            body => match self.asked.get_mut(&reply.id) {
                Some(asked @ Asked::Waiting) => {
                    *asked = match (body, fds) {
                        (Ok(body), Some(fds)) => Asked::Answered(Ok((body, fds))),
                        (Ok(_), None) => Asked::Bereft,
                        (Err(refused), _) => Asked::Answered(Err(refused)),
                    };
                }
                Some(Asked::Abandoned) => self.forget(reply.id),
                Some(Asked::Answered(_) | Asked::Bereft) | None => {}
            },
        }
    }

    /// No more answers will come. The first reason is the one that counts.
    pub(crate) fn end(&mut self, end: End) {
        self.end.get_or_insert(end);
    }

    /// Why no more answers will come, if that is so.
    pub(crate) fn ended(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// What became of a request, once that is known. Asked for once.
    pub(crate) fn take(&mut self, id: u64) -> Option<Fate> {
        if let Some(Asked::Answered(_)) = self.asked.get(&id)
            && let Some(Asked::Answered(said)) = self.asked.remove(&id)
        {
            return Some(Fate::Answered(said));
        }
        if let Some(Asked::Bereft) = self.asked.get(&id) {
            self.forget(id);
            return Some(Fate::Bereft);
        }
        let end = self.end.clone()?;
        self.forget(id);
        Some(Fate::Ended(end))
    }

    /// Whether the daemon has answered everything.
    pub(crate) fn is_idle(&self) -> bool {
        let open = |asked: &Asked| matches!(asked, Asked::Waiting | Asked::Abandoned);
        !self.asked.values().any(open)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_late_answer_is_nobodys_and_makes_the_daemon_idle() {
        let mut inbox = Inbox::default();
        let id = inbox.ask();
        inbox.abandon(id);
        assert!(!inbox.is_idle(), "the daemon is still at it");
        inbox.deliver(answer(id), Some(Vec::new()));
        assert!(inbox.is_idle());
        assert!(inbox.take(id).is_none());
    }

    #[test]
    fn an_answer_that_comes_as_one_stops_waiting_leaves_nothing_behind() {
        let mut inbox = Inbox::default();
        let id = inbox.ask();
        inbox.deliver(answer(id), Some(Vec::new()));
        inbox.abandon(id);
        assert!(inbox.is_idle());
        assert!(inbox.asked.is_empty());
    }

    #[test]
    fn a_refusal_of_the_connection_is_everybodys() {
        let mut inbox = Inbox::default();
        let asked = [inbox.ask(), inbox.ask()];
        let body = Err(Refused::new(protocol::RefusalCode::Quota, "no room"));
        inbox.deliver(Reply { id: 0, body }, Some(Vec::new()));
        inbox.end(End::HungUp);
        for id in asked {
            let taken = inbox.take(id);
            assert!(matches!(taken, Some(Fate::Ended(End::Refused(_)))));
        }
    }

    proptest! {
        #[test]
        fn everybody_gets_its_own_answer_in_any_order(
            order in Just((1..=20_u64).collect::<Vec<_>>()).prop_shuffle(),
            end_after in 0..=20_usize,
        ) {
            let mut inbox = Inbox::default();
            for id in 1..=20 {
                prop_assert_eq!(inbox.ask(), id);
            }
            for id in &order[..end_after] {
                inbox.deliver(answer(*id), Some(Vec::new()));
                inbox.deliver(answer(100 + id), Some(Vec::new()));
            }
            inbox.end(End::HungUp);
            for (index, id) in order.into_iter().enumerate() {
                match inbox.take(id) {
                    Some(Fate::Answered(said)) => {
                        prop_assert!(index < end_after);
                        prop_assert_eq!(said.unwrap().0, answer(id).body.unwrap());
                    }
                    Some(Fate::Ended(End::HungUp)) => prop_assert!(index >= end_after),
                    other => prop_assert!(false, "{other:?}"),
                }
            }
            prop_assert!(inbox.asked.is_empty());
        }
    }

    fn answer(id: u64) -> Reply {
        let body = Ok(ReplyBody::Object {
            digest: [u8::try_from(id).unwrap(); 32],
        });
        Reply { id, body }
    }
}
