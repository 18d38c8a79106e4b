//! Clients that say nothing, or never listen.

mod raw;

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use protocol::{Request, RequestBody};
use raw::{Raw, Scene, change, packet, register};
use tests::{DEADLINE, Pair, PairOptions, Port, Rig, alone, object, patience, wait_until};

const PASS: u32 = 2;

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn clients_that_say_nothing_delay_nobody() {
    let scene = Scene::new();
    let silent: Vec<Raw> = (0..100).map(|_| Raw::connect(&scene.rig)).collect();
    let start = Instant::now();
    scene.rig.load_verdict("new", PASS, &[]);
    scene.rig.ctl("unload", &["new"]).done();
    assert!(start.elapsed() < patience(Duration::from_secs(2)));
    drop(silent);
    scene.still_stands();
}

/// The other 80 get their replies within twice the time that they need alone, in one of three
/// rounds: what else the machine does may fall on one of them, but a daemon that is held up is so in
/// each.
#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn twenty_clients_of_a_hundred_that_never_read_do_not_hold_up_the_others() {
    let _alone = alone();
    let rig = Rig::new();
    let (near, far) = (&rig.pair.near.netns, &rig.pair.far.netns);
    let more: Vec<Pair> = (1..4)
        .map(|number| {
            let names = [format!("xd{number}"), format!("far{number}")];
            Pair::between(near, far, [&names[0], &names[1]], &PairOptions::default())
        })
        .collect();
    let ports: Vec<Port<'_>> = std::iter::once(&rig.pair)
        .chain(&more)
        .map(|pair| Port::new(&rig.daemon, &pair.near))
        .collect();

    let mut rounds = Vec::new();
    let is_held_up = (0..3).all(|_| {
        let alone = slowest_of_eighty(&rig, 0);
        check_against_oracle(&ports, 80);
        unload_all(&ports);
        let together = slowest_of_eighty(&rig, 20);
        wait_until("the others' members are registered, too", DEADLINE, || {
            let members = ports.iter().map(|port| port.chain().members.len());
            members.sum::<usize>() == 100
        });
        check_against_oracle(&ports, 100);
        unload_all(&ports);
        rounds.push((alone, together));
        together > alone * 2
    });
    assert!(
        !is_held_up,
        "the slowest of 80 had its reply so late alone, and so late beside 20: {rounds:?}"
    );
}

fn unload_all(ports: &[Port<'_>]) {
    for port in ports {
        port.ctl("unload", &["--all"]).done();
    }
}

/// Eighty clients register a member each, at once; so do others, who then ask on and on and never
/// read. Returns how long the slowest of the eighty waited for its reply.
fn slowest_of_eighty(rig: &Rig, deaf: usize) -> Duration {
    let bytes = std::fs::read(object("verdict")).expect("it was compiled");
    let ready: Vec<(Raw, [u8; 32])> = (0..80 + deaf)
        .map(|_| {
            let client = Raw::connect(rig);
            client.greet();
            let digest = client.stage(&bytes);
            (client, digest)
        })
        .collect();
    let start = Barrier::new(ready.len());
    thread::scope(|scope| {
        let waits: Vec<_> = ready
            .iter()
            .enumerate()
            .map(|(number, (client, digest))| {
                let start = &start;
                scope.spawn(move || {
                    let (interface, name, priority) = place(number);
                    let operation = register(&name, *digest, priority, false);
                    start.wait();
                    let began = Instant::now();
                    client.ask(change(&interface, vec![operation]), &[]);
                    if number >= 80 {
                        // Replies pile up until the daemon can't send any more.
                        let list = packet(&Request {
                            id: 9,
                            body: RequestBody::List { interface: None },
                        });
                        let full = || client.send_now(&list).is_err();
                        (0..10_000).any(|_| full());
                        return Duration::ZERO;
                    }
                    let reply = client.reply();
                    reply
                        .body
                        .unwrap_or_else(|refused| panic!("{number}: {refused}"));
                    began.elapsed()
                })
            })
            .collect();
        let waits = waits
            .into_iter()
            .map(|wait| wait.join().expect("it is answered"));
        waits.max().expect("there are eighty")
    })
}

/// A client's interface, its member's name and priority: no two of a chain are equal, so the order
/// doesn't depend on who comes first.
fn place(number: usize) -> (String, String, u32) {
    let priority = u32::try_from(number * 37 % 101).expect("it is small");
    (format!("xd{}", number % 4), format!("m{number}"), priority)
}

fn check_against_oracle(ports: &[Port<'_>], clients: usize) {
    for (index, port) in ports.iter().enumerate() {
        let mut expected: Vec<(u32, String)> = (0..clients)
            .map(place)
            .filter(|(interface, ..)| *interface == format!("xd{index}"))
            .map(|(_, name, priority)| (priority, name))
            .collect();
        expected.sort();
        let chain = port.chain();
        let members = chain
            .members
            .iter()
            .map(|member| (member.priority, member.name.clone()));
        assert_eq!(members.collect::<Vec<_>>(), expected, "xd{index}");
    }
}
