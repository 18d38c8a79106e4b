//! What a client holds on the daemon, and what becomes of it when the connection is lost.
//!
//! Attached members and `AF_XDP` sockets belong to a connection. When it is lost they stay for a
//! while, and the library claims them again over the next one, until the daemon says no for good.
//! Both are records of one state machine. It has no clock, no lock and no connection: every event
//! brings the time and the number of the [line](crate::line) that it happened on, and an event of a
//! line that is not the present one changes nothing. So events may come in any order.

use std::{
    collections::BTreeMap,
    ops::Bound,
    os::fd::OwnedFd,
    sync::Arc,
    time::{Duration, Instant},
};

use protocol::{MemberRef, Open, Operation, RequestBody, Token};

use crate::{Lifetime, Refusal, RefusalCode};

/// How long a restarted daemon waits for an active socket's client.
const SOCKET_LINGER: Duration = Duration::from_secs(30);

/// The number of a connection of this client, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LineNumber(pub(crate) u64);

/// The number of a claim, never used twice: the later claim has the higher one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClaimNumber(u64);

/// Everything that one client holds.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    records: BTreeMap<ClaimNumber, Claim>,
    numbered: u64,
    /// Where claims are held; `None` between two connections.
    line: Option<LineNumber>,
}

/// One attached member or one socket.
#[derive(Debug)]
struct Claim {
    interface: String,
    /// What proves that it is this client's.
    token: Token,
    kind: Kind,
    standing: Standing,
}

#[derive(Debug)]
enum Kind {
    Member(ClaimedMember),
    Socket(ClaimedSocket),
}

#[derive(Debug)]
struct ClaimedMember {
    id: u64,
    name: String,
    linger: Duration,
}

#[derive(Debug)]
struct ClaimedSocket {
    queue: u32,
    socket: Arc<OwnedFd>,
    /// A daemon that comes after knows of active sockets only.
    active: bool,
}

/// Whether the member or the socket is this client's.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    /// It is the present line's.
    Held,
    /// The line was lost. `refused` is the time of the first refusal since then: before it, no
    /// daemon was there that could have said yes.
    Wanted { refused: Option<Instant> },
    /// It was refused for good.
    Lost(Refusal),
}

/// A claim to be made again.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) number: ClaimNumber,
    pub(crate) request: RequestBody,
    /// The socket itself, which goes with the request.
    pub(crate) socket: Option<Arc<OwnedFd>>,
}

impl Claims {
    /// There is a line over which claims can be made.
    pub(crate) fn connected(&mut self, line: LineNumber) {
        if let Some(before) = self.line {
            self.lost(before);
        }
        self.line = Some(line);
    }

    /// A line is gone, and with it what was held there.
    pub(crate) fn lost(&mut self, line: LineNumber) {
        if self.line != Some(line) {
            return;
        }
        self.line = None;
        for claim in self.records.values_mut() {
            claim.disconnected();
        }
    }

