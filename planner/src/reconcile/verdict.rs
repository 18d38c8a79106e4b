//! What a chain's pins amount to.

use dispatcher_abi::Engine;

use super::{Holds, Mend, ObservedBuild, ObservedChain, ObservedLink, Presence, Registry};
use crate::{Build, Chain, Pin, RegistryFault, Root, Unreadable, Why};

/// What a chain's pins amount to.
pub(super) enum Fate<'a> {
    /// It runs, and we know what it is.
    Runs(Running<'a>),
    /// It doesn't run any more.
    Gone,
    /// It isn't understood, and so not ours to change.
    Unreadable(Why),
}

/// A chain that runs.
pub(super) struct Running<'a> {
    /// What its live build's registry says.
    pub(super) chain: &'a Chain,
    /// What its pins lack, and what is too much.
    pub(super) mends: Vec<Mend>,
}

impl ObservedChain {
    pub(super) fn fate(&self) -> Fate<'_> {
        match self.judge() {
            Ok(Some(running)) => Fate::Runs(running),
            Ok(None) => Fate::Gone,
            Err(why) => Fate::Unreadable(why),
        }
    }

    /// Of a chain that is left alone.
    pub(super) fn unreadable(&self, why: Why) -> Unreadable {
        let newest = self.chains().max_by_key(|chain| chain.build);
        let interface = newest.map(|chain| chain.interface.clone());
        let links = [&self.link, &self.next_link].into_iter().flatten();
        let mut is_attached = links.map(|link| link.is_attached).peekable();
        Unreadable {
            dir: self.dir,
            site: interface.as_ref().map_or(self.dir.key, |found| found.key),
            // The first format had none.
            id: newest.map(|chain| chain.id).filter(|id| id.0 != 0),
            interface,
            is_attached: is_attached.peek().is_none() || is_attached.any(|it| it),
            why,
        }
    }

    /// The chain that runs, if any does.
    fn judge(&self) -> Result<Option<Running<'_>>, Why> {
        if let Some(why) = self.faults.first() {
            return Err(why.clone());
        }
        // Also in a build that doesn't run: whoever wrote it knows what else is pinned.
        for pins in &self.builds {
            if let Some(fault) = pins.fault() {
                let build = pins.build;
                return Err(Why::Registry { build, fault });
            }
        }
        let Some((live, mut mends)) = self.live()? else {
            return Ok(None);
        };
        let pins = self.builds.iter().find(|pins| pins.build == live);
        let pins = pins.ok_or(Why::Missing {
            pin: Pin::Build(live),
        })?;
        let chain = match &pins.registry {
            Registry::Chain(chain) => &**chain,
            // A registry is written before its build is attached, so a live build without one is
            // somebody's handiwork.
            Registry::Missing | Registry::Unreadable(_) => {
                return Err(Why::Missing {
                    pin: Pin::Registry(live),
                });
            }
        };
        if !chain.is_settled() {
            let (build, fault) = (live, RegistryFault::Impossible);
            return Err(Why::Registry { build, fault });
        }
        pins.mend(chain, &mut mends)?;
        self.mend_members(chain, pins, &mut mends)?;
        if pins.has_next_registry {
            mends.push(Mend::DropNextRegistry { build: live });
        }
        Ok(Some(Running { chain, mends }))
    }

    /// The build that the hook runs, and what puts its link in its place. Nothing is put over a link
    /// that holds a hook: that would open the interface.
    fn live(&self) -> Result<Option<(Build, Vec<Mend>)>, Why> {
        let held = |link: &ObservedLink, pin: Pin| match link.holds {
            Holds::Build(build) => Ok(build),
            Holds::Unknown { program_id } => Err(Why::Held { pin, program_id }),
        };
        match (&self.link, &self.next_link) {
            (None, None) => Ok(None),
            (Some(link), None) => Ok(Some((held(link, Pin::Link)?, Vec::new()))),
            (Some(link), Some(next)) if link.is_attached => {
                if next.is_attached {
                    return Err(Why::TwoLinks);
                }
                Ok(Some((held(link, Pin::Link)?, vec![Mend::DropNextLink])))
            }
            (_, Some(next)) => Ok(Some((held(next, Pin::NextLink)?, vec![Mend::PlaceLink]))),
        }
    }

    /// What the members of a running chain lack.
    fn mend_members(
        &self,
        chain: &Chain,
        live: &ObservedBuild,
        mends: &mut Vec<Mend>,
    ) -> Result<(), Why> {
        for (slot, member) in chain.slots() {
            let (id, code) = (member.id, member.code);
            let pins = self.members.iter().find(|pins| pins.member == id);
            let pins = pins.ok_or(Why::Missing {
                pin: Pin::Member(id),
            })?;
            let pinned = pins.codes.iter().find(|pinned| pinned.code == code);
            if !pinned.is_some_and(|pinned| pinned.has_program) {
                return Err(Why::Missing {
                    pin: Pin::Program(id, code),
                });
            }
            match member.form.engine {
                Engine::Tailcall if live.jump == Presence::Found => mends.push(Mend::FillSlot {
                    build: live.build,
                    slot,
                    member: id,
                    code,
                }),
                // One whose link is gone is missed, and the next change's build has it again.
                Engine::Freplace | Engine::Tailcall => {}
            }
            // Counts that are gone can't be had back; a chain that could never be changed again
            // would be worse.
            if pins.totals != Presence::Pinned {
                mends.push(Mend::NewTotals { member: id });
            }
            if pins.has_next_totals {
                mends.push(Mend::DropNextTotals { member: id });
            }
        }
        Ok(())
    }
}

impl ObservedBuild {
    /// Why its registry can't be believed.
    fn fault(&self) -> Option<RegistryFault> {
        match &self.registry {
            Registry::Unreadable(fault) => Some(fault.clone()),
            Registry::Chain(chain) if chain.build != self.build => {
                let says = chain.build;
                Some(RegistryFault::OtherBuild { says })
            }
            Registry::Chain(_) | Registry::Missing => None,
        }
    }

    /// What the build lacks, which runs this chain.
    fn mend(&self, chain: &Chain, mends: &mut Vec<Mend>) -> Result<(), Why> {
        let build = self.build;
        let mut needed = vec![
            (self.root, Pin::Root(build)),
            (self.counters, Pin::Counters(build)),
        ];
        if Root::of(chain).program.tail_calls {
            needed.push((self.jump, Pin::Jump(build)));
        }
        let mut is_whole = true;
        for (presence, pin) in needed {
            match presence {
                Presence::Pinned => {}
                Presence::Found => is_whole = false,
                Presence::Missing => return Err(Why::Missing { pin }),
            }
        }
        if !is_whole {
            mends.push(Mend::Repin);
        }
        Ok(())
    }
}
