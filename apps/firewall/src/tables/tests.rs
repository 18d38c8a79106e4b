//! Plans against two models: what the documentation says of a rule list, and how the program
//! looks its maps up.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::rules::Subject;
use crate::waves::specificity;

/// What is asked of a packet.
#[derive(Clone, Copy, Debug)]
struct Packet {
    source: Prefix,
    protocol: u8,
    port: Option<u16>,
}

/// docs/firewall.md, word for word: every rule is looked at.
fn by_the_rules(policy: &Policy, packet: Packet) -> Action {
    let matching = policy
        .entries()
        .into_iter()
        .filter(|((prefix, service), _)| {
            prefix.contains(packet.source)
                && match *service {
                    Service::Everything => true,
                    Service::Protocol(protocol) => protocol == packet.protocol,
                    Service::Port { protocol, port } => {
                        protocol == packet.protocol && Some(port) == packet.port
                    }
                }
        });
    matching
        .max_by_key(|(entry, _)| specificity(entry))
        .map_or(policy.default, |(_, action)| action)
}

/// The steps of the program, `judge` in ebpf/src/rules.rs.
fn by_the_maps(tables: &Tables, packet: Packet) -> Action {
    let lookup = |source, service| {
        key(source, service)
            .and_then(|key| tables.services.get(&key))
            .copied()
    };
    let mut length = Some(packet.source.length());
    while let Some(longest) = length {
        let Some(source) = by_trie(tables, packet.source, longest) else {
            break;
        };
        if source.has_services != 0 {
            let protocol = packet.protocol;
            let by_port = packet
                .port
                .and_then(|port| lookup(source.id, Service::Port { protocol, port }));
            let action = by_port.or_else(|| lookup(source.id, Service::Protocol(protocol)));
            if let Some(action) = action {
                return action;
            }
        }
        if let Some(action) = decided(source.action) {
            return action;
        }
        length = u8::try_from(source.prefix_length).unwrap().checked_sub(1);
    }
    // The program passes what is undecided.
    decided(tables.default.value()).unwrap_or(Action::Allow)
}

/// What a trie finds for an address that it may compare so many bits of.
fn by_trie(tables: &Tables, address: Prefix, bits: u8) -> Option<&Source> {
    let sources = tables.sources.iter();
    sources
        .filter(|(prefix, _)| prefix.length() <= bits && prefix.contains(address))
        .max_by_key(|(prefix, _)| prefix.length())
        .map(|(_, source)| source)
}

/// Few different bits, so that prefixes often contain one another.
fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        prop::array::uniform4(0_u8..2).prop_map(IpAddr::from),
        prop::array::uniform16(0_u8..2).prop_map(IpAddr::from),
    ]
}

fn prefix() -> impl Strategy<Value = Prefix> {
    let length = prop_oneof![Just(0), Just(8), Just(16), Just(24), Just(32), 0_u8..=128];
    (address(), length).prop_map(|(address, length)| Prefix::around(address, length))
}

