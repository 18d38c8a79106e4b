//! Every slot is used, given back, and used again.

use libdispatch::{Client, Program};
use tests::{Rig, frame, object};

/// What the smallest root has room for is fewer, what a tail-call root has room for exactly this.
const SLOTS: u8 = 32;
/// How full the chain is, in turns: peaks and troughs.
const LEVELS: [u8; 8] = [SLOTS, 1, SLOTS, 9, SLOTS, 17, SLOTS, 0];
const PACKETS: u64 = 500;

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn slots_are_filled_drained_and_filled_again_and_count_anew_each_time() {
    let rig = Rig::new();
    let client = rig.client("slots");
    let mut members: Vec<u32> = Vec::new();
    let mut next = 0;
    for (round, level) in LEVELS.into_iter().enumerate() {
        let level = usize::from(level);
        let mut change = client.change("xd0");
        // Where to drain from differs from round to round, so that every slot is given back.
        while members.len() > level {
            let gone = members.remove(members.len() * round / LEVELS.len() % members.len());
            change = change.unregister(name(gone));
        }
        while members.len() < level {
            members.push(next);
            change = change.register(&program(next));
            next += 1;
        }
        change.apply().expect("there is room");
        if members.is_empty() {
            assert_eq!(rig.try_chain(), None);
            assert_eq!(rig.pair.near.xdp_program(), None);
            continue;
        }
        check(&rig, &members);
    }
    // One by one as well: the count falls and rises by one each time.
    for (position, number) in (0..u32::from(SLOTS)).enumerate() {
        register(&client, number);
        assert_eq!(rig.chain().members.len(), position + 1);
    }
    for left in (0..u32::from(SLOTS)).rev() {
        rig.ctl("unload", &[&name(left)]).done();
        let members = rig.try_chain().map_or(0, |chain| chain.members.len());
        assert_eq!(members, usize::try_from(left).expect("it is small"));
    }
}

/// These members are in their slots, in order, and each sees every packet.
fn check(rig: &Rig, members: &[u32]) {
    let before = rig.chain();
    rig.send(&frame(64), PACKETS);
    let chain = rig.chain();
    let names: Vec<String> = members.iter().map(|number| name(*number)).collect();
    assert_eq!(chain.order(), names);
    for (slot, member) in (0..).zip(&chain.members) {
        assert_eq!(member.slot, Some(slot));
        let counted = member.packets.pass - before.member(&member.name).packets.pass;
        assert_eq!(counted, PACKETS, "{}", member.name);
        assert_eq!(member.packets.missed, 0);
    }
}

fn register(client: &Client, number: u32) {
    let change = client.change("xd0").register(&program(number));
    change.apply().expect("there is room");
}

fn program(number: u32) -> Program {
    let program = Program::from_file(object("verdict")).expect("it was compiled");
    program.name(name(number)).kept()
}

fn name(number: u32) -> String {
    format!("m{number}")
}
