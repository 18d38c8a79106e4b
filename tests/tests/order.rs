//! The order that members run in, and what a change of it leaves alone.

use libdispatch::{Client, Program};
use tests::{Chain, Rig, frame, object, volume};

/// Where a packet's list of the members that it met begins: see `append.c`.
const LIST: usize = 16;
/// What a root has room for.
const MEMBERS: usize = 32;

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn thirty_two_members_with_random_priorities_run_by_priority_then_age() {
    let rig = Rig::new();
    let client = rig.client("order");
    let mut random = Random(0x0dd5_eed5);
    let mut expected: Vec<(u32, u8)> = Vec::new();
    for number in numbers(MEMBERS) {
        let priority = random.one_of(&[0, 10, 10, 50, 51, 1000, u32::MAX]);
        register(&client, number, priority);
        expected.push((priority, number));
        expected.sort_by_key(|(priority, _)| *priority); // stable: equals keep their age
        let order: Vec<u8> = expected.iter().map(|(_, number)| *number).collect();
        assert_eq!(packets_meet(&rig), order, "after member {number}");
    }
    let chain = rig.chain();
    assert_explained(&chain);
    let listed: Vec<(u32, String)> = chain
        .members
        .iter()
        .map(|member| (member.priority, member.name.clone()))
        .collect();
    let expected: Vec<(u32, String)> = expected
        .into_iter()
        .map(|(priority, number)| (priority, name(number)))
        .collect();
    assert_eq!(listed, expected);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn every_form_of_reorder_does_what_it_says_and_touches_nobody_else() {
    let (rig, _client) = eight();
    let mut random = Random(7);
    for round in 0..volume(48) {
        let before = rig.chain();
        let names = before.order();
        let moved = random.one_of(&names);
        let other = random.one_of(
            &names
                .iter()
                .filter(|name| **name != moved)
                .collect::<Vec<_>>(),
        );
        let priority = random
            .one_of(&[0, 5, 10, 20, 21, 100, u32::MAX])
            .to_string();
        let mut expected: Vec<&str> = names
            .iter()
            .copied()
            .filter(|name| *name != moved)
            .collect();
        let place = |name: &str, names: &[&str]| names.iter().position(|other| *other == name);
        let arguments = match round % 5 {
            0 => vec!["--first"],
            1 => vec!["--last"],
            2 => vec!["--before", other],
            3 => vec!["--after", other],
            _ => vec!["--priority", &priority],
        };
        rig.ctl("reorder", &[&[moved], &arguments[..]].concat())
            .done();

        let after = rig.chain();
        assert_explained(&after);
        assert_eq!(packets_meet(&rig), order(&after), "{moved} {arguments:?}");
        assert_same_but_for(&before, &after, moved);
        let new_priority = after.member(moved).priority;
        let neighbour = match round % 5 {
            0 => Some((0, *expected.first().expect("there are seven"))),
            1 => Some((7, *expected.last().expect("there are seven"))),
            2 => Some((place(other, &expected).expect("it is there"), *other)),
            3 => Some((place(other, &expected).expect("it is there") + 1, *other)),
            _ => None,
        };
        if let Some((index, neighbour)) = neighbour {
            expected.insert(index, moved);
            assert_eq!(after.order(), expected, "{moved} {arguments:?}");
            // Who is where `--first` or `--last` asks keeps its number.
            let neighbour = if arguments.len() == 1 && after.order() == before.order() {
                moved
            } else {
                neighbour
            };
            let priority = if neighbour == moved {
                before.member(moved).priority
            } else {
                after.member(neighbour).priority
            };
            assert_eq!(new_priority, priority, "{moved} {arguments:?}");
        } else {
            assert_eq!(new_priority.to_string(), priority);
            let others: Vec<&str> = after
                .order()
                .into_iter()
                .filter(|name| *name != moved)
                .collect();
            assert_eq!(others, expected, "{moved} {arguments:?}");
        }
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_whole_order_raises_a_priority_only_where_the_sequence_would_fall() {
    let (rig, _client) = eight();
    let mut random = Random(11);
    for _ in 0..8 {
        let before = rig.chain();
        let mut names: Vec<String> = before.members.iter().map(|it| it.name.clone()).collect();
        random.shuffle(&mut names);
        let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
        rig.ctl("reorder", &wanted).done();

        let after = rig.chain();
        assert_eq!(after.order(), wanted);
        assert_eq!(packets_meet(&rig), order(&after));
        let mut floor = 0;
        for member in &after.members {
            floor = floor.max(before.member(&member.name).priority);
            assert_eq!(member.priority, floor, "{} in {wanted:?}", member.name);
            let mut then = before.member(&member.name).clone();
            then.priority = member.priority;
            then.slot = member.slot;
            then.packets = member.packets;
            assert_eq!(*member, then);
        }
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn among_equal_priorities_a_move_to_the_same_priority_changes_nothing() {
    let rig = Rig::new();
    let client = rig.client("order");
    for number in numbers(4) {
        register(&client, number, 10);
    }
    let before = rig.chain().without_packets();
    for member in ["m1", "m3", "m4"] {
        rig.ctl("reorder", &[member, "--priority", "10"]).done();
        assert_eq!(rig.chain().order(), before.order());
    }
    rig.ctl("reorder", &["m2", "--priority", "9"]).done();
    assert_eq!(rig.chain().order(), ["m2", "m1", "m3", "m4"]);
    rig.ctl("reorder", &["m2", "--priority", "10"]).done();
    assert_eq!(
        rig.chain().order(),
        before.order(),
        "among equals it keeps its age"
    );
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_reorder_and_an_unload_keep_program_ids_and_the_contents_of_maps() {
    let (rig, _client) = eight();
    for number in numbers(8) {
        let notes = rig.map(&name(number), "NOTES");
        notes
            .set(&2_u32.to_ne_bytes(), &[number; 8])
            .expect("a map can be written");
    }
    let ids: Vec<u32> = numbers(8)
        .map(|number| rig.map(&name(number), "NOTES").id())
        .collect();
    let before = rig.chain();

    rig.ctl("reorder", &["m8", "--first"]).done();
    rig.ctl("unload", &["m3"]).done();
    rig.ctl("reorder", &["m7", "m6", "m5", "m4", "m2", "m1", "m8"])
        .done();
    rig.ctl("unload", &["m1", "m5"]).done();

    let after = rig.chain();
    assert_eq!(after.order(), ["m7", "m6", "m4", "m2", "m8"]);
    assert_eq!(packets_meet(&rig), order(&after));
    for member in &after.members {
        let number = number(&member.name);
        assert_eq!(member.program_id, before.member(&member.name).program_id);
        let notes = rig.map(&member.name, "NOTES");
        assert_eq!(notes.id(), ids[usize::from(number) - 1]);
        let note = notes.get(&2_u32.to_ne_bytes()).expect("a map can be read");
        assert_eq!(note, [number; 8]);
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn an_unload_changes_nothing_about_the_others() {
    let (rig, _client) = eight();
    for gone in ["m5", "m1", "m8"] {
        let before = rig.chain();
        rig.ctl("unload", &[gone]).done();
        let after = rig.chain();
        assert_explained(&after);
        assert_eq!(packets_meet(&rig), order(&after));
        assert!(!after.order().contains(&gone));
        assert_eq!(after.members.len(), before.members.len() - 1);
        let without: Vec<&str> = before
            .order()
            .into_iter()
            .filter(|name| *name != gone)
            .collect();
        assert_eq!(after.order(), without);
        assert_same_but_for(&before, &after, gone);
    }
}

/// Eight members with several priorities and several actions, registered in one change.
fn eight() -> (Rig, Client) {
    let rig = Rig::new();
    let client = rig.client("order");
    let mut change = client.change(&rig.pair.near.name);
    for number in numbers(8) {
        let priority = [10, 20, 20, 20, 5, 100, 20, 7][usize::from(number) - 1];
        let mut program = program(number, priority);
        if number % 3 == 0 {
            program = program.chain_call("pass,drop".parse().expect("two words"));
        }
        if number % 4 == 0 {
            program = program.allowed("pass,tx".parse().expect("two words"));
        }
        change = change.register(&program);
    }
    change.apply().expect("the change is done");
    (rig, client)
}

fn numbers(count: usize) -> std::ops::RangeInclusive<u8> {
    1..=u8::try_from(count).expect("there are few")
}

fn register(client: &Client, number: u8, priority: u32) {
    client
        .change("xd0")
        .register(&program(number, priority))
        .apply()
        .expect("a slot is free");
}

fn program(number: u8, priority: u32) -> Program {
    Program::from_file(object("append"))
        .expect("it was compiled")
        .name(name(number))
        .priority(priority)
        .global("number", number)
        .kept()
}

fn name(number: u8) -> String {
    format!("m{number}")
}

fn number(name: &str) -> u8 {
    name[1..].parse().expect("a name is m and a number")
}

fn order(chain: &Chain) -> Vec<u8> {
    chain
        .members
        .iter()
        .map(|member| number(&member.name))
        .collect()
}

/// The members that a packet really meets, in order.
fn packets_meet(rig: &Rig) -> Vec<u8> {
    let (_, packet) = rig.root().run_and_see(&frame(64));
    let length = usize::from(packet[LIST]);
    packet[LIST + 1..][..length].to_vec()
}

/// The numbers that are shown explain the order.
fn assert_explained(chain: &Chain) {
    assert!(
        chain.members.is_sorted_by_key(|member| member.priority),
        "{chain:?}"
    );
    for (slot, member) in chain.members.iter().enumerate() {
        assert_eq!(member.slot.map(usize::from), Some(slot));
    }
}

/// Everything that is shown of the members is the same, but for one member and for slots and
/// packets.
fn assert_same_but_for(before: &Chain, after: &Chain, changed: &str) {
    for member in &after.members {
        let mut then = before.member(&member.name).clone();
        then.slot = member.slot;
        then.packets = member.packets;
        if member.name == changed {
            then.priority = member.priority;
        }
        assert_eq!(*member, then);
    }
}

/// The same numbers in each run.
struct Random(u64);

impl Random {
    /// xorshift64, Marsaglia 2003.
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits fit") % limit
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for left in (1..items.len()).rev() {
            items.swap(left, self.below(left + 1));
        }
    }
}
