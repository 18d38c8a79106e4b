//! A plan in words, for tests: what people read is made by the client.

use crate::{Cleanup, Commit, MemberId, Plan, Prepare, Root, Slot};

impl Plan {
    /// One line for each step, in order.
    pub(crate) fn describe(&self) -> Vec<String> {
        let prepare = self.prepare.iter().map(|step| self.prepare_line(step));
        let cleanup = self.cleanup.iter().map(|step| self.cleanup_line(step));
        prepare.chain([self.commit_line()]).chain(cleanup).collect()
    }

    fn prepare_line(&self, step: &Prepare) -> String {
        match step {
            Prepare::PinCode { member, code, .. } => {
                let name = self.name(*member);
                if self.reloads.iter().any(|reloaded| reloaded == name) {
                    format!("aside: pin code {code} of {name}, loaded again with its maps")
                } else {
                    format!("aside: pin code {code} of {name}")
                }
            }
            Prepare::BuildRoot { build, root } => {
                let Root {
                    program,
                    attach: _,
                    frags,
                    slots,
                    final_verdict,
                    counters,
                } = root;
                let on = |is_on: bool| if is_on { "on" } else { "off" };
                format!(
                    "aside: build build {build} from {program}: slots {}, final verdict \
                     {final_verdict}, counters {}, frags {}",
                    slots.len(),
                    on(*counters),
                    on(*frags),
                )
            }
            Prepare::FillSlot {
                slot,
                member,
                engine,
                ..
            } => {
                format!(
                    "aside: put {} into slot {slot} by {engine}",
                    self.name(*member)
                )
            }
            Prepare::WriteRegistry { build } => {
                format!("aside: write down the members of build {build}")
            }
        }
    }

    /// The one line of a step that packets see starts with `commit`.
    fn commit_line(&self) -> String {
        let interface = &self.interface;
        match self.commit {
            Commit::Attach { build, mode } => {
                format!("commit: attach build {build} to {interface} in {mode} mode")
            }
            Commit::Swap { from, to } => {
                format!("commit: swap build {from} of {interface} for {to}")
            }
            Commit::Reattach {
                from,
                to,
                old_mode,
                mode,
            } => format!(
                "commit: detach build {from} from {interface} ({old_mode} mode) and attach {to} \
                 in {mode} mode: in between, packets meet no program"
            ),
            Commit::Detach { build } => {
                format!("commit: detach build {build} from {interface}")
            }
            Commit::Registry { build } => format!(
                "commit: put the new list of members in place (build {build} of \
                 {interface} runs on)"
            ),
        }
    }

    fn cleanup_line(&self, step: &Cleanup) -> String {
        match step {
            Cleanup::Grace => "cleanup: wait for packets that are still inside".into(),
            Cleanup::FoldCounters { build, members } => format!(
                "cleanup: add the counts of build {build} to the totals of {}",
                self.names(members),
            ),
            Cleanup::RetireBuild { build } => {
                format!("cleanup: free build {build}")
            }
            Cleanup::RemoveDraft { build } => {
                format!("cleanup: free what was written for build {build} and not used")
            }
            Cleanup::RemoveCode { member, code } => {
                format!("cleanup: free code {code} of {}", self.name(*member))
            }
            Cleanup::RemoveMember { member } => {
                format!("cleanup: free {} and its maps", self.name(*member))
            }
            Cleanup::RemoveChain => format!("cleanup: free the chain of {}", self.interface),
        }
    }

    fn names(&self, members: &[(Slot, MemberId)]) -> String {
        let names: Vec<_> = members.iter().map(|(_, id)| self.name(*id)).collect();
        names.join(", ")
    }

    fn name(&self, id: MemberId) -> &str {
        let next = self.next.iter().flat_map(|chain| &chain.members);
        next.map(|member| (member.id, &member.name))
            .chain(self.removes.iter().map(|(id, name)| (*id, name)))
            .find(|(known, _)| *known == id)
            .map_or("an unknown member", |(_, name)| name)
    }
}
