//! The table against what the documentation says of a rule list. Packets are judged by the code
//! that the program runs.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use firewall_abi::{Asked, Family, Service, judge_unreadable, judge4, judge6};
use proptest::prelude::*;

use super::*;
use crate::rules::Prefix;

const ROOM: Room = Room { entries: 256 };

/// What is asked of a packet.
#[derive(Clone, Copy, Debug)]
struct Packet {
    source: Prefix,
    protocol: u8,
    port: Option<u16>,
}

/// docs/firewall.md, word for word: every rule is looked at.
fn by_the_rules(policy: &Policy, packet: Packet) -> Action {
    let entries = policy.rules.iter().flat_map(|(subject, action)| {
        let service = subject.service;
        subject.prefixes().map(move |it| (it, service, *action))
    });
    let matching = entries.filter(|(prefix, service, _)| {
        prefix.contains(packet.source)
            && match *service {
                Service::Everything => true,
                Service::Protocol(protocol) => protocol == packet.protocol,
                Service::Port { protocol, port } => {
                    protocol == packet.protocol && Some(port) == packet.port
                }
            }
    });
    let narrowness = |service: &Service| match service {
        Service::Everything => 0,
        Service::Protocol(_) => 1,
        Service::Port { .. } => 2,
    };
    matching
        .max_by_key(|(prefix, service, _)| (prefix.length(), narrowness(service)))
        .map_or(policy.default, |(_, _, action)| action)
}

fn judged(memory: &Memory, packet: Packet) -> firewall_abi::Entry {
    let asked = match packet.port {
        Some(port) => Asked::port(packet.protocol, port),
        None => Asked::protocol(packet.protocol),
    };
    match packet.source.family() {
        Family::Ipv4 => judge4(memory, packet.source.ipv4_bits(), asked),
        Family::Ipv6 => {
            let (high, low) = packet.source.halves();
            judge6(memory, high, low, asked)
        }
    }
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
        2 => Just(Service::Everything),
        1 => (5_u8..8).prop_map(Service::Protocol),
        2 => (5_u8..8, 0_u16..3).prop_map(|(protocol, port)| Service::Port { protocol, port }),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![Just(Action::Allow), Just(Action::Deny)]
}

fn subject() -> impl Strategy<Value = Subject> {
    let source = prop::option::weighted(0.8, prefix());
    (source, service()).prop_map(|(source, service)| Subject { source, service })
}

fn policy() -> impl Strategy<Value = Policy> {
    let rules = prop::collection::vec((subject(), action()), 0..24);
    (rules, action()).prop_map(|(rules, default)| {
        let mut policy = Policy {
            default,
            ..Policy::default()
        };
        for (subject, action) in rules {
            let _ = policy.put(subject, action); // the opposite may be there
        }
        policy
    })
}

fn packet() -> impl Strategy<Value = Packet> {
    let source = address().prop_map(|address| Prefix::around(address, u8::MAX));
    (source, 5_u8..8, prop::option::of(0_u16..3)).prop_map(|(source, protocol, port)| Packet {
        source,
        protocol,
        port,
    })
}

fn empty() -> Table {
    with_room(ROOM)
}

fn with_room(room: Room) -> Table {
    let [memory, _] = Memory::pair(room);
    Table::new(memory, || {})
}

/// As the application does it: with the ids of rules that are gone.
fn adopt(table: &mut Table, policy: &Policy) -> Difference {
    let ids = table.take_rested_ids();
    table.free_ids(ids);
    table.adopt(policy).expect("there is room")
}

proptest! {
    #[test]
    fn the_table_decides_as_the_rules_say(
        policies in prop::collection::vec(policy(), 1..5),
        packets in prop::collection::vec(packet(), 64),
    ) {
        let mut table = empty();
        for policy in &policies {
            adopt(&mut table, policy);
            for packet in &packets {
                let entry = judged(&table.memory, *packet);
                prop_assert_eq!(entry.action(), by_the_rules(policy, *packet));
            }
        }
    }

    #[test]
    fn rules_changed_one_by_one_decide_as_if_loaded_together(
        start in policy(),
        changes in prop::collection::vec((subject(), action(), any::<bool>()), 1..40),
        packets in prop::collection::vec(packet(), 32),
    ) {
        let mut table = empty();
        let mut policy = start;
        adopt(&mut table, &policy);
        for (subject, action, puts) in changes {
            if puts {
                if subject.likes().any(|it| policy.rules.contains_key(&it)) {
                    continue; // the application changes such ones together
                }
                let before = policy.rules.insert(subject, action);
                let changed = table.change(Change::Put(subject, action)).unwrap();
                prop_assert_eq!(changed, before != Some(action));
            } else {
                let before = policy.rules.remove(&subject);
                let changed = table.change(Change::Remove(subject)).unwrap();
                prop_assert_eq!(changed, before.is_some());
            }
            for packet in &packets {
                let entry = judged(&table.memory, *packet);
                prop_assert_eq!(entry.action(), by_the_rules(&policy, *packet));
            }
            let ids = table.take_rested_ids();
            table.free_ids(ids);
        }
    }

    #[test]
    fn rules_that_stay_keep_their_ids_and_no_two_have_the_same(
        policies in prop::collection::vec(policy(), 1..5),
    ) {
        let mut table = empty();
        for policy in &policies {
            let before = table.rules.clone();
            let difference = adopt(&mut table, policy);
            let kept = before.iter().filter(|(subject, placed)| {
                policy.rules.get(subject) == Some(&placed.action)
            });
            let mut count = 0;
            for (subject, placed) in kept {
                prop_assert_eq!(table.rules.get(subject), Some(placed));
                count += 1;
            }
            prop_assert_eq!(difference.added, policy.rules.len() - count);
            prop_assert_eq!(difference.removed, before.len() - count);
            let ids: Vec<u32> = table.rules.iter().flat_map(|(it, placed)| placed.ids(it)).collect();
            let different: BTreeSet<u32> = ids.iter().copied().collect();
            prop_assert_eq!(different.len(), ids.len());
        }
    }

    #[test]
    fn what_cant_be_read_is_denied_if_a_rule_may_ask_for_it(policy in policy()) {
        let mut table = empty();
        adopt(&mut table, &policy);
        let expected = if policy.rules.is_empty() { policy.default } else { Action::Deny };
        prop_assert_eq!(judge_unreadable(&table.memory).action(), expected);
        let services = policy.rules.keys().any(Subject::names_service);
        for address in [0, 0x0001_0001, u32::MAX] {
            let found = judge4(&table.memory, address, Asked::UNREADABLE).action();
            let source = Prefix::around(IpAddr::from(address.to_be_bytes()), 32);
            let packet = Packet { source, protocol: 255, port: None };
            let by_source = by_the_rules(&policy, packet);
            prop_assert_eq!(found, if services { Action::Deny } else { by_source });
        }
    }
}

