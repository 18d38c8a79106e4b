//! What a client holds on the daemon: the attached members that it must re-claim after a lost
//! connection.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{Refusal, RefusalCode};

/// Every claim of one client, by interface and member.
pub(crate) type Claims = BTreeMap<(String, String), Claim>;

/// One attached member.
#[derive(Debug)]
pub(crate) struct Claim {
    /// The member's id: a later member of the same name is another one.
    pub(crate) id: u64,
    pub(crate) token: [u8; 16],
    pub(crate) linger: Duration,
    pub(crate) held: Held,
}

/// Whether the member is this connection's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// It is.
    Yes,
    /// The connection was lost. Since when a daemon is there again that could say yes, if one is.
    Wanted { asked: Option<Instant> },
    /// It was refused for good.
    Lost(Refusal),
}

impl Claim {
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self.held, Held::Lost(_))
    }

    /// The connection is gone.
    pub(crate) fn disconnected(&mut self) {
        if !self.is_lost() {
            self.held = Held::Wanted { asked: None };
        }
    }

    /// The daemon said no. Some answers can change while the member lingers: the daemon may not
    /// have seen yet that the old connection is gone, or has too much to do.
    pub(crate) fn refused(&mut self, refusal: Refusal, now: Instant) {
        let Held::Wanted { asked } = &mut self.held else {
            return;
        };
        let since = *asked.get_or_insert(now);
        if is_final(refusal.code) || now.duration_since(since) >= self.linger {
            self.held = Held::Lost(refusal);
        }
    }
}

fn is_final(code: RefusalCode) -> bool {
    matches!(
        code,
        RefusalCode::NoSuchMember
            | RefusalCode::NoSuchInterface
            | RefusalCode::InterfaceGone
            | RefusalCode::NotAllowed
            | RefusalCode::NotOwner
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINGER: Duration = Duration::from_secs(30);

    #[test]
    fn a_claim_refused_for_now_is_wanted_until_its_linger_time_has_passed() {
        let mut claim = wanted();
        let start = Instant::now();
        for passed in [Duration::ZERO, LINGER / 2] {
            claim.refused(refusal(RefusalCode::Claim), start + passed);
            assert_eq!(claim.held, Held::Wanted { asked: Some(start) });
        }
        claim.refused(refusal(RefusalCode::Claim), start + LINGER);
        assert_eq!(claim.held, Held::Lost(refusal(RefusalCode::Claim)));
    }

    #[test]
    fn a_member_that_is_gone_is_lost_at_once() {
        let mut claim = wanted();
        claim.refused(refusal(RefusalCode::NoSuchMember), Instant::now());
        assert_eq!(claim.held, Held::Lost(refusal(RefusalCode::NoSuchMember)));
        claim.disconnected();
        assert_eq!(claim.held, Held::Lost(refusal(RefusalCode::NoSuchMember)));
    }

    fn wanted() -> Claim {
        Claim {
            id: 1,
            token: [7; 16],
            linger: LINGER,
            held: Held::Wanted { asked: None },
        }
    }

    fn refusal(code: RefusalCode) -> Refusal {
        Refusal::new(code, "no")
    }
}
