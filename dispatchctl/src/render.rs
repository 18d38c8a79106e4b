//! What the commands print for people. Pure; everything that others named is escaped.

mod sockets;
mod title;

use libdispatch::{
    Chain, Count, EngineProbe, Lifetime, MapShape, Member, MemberDetail, MemberState, Owner,
    SlotCounters, Status, VerdictMask, escape,
};

use crate::{
    changing::ChangedOn,
    digest::hex,
    map_type,
    table::{Align, table},
};

pub(crate) fn status(status: &Status) -> String {
    format!(
        "dispatchd {}, protocol {}, up {}\n\
         freplace  {}\n\
         tailcall  {}\n\
         chains    {}\n\
         members   {}\n",
        escape(&status.version),
        status.protocol,
        uptime(status.uptime_s),
        engine(&status.freplace),
        engine(&status.tailcall),
        status.chains,
        status.members,
    ) + &warnings(status)
}

fn warnings(status: &Status) -> String {
    let warnings = status.warnings.iter();
    warnings.fold(String::new(), |text, warning| {
        text + "warning   " + &escape(&warning.to_string()) + "\n"
    })
}

fn uptime(seconds: u64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
    match days {
        0 => format!("{hours}:{minutes:02}:{seconds:02}"),
        days => format!("{days} d {hours}:{minutes:02}:{seconds:02}"),
    }
}

fn engine(probe: &EngineProbe) -> String {
    if probe.available {
        return "available".to_owned();
    }
    let Some(reason) = &probe.reason else {
        return "refused: no reason given".to_owned();
    };
    let reason = reason.to_string();
    let reason = reason.strip_prefix("refused ").unwrap_or(&reason);
    format!("refused: {}", escape(reason))
}

/// One block for each interface.
pub(crate) fn list(chains: &[Chain]) -> String {
    if chains.is_empty() {
        return "no chain\n".to_owned();
    }
    // Equal interface names in several namespaces have to be told apart.
    let several = chains
        .iter()
        .any(|chain| chain.netns.cookie != chains[0].netns.cookie);
    let blocks: Vec<_> = chains.iter().map(|chain| block(chain, several)).collect();
    blocks.join("\n")
}

fn block(chain: &Chain, several_namespaces: bool) -> String {
    title::title(chain, several_namespaces) + &members(chain)
}

fn members(chain: &Chain) -> String {
    if chain.members.is_empty() {
        return String::new();
    }
    // Nearly always everything is allowed; then the column says nothing.
    let restricted = chain
        .members
        .iter()
        .any(|member| member.allowed != VerdictMask::ALL);
    let mut columns = vec![
        ("Slot", Align::Right),
        ("Prio", Align::Right),
        ("Name", Align::Left),
        ("Program", Align::Left),
        ("Id", Align::Right),
        ("Engine", Align::Left),
        ("Chain-call", Align::Left),
        ("Owner", Align::Left),
        ("Lifetime", Align::Left),
        ("Packets", Align::Left),
    ];
    if restricted {
        columns.insert(7, ("Allowed", Align::Left));
    }
    let rows: Vec<_> = chain
        .members
        .iter()
        .map(|member| {
            let mut row = vec![
                or_dash(member.slot),
                priority(member),
                escape(&member.name).into_owned(),
                escape(&member.program).into_owned(),
                or_dash(member.program_id),
                member.engine.to_string(),
                verdicts(member.chain_call),
                owner(&member.owner),
                lifetime(member),
                packets(&member.packets, chain.counters),
            ];
            if restricted {
                row.insert(7, verdicts(member.allowed));
            }
            row
        })
        .collect();
    table("  ", &columns, &rows) + &reasons(chain)
}

/// Why members run by tail call where the kernel has freplace.
fn reasons(chain: &Chain) -> String {
    let reasons = chain.members.iter().filter_map(|member| {
        let reason = member.engine_reason.as_ref()?;
        let name = escape(&member.name);
        Some(format!("  {name} runs by tail call: {reason}\n"))
    });
    reasons.collect()
}

