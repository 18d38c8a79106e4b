//! A plan in words.

use std::fmt;

use dispatcher_abi::{Engine, FinalVerdict, Mode};

use super::twin;

twin! {
    /// A step of a plan, in the order of its execution: everything before the one commit is built
    /// aside, where packets don't see it; what follows the commit only frees.
    Step {
        /// Aside: pins a member's code.
        PinCode {
            /// The member.
            member: String,
            /// Its code: 1 is what it was registered with, each replacement adds one.
            code: u32,
            /// It is the code that the member has, loaded again with its maps.
            reloaded: bool,
        },
        /// Aside: builds a root.
        BuildRoot {
            /// The build.
            build: u64,
            /// The root program.
            root: String,
            /// Its occupied slots.
            slots: u16,
            /// What it returns when every slot chained on.
            final_verdict: FinalVerdict,
            /// Whether it counts.
            counters: bool,
            /// Whether it takes packets of several buffers.
            frags: bool,
        },
        /// Aside: puts a member into a slot.
        FillSlot {
            /// The slot.
            slot: u16,
            /// The member.
            member: String,
            /// How the slot calls it.
            engine: Engine,
        },
        /// Aside: writes the members down.
        WriteRegistry {
            /// The build that they are the members of.
            build: u64,
        },
        /// Commit: attaches the first build.
        Attach {
            /// The build.
            build: u64,
            /// The interface.
            interface: String,
            /// The hook of the driver, the stack or the card.
            mode: Mode,
        },
        /// Commit: swaps one build for another.
        Swap {
            /// The interface.
            interface: String,
            /// The build that runs.
            from: u64,
            /// The build that runs afterwards.
            to: u64,
        },
        /// Commit: detaches, and attaches in another mode. In between packets meet no program.
        Reattach {
            /// The interface.
            interface: String,
            /// The build that runs.
            from: u64,
            /// The build that runs afterwards.
            to: u64,
            /// Where the hook was.
            old_mode: Mode,
            /// Where it will be.
            mode: Mode,
        },
        /// Commit: takes the chain off its interface.
        Detach {
            /// The build that runs.
            build: u64,
            /// The interface.
            interface: String,
        },
        /// Commit: puts a new list of members in place; the build runs on.
        ReplaceRegistry {
            /// The build.
            build: u64,
            /// The interface.
            interface: String,
        },
        /// Afterwards: waits for packets that are still inside what ran before.
        Grace,
        /// Afterwards: adds a build's counts to its members' totals.
        FoldCounters {
            /// The build.
            build: u64,
            /// The members.
            members: Vec<String>,
        },
        /// Afterwards: frees a build.
        RetireBuild {
            /// The build.
            build: u64,
        },
        /// Afterwards: frees code that was replaced.
        RemoveCode {
            /// The member.
            member: String,
            /// The code.
            code: u32,
        },
        /// Afterwards: frees a member and its maps.
        RemoveMember {
            /// The member.
            member: String,
        },
        /// Afterwards: frees what is left of the chain.
        RemoveChain {
            /// The interface.
            interface: String,
        },
    }
}

/// The one line of a step that packets see starts with `commit`.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PinCode {
                member,
                code,
                reloaded,
            } => {
                let how = if *reloaded {
                    ", loaded again with its maps"
                } else {
                    ""
                };
                write!(f, "aside: pin code {code} of {member}{how}")
            }
            Self::BuildRoot {
                build,
                root,
                slots,
                final_verdict,
                counters,
                frags,
            } => write!(
                f,
                "aside: build {build} from {root}: slots {slots}, final verdict {final_verdict}, \
                 counters {}, frags {}",
                on(*counters),
                on(*frags)
            ),
            Self::FillSlot {
                slot,
                member,
                engine,
            } => write!(f, "aside: put {member} into slot {slot} by {engine}"),
            Self::WriteRegistry { build } => {
                write!(f, "aside: write down the members of build {build}")
            }
            Self::Attach {
                build,
                interface,
                mode,
            } => write!(
                f,
                "commit: attach build {build} to {interface} in {mode} mode"
            ),
            Self::Swap {
                interface,
                from,
                to,
            } => write!(f, "commit: swap build {from} of {interface} for {to}"),
            Self::Reattach {
                interface,
                from,
                to,
                old_mode,
                mode,
            } => write!(
                f,
                "commit: detach build {from} from {interface} ({old_mode} mode) and attach {to} in \
                 {mode} mode: in between, packets meet no program"
            ),
            Self::Detach { build, interface } => {
                write!(f, "commit: detach build {build} from {interface}")
            }
            Self::ReplaceRegistry { build, interface } => write!(
                f,
                "commit: put the new list of members in place (build {build} of {interface} runs \
                 on)"
            ),
            Self::Grace => f.write_str("cleanup: wait for packets that are still inside"),
            Self::FoldCounters { build, members } => write!(
                f,
                "cleanup: add the counts of build {build} to the totals of {}",
                members.join(", ")
            ),
            Self::RetireBuild { build } => write!(f, "cleanup: free build {build}"),
            Self::RemoveCode { member, code } => write!(f, "cleanup: free code {code} of {member}"),
            Self::RemoveMember { member } => write!(f, "cleanup: free {member} and its maps"),
            Self::RemoveChain { interface } => {
                write!(f, "cleanup: free the chain of {interface}")
            }
            Self::Unknown(number) => write!(f, "a step that this client doesn't know ({number})"),
        }
    }
}

impl Step {
    /// Whether it is the one step that packets see.
    pub fn is_commit(&self) -> bool {
        matches!(
            self,
            Self::Attach { .. }
                | Self::Swap { .. }
                | Self::Reattach { .. }
                | Self::Detach { .. }
                | Self::ReplaceRegistry { .. }
        )
    }
}

fn on(is_on: bool) -> &'static str {
    if is_on { "on" } else { "off" }
}
