//! A child of the loader: one conversation, then it ends. It looks at an object or loads a program of
//! it, which is all that is ever done with a stranger's bytes.

use std::os::fd::{AsFd, OwnedFd};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use protocol::OBJECT_BYTES_MAX;

use super::confine::{self, Confinement};
use super::wire::{self, Answer, Facts, Fit, HandOver, Inspected, Load, Patience, Request};
use crate::bug;
use crate::object::{
    self, Existing, ExistingMap, LoadAs, LoadRequest, Object, ObjectError, SlotFunction,
};

/// Waits for its conversation, has it, and ends.
pub(super) fn run(socket: OwnedFd) -> ! {
    // What a panic says may be a stranger's words: it goes into the answer.
    panic::set_hook(Box::new(|_| {}));
    let code = converse(socket).map_or_else(|part| part as i32, |()| 0);
    std::process::exit(code)
}

/// The parts of a conversation, and the codes of a child that ends in one because it can't talk.
#[derive(Clone, Copy, Debug)]
enum Part {
    HandOver = 1,
    Request = 2,
    Answer = 3,
}

/// Whether a child that ended by this code had not seen its request, so that the object is not to
/// blame.
pub(super) const fn knew_of_no_request(code: i32) -> bool {
    code == Part::HandOver as i32 || code == Part::Request as i32
}

fn converse(socket: OwnedFd) -> Result<(), Part> {
    let for_ever = Patience::default();
    let (HandOver { confinement }, mut fds) =
        wire::receive(socket.as_fd(), for_ever).map_err(|_| Part::HandOver)?;
    let daemon = fds.pop().ok_or(Part::HandOver)?;
    drop((socket, fds));
    let (answer, fds) = match confine::confine(confinement) {
        Ok(()) => {
            let (request, fds) =
                wire::receive(daemon.as_fd(), for_ever).map_err(|_| Part::Request)?;
            answer(confinement, request, &fds)
        }
        Err(error) => (
            Answer::Failed(format!("it can't confine itself: {error}")),
            Vec::new(),
        ),
    };
    let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    wire::send(daemon.as_fd(), &answer, &fds, for_ever).map_err(|_| Part::Answer)
}

fn answer(confinement: Confinement, request: Request, fds: &[OwnedFd]) -> (Answer, Vec<OwnedFd>) {
    let shows_addresses = confinement.rights == confine::Rights::All;
    let work = AssertUnwindSafe(|| -> Result<_, ObjectError> {
        match request {
            Request::Inspect { program } => {
                let inspected = inspect(program.as_deref(), fds)?;
                Ok((Answer::Inspected(inspected), Vec::new()))
            }
            Request::Load(load) => {
                let (facts, fds) = self::load(*load, fds)?;
                Ok((Answer::Loaded(facts), fds))
            }
        }
    });
    match panic::catch_unwind(work) {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => (
            Answer::Refused(error.into_refused(shows_addresses)),
            Vec::new(),
        ),
        Err(panic) => (Answer::Failed(bug::said(&*panic).to_owned()), Vec::new()),
    }
}

fn read(fds: &[OwnedFd]) -> Result<Object, ObjectError> {
    let bytes = fds.first().map_or_else(Vec::new, |memfd| {
        // The daemon made it. Nothing is no object.
        protocol::memfd::read_sealed(memfd.as_fd(), OBJECT_BYTES_MAX).unwrap_or_default()
    });
    Object::inspect(Arc::new(bytes))
}

fn inspect(program: Option<&str>, fds: &[OwnedFd]) -> Result<Inspected, ObjectError> {
    let object = read(fds)?;
    let selected = object.select(program)?;
    let abilities = object.abilities(selected);
    Ok(Inspected {
        program: selected.name.clone(),
        frags: abilities.frags,
        fit: match abilities.obstacle {
            None => Fit::Fits,
            Some(planner::Obstacle::NoTypes) => Fit::NoTypes,
            Some(_) => Fit::Prototype,
        },
    })
}

fn load(load: Load, fds: &[OwnedFd]) -> Result<(Facts, Vec<OwnedFd>), ObjectError> {
    let object = read(fds)?;
    let mut others = fds.iter().skip(1).map(AsFd::as_fd);
    let extends = load.extends.and_then(|type_id| {
        let root = others.next()?;
        Some(SlotFunction { root, type_id })
    });
    let existing: Vec<ExistingMap<'_>> = load
        .existing
        .iter()
        .zip(others)
        .map(|(name, fd)| ExistingMap { name, fd })
        .collect();
    let tail_calls: Vec<_> = load.tail_calls.into_iter().map(Into::into).collect();
    let loaded = object::load(
        &object,
        &LoadRequest {
            program: Some(&load.program),
            map_sizes: &load.map_sizes,
            globals: &load.globals,
            tail_calls: &tail_calls,
            trusted: load.trusted,
            existing: if load.own {
                Existing::Own(&existing)
            } else {
                Existing::Shared(&existing)
            },
            target: LoadAs {
                extends,
                frags: load.frags,
            },
        },
    )?;
    let (names, mut maps): (Vec<_>, Vec<_>) = loaded
        .maps
        .into_iter()
        .map(|map| (map.name, map.fd))
        .unzip();
    maps.insert(0, loaded.program);
    let facts = Facts {
        maps: names,
        has_program_array: loaded.has_program_array,
        priority: loaded.priority,
        chain_call: loaded.chain_call.map(dispatcher_abi::VerdictMask::bits),
    };
    Ok((facts, maps))
}
