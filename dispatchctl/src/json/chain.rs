//! `list`.

use libdispatch::Chain;
use serde::Serialize;

use super::unreadable::UnreadableView;
use super::{MemberView, document};

pub(crate) fn list(chains: &[Chain]) -> String {
    document(&ListView {
        chains: chains.iter().map(ChainView::from).collect(),
    })
}

#[derive(Serialize)]
struct ListView<'a> {
    chains: Vec<ChainView<'a>>,
}

#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, and a field of the document"
)]
#[derive(Serialize)]
struct ChainView<'a> {
    id: Option<u64>,
    interface: &'a str,
    ifindex: u32,
    netns: NetNsView<'a>,
    mode: Option<&'static str>,
    hook: Option<&'static str>,
    attached: bool,
    looked_ms_ago: Option<u64>,
    hook_program: Option<HookProgramView<'a>>,
    parked: bool,
    generation: u64,
    build: u64,
    pending: Option<PendingView>,
    pins: &'a str,
    unreadable: Option<UnreadableView<'a>>,
    final_verdict: Option<&'static str>,
    counters: bool,
    frags: bool,
    members: Vec<MemberView<'a>>,
}

impl<'a> From<&'a Chain> for ChainView<'a> {
    fn from(chain: &'a Chain) -> Self {
        Self {
            id: chain.id,
            interface: &chain.interface,
            ifindex: chain.ifindex,
            netns: NetNsView {
                cookie: chain.netns.cookie,
                name: chain.netns.name.as_deref(),
            },
            mode: chain.mode.map(libdispatch::Mode::name),
            hook: chain.hook.map(libdispatch::Hook::name),
            attached: chain.attached,
            looked_ms_ago: chain.looked_ms_ago,
            hook_program: chain.hook_program.as_ref().map(|program| HookProgramView {
                id: program.id,
                name: &program.name,
            }),
            parked: chain.parked,
            generation: chain.revision,
            build: chain.build,
            pending: chain.pending.map(|pending| PendingView {
                deadline_s: pending.deadline_s,
                reverts_to: pending.reverts_to,
            }),
            pins: &chain.pins,
            unreadable: chain.unreadable.as_ref().map(UnreadableView::from),
            final_verdict: chain.final_verdict.map(libdispatch::FinalVerdict::name),
            counters: chain.counters,
            frags: chain.frags,
            members: chain.members.iter().map(MemberView::from).collect(),
        }
    }
}

#[derive(Serialize)]
struct NetNsView<'a> {
    cookie: u64,
    name: Option<&'a str>,
}

#[derive(Serialize)]
struct HookProgramView<'a> {
    id: u32,
    name: &'a str,
}

#[derive(Serialize)]
struct PendingView {
    deadline_s: u64,
    reverts_to: u64,
}
