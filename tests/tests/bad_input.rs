//! What is wrong is refused with exit code 1 and a message that names the interface and the cause;
//! and nothing has changed.

use std::fs;
use std::path::{Path, PathBuf};

use libdispatch::{Program, RefusalCode};
use tests::{Chain, Foreign, Output, Rig, object, scratch};

const PASS: u32 = 2;

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn no_such_interface() {
    let scene = Scene::new();
    let path = object("verdict");
    for (verb, arguments) in Scene::every_change(&path) {
        let netns = scene.rig.pair.near.netns.name();
        let arguments = [
            &[&*verb, "nowhere"],
            &as_strs(&arguments)[..],
            &["--netns", netns],
        ];
        scene.refuses(&["nowhere"], || scene.rig.daemon.ctl(&arguments.concat()));
    }
    scene.refuses(&["no-such-namespace"], || {
        let place = ["--netns", "no-such-namespace"];
        scene
            .rig
            .daemon
            .ctl(&[&["unload", "xd0", "first"], &place[..]].concat())
    });
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn an_interface_without_a_chain() {
    let scene = Scene::new();
    let netns = scene.rig.pair.near.netns.name();
    for line in [
        "unload lo first",
        "reorder lo first --last",
        "set lo first --allowed pass",
    ] {
        let words: Vec<&str> = line.split(' ').chain(["--netns", netns]).collect();
        scene.refuses(&["lo"], || scene.rig.daemon.ctl(&words));
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn not_an_object() {
    let scene = Scene::new();
    let good = fs::read(object("verdict")).expect("it was compiled");
    for (name, bytes) in [
        ("empty", &b""[..]),
        (
            "text",
            b"not an ELF file at all, but text that goes on for a while\n",
        ),
        ("header-only", &good[..64]),
        ("half", &good[..good.len() / 2]),
        ("one-byte-less", &good[..good.len() - 1]),
    ] {
        let path = file(name, bytes);
        scene.refuses(&["xd0"], || scene.rig.try_load(&path, "new", &[]));
        let path = path.to_str().expect("a path is text");
        scene.refuses(&["xd0"], || scene.rig.ctl("replace", &["first", path]));
    }
    scene.refuses(&["xd0", "eBPF"], || {
        scene.rig.try_load(Path::new("/bin/true"), "new", &[])
    });
    scene.refuses(&["xd0", "/no/such/file"], || {
        scene.rig.try_load(Path::new("/no/such/file"), "new", &[])
    });
    scene.refuses(&["xd0", "/tmp"], || {
        scene.rig.try_load(Path::new("/tmp"), "new", &[])
    });
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn an_object_that_is_too_large() {
    let scene = Scene::new();
    let path = file("large", &vec![0; (16 << 20) + 1]);
    scene.refuses(&["xd0"], || scene.rig.try_load(&path, "new", &[]));
    fs::remove_file(path).expect("it was just made");
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn no_such_program_and_several_of_which_none_is_named() {
    let scene = Scene::new();
    let several = object("several");
    scene.refuses(&["xd0", "missing", "pass", "drop"], || {
        scene
            .rig
            .try_load(&several, "new", &["--program", "missing"])
    });
    scene.refuses(&["xd0", "several", "pass", "drop"], || {
        scene.rig.try_load(&several, "new", &[])
    });
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_program_that_the_verifier_refuses_with_its_log_whole() {
    let scene = Scene::new();
    let output = scene.refuses(&["xd0", "rejected", "verifier"], || {
        scene.rig.try_load(&object("rejected"), "new", &[])
    });
    assert!(
        output.stderr.contains("invalid access to packet"),
        "{output}"
    );
    assert!(
        output.stderr.contains("processed"),
        "its last line too: {output}"
    );
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_verifier_log_of_a_megabyte_is_shown_whole() {
    let scene = Scene::new();
    let output = scene.refuses(&["xd0", "verifier"], || {
        scene.rig.try_load(&object("big_log"), "new", &[])
    });
    assert!(
        output.stderr.len() > 1 << 20,
        "{} bytes",
        output.stderr.len()
    );
    assert!(output.stderr.contains("\n0: "), "its first instruction");
    assert!(output.stderr.contains("processed"), "its last line");
    let client = scene.rig.client("bad-input");
    let program = Program::from_file(object("big_log")).expect("it was compiled");
    let error = client
        .register("xd0", &program)
        .expect_err("the verifier refuses it");
    let refusal = error.refusal().expect("it is a refusal");
    assert_eq!(refusal.code, RefusalCode::Verifier);
    let log = refusal.log.as_deref().expect("with its log");
    assert!(log.len() > 1 << 20 && log.contains("processed"));
    assert!(
        refusal.message.len() < 1000,
        "the message is one line: {refusal}"
    );
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_program_of_another_type() {
    let scene = Scene::new();
    scene.refuses(&["xd0", "socket_filter", "not an XDP program"], || {
        scene.rig.try_load(
            &object("socket_filter"),
            "new",
            &["--program", "socket_filter"],
        )
    });
    scene.refuses(&["xd0"], || {
        scene.rig.try_load(&object("socket_filter"), "new", &[])
    });
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn duplicate_and_malformed_names() {
    let scene = Scene::new();
    let path = object("verdict");
    scene.refuses(&["xd0", "first"], || {
        scene.rig.try_load(&path, "first", &[])
    });
    let long = "a".repeat(64);
    for name in [
        "",
        ".",
        "..",
        "../up",
        "-dash",
        "a/b",
        "a b",
        "ä",
        "a\nb",
        "\u{1b}[2J",
        &long,
    ] {
        let output = scene.refuses(&["xd0", "name"], || {
            let name = format!("--name={name}");
            scene
                .rig
                .ctl("load", &[path.to_str().expect("a path is text"), &name])
        });
        assert!(!output.stderr.contains('\u{1b}'), "it is escaped: {output}");
    }
    let longest = "a".repeat(63);
    scene.rig.try_load(&path, &longest, &[]).done();
    scene.rig.ctl("unload", &[&longest]).done();
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn unknown_names() {
    let scene = Scene::new();
    let path = object("verdict");
    for (verb, mut arguments) in Scene::every_change(&path) {
        if ["load", "config"].contains(&&*verb) {
            continue;
        }
        arguments[0] = "nobody".to_owned();
        scene.refuses(&["xd0", "nobody"], || {
            scene.rig.ctl(&verb, &as_strs(&arguments))
        });
    }
    for arguments in [
        &["first", "--before", "nobody"][..],
        &["first", "--after", "nobody"],
        &["first", "second", "nobody"],
        &["second", "second"],
        &["first", "second", "first"],
    ] {
        scene.refuses(&["xd0"], || scene.rig.ctl("reorder", arguments));
    }
    scene.refuses(&["xd0"], || scene.rig.ctl("unload", &["first", "nobody"]));
    let show = scene.rig.ctl("show", &["nobody"]);
    show.refused(&["xd0", "nobody"]);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn verdicts_after_which_no_chain_can_go_on() {
    let scene = Scene::new();
    scene.refuses(&["xd0", "other"], || {
        scene
            .rig
            .ctl("set", &["first", "--chain-call", "pass,other"])
    });
    scene.refuses(&["xd0", "other"], || {
        scene
            .rig
            .try_load(&object("verdict"), "new", &["--chain-call", "other"])
    });
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn an_interface_that_runs_somebody_elses_program() {
    let rig = Rig::new();
    let foreign = Foreign::on(&rig.pair.near);
    for mode in ["auto", "native", "generic"] {
        let output = rig.try_load(&object("verdict"), "new", &["--mode", mode]);
        output.refused(&["xd0", &foreign.id().to_string()]);
        assert_eq!(
            rig.pair.near.xdp_program(),
            Some(foreign.id()),
            "{mode}: it still runs"
        );
        assert_eq!(rig.try_chain(), None);
        assert_eq!(rig.daemon.bpffs().pins().len(), 0);
    }
    foreign.remove(&rig.pair.near);
    rig.load_verdict("new", PASS, &[]);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn an_engine_that_the_kernel_does_not_have() {
    let scene = Scene::new();
    let status = scene.rig.daemon.ctl(&["status", "--json"]).json();
    let load = || {
        scene
            .rig
            .try_load(&object("verdict"), "new", &["--engine", "freplace"])
    };
    if status["engines"]["freplace"]["available"] == true {
        load().done();
    } else {
        scene.refuses(&["xd0", "freplace"], load);
    }
}

/// A chain of two, and what it was before the bad input came.
struct Scene {
    rig: Rig,
    before: Chain,
    pins: Vec<PathBuf>,
}

impl Scene {
    fn new() -> Self {
        let rig = Rig::new();
        rig.load_verdict("first", PASS, &[]);
        rig.load("append", "second", &[]);
        Self {
            before: rig.chain(),
            pins: rig.daemon.bpffs().pins(),
            rig,
        }
    }

    /// Checks that what is done is refused with these words, and that nothing changed.
    #[track_caller]
    fn refuses(&self, words: &[&str], bad: impl FnOnce() -> Output) -> Output {
        let program = self.rig.pair.near.xdp_program();
        let output = bad();
        output.refused(words);
        assert_eq!(output.stdout, "", "nothing was done, so nothing is said");
        assert_eq!(self.rig.chain(), self.before);
        assert_eq!(self.rig.daemon.bpffs().pins(), self.pins);
        assert_eq!(self.rig.pair.near.xdp_program(), program);
        output
    }

    /// Every changing command, with arguments that are right.
    fn every_change(path: &Path) -> Vec<(String, Vec<String>)> {
        let path = path.to_str().expect("a path is text");
        [
            &["load", path, "--name", "new"][..],
            &["unload", "first"],
            &["reorder", "first", "--last"],
            &["set", "first", "--allowed", "pass"],
            &["replace", "first", path],
            &["config", "--final-verdict", "last"],
        ]
        .iter()
        .map(|words| {
            let mut words = words.iter().map(|word| (*word).to_owned());
            (words.next().expect("there is a verb"), words.collect())
        })
        .collect()
    }
}

fn as_strs(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = scratch().join(format!("{name}-{}", std::process::id()));
    fs::write(&path, bytes).expect("the target directory can be written");
    path
}
