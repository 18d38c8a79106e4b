//! What is built aside.

use planner::{Commit, Plan, Prepare};

use super::World;
use super::pins::Built;

impl World {
    /// One effect of a step, 0 the first; returns whether it was the last.
    pub(super) fn prepare(&mut self, plan: &Plan, step: &Prepare, effect: usize) -> bool {
        match (step, effect) {
            (Prepare::PinCode { member, load, .. }, 0) => {
                assert!(self.loads.contains_key(load), "{load} was dropped");
                let mut others = self.chains.iter().filter(|(dir, _)| **dir != plan.dir);
                let is_taken = others.any(|(_, pins)| pins.members.contains_key(member));
                assert!(!is_taken, "two members are {member}");
                self.pins(plan.dir).members.entry(*member).or_default();
                false
            }
            (Prepare::PinCode { member, code, .. }, _) => {
                let pins = self.pins(plan.dir);
                let pinned = pins.members.get_mut(member).expect("just made");
                assert!(pinned.codes.insert(*code), "code {code} is pinned twice");
                let next = plan
                    .next
                    .as_ref()
                    .and_then(|next| next.member_by_id(*member));
                let object = next.and_then(|member| member.source.sha256());
                self.objects.extend(object);
                true
            }
            (Prepare::BuildRoot { build, .. }, 0) => {
                let number = self.counted.len();
                self.counted.push(Vec::new());
                let built = Built {
                    number,
                    ..Built::default()
                };
                let former = self.pins(plan.dir).builds.insert(*build, built);
                assert!(former.is_none(), "build {build} is built twice");
                false
            }
            (Prepare::BuildRoot { build, root }, _) => {
                self.pins(plan.dir).built(*build).root = Some(root.clone());
                true
            }
            (
                Prepare::FillSlot {
                    build,
                    slot,
                    member,
                    code,
                    engine: _,
                },
                _,
            ) => {
                let pins = self.pins(plan.dir);
                assert!(pins.members[member].codes.contains(code), "no such code");
                let former = pins.built(*build).slots.insert(*slot, (*member, *code));
                assert!(former.is_none(), "slot {slot} is filled twice");
                true
            }
            (Prepare::WriteRegistry { build }, _) => {
                let is_draft = matches!(plan.commit, Commit::Registry { .. });
                let pins = self.pins(plan.dir);
                assert_eq!(
                    pins.link == Some(*build),
                    is_draft,
                    "what runs is written over"
                );
                let built = pins.built(*build);
                let registry = if is_draft {
                    &mut built.draft
                } else {
                    &mut built.registry
                };
                registry.clone_from(&plan.next);
                true
            }
        }
    }
}
