//! What a program may read of the kernel: nothing, unless its user is trusted with it.

use libdispatch::{Program, RefusalCode};
use tests::{PairOptions, Rig, as_user, object};

/// Nobody's uids.
const STRANGER: u32 = 54_321;
const TRUSTED: u32 = 54_322;

fn rig() -> Rig {
    Rig::with(
        &[
            "--allow-uid",
            "54321:load",
            "--allow-uid",
            "54322:load-trusted",
        ],
        &PairOptions::default(),
    )
}

/// What reads the kernel, and the words by which a stranger learns what to do instead.
const SPIES: [(&str, &str); 3] = [
    ("reads_stack", "give every variable on the stack a value"),
    ("reads_map_struct", "own structures may not be read"),
    ("reads_behind_map", "own structures may not be read"),
];

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn what_reads_the_kernel_is_refused_to_strangers_with_advice_and_without_addresses() {
    let rig = rig();
    for (spy, advice) in SPIES {
        let program = Program::from_file(object(spy)).expect("it was compiled");
        let error = as_user(STRANGER, || {
            let client = rig.client("stranger");
            client.register("xd0", &program).expect_err(spy)
        });
        let refusal = error.refusal().expect("it is a refusal");
        assert_eq!(refusal.code, RefusalCode::Verifier, "{refusal}");
        assert!(refusal.message.contains(advice), "{refusal}");
        assert!(refusal.message.contains("load-trusted"), "{refusal}");
        let log = refusal.log.as_deref().expect("with its log");
        assert!(!log.is_empty());
        for text in [log, &refusal.message] {
            assert!(!has_address(text), "{text}");
        }
    }
    assert_eq!(rig.try_chain(), None);
}

/// Whether 16 hexadecimal digits begin as the kernel's addresses do.
fn has_address(text: &str) -> bool {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric());
    let digits = words.map(|word| word.strip_prefix("0x").unwrap_or(word));
    digits
        .filter(|word| word.len() == 16 && word.starts_with("ffff"))
        .any(|word| {
            u64::from_str_radix(word, 16)
                .is_ok_and(|number| !number.wrapping_neg().is_power_of_two())
        })
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn what_reads_the_kernel_loads_for_those_that_are_trusted() {
    let rig = rig();
    for (spy, _) in SPIES {
        let program = Program::from_file(object(spy)).expect("it was compiled");
        as_user(TRUSTED, || {
            let client = rig.client("trusted");
            drop(client.register("xd0", &program).expect(spy));
        });
        let output = rig.try_load(&object(spy), "roots", &[]);
        // The stack of strangers is readable to root only since Linux 6.3.
        output.done();
        rig.ctl("unload", &["roots"]).done();
    }
    let program = Program::from_file(object("probe_read")).expect("it was compiled");
    as_user(TRUSTED, || {
        let client = rig.client("trusted");
        let registration = client.register("xd0", &program);
        drop(registration.expect("every helper may be called"));
    });
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn the_projects_own_programs_load_for_strangers() {
    let rig = rig();
    for (object, name) in [
        (&include_bytes!(env!("STATS_OBJECT"))[..], "stats"),
        (include_bytes!(env!("FIREWALL_OBJECT")), "firewall"),
        (include_bytes!(env!("XSK_REDIRECT_OBJECT")), "xsk_redirect"),
    ] {
        let program = Program::from_bytes(object).program(name).name("own");
        as_user(STRANGER, || {
            let client = rig.client("stranger");
            let registration = client.register("xd0", &program);
            let registration = registration.unwrap_or_else(|error| panic!("{name}: {error:?}"));
            registration.unregister().expect("it is the user's own");
        });
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_user_that_is_trusted_has_no_other_rights_than_those_of_load() {
    let rig = rig();
    rig.load_verdict("roots", 2, &[]);
    as_user(TRUSTED, || {
        let client = rig.client("trusted");
        let error = client
            .change("xd0")
            .unregister("roots")
            .apply()
            .expect_err("it is root's");
        let code = error.refusal().expect("the daemon says it").code;
        assert_eq!(code, RefusalCode::NotOwner, "{error}");
    });
    assert_eq!(rig.chain().order(), ["roots"]);
}

mod needs_freplace {
    use libdispatch::{Engine, EngineChoice, Program, RefusalCode};
    use tests::{as_user, object};

    use super::{STRANGER, TRUSTED, rig};

    #[test]
    #[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
    fn strangers_programs_run_by_tail_call_and_say_why_and_others_are_extensions() {
        let rig = rig();
        let verdict = || Program::from_file(object("verdict")).expect("it was compiled");
        as_user(STRANGER, || {
            let client = rig.client("stranger");
            let program = verdict().name("theirs");
            let registration = client.register("xd0", &program).expect("the user may load");
            let member = registration.detail().expect("it is there").member;
            assert_eq!(member.engine, Engine::Tailcall);
            let reason = member.engine_reason.expect("it could be an extension");
            assert!(reason.to_string().contains("not trusted"), "{reason}");
            let asked = verdict().name("asked").engine(EngineChoice::Freplace);
            let error = client.register("xd0", &asked).expect_err("it takes trust");
            let refusal = error.refusal().expect("it is a refusal");
            assert_eq!(refusal.code, RefusalCode::Engine, "{refusal}");
            assert!(refusal.message.contains("not trusted"), "{refusal}");
        });
        as_user(TRUSTED, || {
            let client = rig.client("trusted");
            let program = verdict().name("trusted").engine(EngineChoice::Freplace);
            let registration = client
                .register("xd0", &program)
                .expect("the user is trusted");
            let member = registration.detail().expect("it is there").member;
            assert_eq!(member.engine, Engine::Freplace);
        });
    }
}
