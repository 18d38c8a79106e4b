//! Tries what the engines need.

use std::error::Error;
use std::io;
use std::os::fd::AsFd;

use dispatcher_abi::Verdict;
use planner::RootProgram;
use protocol::with_causes;

use super::root::{self, Template};
use crate::bpf;
use crate::object::ObjectError;

/// The smallest packet that `BPF_PROG_TEST_RUN` takes.
const PACKET: [u8; 64] = [0; 64];

/// Loads a root, tail-calls a member in its slot, and compares the verdict.
pub fn probe_tailcall() -> Result<(), String> {
    /// Not the root's own PASS, and not a miss.
    const SAID: u32 = Verdict::Tx as u32;

    let built =
        root::build(&root::one_slot(RootProgram::DISPATCHER)).map_err(|error| no_root(&error))?;
    let jump = built.jump.as_ref().ok_or("the root has no program array")?;
    let member = bpf::xdp_constant(SAID, 0).map_err(|error| refused("load", &error))?;
    bpf::map_update_fd(jump.as_fd(), 0, member.as_fd())
        .map_err(|error| refused("the update of a program array", &error))?;
    match test_run(&built)? {
        SAID => Ok(()),
        other => Err(format!(
            "a tail call in a subprogram does not come back: verdict {other} instead of {SAID}"
        )),
    }
}

/// Loads an extension, puts it into the slots of both kinds of roots, one after the other, and
/// compares the verdicts. Gives what members' extensions are loaded against.
pub fn probe_freplace() -> Result<Template, String> {
    /// What the extension says. A slot that it did not replace is missed: ABORTED.
    const SAID: u32 = Verdict::Pass as u32;

    let template = Template::load().map_err(|error| no_root(&error))?;
    let extension = template
        .extension()
        .map_err(|error| refused("load", &error))?;
    for kind in [RootProgram::EXT[0], RootProgram::DISPATCHER] {
        let built = root::build(&root::one_slot(kind)).map_err(|error| no_root(&error))?;
        let slot = root::slot_type(kind, 0).ok_or("the root has no slot")?;
        let _link = bpf::freplace(extension.as_fd(), built.root.as_fd(), slot)
            .map_err(|error| refused("attach", &error))?;
        let verdict = test_run(&built)?;
        if verdict != SAID {
            return Err(format!(
                "an extension in a slot of {kind} does not run: verdict {verdict} instead of {SAID}"
            ));
        }
    }
    Ok(template)
}

/// Whether programs may take packets of several buffers (Linux 5.18). Where they may not, one that
/// could is loaded like any other.
pub fn probe_frags() -> bool {
    bpf::xdp_constant(Verdict::Pass as u32, bpf::XDP_HAS_FRAGS).is_ok()
}

fn test_run(built: &root::Built) -> Result<u32, String> {
    bpf::test_run(built.root.as_fd(), &PACKET).map_err(|error| refused("a test run", &error))
}

/// What failed, with the errno's name where there is one: it is what people search for.
fn refused(what: &str, error: &(dyn Error + 'static)) -> String {
    let system = error
        .downcast_ref::<io::Error>()
        .or_else(|| error.source()?.downcast_ref());
    let why = match system.and_then(io::Error::raw_os_error) {
        Some(errno) => format!("{:?}", nix::errno::Errno::from_raw(errno)),
        None => with_causes(error),
    };
    format!("refused by the kernel at {what} ({why})")
}

fn no_root(error: &ObjectError) -> String {
    let reason = with_causes(error);
    format!("the root program is refused at load: {reason}")
}
