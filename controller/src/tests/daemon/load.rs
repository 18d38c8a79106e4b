//! What the loader learns.

use planner::{Code, Facts, LoadOrder, Source};

use super::super::world::Error;
use super::{Daemon, Load};
use crate::{LoadFailure, RequestId};

impl Daemon {
    pub(super) fn load(
        &mut self,
        id: RequestId,
        order: &LoadOrder,
        load: Load,
    ) -> Result<Box<Facts>, LoadFailure<Error>> {
        let refused = |by_kernel, error| LoadFailure { by_kernel, error };
        match load {
            Load::Works => {}
            Load::Refused => return Err(refused(true, "the verifier")),
            Load::Fails => return Err(refused(false, "the loader")),
        }
        let pending = self.pending.get(&id).filter(|it| !it.is_cancelled);
        let Some(pending) = pending else {
            return Err(refused(false, "its request was given up"));
        };
        let facts = match &order.code {
            Code::Fresh(number) => pending.facts[*number].clone(),
            Code::Again(reload) => {
                let member = self.controller.state().member(reload.member);
                if member.is_none() {
                    return Err(refused(false, "its maps are gone"));
                }
                let object = reload.source.sha256();
                assert!(object.is_none_or(|object| self.world.objects.contains(object)));
                Facts {
                    source: reload.source.clone(),
                    ..planner::testing::facts()
                }
            }
            Code::BuiltIn(built_in) => Facts {
                source: Source::BuiltIn(*built_in),
                ..planner::testing::facts()
            },
        };
        self.next_program += 1;
        let former = self.world.loads.insert(order.load, id);
        assert_eq!(former, None, "two loads are {}", order.load);
        Ok(Box::new(Facts {
            load: order.load,
            program_id: self.next_program,
            abilities: order.outline.abilities,
            form: order.form,
            replaces: order.replaces,
            ..facts
        }))
    }
}