    /// The claim to be made next in a pass over all that are wanted, which began without one.
    pub(crate) fn next_wanted(&self, after: Option<ClaimNumber>) -> Option<Wanted> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.records.range((from, Bound::Unbounded));
        let (number, claim) = rest.find(|(_, claim)| claim.is_wanted())?;
        Some(claim.wanted(*number))
    }

    /// The daemon said yes to a claim.
    pub(crate) fn granted(&mut self, line: LineNumber, number: ClaimNumber) {
        if let Some(claim) = self.wanted_on(line, number) {
            claim.standing = Standing::Held;
        }
    }

    /// The daemon said no to a claim.
    pub(crate) fn refused(
        &mut self,
        line: LineNumber,
        number: ClaimNumber,
        refusal: Refusal,
        now: Instant,
    ) {
        if let Some(claim) = self.wanted_on(line, number) {
            claim.refused(refusal, now);
        }
    }

    /// The application gave the claim up. Says whether the daemon has to be told: not if the claim
    /// was lost, or given up before.
    pub(crate) fn release(&mut self, number: ClaimNumber) -> bool {
        let released = self.records.remove(&number);
        released.is_some_and(|claim| claim.lost().is_none())
    }

    /// Whether the claim was neither given up nor lost.
    pub(crate) fn is_ours(&self, number: ClaimNumber) -> bool {
        let claim = self.records.get(&number);
        claim.is_some_and(|claim| claim.lost().is_none())
    }

    /// Why the claim is lost, if it is.
    pub(crate) fn lost_reason(&self, number: ClaimNumber) -> Option<&Refusal> {
        self.records.get(&number)?.lost()
    }

    /// Whether there is anything to be claimed again after a lost connection.
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Whether no claim is held or wanted.
    pub(crate) fn all_lost(&self) -> bool {
        self.records.values().all(|claim| claim.lost().is_some())
    }

    /// Whether a claim is to be made again.
    pub(crate) fn any_wanted(&self) -> bool {
        self.records.values().any(Claim::is_wanted)
    }

    /// The number of the next claim: those with lower numbers are older.
    pub(crate) fn mark(&self) -> ClaimNumber {
        ClaimNumber(self.numbered)
    }

    /// A socket was opened on a line.
    pub(crate) fn opened(
        &mut self,
        line: LineNumber,
        interface: &str,
        queue: u32,
        token: Token,
        socket: Arc<OwnedFd>,
    ) -> ClaimNumber {
        let kind = Kind::Socket(ClaimedSocket {
            queue,
            socket,
            active: false,
        });
        self.insert(line, interface, token, kind)
    }

    /// Whether a daemon that comes after will know of a socket; says whether it did before.
    pub(crate) fn set_active(&mut self, number: ClaimNumber, active: bool) -> bool {
        match self.records.get_mut(&number).map(|claim| &mut claim.kind) {
            Some(Kind::Socket(socket)) => std::mem::replace(&mut socket.active, active),
            Some(Kind::Member(_)) | None => false,
        }
    }

    /// What a change, answered on this line, did to the claims; returns those of the members that it
    /// registered as attached. It takes away only claims that are older than `sent`, which is the
    /// [mark](Self::mark) of when it was sent: a member of the same name that another thread registered
    /// in the meantime is another one.
    pub(crate) fn note(
        &mut self,
        line: LineNumber,
        change: protocol::Change,
        changed: &protocol::Changed,
        sent: ClaimNumber,
    ) -> Vec<ClaimNumber> {
        // A change that registers something names its interface.
        let interface = change.interface.unwrap_or_default();
        let mut registered = Vec::new();
        let mut members = changed.members.iter();
        for operation in change.operations {
            match operation {
                Operation::Register(registration) => {
                    let Some(member) = members.next() else {
                        break;
                    };
                    if registration.lifetime == Lifetime::Attached {
                        let linger = Duration::from_millis(registration.linger_ms.into());
                        let kind = Kind::Member(ClaimedMember {
                            id: member.id,
                            name: member.name.clone(),
                            linger,
                        });
                        let token = registration.token;
                        registered.push(self.insert(line, &interface, token, kind));
                    }
                }
                // The member keeps its id and its token.
                Operation::Replace { .. } => {
                    members.next();
                }
                Operation::Unregister { member } => {
                    self.forget(sent, |claim| claim.is_member(&interface, Some(&member)));
                }
                Operation::UnregisterAll => {
                    self.forget(sent, |claim| claim.is_member(&interface, None));
                }
                Operation::Set { member, settings } => {
                    if settings.lifetime == Some(Lifetime::Kept) {
                        self.forget(sent, |claim| claim.is_member(&interface, Some(&member)));
                    }
                }
                Operation::Move { .. } | Operation::Order { .. } | Operation::Configure(_) => {}
            }
        }
        registered
    }

    fn insert(
        &mut self,
        line: LineNumber,
        interface: &str,
        token: Token,
        kind: Kind,
    ) -> ClaimNumber {
        let number = self.mark();
        self.numbered += 1;
        let mut claim = Claim {
            interface: interface.to_owned(),
            token,
            kind,
            standing: Standing::Held,
        };
        // The line may have been lost since the answer came.
        if self.line != Some(line) {
            claim.disconnected();
        }
        self.records.insert(number, claim);
        number
    }

    fn forget(&mut self, sent: ClaimNumber, is: impl Fn(&Claim) -> bool) {
        self.records
            .retain(|number, claim| *number >= sent || !is(claim));
    }

    /// The claim, if it is wanted and this is the line over which it was made.
    fn wanted_on(&mut self, line: LineNumber, number: ClaimNumber) -> Option<&mut Claim> {
        let is_present = self.line == Some(line);
        let claim = self.records.get_mut(&number).filter(|_| is_present)?;
        claim.is_wanted().then_some(claim)
    }
}