fn or_dash(number: Option<impl ToString>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

/// The number that explains the order, and the one that was asked for if it is another.
fn priority(member: &Member) -> String {
    if member.priority == member.requested_priority {
        member.priority.to_string()
    } else {
        format!("({}) {}", member.requested_priority, member.priority)
    }
}

fn verdicts(mask: VerdictMask) -> String {
    if mask == VerdictMask::ALL {
        "all".to_owned()
    } else {
        mask.to_string()
    }
}

fn owner(owner: &Owner) -> String {
    format!("{}[{}] uid {}", escape(&owner.client), owner.pid, owner.uid)
}

/// `kept`, or what is not as usual: `attached, lingering`.
fn lifetime(member: &Member) -> String {
    if member.state == MemberState::Running {
        member.lifetime.to_string()
    } else {
        format!("{}, {}", member.lifetime, member.state.name())
    }
}

/// The kinds that there were: `pass 120 drop 3`.
fn packets(packets: &SlotCounters, counted: bool) -> String {
    let kinds: Vec<_> = Count::ALL
        .into_iter()
        .filter(|kind| packets.get(*kind) > 0)
        .map(|kind| format!("{} {}", kind.name(), packets.get(kind)))
        .collect();
    match (kinds.is_empty(), counted) {
        (true, true) => "none".to_owned(),
        (true, false) => "not counted".to_owned(),
        (false, true) => kinds.join(" "),
        (false, false) => format!("{} (no longer counted)", kinds.join(" ")),
    }
}

pub(crate) fn show(interface: &str, chain: Option<&Chain>, detail: &MemberDetail) -> String {
    let member = &detail.member;
    let mut lines = vec![format!(
        "{} on {}\n",
        escape(&member.name),
        escape(interface)
    )];
    let mut line = |key: &str, value: &str| lines.push(format!("  {key:<14}{value}\n"));
    line("slot", &or_dash(member.slot));
    line("state", member.state.name());
    line("program", &escape(&member.program));
    line("program id", &or_dash(member.program_id));
    line("engine", &engine_and_reason(member));
    line("priority", &priority_asked(member));
    line("chain-call", &verdicts(member.chain_call));
    line("allowed", &verdicts(member.allowed));
    line("on miss", detail.on_miss.name());
    line("tail depth", &detail.tail_depth.to_string());
    line("source", member.origin.name());
    line("owner", &owner(&member.owner));
    line("lifetime", &lifetime_and_linger(detail));
    line(
        "share group",
        &escape(detail.share_group.as_deref().unwrap_or("-")),
    );
    line("member id", &member.id.to_string());
    let object = member.sha256.map_or_else(|| "-".to_owned(), hex);
    line("object", &object);
    if let Some(pins) = &member.pins {
        line("pin", &escape(&pins.program));
        line("map pins", &escape(&pins.maps));
    }
    line(
        "packets",
        &packets(&member.packets, chain.is_none_or(|chain| chain.counters)),
    );
    if detail.maps.is_empty() {
        line("maps", "-");
    }
    let mut text = lines.concat();
    if !detail.maps.is_empty() {
        text += "  maps\n";
        text += &maps(&detail.maps);
    }
    if !detail.sockets.is_empty() {
        text += "  sockets\n";
        text += &sockets::sockets(&detail.sockets);
    }
    text
}

fn engine_and_reason(member: &Member) -> String {
    match &member.engine_reason {
        None => member.engine.to_string(),
        Some(reason) => format!("{}: {reason}", member.engine),
    }
}

fn priority_asked(member: &Member) -> String {
    if member.priority == member.requested_priority {
        member.priority.to_string()
    } else {
        format!(
            "{} (registered with {})",
            member.priority, member.requested_priority
        )
    }
}

fn lifetime_and_linger(detail: &MemberDetail) -> String {
    match detail.member.lifetime {
        Lifetime::Kept => Lifetime::Kept.to_string(),
        Lifetime::Attached => format!("{}, lingers {} ms", Lifetime::Attached, detail.linger_ms),
    }
}

fn maps(maps: &[MapShape]) -> String {
    let columns = [
        ("Name", Align::Left),
        ("Id", Align::Right),
        ("Type", Align::Left),
        ("Key", Align::Right),
        ("Value", Align::Right),
        ("Entries", Align::Right),
    ];
    let rows: Vec<_> = maps
        .iter()
        .map(|map| {
            vec![
                escape(&map.name).into_owned(),
                map.id.to_string(),
                map_type::name(map.map_type).to_owned(),
                map.key_size.to_string(),
                map.value_size.to_string(),
                map.max_entries.to_string(),
            ]
        })
        .collect();
    table("    ", &columns, &rows)
}

/// One line for each member that got code, else one for the chain; notes after them.
pub(crate) fn changes(outcomes: &[ChangedOn]) -> String {
    outcomes.iter().map(changed).collect()
}

fn changed(outcome: &ChangedOn) -> String {
    let interface = escape(&outcome.interface);
    let changed = &outcome.changed;
    let state = match changed.mode {
        Some(mode) => format!("{mode}, generation {}", changed.revision),
        None => "no chain any more".to_owned(),
    };
    if changed.members.is_empty() {
        return format!("{interface}: {state}\n") + &remarks(outcome);
    }
    let members = changed.members.iter().map(|member| {
        format!(
            "{interface}: slot {}, {}, program {}, {}, {state}\n",
            member.slot,
            escape(&member.name),
            or_dash(member.program_id),
            member.engine,
        )
    });
    members.collect::<String>() + &remarks(outcome)
}

/// What a change would do.
pub(crate) fn dry_run(outcomes: &[ChangedOn]) -> String {
    outcomes.iter().map(planned).collect()
}

fn planned(outcome: &ChangedOn) -> String {
    let interface = escape(&outcome.interface);
    let changed = &outcome.changed;
    let title = match changed.mode {
        Some(mode) => format!(
            "{interface}: would be {mode}, generation {}\n",
            changed.revision
        ),
        None => format!("{interface}: would have no chain any more\n"),
    };
    let steps = changed.plan.iter().enumerate();
    let steps =
        steps.map(|(index, step)| format!("  {}. {}\n", index + 1, escape(&step.to_string())));
    title + &steps.collect::<String>() + &remarks(outcome)
}

fn remarks(outcome: &ChangedOn) -> String {
    let interface = escape(&outcome.interface);
    let note = |note: &str| format!("{interface}: note: {note}\n");
    let reloads = outcome.changed.reloads.iter();
    let reloads = reloads.map(|name| note(&format!("{} gets a new program id", escape(name))));
    let notes = outcome.changed.notes.iter();
    let notes = notes.map(|text| note(&escape(&text.to_string())));
    reloads.chain(notes).collect()
}

#[cfg(test)]
mod tests;
