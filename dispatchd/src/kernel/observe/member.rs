//! One member's pins.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::Arc;

use planner::{Call, CodeId, MemberId, ObservedCode, ObservedMember, Pin, Presence};

use super::look::Look;
use crate::kernel::linux::{MemberFds, Staged};
use crate::kernel::published::MemberMap;
use crate::kernel::{pins, totals};

/// What a member's program is.
const PROGRAM_TYPES: [u32; 2] = [libbpf_sys::BPF_PROG_TYPE_XDP, libbpf_sys::BPF_PROG_TYPE_EXT];

/// What is pinned of a member, and its descriptors.
pub(super) fn read(look: &mut Look<'_>, member: MemberId) -> (ObservedMember, MemberFds) {
    let names = look.names(&Pin::Member(member));
    let mut codes = Vec::new();
    let mut opened = BTreeMap::new();
    for code in names.iter().filter_map(|name| pins::parse_code(name)) {
        let staged = read_code(look, member, code);
        codes.push(ObservedCode {
            code,
            has_program: staged.is_some(),
        });
        opened.extend(staged.map(|staged| (code, staged)));
    }
    let pin = Pin::Totals(member);
    let map = look.open(&pin, |found| found.map(totals::is_shape));
    let next = look.open(&Pin::NextTotals(member), |found| found.map(|_| true));
    let observed = ObservedMember {
        member,
        totals: if map.is_some() {
            Presence::Pinned
        } else {
            Presence::Missing
        },
        has_next_totals: next.is_some(),
        codes,
    };
    let totals = map.as_ref().and_then(|(map, _)| {
        let read = totals::read(map.as_fd());
        look.said(&pin, Call::BpfMapLookupElem, read)
    });
    let fds = MemberFds {
        totals_map: map.map(|(map, _)| map),
        totals: totals.unwrap_or_default(),
        codes: opened,
    };
    (observed, fds)
}

fn read_code(look: &mut Look<'_>, member: MemberId, code: CodeId) -> Option<Staged> {
    // Before the maps: whoever looks for what is wrong meets it first.
    look.names(&Pin::Code(member, code));
    let program = look.open(&Pin::Program(member, code), |found| {
        found.program(&PROGRAM_TYPES)
    });
    let mut maps = Vec::new();
    for file in look.names(&Pin::Maps(member, code)) {
        let file = file.to_string_lossy().into_owned();
        let name = pins::unescape(&file);
        let map = look.open(&Pin::Map(member, code, file), |found| found.map(|_| true));
        maps.extend(map.map(|(fd, info)| MemberMap {
            name,
            fd: Arc::new(fd),
            info,
        }));
    }
    Some(Staged {
        program: Arc::new(program?.0),
        maps: Arc::new(maps),
    })
}