/// As many as fit, of neighbours: they find places, are found, and go again.
#[test]
fn a_full_table_finds_every_rule() {
    const RULES: u32 = 50_000;
    let mut table = with_room(Room {
        entries: RULES + IDS_FIRST,
    });
    let subject = |number: u32| Subject {
        source: Some(Prefix::around(
            IpAddr::from((number << 8).to_be_bytes()),
            24,
        )),
        service: Service::Everything,
    };
    for number in 0..RULES {
        assert_eq!(
            table.change(Change::Put(subject(number), Action::Deny)),
            Ok(true)
        );
    }
    let one_more = table.change(Change::Put(subject(RULES), Action::Deny));
    assert_eq!(one_more, Err(table.no_room(RULES as usize + 1)));
    for number in 0..=RULES {
        let entry = judge4(&table.memory, number << 8 | 0x4d, Asked::protocol(6));
        let expected = if number < RULES {
            Action::Deny
        } else {
            Action::Allow
        };
        assert_eq!(entry.action(), expected, "{number}");
    }
    for number in 0..RULES {
        assert!(table.remove(subject(number)));
    }
    assert!(table.is_stale());
    table.rebuild().unwrap();
    assert_eq!(judge4(&table.memory, 0x4d, Asked::protocol(6)).id(), 0);
    assert_eq!(
        table.change(Change::Put(subject(1), Action::Deny)),
        Err(table.no_room(1))
    );
    let ids = table.take_rested_ids();
    table.free_ids(ids);
    assert_eq!(
        table.change(Change::Put(subject(1), Action::Deny)),
        Ok(true)
    );
}

/// How many packets were judged so far, for [`grace`].
static JUDGED: AtomicU64 = AtomicU64::new(0);

/// Until the packet that is being judged is through.
fn grace() {
    let deadline = Instant::now() + Duration::from_secs(60);
    let now = JUDGED.load(SeqCst);
    while JUDGED.load(SeqCst) < now + 2 {
        assert!(Instant::now() < deadline, "nothing is judged any more");
        std::thread::yield_now();
    }
}

/// One thread judges all the time while another changes everything: the packet is allowed by each
/// of the policies, and by every step between them, for another reason each time.
#[test]
fn a_packet_among_changes_is_decided_by_the_old_rules_or_the_new() {
    let ways = [
        "default deny\nallow 10.0.0.0/8\n",
        "default deny\nallow 10.1.2.3\ndeny 10.0.0.0/8\n",
        "deny any\nallow 10.1.2.3 udp port 53\ndeny 10.1.2.3\ndeny 10.1.2.3 udp\n",
        "default deny\nallow 10.1.2.0/24 udp\ndeny 10.1.2.0/24\nallow 10.0.0.0/8 tcp\n",
    ];
    let ways = ways.map(|text| crate::parse(text).unwrap());
    let source = Prefix::around("10.1.2.3".parse().unwrap(), 32);
    let packet = Packet {
        source,
        protocol: 17,
        port: Some(53),
    };
    let elsewhere = |last: u8| Subject {
        source: Some(Prefix::around(IpAddr::from([10, 1, 2, last]), 32)),
        service: Service::Everything,
    };
    let [memory, same] = Memory::pair(ROOM);
    let mut table = Table::new(memory, grace);
    table.adopt(&ways[0]).unwrap();
    let done = AtomicBool::new(false);
    let done = &done;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while !done.load(SeqCst) {
                let entry = judged(&same, packet);
                assert_eq!(entry.action(), Action::Allow, "id {}", entry.id());
                JUDGED.fetch_add(1, SeqCst);
            }
        });
        for round in 0..200 {
            for way in &ways {
                let ids = table.take_rested_ids();
                table.free_ids(ids);
                table.adopt(way).unwrap();
                table
                    .change(Change::Put(elsewhere(7), Action::Deny))
                    .unwrap();
                table
                    .change(Change::Put(elsewhere(7), Action::Allow))
                    .unwrap();
                if round % 2 == 0 {
                    table.change(Change::Remove(elsewhere(7))).unwrap();
                }
            }
        }
        done.store(true, SeqCst);
    });
}