fn service() -> impl Strategy<Value = Service> {
    prop_oneof![
        Just(Service::Everything),
        (5_u8..8).prop_map(Service::Protocol),
        (5_u8..8, 0_u16..3).prop_map(|(protocol, port)| Service::Port { protocol, port }),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![Just(Action::Allow), Just(Action::Deny)]
}

/// No file can hold a rule for any source beside one for a prefix of length 0 that says the
/// opposite; here there is none for a length of 0 at all.
fn policy() -> impl Strategy<Value = Policy> {
    let source = prop::option::weighted(0.8, prefix().prop_filter("any", |it| it.length() > 0));
    let subject = (source, service()).prop_map(|(source, service)| Subject { source, service });
    let rules = prop::collection::btree_map(subject, action(), 0..24);
    (rules, action()).prop_map(|(rules, default)| Policy { rules, default })
}

fn packet() -> impl Strategy<Value = Packet> {
    let source = address().prop_map(|address| Prefix::around(address, u8::MAX));
    (source, 5_u8..8, prop::option::of(0_u16..3)).prop_map(|(source, protocol, port)| Packet {
        source,
        protocol,
        port,
    })
}

/// Contents without the ids, which depend on what was there before.
fn without_ids(tables: &Tables) -> (Vec<(Prefix, Source)>, Entries, usize, Action) {
    let sources = tables.sources.iter().map(|(prefix, source)| {
        let source = Source { id: 0, ..*source };
        (*prefix, source)
    });
    let services = tables.services.len();
    (
        sources.collect(),
        tables.entries(),
        services,
        tables.default,
    )
}

fn applied(tables: &Tables, policy: &Policy) -> Tables {
    let mut tables = tables.clone();
    for step in tables.plan(policy) {
        tables.apply(&step);
    }
    tables
}

/// What each packet's fate may be while one policy takes the other's place.
fn either(old: &Policy, new: &Policy, packets: Vec<Packet>) -> Vec<(Packet, [Action; 2])> {
    let fates = |packet| [by_the_rules(old, packet), by_the_rules(new, packet)];
    packets.into_iter().map(|it| (it, fates(it))).collect()
}

/// A step's entries one by one: packets see them so.
fn single(step: &Step) -> Vec<Step> {
    match step {
        Step::PutServices(all) => all.iter().map(|it| Step::PutServices(vec![*it])).collect(),
        Step::RemoveServices(all) => all
            .iter()
            .map(|it| Step::RemoveServices(vec![*it]))
            .collect(),
        Step::PutSources(all) => all.iter().map(|it| Step::PutSources(vec![*it])).collect(),
        Step::RemoveSources(all) => all
            .iter()
            .map(|it| Step::RemoveSources(vec![*it]))
            .collect(),
        Step::SetDefault(_) | Step::Wait => vec![step.clone()],
    }
}

proptest! {
    #[test]
    fn the_maps_decide_as_the_rules_do(
        policies in prop::collection::vec(policy(), 1..5),
        packets in prop::collection::vec(packet(), 64),
    ) {
        let mut tables = Tables::default();
        for policy in &policies {
            tables = applied(&tables, policy);
            for packet in &packets {
                prop_assert_eq!(by_the_maps(&tables, *packet), by_the_rules(policy, *packet));
            }
        }
    }

    #[test]
    fn a_changed_policy_leaves_what_one_from_scratch_does(
        policies in prop::collection::vec(policy(), 1..5),
    ) {
        let mut tables = Tables::default();
        for policy in &policies {
            tables = applied(&tables, policy);
            let scratch = applied(&Tables::default(), policy);
            prop_assert_eq!(without_ids(&tables), without_ids(&scratch));
            prop_assert_eq!(tables.plan(policy), vec![]);
        }
    }

    #[test]
    fn at_every_moment_a_packet_is_decided_by_the_old_rules_or_the_new(
        old in policy(),
        new in policy(),
        packets in prop::collection::vec(packet(), 32),
    ) {
        let expected = either(&old, &new, packets);
        let mut tables = applied(&Tables::default(), &old);
        for step in tables.plan(&new) {
            for change in single(&step) {
                tables.apply(&change);
                for (packet, expected) in &expected {
                    let found = by_the_maps(&tables, *packet);
                    prop_assert!(expected.contains(&found), "{packet:?} after {change:?}");
                }
            }
        }
    }

    #[test]
    fn a_plan_that_failed_anywhere_can_be_taken_back_or_finished(
        old in policy(),
        new in policy(),
        fail_at in any::<prop::sample::Index>(),
    ) {
        let before = applied(&Tables::default(), &old);
        let steps: Vec<Step> = before.plan(&new).iter().flat_map(single).collect();
        let mut failed = before.clone();
        for step in steps.iter().take(fail_at.index(steps.len() + 1)) {
            failed.apply(step);
        }
        for policy in [&old, &new] {
            let scratch = applied(&Tables::default(), policy);
            prop_assert_eq!(without_ids(&applied(&failed, policy)), without_ids(&scratch));
        }
    }

    #[test]
    fn a_plan_changes_only_what_differs(old in policy(), extra in (prefix(), service(), action())) {
        let (prefix, service, action) = extra;
        let subject = Subject { source: Some(prefix), service };
        let mut new = old.clone();
        new.rules.insert(subject, action);
        let tables = applied(&Tables::default(), &old);
        let put: usize = tables.plan(&new).iter().map(Step::entries).sum();
        prop_assert!(put <= 2, "one rule is at most a service and its prefix");
        let put = applied(&tables, &new);
        let size = tables.size_with(&tables.plan(&new));
        prop_assert!(size.services == put.services.len());
    }
}

/// Packets that are judged while steps are done, which see each lookup at another moment. The
/// lookups of one packet are spread over the steps between two waits, in every way.
#[test]
fn a_packet_in_the_middle_is_decided_by_the_old_rules_or_the_new() {
    proptest!(ProptestConfig::with_cases(64), |(
        old in policy(),
        new in policy(),
        packets in prop::collection::vec(packet(), 16),
        pace in 1_usize..4,
    )| {
        let expected = either(&old, &new, packets);
        let mut tables = applied(&Tables::default(), &old);
        let mut moments = vec![tables.clone()];
        for step in tables.plan(&new).iter().flat_map(single).chain([Step::Wait]) {
            if step != Step::Wait {
                tables.apply(&step);
                moments.push(tables.clone());
                continue;
            }
            for (packet, expected) in &expected {
                for start in 0..moments.len() {
                    let found = by_moving_maps(&moments[start..], pace, *packet);
                    prop_assert!(expected.contains(&found), "{packet:?}");
                }
            }
            moments = vec![tables.clone()];
        }
    });
}

/// [`by_the_maps`], with each lookup `pace` moments after the one before.
fn by_moving_maps(moments: &[Tables], pace: usize, packet: Packet) -> Action {
    let mut moment = 0;
    let mut next = || {
        let now = &moments[moment.min(moments.len() - 1)];
        moment += pace;
        now
    };
    let mut length = Some(packet.source.length());
    while let Some(longest) = length {
        let tables = next();
        let Some(source) = by_trie(tables, packet.source, longest) else {
            break;
        };
        if source.has_services != 0 {
            let protocol = packet.protocol;
            let port = packet.port.map(|port| Service::Port { protocol, port });
            for service in port.into_iter().chain([Service::Protocol(protocol)]) {
                let found = key(source.id, service).and_then(|key| next().services.get(&key));
                if let Some(action) = found {
                    return *action;
                }
            }
        }
        if let Some(action) = decided(source.action) {
            return action;
        }
        length = u8::try_from(source.prefix_length).unwrap().checked_sub(1);
    }
    decided(next().default.value()).unwrap_or(Action::Allow)
}
