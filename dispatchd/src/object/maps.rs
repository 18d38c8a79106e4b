//! An object's maps: sized, shared or made, and filled with its variables.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use aya_obj::{EbpfSectionKind, Map};
use libbpf_sys as sys;
use planner::Call;

use super::elf::{Elf, Role};
use super::error::{MapFault, Names, ObjectError, Unsupported};
use super::globals::Patch;
use super::sys::kernel_name;
use super::{Existing, ExistingMap, LoadRequest};
use crate::bpf::{self, MapExtras, MapInfo, MapTypes, Shape};

/// Map definitions by their names.
pub(super) type Definitions = BTreeMap<String, Map>;

/// Maps that the kernel holds, by their names.
pub(super) type Made = BTreeMap<String, OwnedFd>;

/// A map that the object fills itself, which aya-obj would leave empty.
pub(super) fn check_no_static_values(elf: &Elf) -> Result<(), Unsupported> {
    let sections = elf.relocations.iter().filter(|(section, _)| {
        let section = elf.sections.get(**section);
        section.is_some_and(|section| section.role == Role::BtfMaps)
    });
    let mut places = sections.flat_map(|(section, relocations)| {
        relocations.keys().map(move |offset| (*section, *offset))
    });
    let Some((section, offset)) = places.next() else {
        return Ok(());
    };
    let map = elf.symbols.iter().find(|symbol| {
        let range = symbol.address..symbol.address.saturating_add(symbol.size);
        symbol.section == Some(section) && range.contains(&offset)
    });
    Err(Unsupported::StaticValues {
        map: map.map_or_else(String::new, |map| map.name.clone()),
    })
}

/// Every map is a descriptor of the daemon's, of which others need some too.
pub(super) fn check_count(maps: &Definitions) -> Result<(), Unsupported> {
    /// A program may use 64 (the kernel's `MAX_USED_MAPS`); its object may define more.
    const MAPS_MAX: usize = 256;

    match maps.len() {
        0..=MAPS_MAX => Ok(()),
        count => Err(Unsupported::TooManyMaps {
            count,
            max: MAPS_MAX,
        }),
    }
}

/// A map of maps is made after the example of an inner map.
pub(super) fn check_inner_maps(maps: &Definitions) -> Result<(), Unsupported> {
    let bare = |map: &Map| is_map_of_maps(map.map_type()) && map.inner().is_none();
    match maps.iter().find(|(_, map)| bare(map)) {
        Some((name, _)) => Err(Unsupported::InnerMap { map: name.clone() }),
        None => Ok(()),
    }
}

/// Gives the maps the sizes and the variables the values that the request asks for.
pub(super) fn adjust(
    maps: &mut Definitions,
    request: &LoadRequest<'_>,
    patches: &[Patch],
) -> Result<(), ObjectError> {
    // An empty section of variables is no map.
    maps.retain(|_, map| !holds_variables(map) || map.value_size() > 0);
    if let Existing::Own(existing) = request.existing {
        resize(maps, existing)?;
    }
    for (name, entries) in request.map_sizes {
        let map = find(maps, name)?;
        if holds_variables(map) {
            return Err(fault(name, MapFault::Variables));
        }
        map.set_max_entries(*entries);
    }
    for (name, map) in maps.iter_mut() {
        complete(map);
        if map.max_entries() == 0 && !is_sizeless(map.map_type()) {
            let map = name.clone();
            return Err(fault(name, MapFault::Unsized { map }));
        }
        let section = map.section_index();
        for patch in patches.iter().filter(|patch| patch.section == section) {
            let end = patch.offset.saturating_add(patch.bytes.len());
            if let Some(bytes) = map.data_mut().get_mut(patch.offset..end) {
                bytes.copy_from_slice(&patch.bytes);
            }
        }
    }
    for call in request.tail_calls {
        let map = find(maps, &call.map)?;
        if !is_program_array(map) {
            return Err(fault(&call.map, MapFault::NotAProgramArray));
        }
        let (entries, index) = (map.max_entries(), call.index);
        if index >= entries {
            return Err(fault(&call.map, MapFault::OutOfRange { entries, index }));
        }
    }
    Ok(())
}

/// Gives the maps the sizes that they were once made with.
fn resize(maps: &mut Definitions, existing: &[ExistingMap<'_>]) -> Result<(), ObjectError> {
    for candidate in existing {
        if let Some(map) = maps
            .get_mut(candidate.name)
            .filter(|map| !holds_variables(map))
        {
            map.set_max_entries(info(candidate)?.shape.max_entries);
        }
    }
    Ok(())
}

/// Has the kernel make the maps, but for those that are there already and may be used.
pub(super) fn make(
    maps: &Definitions,
    btf: Option<BorrowedFd<'_>>,
    existing: Existing<'_>,
    patches: &[Patch],
) -> Result<Made, ObjectError> {
    let mut made = Made::new();
    for (name, map) in maps {
        let fd = match find_existing(name, map, existing, patches)? {
            Some(found) => {
                let fd = found.fd.try_clone_to_owned();
                fd.map_err(|source| kernel(Call::DupFd, name, source))?
            }
            None => make_one(name, map, btf)?,
        };
        made.insert(name.clone(), fd);
    }
    Ok(made)
}

/// The map that is used instead of a new one.
fn find_existing<'a>(
    name: &str,
    map: &Map,
    existing: Existing<'a>,
    patches: &[Patch],
) -> Result<Option<&'a ExistingMap<'a>>, ObjectError> {
    let (Existing::Shared(candidates) | Existing::Own(candidates)) = existing;
    let found = candidates.iter().find(|candidate| candidate.name == name);
    let Some(found) = found.filter(|_| !is_program_array(map)) else {
        return Ok(None);
    };
    let fits = match existing {
        Existing::Own(_) => true,
        Existing::Shared(_) => {
            let section = map.section_index();
            let is_patched = patches.iter().any(|patch| patch.section == section);
            let is_constant = map.section_kind() == EbpfSectionKind::Rodata;
            !is_patched && !is_constant && info(found)?.shape == shape_of(map)
        }
    };
    Ok(fits.then_some(found))
}

