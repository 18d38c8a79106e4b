//! The end-to-end tests' harness: namespaces, interfaces, packets and daemons that a test makes for
//! itself and that are gone when it ends.
//!
//! Each test has its own network namespaces, bpffs mount, socket and daemon, so tests can run beside
//! one another. Those that measure time or count what the whole host holds take their turn with
//! [`alone`].
//!
//! Every test that needs a kernel is ignored by a plain `cargo test`; `cargo xtask test` builds the
//! binaries that it starts and runs it. A test that can't run fails and says what is missing.

#![deny(unsafe_code)]

mod alone;
mod bpffs;
mod census;
mod cpu;
mod daemon;
mod deadline;
mod frame;
pub mod hostile;
mod huge_pages;
#[expect(unsafe_code, reason = "calls of libbpf")]
pub mod intruder;
mod kernel_version;
mod listing;
mod live_frames;
pub mod loader;
mod netns;
mod objects;
mod output;
mod pace;
mod pin;
mod pinnable;
#[expect(unsafe_code, reason = "memory that is shared with the kernel")]
mod raw_rings;
mod rig;
#[expect(unsafe_code, reason = "a socket option that no crate here has")]
mod socket_option;
mod strangers;
#[expect(unsafe_code, reason = "calls that no crate here wraps")]
mod sys;
mod user;
mod veth;

pub use alone::{Alone, alone};
pub use bpffs::BpfFs;
pub use census::Census;
pub use cpu::stay_on_this_cpu;
pub use daemon::{Daemon, binary, start_failure};
pub use deadline::{DEADLINE, grace_period, wait_until};
pub use frame::{Tap, frame, ipv4_udp};
pub use huge_pages::HugePages;
pub use kernel_version::{is_refused_for_age, is_too_old, kernel_is};
pub use listing::{
    Chain, Chains, Lifetime, Listed, Member, NetNsView, Owner, Packets, Pins, Unreadable, Wrong,
};
pub use live_frames::{LiveFrames, Signal, Stream};
pub use netns::NetNs;
pub use objects::{compile_objects, object, package_object, packages, scratch};
pub use output::Output;
pub use pace::{patience, some_of, volume};
pub use pin::{PinnedMap, PinnedProgram, link_id};
pub use pinnable::Pinnable;
pub use raw_rings::RawRings;
pub use rig::{Port, Rig};
pub use socket_option::socket_option;
pub use strangers::{Foreign, Strangers};
pub use user::{as_user, assert_powerless};
pub use veth::{End, Pair, PairOptions};
