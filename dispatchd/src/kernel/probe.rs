//! Tries what the engines need.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use aya::EbpfLoader;
use aya::programs::{Extension, ProgramError, ProgramFd};
use dispatcher_abi::{FinalVerdict, OnMiss, ROOT_PROGRAM, Verdict, VerdictMask};
use planner::{Root, RootSlot};

use super::root;
use crate::bpf;
use crate::translate;

/// What a member says of the probe's packet, and so what the root must say: not the root's own
/// PASS, and not a miss.
const SAID: u32 = Verdict::Tx as u32;
/// The smallest packet that `BPF_PROG_TEST_RUN` takes.
const PACKET: [u8; 64] = [0; 64];

/// Loads a root, tail-calls a member in its slot, and compares the verdict.
pub fn probe_tailcall() -> Result<(), String> {
    let built = one_slot()?;
    let member = member().map_err(|error| format!("an XDP program is refused at load: {error}"))?;
    bpf::map_update_fd(built.jump.as_fd(), 0, member.as_fd())
        .map_err(|error| format!("a program array refuses a member: {error}"))?;
    let verdict = bpf::test_run(built.root.as_fd(), &PACKET)
        .map_err(|error| format!("a test run is refused: {error}"))?;
    if verdict == SAID {
        Ok(())
    } else {
        Err(format!(
            "a tail call in a subprogram does not come back: verdict {verdict} instead of {SAID}"
        ))
    }
}

/// Loads a root and an extension for its slot.
pub fn probe_freplace() -> Result<(), String> {
    let built = one_slot()?;
    match load_extension(&built.root) {
        Ok(()) => Err("not used by this version, though the kernel takes it at load".to_owned()),
        Err(error) => Err(format!(
            "the kernel refuses extension programs at load ({error})"
        )),
    }
}

fn one_slot() -> Result<root::Built, String> {
    let built = root::build(&Root {
        slots: vec![RootSlot {
            chain_call: VerdictMask::PASS,
            allowed: VerdictMask::ALL,
            on_miss: OnMiss::Abort,
        }],
        final_verdict: FinalVerdict::Pass,
        counters: false,
    });
    built.map_err(|error| {
        let reason = translate::chain(&error);
        format!("the root program is refused at load: {reason}")
    })
}

/// An XDP program that says [`SAID`].
fn member() -> io::Result<OwnedFd> {
    bpf::xdp_constant(SAID)
}

/// Loads a root's own function, which has a slot's prototype, in the place of another root's slot.
fn load_extension(root: &OwnedFd) -> Result<(), String> {
    let id = bpf::program_id(root.as_fd()).map_err(|error| error.to_string())?;
    let info = aya::programs::loaded_programs()
        .filter_map(Result::ok)
        .find(|info| info.id() == id)
        .ok_or("the root program is not listed by the kernel")?;
    let target: ProgramFd = info.fd().map_err(|error| error.to_string())?;
    let mut object = EbpfLoader::new()
        .btf(None)
        .extension(ROOT_PROGRAM)
        .load(root::OBJECT)
        .map_err(|error| error.to_string())?;
    let extension: &mut Extension = object
        .program_mut(ROOT_PROGRAM)
        .ok_or("the root object has no program")?
        .try_into()
        .map_err(|error: ProgramError| error.to_string())?;
    extension
        .load(target, "slot_0")
        .map_err(|error| errno_name(&error))
}

/// The errno's name where there is one: it is what people search for.
fn errno_name(error: &ProgramError) -> String {
    if let ProgramError::LoadError { io_error, .. } = error
        && let Some(errno) = io_error.raw_os_error()
    {
        return format!("{:?}", nix::errno::Errno::from_raw(errno));
    }
    error.to_string()
}
