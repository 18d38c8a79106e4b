//! What only kernels with freplace can do.

mod needs_freplace {
    use std::fs;

    use libdispatch::{Client, EngineChoice, Program};
    use tests::{Chain, DEADLINE, Rig, frame, object, wait_until};

    const ABORTED: u32 = 0;
    const DROP: u32 = 1;
    const PASS: u32 = 2;
    /// What the largest root has room for.
    const MEMBERS: u8 = 128;
    /// Where a packet's list of the members that it met begins: see `append.c`.
    const LIST: usize = 16;

    #[test]
    #[ignore = "needs root and a kernel with freplace: cargo xtask test runs it"]
    fn a_member_is_freplaced_unless_somebody_wants_a_tail_call() {
        let rig = Rig::new();
        rig.load("append", "plain", &["--global", "number=1"]);
        rig.load(
            "append",
            "asked",
            &["--global", "number=2", "--engine", "freplace"],
        );
        rig.load(
            "append",
            "tail",
            &["--global", "number=3", "--engine", "tailcall"],
        );
        assert_eq!(engines(&rig.chain()), ["freplace", "freplace", "tailcall"]);
        assert_eq!(packets_meet(&rig), [1, 2, 3]);
        rig.ctl("reorder", &["tail", "--first"]).done();
        assert_eq!(packets_meet(&rig), [3, 1, 2]);
        rig.ctl("reorder", &["tail", "--after", "plain"]).done();
        assert_eq!(packets_meet(&rig), [1, 3, 2]);
        rig.send(&frame(64), 1000);
        for member in rig.chain().members {
            assert_eq!(member.packets.pass, 1003, "{}", member.name);
        }
    }

    #[test]
    #[ignore = "needs root and a kernel with freplace: cargo xtask test runs it"]
    fn a_program_with_another_prototype_gets_a_tail_call_slot_and_it_is_said() {
        let rig = Rig::new();
        rig.load_verdict("usual", PASS, &[]);
        let loaded = rig.load("odd_prototype", "odd", &[]);
        assert!(
            loaded
                .stdout
                .contains("odd runs by tail call: its prototype"),
            "{loaded}"
        );
        rig.load_verdict("last", DROP, &[]);
        let chain = rig.chain();
        assert_eq!(engines(&chain), ["freplace", "tailcall", "freplace"]);
        let reason = chain
            .member("odd")
            .engine_reason
            .as_deref()
            .unwrap_or_default();
        assert!(reason.contains("int f(struct xdp_md *)"), "{reason}");
        assert_eq!(rig.root().run(&frame(64)), DROP);

        let asked = ["--engine", "freplace"];
        rig.try_load(&object("odd_prototype"), "asked", &asked)
            .refused(&["xd0", "asked", "freplace", "prototype"]);
        assert_eq!(rig.chain().members.len(), 3);
    }

