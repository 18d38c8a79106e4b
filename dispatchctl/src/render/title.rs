//! The line above a chain's members.

use libdispatch::{Chain, Hook, escape};

/// What the chain is, and everything that is not as usual.
pub(super) fn title(chain: &Chain, several_namespaces: bool) -> String {
    let mut words = vec![escape(&chain.interface).into_owned()];
    words.extend(chain.mode.map(|mode| mode.to_string()));
    if chain.unreadable.is_none() {
        words.push(format!("generation {}", chain.revision));
    }
    let verdict = chain.final_verdict;
    words.extend(verdict.map(|verdict| format!("final verdict {verdict}")));
    if chain.frags {
        words.push("frags".to_owned());
    }
    match &chain.netns.name {
        Some(name) => words.push(format!("netns {}", escape(name))),
        None if several_namespaces => words.push(format!("netns cookie {}", chain.netns.cookie)),
        None => {}
    }
    if chain.hook == Some(Hook::Netlink) {
        words.push("hook netlink".to_owned());
    }
    if chain.parked {
        words.push("parked".to_owned());
    }
    if let Some(pending) = &chain.pending {
        words.push(format!(
            "goes back to generation {} in {} s unless confirmed",
            pending.reverts_to, pending.deadline_s
        ));
    }
    words.extend(trouble(chain));
    words.join("  ") + "\n"
}

/// Why packets don't meet the chain, or why it can't be changed.
fn trouble(chain: &Chain) -> Option<String> {
    if let Some(why) = &chain.unreadable {
        let why = format!("UNREADABLE: {why}, below {}", chain.pins);
        return Some(escape(&why).into_owned());
    }
    if chain.attached {
        return None;
    }
    let why = match &chain.hook_program {
        Some(program) => format!("the hook runs {}", escape(&program.to_string())),
        None if chain.ifindex == 0 => "there is no such interface".to_owned(),
        None => "the hook runs nothing".to_owned(),
    };
    Some(format!("NOT ATTACHED: {why}"))
}
