//! Builds a generation: a root program with its own program array and counters.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use aya::EbpfLoader;
use aya::maps::Map;
use aya::programs::Xdp;
use dispatcher_abi::{
    CONFIG_SYMBOL, COUNTERS_MAP, FinalVerdict, JUMP_MAP, OnMiss, ROOT_PROGRAM, RootConfig, SLOTS,
    SlotConfig,
};
use planner::Root;

/// The root's object, as `cargo xtask ebpf` built it.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("EBPF_OBJECT"));

/// A root that is loaded and not attached.
#[derive(Debug)]
pub(super) struct Built {
    pub root: OwnedFd,
    pub jump: OwnedFd,
    pub counters: OwnedFd,
}

/// Loads a root.
pub(super) fn build(root: &Root) -> io::Result<Built> {
    let config: Vec<u8> = config(root).bytes().collect();
    let mut object = EbpfLoader::new()
        .btf(None)
        .override_global(CONFIG_SYMBOL, config.as_slice(), true)
        .load(OBJECT)
        .map_err(io::Error::other)?;
    let program: &mut Xdp = object
        .program_mut(ROOT_PROGRAM)
        .ok_or_else(|| io::Error::other("the root object has no program"))?
        .try_into()
        .map_err(io::Error::other)?;
    program.load().map_err(load_error)?;
    let root = program
        .fd()
        .map_err(io::Error::other)?
        .as_fd()
        .try_clone_to_owned()?;
    Ok(Built {
        root,
        jump: map(&object, JUMP_MAP)?,
        counters: map(&object, COUNTERS_MAP)?,
    })
}

fn map(object: &aya::Ebpf, name: &str) -> io::Result<OwnedFd> {
    let found = object.map(name);
    let Some(Map::ProgramArray(map) | Map::PerCpuArray(map)) = found else {
        return Err(io::Error::other(format!(
            "the root object has no map {name}"
        )));
    };
    map.fd().as_fd().try_clone_to_owned()
}

/// The errno where there is one, so that a full memory is told apart from a broken object.
fn load_error(error: aya::programs::ProgramError) -> io::Error {
    use aya::programs::ProgramError;
    if let ProgramError::LoadError { io_error, .. } = &error
        && let Some(errno) = io_error.raw_os_error()
    {
        return io::Error::from_raw_os_error(errno);
    }
    io::Error::other(error)
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
