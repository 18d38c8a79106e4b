//! What a child may have: time, memory and rights. A child confines itself before it reads its
//! request, and nothing of it can be taken back.

use std::io;

use nix::libc;
use rustix::process::{DumpableBehavior, Resource, Rlimit, getppid, getrlimit, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_keep_capabilities, set_no_new_privs,
};
use serde::{Deserialize, Serialize};

/// Address space: an object of 16 MiB is copied a few times, and the kernel's own types are there.
const ADDRESS_BYTES: u64 = 512 << 20;
/// Processor time in the code that reads objects, in milliseconds. Real objects take a few.
const OWN_MILLISECONDS: i64 = 1_500;
/// Processor time for looking at an object, in seconds.
const INSPECT_SECONDS: u64 = 2;
/// Processor time for a load, most of it the verifier's: a million instructions take a second or
/// two, and twenty times that in an emulated machine.
const LOAD_SECONDS: u64 = 40;
/// Descriptors: the maps of a share group, and those that are made.
const DESCRIPTORS: u64 = 8192;
/// Bytes of a file that is written: of an answer in a memfd.
const FILE_BYTES: u64 = 64 << 20;
/// The group of those that have none.
const NO_GROUP: u32 = 65534;

/// What a child is for, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Confinement {
    /// The user that it acts for.
    pub(super) uid: u32,
    pub(super) rights: Rights,
}

/// What a child keeps of the daemon's rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Rights {
    /// None: it looks at an object.
    None,
    /// `CAP_BPF` and `CAP_NET_ADMIN`: it loads what a stranger brought. Without `CAP_PERFMON` the
    /// verifier keeps a program from reading the kernel's memory.
    Load,
    /// All: it loads for somebody that may read the kernel's memory.
    All,
}

impl Rights {
    fn capabilities(self) -> Option<CapabilitySet> {
        match self {
            Self::None => Some(CapabilitySet::empty()),
            Self::Load => Some(CapabilitySet::BPF | CapabilitySet::NET_ADMIN),
            Self::All => None,
        }
    }

    /// Processor time, in seconds.
    pub(super) const fn seconds(self) -> u64 {
        match self {
            Self::None => INSPECT_SECONDS,
            Self::Load | Self::All => LOAD_SECONDS,
        }
    }
}

/// Processor time for a child, in seconds: what is said here, or less if this process has less.
pub(super) fn seconds_of(rights: Rights) -> u64 {
    let own = getrlimit(Resource::Cpu).current;
    own.unwrap_or(u64::MAX).min(rights.seconds())
}

/// Confines the calling process, for good. It is killed when its parent ends.
pub(super) fn confine(confinement: Confinement) -> io::Result<()> {
    set_no_new_privs(true)?;
    if let Some(kept) = confinement.rights.capabilities() {
        let parent = getppid();
        give_up(kept, confinement.uid)?;
        // Whoever becomes another user is not killed with its parent any more.
        die_with_parent()?;
        if getppid() != parent {
            return Err(io::ErrorKind::NotConnected.into());
        }
    }
    // Nobody of the same user looks into it or steers it.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    limit(Resource::Core, 0)?;
    limit(Resource::Nofile, DESCRIPTORS)?;
    limit(Resource::Fsize, FILE_BYTES)?;
    limit(Resource::As, ADDRESS_BYTES)?;
    limit_processor_time(confinement.rights.seconds())?;
    limit_own_time()
}

/// So that nothing is left when the process that started this one ends.
pub(super) fn die_with_parent() -> rustix::io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
}

/// Sets a limit, or leaves a lower one that whoever started the daemon has set.
fn limit(resource: Resource, value: u64) -> io::Result<()> {
    let value = getrlimit(resource).maximum.unwrap_or(value).min(value);
    let limit = Rlimit {
        current: Some(value),
        maximum: Some(value),
    };
    Ok(setrlimit(resource, limit)?)
}

/// At the first limit it ends by a signal of its own (SIGXCPU), at the second by SIGKILL.
fn limit_processor_time(seconds: u64) -> io::Result<()> {
    let most = getrlimit(Resource::Cpu).maximum.unwrap_or(seconds + 1);
    let limit = Rlimit {
        current: Some(seconds.min(most.saturating_sub(1).max(1))),
        maximum: Some(most.min(seconds + 1)),
    };
    Ok(setrlimit(Resource::Cpu, limit)?)
}

/// The time that the process itself takes, without the kernel's on its behalf, ends it by SIGVTALRM.
#[expect(unsafe_code, reason = "no crate here has interval timers")]
fn limit_own_time() -> io::Result<()> {
    let limit = libc::itimerval {
        it_interval: libc::timeval {
            tv_sec: 0,
            tv_usec: 0,
        },
        it_value: libc::timeval {
            tv_sec: OWN_MILLISECONDS / 1000,
            tv_usec: OWN_MILLISECONDS % 1000 * 1000,
        },
    };
    // SAFETY: the struct outlives the call, and the old value is not asked for.
    let result =
        unsafe { libc::setitimer(libc::ITIMER_VIRTUAL, &raw const limit, std::ptr::null_mut()) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Becomes the user, and keeps these capabilities alone, in no set from which there would be more.
fn give_up(kept: CapabilitySet, uid: u32) -> io::Result<()> {
    let has = capabilities(None)?.permitted;
    if has.contains(CapabilitySet::SETPCAP) {
        for number in 0..u64::BITS {
            let capability = CapabilitySet::from_bits_retain(1 << number);
            if !kept.contains(capability)
                && remove_capability_from_bounding_set(capability).is_err()
            {
                // The kernel knows no more.
                break;
            }
        }
    }
    // As the user, even a child that its object took over reaches no file of the daemon's. A daemon
    // that can't become another user, or can't kill its processes then, keeps its own user's files
    // within reach, and nothing else.
    let needed = CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::KILL;
    if uid != 0 && has.contains(needed) {
        set_keep_capabilities(true)?;
        nix::unistd::setgroups(&[])?;
        let group = nix::unistd::Gid::from_raw(NO_GROUP);
        nix::unistd::setresgid(group, group, group)?;
        let user = nix::unistd::Uid::from_raw(uid);
        nix::unistd::setresuid(user, user, user)?;
        set_keep_capabilities(false)?;
    }
    clear_ambient_capability_set()?;
    set_capabilities(
        None,
        CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: CapabilitySet::empty(),
        },
    )?;
    Ok(())
}