    #[test]
    #[ignore = "needs root and a kernel with freplace: cargo xtask test runs it"]
    fn a_hundred_and_twenty_eight_members_run_in_order_and_one_more_is_refused() {
        let rig = Rig::new();
        let client = rig.client("order");
        // One by one over the sizes of roots, many at once between them.
        for step in [1..=15, 16..=17, 18..=63, 64..=65, 66..=127, 128..=MEMBERS] {
            let last = *step.end();
            register(&client, step);
            assert_eq!(packets_meet(&rig), (1..=last).collect::<Vec<_>>());
        }
        rig.try_load(&object("verdict"), "more", &[])
            .refused(&["xd0", "129 members: a chain has at most 128"]);
        rig.ctl("reorder", &["m128", "--first"]).done();
        let order: Vec<u8> = [128].into_iter().chain(1..=127).collect();
        assert_eq!(packets_meet(&rig), order);

        let tail = ["--engine", "tailcall"];
        rig.try_load(&object("verdict"), "tail", &tail).refused(&[
            "xd0",
            "129 members",
            "at most 32",
            "by tail call",
        ]);
        let names: Vec<String> = (33..=128).map(|number| format!("m{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        rig.ctl("unload", &names).done();
        rig.try_load(&object("verdict"), "tail", &tail).refused(&[
            "xd0",
            "33 members",
            "at most 32",
            "tail",
            "33 tail calls",
        ]);
        assert_eq!(packets_meet(&rig), (1..=32).collect::<Vec<_>>());
    }

    #[test]
    #[ignore = "needs root and a kernel with freplace: cargo xtask test runs it"]
    fn forty_members_each_make_their_own_tail_calls() {
        let rig = Rig::new();
        let client = rig.client("tail calls");
        let mut change = client.change("xd0");
        for number in 0..40 {
            let program = program("tailcalls", &format!("m{number}"))
                .program("choose")
                .tail_call("targets", 0, "even")
                .tail_call("targets", 1, "odd")
                .tail_depth(33);
            change = change.register(&program);
        }
        change.apply().expect("there is room");
        let (even, mut odd) = (frame(64), frame(64));
        odd[0] |= 1;
        assert_eq!(rig.root().run(&even), PASS);
        assert_eq!(rig.root().run(&odd), DROP);
        let members = rig.chain().members;
        assert!(members.iter().all(|member| member.engine == "freplace"));
        assert_eq!((members[0].packets.drop, members[0].packets.pass), (1, 1));
        assert!(
            members[1..]
                .iter()
                .all(|m| m.packets.pass == 1 && m.packets.drop == 0)
        );
    }

    #[test]
    #[ignore = "needs root and a kernel with freplace: cargo xtask test runs it"]
    fn a_member_that_spends_every_tail_call_starves_nobody() {
        let rig = Rig::new();
        let again = ["--tail-call", "again:0=hungry"];
        rig.load("hungry", "first", &again);
        rig.load("hungry", "second", &again);
        rig.load_verdict("last", DROP, &[]);
        assert_eq!(rig.root().run(&frame(64)), DROP);
        assert!(
            rig.chain()
                .members
                .iter()
                .all(|member| member.packets.missed == 0)
        );
    }

    #[test]
    #[ignore = "needs root and a kernel with freplace: cargo xtask test runs it"]
    fn another_engine_loads_every_member_again_with_its_maps() {
        let mut rig = Rig::new();
        rig.load("counter", "counts", &["--map-size", "packets=5"]);
        rig.load(
            "tailcalls",
            "calls",
            &[
                "--program",
                "choose",
                "--tail-call",
                "targets:0=even",
                "--tail-call",
                "targets:1=odd",
            ],
        );
        rig.load("append", "appends", &["--global", "number=7"]);
        let run = |rig: &Rig| rig.root().run_and_see(&frame(64));
        assert_eq!(run(&rig).0, PASS);
        let before = rig.chain();
        let (packets, notes) = (
            rig.map("counts", "packets").id(),
            rig.map("appends", "NOTES").id(),
        );
        for (round, engine) in ["tailcall", "freplace", "auto", "tailcall"]
            .into_iter()
            .enumerate()
        {
            // The kept objects and the registry are enough to load again from.
            rig.daemon.kill();
            rig.daemon.restart();
            let dry = rig.ctl("config", &["--engine", engine, "--dry-run"]);
            let would = dry.done().stdout.contains("loaded again with its maps");
            assert_eq!(would, engine != "auto", "{dry}");
            let chain = rig.chain();
            rig.ctl("config", &["--engine", engine]).done();
            let after = rig.chain();
            assert!(
                after
                    .members
                    .iter()
                    .all(|m| engine == "auto" || m.engine == engine)
            );
            for (old, new) in chain.members.iter().zip(&after.members) {
                assert_eq!(
                    old.program_id != new.program_id,
                    engine != "auto",
                    "{}",
                    new.name
                );
                assert_eq!((old.id, &old.name, old.slot), (new.id, &new.name, new.slot));
            }
            assert_eq!(rig.map("counts", "packets").id(), packets);
            assert_eq!(rig.map("appends", "NOTES").id(), notes);
            let (verdict, bytes) = run(&rig);
            assert_eq!((verdict, bytes[LIST + 1]), (PASS, 7));
            let counted = rig.chain().member("calls").packets.pass;
            assert_eq!(counted, u64::try_from(round).expect("it is small") + 2);
        }
        assert_eq!(before.members.len(), rig.chain().members.len());
    }

    #[test]
    #[ignore = "needs root and a kernel with freplace: cargo xtask test runs it"]
    fn a_member_whose_object_is_not_kept_stays_as_it_is() {
        let rig = Rig::new();
        rig.load_verdict("alone", DROP, &[]);
        let objects = rig.daemon.socket().with_file_name("objects");
        let kept = fs::read_dir(&objects).expect("it is there").count();
        assert_eq!(kept, 1);
        fs::remove_dir_all(&objects).expect("it is ours");
        let before = rig.chain();
        rig.ctl("config", &["--engine", "tailcall"]).refused(&[
            "xd0",
            "alone",
            "is not kept",
            "loaded again",
        ]);
        assert_eq!(rig.chain(), before);
        assert_eq!(rig.root().run(&frame(64)), DROP);
        // What needs no reload needs no object.
        rig.ctl("reorder", &["alone", "--priority", "3"]).done();
    }

    #[test]
    #[ignore = "needs root and a kernel with freplace: cargo xtask test runs it"]
    fn a_member_whose_slot_lost_it_is_missed_and_no_packet_passes_until_the_next_change() {
        let mut rig = Rig::new();
        rig.load_verdict("first", PASS, &[]);
        rig.load_verdict("lost", PASS, &[]);
        let generation = rig
            .port()
            .pins()
            .join(format!("gen-{}", rig.port().build()));
        rig.daemon.kill();
        fs::remove_file(generation.join("slot-1")).expect("root may remove a pin");
        rig.daemon.restart();
        wait_until("the kernel lets go of the link", DEADLINE, || {
            rig.root().run(&frame(64)) == ABORTED
        });
        let chain = rig.chain();
        assert!(chain.member("lost").packets.missed > 0);
        rig.ctl("set", &["first", "--chain-call", "pass,tx"]).done();
        assert_eq!(rig.root().run(&frame(64)), PASS);
    }

    #[test]
    #[ignore = "needs root and a kernel with freplace: cargo xtask test runs it"]
    fn objects_are_dropped_with_the_last_member_that_runs_them() {
        let rig = Rig::new();
        let objects = rig.daemon.socket().with_file_name("objects");
        let kept = || fs::read_dir(&objects).expect("it is there").count();
        for name in ["a", "b"] {
            rig.load_verdict(name, PASS, &[]);
            assert_eq!(kept(), 1, "equal objects are one file");
        }
        rig.load("append", "c", &[]);
        assert_eq!(kept(), 2);
        rig.ctl("unload", &["a"]).done();
        assert_eq!(kept(), 2);
        rig.ctl("unload", &["b"]).done();
        assert_eq!(kept(), 1);
        rig.ctl("unload", &["--all"]).done();
        wait_until("no object is kept", DEADLINE, || kept() == 0);
    }

    /// Registers `m<number>` for each number.
    fn register(client: &Client, numbers: impl Iterator<Item = u8>) {
        let mut change = client.change("xd0");
        for number in numbers {
            let program = program("append", &format!("m{number}"))
                .global("number", number)
                .global("list_max", 200_u8);
            change = change.register(&program);
        }
        change.apply().expect("there is room");
    }

    fn program(source: &str, name: &str) -> Program {
        let program = Program::from_file(object(source)).expect("it was compiled");
        program.name(name).engine(EngineChoice::Auto).kept()
    }

    fn engines(chain: &Chain) -> Vec<&str> {
        chain
            .members
            .iter()
            .map(|member| member.engine.as_str())
            .collect()
    }

    /// The numbers of the members that a packet meets, in order.
    fn packets_meet(rig: &Rig) -> Vec<u8> {
        let (verdict, packet) = rig.root().run_and_see(&frame(300));
        assert_eq!(verdict, PASS);
        packet[LIST + 1..][..usize::from(packet[LIST])].to_vec()
    }
}
