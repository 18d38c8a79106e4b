//! Builds a generation: a root program with its own program array and counters.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::LazyLock;

use dispatcher_abi::{
    CONFIG_SYMBOL, COUNTERS_MAP, FinalVerdict, JUMP_MAP, OnMiss, ROOT_PROGRAM, RootConfig, SLOTS,
    SlotConfig,
};
use planner::Root;

use crate::object::{GlobalValue, LoadRequest, Object, ObjectError, load};

/// The root's object, as `cargo xtask ebpf` built it.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("EBPF_OBJECT"));

/// Looked at once: every generation is loaded from it.
static INSPECTED: LazyLock<Object> =
    LazyLock::new(|| Object::inspect(OBJECT.to_vec()).expect("the root object is our own"));

/// A root that is loaded and not attached.
#[derive(Debug)]
pub(super) struct Built {
    pub root: OwnedFd,
    pub jump: OwnedFd,
    pub counters: OwnedFd,
}

/// Loads a root, by the same way that members are loaded.
pub(super) fn build(root: &Root) -> Result<Built, ObjectError> {
    let config = GlobalValue::Bytes(config(root).bytes().collect());
    let loaded = load(
        &INSPECTED,
        &LoadRequest {
            program: Some(ROOT_PROGRAM),
            map_sizes: &[],
            globals: &[(CONFIG_SYMBOL.to_owned(), config)],
            tail_calls: &[],
            trusted: true,
            existing: &[],
        },
    )?;
    let mut maps: BTreeMap<String, OwnedFd> = loaded
        .maps
        .into_iter()
        .map(|map| (map.name, map.fd))
        .collect();
    let mut map = |name| maps.remove(name).expect("the root object is our own");
    Ok(Built {
        root: loaded.program,
        jump: map(JUMP_MAP),
        counters: map(COUNTERS_MAP),
    })
}

/// What the root is told, in its own layout.
fn config(root: &Root) -> RootConfig<SLOTS> {
    let mut config = RootConfig::EMPTY;
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
            reserved: 0,
        };
    }
    let occupied = &config.slots[..root.slots.len()];
    config.all_plain = u8::from(occupied.iter().all(|slot| *slot == SlotConfig::PLAIN));
    config
}