impl Claim {
    fn is_wanted(&self) -> bool {
        matches!(self.standing, Standing::Wanted { .. })
    }

    fn lost(&self) -> Option<&Refusal> {
        match &self.standing {
            Standing::Lost(refusal) => Some(refusal),
            Standing::Held | Standing::Wanted { .. } => None,
        }
    }

    /// Whether this is a member of the interface, and the one that is meant if one is.
    fn is_member(&self, interface: &str, meant: Option<&Open<MemberRef>>) -> bool {
        let Kind::Member(member) = &self.kind else {
            return false;
        };
        match meant {
            None => self.interface == interface,
            Some(Open::Known(MemberRef::Name(name))) => {
                self.interface == interface && member.name == *name
            }
            Some(Open::Known(MemberRef::Id(id))) => member.id == *id,
            Some(Open::Unknown(_)) => false,
        }
    }

    /// The line is gone.
    fn disconnected(&mut self) {
        if self.lost().is_some() {
            return;
        }
        self.standing = match &self.kind {
            Kind::Socket(ClaimedSocket { active: false, .. }) => Standing::Lost(Refusal::new(
                RefusalCode::NoSuchSocket,
                "the connection was lost before the socket was activated",
            )),
            Kind::Member(_) | Kind::Socket(_) => Standing::Wanted { refused: None },
        };
    }

    /// The daemon said no. Some answers can change while the claim lingers: the daemon may not have
    /// seen yet that the old connection is gone, or has too much to do.
    fn refused(&mut self, refusal: Refusal, now: Instant) {
        // It doesn't know the member: the chain can't be read, and its time doesn't pass there.
        if let (Kind::Member(_), RefusalCode::Daemon) = (&self.kind, refusal.code) {
            return;
        }
        let linger = self.linger();
        let Standing::Wanted { refused } = &mut self.standing else {
            return;
        };
        let since = *refused.get_or_insert(now);
        if is_final(refusal.code) || now.saturating_duration_since(since) >= linger {
            self.standing = Standing::Lost(refusal);
        }
    }

    fn linger(&self) -> Duration {
        match &self.kind {
            Kind::Member(member) => member.linger,
            Kind::Socket(_) => SOCKET_LINGER,
        }
    }

    /// How the daemon is asked for it.
    fn wanted(&self, number: ClaimNumber) -> Wanted {
        let token = self.token;
        let (request, socket) = match &self.kind {
            Kind::Member(ClaimedMember { id: member, .. }) => {
                let member = *member;
                (RequestBody::Reclaim { member, token }, None)
            }
            Kind::Socket(ClaimedSocket { queue, socket, .. }) => {
                let request = RequestBody::ReclaimSocket {
                    interface: self.interface.clone(),
                    queue: *queue,
                    token,
                };
                (request, Some(Arc::clone(socket)))
            }
        };
        Wanted {
            number,
            request,
            socket,
        }
    }
}

/// Whether asking again can't help.
fn is_final(code: RefusalCode) -> bool {
    matches!(
        code,
        RefusalCode::NoSuchMember
            | RefusalCode::NoSuchSocket
            | RefusalCode::NoSuchInterface
            | RefusalCode::InterfaceGone
            | RefusalCode::NotAllowed
            | RefusalCode::NotOwner
    )
}

#[cfg(test)]
mod tests;
