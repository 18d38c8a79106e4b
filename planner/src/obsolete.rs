//! What no packet needs any more, and what has to happen before it may be freed.
//!
//! Conditions, not a list of steps: what fails is tried again by itself, what comes later is merged,
//! and whatever the order of events no build goes before its packets have left it and its counts are
//! saved.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Build, Cleanup, CodeId, MemberId, Slot};

/// What is left of one chain's former builds, code and members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Obsolete {
    builds: BTreeMap<Build, Retired>,
    /// Live builds beside whose registry another one lies that was never put in its place.
    drafts: BTreeSet<Build>,
    codes: BTreeSet<(MemberId, CodeId)>,
    members: BTreeSet<MemberId>,
    /// The chain's directory goes too.
    whole: bool,
}

/// A build that no packet enters any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Retired {
    /// Packets may be inside still.
    inside: bool,
    /// Whose counts have to be saved, by slot; empty if none have or all are.
    counted: Vec<(Slot, MemberId)>,
}

impl Obsolete {
    /// What these steps free.
    pub fn of(steps: &[Cleanup]) -> Self {
        let mut obsolete = Self::default();
        // What comes before a grace period doesn't wait for it.
        let mut inside = false;
        for step in steps {
            match step {
                Cleanup::Grace => inside = true,
                Cleanup::FoldCounters { build, members } => {
                    let retired = obsolete.builds.entry(*build).or_default();
                    retired.counted.clone_from(members);
                    retired.inside = inside;
                }
                Cleanup::RetireBuild { build } => {
                    obsolete.builds.entry(*build).or_default().inside = inside;
                }
                Cleanup::RemoveDraft { build } => {
                    obsolete.drafts.insert(*build);
                }
                Cleanup::RemoveCode { member, code } => {
                    obsolete.codes.insert((*member, *code));
                }
                Cleanup::RemoveMember { member } => {
                    obsolete.members.insert(*member);
                }
                Cleanup::RemoveChain => obsolete.whole = true,
            }
        }
        obsolete
    }

    /// Packets may be inside of what it builds.
    pub(crate) fn met_packets(&mut self) {
        for retired in self.builds.values_mut() {
            retired.inside = true;
        }
    }

    /// Takes on what else is obsolete by now.
    pub fn merge(&mut self, other: Self) {
        for (build, retired) in other.builds {
            let known = self.builds.entry(build).or_default();
            known.inside |= retired.inside;
            if known.counted.is_empty() {
                known.counted = retired.counted;
            }
        }
        self.drafts.extend(other.drafts);
        self.codes.extend(other.codes);
        self.members.extend(other.members);
        self.whole |= other.whole;
    }

    /// Whether all of it is freed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The steps that may be carried out now.
    ///
    /// A grace period comes before all else that packets may be inside of. Counts are saved oldest
    /// first, since a total is stamped with the last build that was added to it; so a build whose
    /// counts can't be saved holds up the newer ones. Code goes when no former build is left that
    /// could hold it, and the chain's directory last.
    pub fn due(&self) -> Vec<Cleanup> {
        let mut due: Vec<Cleanup> = self
            .drafts
            .iter()
            .map(|build| Cleanup::RemoveDraft { build: *build })
            .collect();
        if self.builds.values().any(|retired| retired.inside) {
            due.push(Cleanup::Grace);
        }
        let oldest = self.builds.iter().find(|(_, it)| !it.counted.is_empty());
        if let Some((build, retired)) = oldest
            && !retired.inside
        {
            due.push(Cleanup::FoldCounters {
                build: *build,
                members: retired.counted.clone(),
            });
        }
        let done = self
            .builds
            .iter()
            .filter(|(_, it)| !it.inside && it.counted.is_empty());
        due.extend(done.map(|(build, _)| Cleanup::RetireBuild { build: *build }));
        if self.builds.is_empty() {
            // A member's directory holds its code.
            let codes = self
                .codes
                .iter()
                .filter(|(id, _)| !self.members.contains(id));
            due.extend(codes.map(|(member, code)| Cleanup::RemoveCode {
                member: *member,
                code: *code,
            }));
            due.extend(
                self.members
                    .iter()
                    .map(|member| Cleanup::RemoveMember { member: *member }),
            );
        }
        let is_last = self.builds.is_empty() && self.codes.is_empty() && self.members.is_empty();
        if self.whole && is_last {
            due.push(Cleanup::RemoveChain);
        }
        due
    }

    /// The newest code of a member that is left. No other code may have its number until it is gone.
    pub(crate) fn newest_code(&self, member: MemberId) -> Option<CodeId> {
        let mut of_member = self
            .codes
            .range((member, CodeId(0))..=(member, CodeId(u32::MAX)));
        of_member.next_back().map(|(_, code)| *code)
    }

    /// The newest build that packets may be inside of. Builds that are retired while a grace period
    /// passes need another one: they ran until then, so they are newer than all that ran before.
    pub fn newest(&self) -> Option<Build> {
        let mut newest_first = self.builds.iter().rev();
        newest_first
            .find(|(_, retired)| retired.inside)
            .map(|(build, _)| *build)
    }

    /// A step is done. `newest`: what [`newest`](Self::newest) was when it was begun.
    pub fn done(&mut self, step: &Cleanup, newest: Build) {
        match step {
            Cleanup::Grace => {
                for (_, retired) in self.builds.range_mut(..=newest) {
                    retired.inside = false;
                }
            }
            Cleanup::FoldCounters { build, .. } => {
                if let Some(retired) = self.builds.get_mut(build) {
                    retired.counted.clear();
                }
            }
            Cleanup::RetireBuild { build } => {
                self.builds.remove(build);
            }
            Cleanup::RemoveDraft { build } => {
                self.drafts.remove(build);
            }
            Cleanup::RemoveCode { member, code } => {
                self.codes.remove(&(*member, *code));
            }
            Cleanup::RemoveMember { member } => {
                self.members.remove(member);
                self.codes.retain(|(of, _)| of != member);
            }
            // The drafts lay in it.
            Cleanup::RemoveChain => *self = Self::default(),
        }
    }
}
