//! Freeing what no packet needs any more.

use planner::{Build, ChainDir, ChainKey, Cleanup};

use crate::lane::{Doing, Freeing, Then};
use crate::{Act, Controller, Job, RequestId};

impl<E> Then<E> {
    /// The request that waits for it.
    pub(crate) fn request(&self) -> Option<RequestId> {
        match self {
            Self::Nothing => None,
            Self::Finish(_, after) | Self::Fail(after, _) => after.request(),
            Self::Again(id) => Some(*id),
        }
    }
}

impl<E: Clone> Controller<E> {
    /// Frees what is left in a directory, as far as it can be freed, and goes on.
    pub(crate) fn free(&mut self, site: ChainKey, dir: ChainDir, then: Then<E>) {
        // Readers know of a build before it is retired.
        self.flush();
        self.free_on(
            site,
            Freeing {
                dir,
                newest: Build(0),
                failed: Vec::new(),
                then,
            },
        );
    }

    fn free_on(&mut self, site: ChainKey, mut freeing: Freeing<E>) {
        let left = self.state.obsolete.get(&freeing.dir);
        let due = left.map_or_else(Vec::new, planner::Obsolete::due);
        let failed = |step: &Cleanup| freeing.failed.contains(step);
        let steps: Vec<Cleanup> = due.into_iter().filter(|step| !failed(step)).collect();
        if steps.is_empty() {
            return self.go_on(site, freeing.then);
        }
        freeing.newest = left.and_then(planner::Obsolete::newest).unwrap_or(Build(0));
        self.push(Job::Free {
            site,
            dir: freeing.dir,
            steps,
        });
        self.lane(site).doing = Some(Doing::Freeing(freeing));
    }

    /// Steps that free something were tried.
    pub(crate) fn freed(&mut self, site: ChainKey, steps: Vec<(Cleanup, Option<E>)>) {
        let Doing::Freeing(mut freeing) = self.take_doing(site) else {
            unreachable!("a lane waits for the job that it gave out");
        };
        for (step, error) in steps {
            match error {
                None => self.state.freed(freeing.dir, &step, freeing.newest),
                Some(error) => {
                    freeing.failed.push(step);
                    self.failed_own(site, Act::Free, error);
                }
            }
        }
        // Totals have grown by what builds counted that are gone.
        self.changed();
        self.free_on(site, freeing);
    }

    fn go_on(&mut self, site: ChainKey, then: Then<E>) {
        match then {
            Then::Nothing => {}
            Then::Finish(plan, after) => self.finish(site, plan, after),
            Then::Fail(after, failed) => self.fail(site, after, failed),
            Then::Again(id) => self.decide_change(site, id, None),
        }
        self.advance(site);
    }
}
