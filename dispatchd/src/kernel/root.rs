//! Loads the root of a build, with its configuration: a root program with its own counters, and its own program array if its
//! members run by tail call.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::LazyLock;

use dispatcher_abi::{
    CONFIG_SYMBOL, COUNTERS_MAP, EXT_ROOT_PROGRAM, FinalVerdict, JUMP_MAP, OnMiss, ROOT_PROGRAM,
    RootConfig, SLOTS, SlotConfig, VerdictMask,
};
use planner::{AttachType, Root, RootProgram, RootSlot};

use crate::object::{
    Existing, GlobalValue, LoadAs, LoadRequest, Loaded, Object, ObjectError, SlotFunction, load,
};

/// A root's object, as `cargo xtask ebpf` built it.
struct RootObject {
    object: Object,
    program: &'static str,
    /// The types of its slots' functions, slot 0 first.
    slots: Vec<u32>,
}

/// Looked at once: every build is loaded from one of them.
static DISPATCHER: LazyLock<RootObject> = LazyLock::new(|| {
    let bytes = include_bytes!(env!("DISPATCHER_OBJECT"));
    RootObject::inspect(bytes, RootProgram::DISPATCHER)
});
static EXT_16: LazyLock<RootObject> = LazyLock::new(|| {
    let bytes = include_bytes!(env!("DISPATCHER_EXT_16_OBJECT"));
    RootObject::inspect(bytes, RootProgram::EXT[0])
});
static EXT_64: LazyLock<RootObject> = LazyLock::new(|| {
    let bytes = include_bytes!(env!("DISPATCHER_EXT_64_OBJECT"));
    RootObject::inspect(bytes, RootProgram::EXT[1])
});
static EXT_128: LazyLock<RootObject> = LazyLock::new(|| {
    let bytes = include_bytes!(env!("DISPATCHER_EXT_128_OBJECT"));
    RootObject::inspect(bytes, RootProgram::EXT[2])
});

impl RootObject {
    fn inspect(bytes: &[u8], program: RootProgram) -> Self {
        let object = Object::inspect(bytes.to_vec()).expect("a root object is our own");
        let slots = (0..program.slots)
            .map(|slot| object.function_type(&format!("slot_{slot}")))
            .collect::<Option<Vec<_>>>();
        Self {
            object,
            program: if program.tail_calls {
                ROOT_PROGRAM
            } else {
                EXT_ROOT_PROGRAM
            },
            slots: slots.expect("a root object has its slots"),
        }
    }

    fn of(program: RootProgram) -> &'static Self {
        match (program.tail_calls, program.slots) {
            (true, _) => &DISPATCHER,
            (false, ..=16) => &EXT_16,
            (false, 17..=64) => &EXT_64,
            (false, 65..) => &EXT_128,
        }
    }

    fn load(&self, config: Vec<u8>, target: LoadAs<'_>) -> Result<Loaded, ObjectError> {
        load(
            &self.object,
            &LoadRequest {
                program: Some(self.program),
                map_sizes: &[],
                globals: &[(CONFIG_SYMBOL.to_owned(), GlobalValue::Bytes(config))],
                tail_calls: &[],
                trusted: true,
                existing: Existing::Shared(&[]),
                target,
            },
        )
    }
}

/// A root that is loaded and not attached.
#[derive(Debug)]
pub(super) struct Built {
    pub root: OwnedFd,
    /// The tail-called members; none in a root that can't tail-call.
    pub jump: Option<OwnedFd>,
    pub counters: OwnedFd,
}

/// Loads a root, by the same way that members are loaded.
pub(super) fn build(root: &Root) -> Result<Built, ObjectError> {
    let target = LoadAs {
        extends: None,
        frags: root.frags,
    };
    let loaded = RootObject::of(root.program).load(config(root), target)?;
    let mut maps: BTreeMap<String, OwnedFd> = loaded
        .maps
        .into_iter()
        .map(|map| (map.name, map.fd))
        .collect();
    Ok(Built {
        root: loaded.program,
        jump: maps.remove(JUMP_MAP),
        counters: maps
            .remove(COUNTERS_MAP)
            .expect("the root object is our own"),
    })
}

/// The type of a slot's function, by which an extension names it.
pub(super) fn slot_type(program: RootProgram, slot: u16) -> Option<u32> {
    RootObject::of(program)
        .slots
        .get(usize::from(slot))
        .copied()
}

/// What a root is told, in its own layout.
fn config(root: &Root) -> Vec<u8> {
    match (root.program.tail_calls, root.program.slots) {
        (true, _) => sized_config::<SLOTS>(root),
        (false, ..=16) => sized_config::<16>(root),
        (false, 17..=64) => sized_config::<64>(root),
        (false, 65..) => sized_config::<128>(root),
    }
}

fn sized_config<const N: usize>(root: &Root) -> Vec<u8> {
    let mut config = RootConfig::<N>::EMPTY;
    config.counters = u8::from(root.counters);
    config.final_verdict = match root.final_verdict {
        FinalVerdict::Pass => 0,
        FinalVerdict::Last => 1,
    };
    for (to, from) in config.slots.iter_mut().zip(&root.slots) {
        config.slot_count += 1;
        *to = SlotConfig {
            chain_call: from.chain_call.bits(),
            allowed: from.allowed.bits(),
            on_miss_continue: match from.on_miss {
                OnMiss::Abort => 0,
                OnMiss::Continue => 1,
            },
            next_stop: 0,
        };
    }
    config.bytes().collect()
}

/// A root with one slot that never runs: extensions are loaded against its slot, and attached to
/// the slots of other roots, which have the same prototype.
#[derive(Debug)]
pub struct Template {
    root: OwnedFd,
    slot: u32,
}

impl Template {
    pub(super) fn load() -> Result<Self, ObjectError> {
        let program = RootProgram::EXT[0];
        Ok(Self {
            root: build(&one_slot(program))?.root,
            slot: RootObject::of(program).slots[0],
        })
    }

    /// The function that an extension is loaded to take the place of.
    pub fn function(&self) -> SlotFunction<'_> {
        SlotFunction {
            root: self.root.as_fd(),
            type_id: self.slot,
        }
    }

    /// An extension that says PASS: a root without slots.
    pub(super) fn extension(&self) -> Result<OwnedFd, ObjectError> {
        let target = LoadAs {
            extends: Some(self.function()),
            frags: false,
        };
        let empty = RootConfig::<16>::EMPTY.bytes().collect();
        Ok(EXT_16.load(empty, target)?.program)
    }
}

/// This root with one occupied slot.
pub(super) fn one_slot(program: RootProgram) -> Root {
    Root {
        program,
        attach: AttachType::Xdp,
        frags: false,
        slots: vec![RootSlot {
            chain_call: VerdictMask::PASS,
            allowed: VerdictMask::ALL,
            on_miss: OnMiss::Abort,
        }],
        final_verdict: FinalVerdict::Pass,
        counters: false,
    }
}
