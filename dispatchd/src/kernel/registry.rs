//! A chain's metadata as it is kept in the kernel: a frozen array map with one element.
//!
//! The element is a [`header`] and a record in bincode. There is a module for each version of the
//! record that was ever written, with the way to the next one; what it says never changes. The
//! newest is what is written, and the only one that the planner's words are made of.
//!
//! A later version that only adds something says so in [`options`], at a record's end, and that this
//! version can read it. One that changes more has a record of its own.

mod header;
mod options;
mod v2;
mod v3;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use dispatcher_abi::is_member_name;
use planner::{Chain, Registry, RegistryFault, RootProgram};
use serde::Deserialize;

use self::header::Header;
use crate::bpf::{self, MapExtras, Shape};

/// The largest registry: 128 members with the longest names take a tenth of it.
const BYTES_MAX: usize = 1 << 20;

/// What an id, a build or a revision stays below: more than are ever given, so that one can always
/// be counted on from.
pub(super) const NUMBER_MAX: u64 = 1 << 62;

/// A chain, and what its registry says beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) chain: Chain,
    /// How many counts the build keeps for each slot.
    pub(super) counts: usize,
}

fn codec() -> impl bincode::config::Config {
    bincode::config::standard()
        .with_little_endian()
        .with_fixed_int_encoding()
        .with_limit::<BYTES_MAX>()
}

/// Whether a map has the shape of a registry.
pub(super) fn is_shape(shape: &Shape) -> bool {
    shape.map_type == libbpf_sys::BPF_MAP_TYPE_ARRAY
        && (shape.key_size, shape.max_entries) == (4, 1)
        && shape.value_size as usize <= header::BYTES + BYTES_MAX
}

/// Writes a chain, whose build keeps this many counts for each slot, into a new, frozen map.
pub(super) fn write(chain: &Chain, counts: usize) -> io::Result<OwnedFd> {
    let bytes = encode(chain, counts)?;
    let shape = Shape {
        map_type: libbpf_sys::BPF_MAP_TYPE_ARRAY,
        key_size: 4,
        value_size: u32::try_from(bytes.len()).map_err(io::Error::other)?,
        max_entries: 1,
        flags: 0,
    };
    let map = bpf::map_create(c"registry", &shape, MapExtras::default())?;
    bpf::map_update(map.as_fd(), 0, &bytes)?;
    bpf::map_freeze(map.as_fd())?;
    Ok(map)
}

/// Reads what any daemon wrote into a map of a registry's shape.
pub(super) fn read(map: BorrowedFd<'_>) -> io::Result<Result<Kept, RegistryFault>> {
    let mut bytes = vec![0; bpf::map_info(map)?.shape.value_size as usize];
    bpf::map_lookup(map, 0, &mut bytes)?;
    Ok(decode(&bytes))
}

/// The planner's word for what was read.
pub(super) fn observed(read: &Result<Kept, RegistryFault>) -> Registry {
    match read {
        Ok(kept) => Registry::Chain(Box::new(kept.chain.clone())),
        Err(fault) => Registry::Unreadable(fault.clone()),
    }
}

fn encode(chain: &Chain, counts: usize) -> io::Result<Vec<u8>> {
    let record = v3::ChainRecord::new(chain, u32::try_from(counts).map_err(io::Error::other)?);
    let body = bincode::serde::encode_to_vec(record, codec()).map_err(io::Error::other)?;
    if body.len() > BYTES_MAX {
        // What can't be read back must not be written.
        return Err(io::Error::other("the chain's names are too long to keep"));
    }
    let mut bytes = Header::written(u32::try_from(body.len()).map_err(io::Error::other)?);
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> Result<Kept, RegistryFault> {
    let (header, body) = Header::read(bytes)?;
    let record = match header {
        Header::V2 => v3::ChainRecord::from(record::<v2::ChainRecord>(body)?),
        Header::V3 => record(body)?,
    };
    let kept = Kept::try_from(record)?;
    if is_possible(&kept.chain) {
        Ok(kept)
    } else {
        Err(RegistryFault::Impossible)
    }
}

/// The record that all of these bytes are.
fn record<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, RegistryFault> {
    match bincode::serde::decode_from_slice(body, codec()) {
        Ok((record, len)) if len == body.len() => Ok(record),
        Ok(_) | Err(_) => Err(RegistryFault::Garbled),
    }
}

/// Whether the planner can go on from this chain: it believes what it is given.
fn is_possible(chain: &Chain) -> bool {
    let is_counted = |number: u64| number < NUMBER_MAX;
    let is_ordinary = |number: u64| number != 0 && is_counted(number);
    let numbers = is_counted(chain.id.0)
        && is_counted(chain.revision.0)
        && is_ordinary(chain.build.0)
        && is_counted(chain.last_build.0)
        && chain.build <= chain.last_build;
    let members = &chain.members;
    let ids: BTreeSet<_> = members.iter().map(|member| member.id).collect();
    let names: BTreeSet<_> = members.iter().map(|member| &member.name).collect();
    let each = members.iter().all(|member| {
        is_ordinary(member.id.0)
            && (1..u32::MAX / 2).contains(&member.code.0)
            && member.tie.unsigned_abs() < NUMBER_MAX
            // So that no sum of a chain's can overflow.
            && member.tail_depth < 1 << 24
            && is_member_name(&member.name)
    });
    numbers
        && each
        && members.len() <= usize::from(RootProgram::EXT[2].slots)
        && ids.len() == members.len()
        && names.len() == members.len()
        && members.is_sorted_by_key(|member| (member.priority, member.tie))
}
