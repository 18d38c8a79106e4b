//! What becomes of the objects that members were loaded from.

use std::collections::BTreeSet;

use planner::{Digest, Plan, Prepare};

use crate::lane::Doing;
use crate::{Controller, Job};

impl<E: Clone> Controller<E> {
    /// Drops the objects that went with members since this was called last.
    pub(crate) fn drop_objects_of_gone(&mut self) {
        let members = self.state.chains.values().flat_map(|chain| &chain.members);
        let objects: BTreeSet<Digest> = members
            .filter_map(|member| member.source.sha256())
            .copied()
            .collect();
        let is_less = !self.objects.is_subset(&objects);
        self.objects = objects;
        if is_less {
            self.drop_objects();
        }
    }

    /// A plan's commit will never be done: the objects that were kept for it go.
    pub(crate) fn drop_objects_of(&mut self, plan: &Plan) {
        let is_code = |step: &Prepare| matches!(step, Prepare::PinCode { .. });
        if plan.prepare.iter().any(is_code) {
            self.drop_objects();
        }
    }

    /// Drops the objects that no member was loaded from, nor will be by a plan that is being carried
    /// out. While there are chains whose members aren't known, what an earlier daemon kept stays.
    pub(crate) fn drop_objects(&mut self) {
        let of_unreadable = if self.state.unreadable.is_empty() {
            None
        } else {
            Some(&self.found_objects)
        };
        let plans = self.lanes.values().filter_map(|lane| match &lane.doing {
            Some(Doing::Preparing(plan, _) | Doing::Committing(plan, _)) => plan.next.as_ref(),
            _ => None,
        });
        let members = plans
            .chain(self.state.chains.values())
            .flat_map(|chain| &chain.members);
        let keep = members
            .filter_map(|member| member.source.sha256())
            .chain(of_unreadable.into_iter().flatten())
            .copied()
            .collect();
        self.push(Job::DropObjects { keep });
    }
}