fn info(existing: &ExistingMap<'_>) -> Result<MapInfo, ObjectError> {
    bpf::map_info(existing.fd)
        .map_err(|source| kernel(Call::BpfObjGetInfoByFd, existing.name, source))
}

fn make_one(name: &str, map: &Map, btf: Option<BorrowedFd<'_>>) -> Result<OwnedFd, ObjectError> {
    let inner = match map.inner() {
        Some(inner) if is_map_of_maps(map.map_type()) => Some(create(name, &inner, btf, None)?),
        _ => None,
    };
    let fd = create(name, map, btf, inner.as_ref().map(OwnedFd::as_fd))?;
    if holds_variables(map) && !map.data().is_empty() {
        bpf::map_update(fd.as_fd(), 0, map.data())
            .map_err(|source| kernel(Call::BpfMapUpdateElem, name, source))?;
    }
    if map.section_kind() == EbpfSectionKind::Rodata {
        bpf::map_freeze(fd.as_fd()).map_err(|source| kernel(Call::BpfMapFreeze, name, source))?;
    }
    Ok(fd)
}

fn create(
    name: &str,
    map: &Map,
    btf: Option<BorrowedFd<'_>>,
    inner: Option<BorrowedFd<'_>>,
) -> Result<OwnedFd, ObjectError> {
    let shape = shape_of(map);
    let kernel_name = kernel_name(name);
    let with = |types| {
        let extras = MapExtras {
            extra: map.map_extra(),
            types,
            inner,
        };
        bpf::map_create(&kernel_name, &shape, extras)
    };
    // As libbpf does: the types are a description, and some maps can't have them.
    let result = match btf.and_then(|btf| types_of(map, btf)) {
        Some(types) => with(Some(types)).or_else(|_| with(None)),
        None => with(None),
    };
    result.map_err(|error| {
        let entries = shape.max_entries;
        fault(name, MapFault::Refused { entries, error })
    })
}

fn types_of<'a>(map: &Map, btf: BorrowedFd<'a>) -> Option<MapTypes<'a>> {
    let Map::Btf(map) = map else {
        return None;
    };
    let (key, value) = (map.def.btf_key_type_id, map.def.btf_value_type_id);
    (value != 0).then_some(MapTypes { btf, key, value })
}

fn shape_of(map: &Map) -> Shape {
    Shape {
        map_type: map.map_type(),
        key_size: map.key_size(),
        value_size: map.value_size(),
        max_entries: map.max_entries(),
        flags: map.map_flags(),
    }
}

/// Fills in what objects leave to their loader.
fn complete(map: &mut Map) {
    match map.map_type() {
        sys::BPF_MAP_TYPE_PERF_EVENT_ARRAY => {
            let cpus = aya::util::nr_cpus()
                .ok()
                .and_then(|cpus| u32::try_from(cpus).ok());
            if let Some(cpus) = cpus
                && !(1..=cpus).contains(&map.max_entries())
            {
                map.set_max_entries(cpus);
            }
        }
        sys::BPF_MAP_TYPE_RINGBUF => {
            map.set_value_size(0);
            let page = u32::try_from(rustix::param::page_size()).unwrap_or(4096);
            let pages = map.max_entries().div_ceil(page);
            if let Some(bytes) = pages
                .checked_next_power_of_two()
                .and_then(|pages| pages.checked_mul(page))
                && pages > 0
            {
                map.set_max_entries(bytes);
            }
        }
        _ => {}
    }
}

pub(super) fn is_program_array(map: &Map) -> bool {
    map.map_type() == sys::BPF_MAP_TYPE_PROG_ARRAY
}

fn holds_variables(map: &Map) -> bool {
    matches!(
        map.section_kind(),
        EbpfSectionKind::Data | EbpfSectionKind::Rodata | EbpfSectionKind::Bss
    )
}

fn is_map_of_maps(map_type: u32) -> bool {
    matches!(
        map_type,
        sys::BPF_MAP_TYPE_ARRAY_OF_MAPS | sys::BPF_MAP_TYPE_HASH_OF_MAPS
    )
}

/// Maps that live in what they describe have no number of entries.
fn is_sizeless(map_type: u32) -> bool {
    matches!(
        map_type,
        sys::BPF_MAP_TYPE_SK_STORAGE
            | sys::BPF_MAP_TYPE_INODE_STORAGE
            | sys::BPF_MAP_TYPE_TASK_STORAGE
            | sys::BPF_MAP_TYPE_CGRP_STORAGE
    )
}

fn find<'a>(maps: &'a mut Definitions, name: &str) -> Result<&'a mut Map, ObjectError> {
    let known = Names(maps.keys().cloned().collect());
    maps.get_mut(name)
        .ok_or_else(|| fault(name, MapFault::Unknown { known }))
}

fn fault(map: &str, fault: MapFault) -> ObjectError {
    ObjectError::Map {
        map: map.to_owned(),
        fault,
    }
}

fn kernel(call: Call, map: &str, source: std::io::Error) -> ObjectError {
    ObjectError::Kernel {
        call,
        subject: format!("map {map}"),
        source,
    }
}
