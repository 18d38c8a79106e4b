//! The command line that scripts depend on: every form of every command, exit codes, JSON.

use std::path::Path;

use serde_json::{Value, json};
use tests::{Daemon, Output, PinnedMap, PinnedProgram, Rig, binary, frame, object, scratch};

const DROP: u32 = 1;
const PASS: u32 = 2;

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn status_shows_the_daemon_and_what_its_kernel_can_do() {
    let rig = Rig::new();
    rig.load_verdict("one", PASS, &[]);
    rig.load_verdict("two", PASS, &[]);
    let text = rig.daemon.ctl(&["status"]);
    let line = |engine: &str| {
        let words = text
            .stdout
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        words
            .filter(|words| words.first() == Some(&engine))
            .find(|words| words.get(1) == Some(&"available") || words.get(1) == Some(&"refused:"))
            .unwrap_or_else(|| panic!("no line for {engine}: {text}"))
            .join(" ")
    };
    assert_eq!(line("tailcall"), "tailcall available");
    let freplace = line("freplace");
    let status = rig.daemon.ctl(&["status", "--json"]).done().json();
    assert_eq!(status["chains"], 1);
    assert_eq!(status["members"], 2);
    assert!(status["version"].is_string() && status["protocol"].is_u64());
    assert!(status["uptime_s"].as_u64().expect("a number") < 3600);
    assert_eq!(
        status["engines"]["tailcall"],
        json!({"available": true, "reason": null})
    );
    let probe = &status["engines"]["freplace"];
    match probe["reason"].as_str() {
        None => assert_eq!(
            (freplace.as_str(), &probe["available"]),
            ("freplace available", &json!(true))
        ),
        Some(reason) => {
            assert_eq!(probe["available"], false);
            // "refused" once.
            let reason = reason.trim_start_matches("refused ");
            assert_eq!(freplace, format!("freplace refused: {reason}"));
        }
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn list_has_every_field_that_is_promised() {
    let rig = Rig::new();
    let settings = [
        "--priority",
        "7",
        "--chain-call",
        "drop,pass",
        "--allowed",
        "drop,pass,tx",
    ];
    rig.load_verdict("guard", DROP, &settings);
    rig.send(&frame(64), 10);
    let document = rig.daemon.ctl(&["list", "--json"]).done().json();
    let chain = &document["chains"][0];
    let netns = &rig.pair.near.netns;
    assert_eq!(chain["interface"], "xd0");
    assert_eq!(chain["ifindex"], rig.pair.near.index);
    assert_eq!(
        chain["netns"],
        json!({"cookie": netns.cookie(), "name": netns.name()})
    );
    assert_eq!(chain["mode"], "native");
    assert_eq!(chain["hook"], "link");
    assert_eq!(chain["generation"], 1);
    assert_eq!(chain["final_verdict"], "pass");
    let member = &chain["members"][0];
    assert_eq!(member["slot"], 0);
    assert!(member["id"].is_u64());
    assert_eq!(member["name"], "guard");
    assert_eq!(member["program"], "verdict_prog");
    assert!(member["program_id"].is_u64());
    assert_eq!(member["priority"], 7);
    assert_eq!(member["requested_priority"], 7);
    assert_eq!(member["chain_call"], json!(["drop", "pass"]));
    assert_eq!(member["allowed"], json!(["drop", "pass", "tx"]));
    assert_eq!(member["engine"], engine(&rig));
    assert_eq!(member["state"], "running");
    assert_eq!(member["owner"]["uid"], 0);
    assert!(member["owner"]["pid"].is_u64());
    assert_eq!(member["owner"]["client"], "dispatchctl");
    assert_eq!(member["lifetime"], "kept");
    assert_eq!(member["sha256"].as_str().expect("an object").len(), 64);
    assert_eq!(chain["pins"], json!(rig.port().pins()));
    let pins = &member["pins"];
    let program = Path::new(pins["program"].as_str().expect("a path"));
    assert_eq!(member["program_id"], PinnedProgram::open(program).id());
    assert!(program.starts_with(rig.port().pins()), "{pins}");
    let maps = Path::new(pins["maps"].as_str().expect("a path"));
    PinnedMap::open(&maps.join("%2erodata"));
    assert_eq!(chain["attached"], true);
    assert!(chain["looked_ms_ago"].as_u64() < Some(2000), "{chain}");
    assert_eq!(chain["hook_program"], Value::Null);
    assert_eq!(
        member["packets"],
        json!({
            "aborted": 0, "drop": 10, "pass": 0, "tx": 0, "redirect": 0,
            "continue": 0, "other": 0, "missed": 0, "overruled": 0,
        })
    );
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn list_shows_all_interfaces_or_one_and_an_empty_document_for_none() {
    let rig = Rig::new();
    assert_eq!(
        rig.daemon.ctl(&["list", "--json"]).done().json(),
        json!({"chains": []})
    );
    rig.daemon.ctl(&["list"]).done();
    rig.load_verdict("guard", DROP, &["--priority", "7"]);
    rig.load_verdict("stats", PASS, &["--priority", "9"]);
    let now = |mut document: Value| {
        document["chains"][0]["looked_ms_ago"] = Value::Null;
        document
    };
    let one = rig.ctl("list", &["--json"]).done().json();
    let all = rig.daemon.ctl(&["list", "--json"]).json();
    assert_eq!(now(one), now(all));
    let netns = rig.pair.near.netns.name();
    let none = rig.daemon.ctl(&["list", "lo", "--json", "--netns", netns]);
    assert_eq!(none.done().json(), json!({"chains": []}));
    let text = rig.daemon.ctl(&["list"]);
    let guard = text.stdout.find("guard").expect("it is listed");
    let stats = text.stdout.find("stats").expect("it is listed");
    assert!(
        guard < stats && text.stdout.contains("xd0"),
        "in run order: {text}"
    );
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn show_has_everything_about_one_member() {
    let rig = Rig::new();
    rig.load("append", "one", &["--map-size", "NOTES=9"]);
    let shown = rig.ctl("show", &["one", "--json"]).done().json();
    assert_eq!(shown["interface"], "xd0");
    assert_eq!(shown["name"], "one");
    assert_eq!(shown["program"], "append");
    let maps = shown["maps"].as_array().expect("a list");
    let notes = maps
        .iter()
        .find(|map| map["name"] == "NOTES")
        .expect("it is there");
    assert_eq!(notes["max_entries"], 9);
    assert_eq!(notes["id"], rig.map("one", "NOTES").id());
    let text = rig.ctl("show", &["one"]);
    assert!(text.done().stdout.contains("NOTES"), "{text}");
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn every_form_of_every_changing_command_is_done() {
    let rig = Rig::new();
    let path = object("verdict");
    let path = path.to_str().expect("a path is text");
    let counter = object("counter");
    let counter = counter.to_str().expect("a path is text");
    let several = object("several");
    let several = several.to_str().expect("a path is text");
    for line in [
        &[
            "load",
            path,
            "--name",
            "a",
            "--priority",
            "1",
            "--mode",
            "auto",
        ][..],
        &[
            "load",
            several,
            "--program",
            "tx",
            "--name",
            "b",
            "--chain-call",
            "tx,drop",
        ],
        &["load", counter, path, "--allowed", "pass"],
        &[
            "load",
            path,
            "--name",
            "c",
            "--global",
            "verdict=1",
            "--if-generation",
            "3",
        ],
        &["reorder", "a", "--priority", "60"],
        &["reorder", "a", "--first"],
        &["reorder", "a", "--last"],
        &["reorder", "a", "--before", "b"],
        &["reorder", "a", "--after", "b"],
        &["reorder", "counter", "b", "a", "c", "verdict_prog"],
        &["set", "a", "--chain-call", "pass,redirect"],
        &["set", "a", "--allowed", "pass,aborted"],
        &["set", "a", "--chain-call", "none", "--allowed", "all"],
        &["replace", "a", counter],
        &["config", "--final-verdict", "last"],
        &["config", "--final-verdict", "pass"],
        &["config", "--counters", "off"],
        &["config", "--counters", "on"],
        &["config", "--engine", "auto"],
        &["config", "--engine", "tailcall"],
        &["config", "--mode", "generic"],
        &["unload", "b"],
        &["unload", "c", "verdict_prog"],
        &["unload", "--all"],
    ] {
        let generation = rig.try_chain().map_or(0, |chain| chain.generation);
        let dry = rig.ctl(line[0], &[&line[1..], &["--dry-run"]].concat());
        dry.done();
        let now = rig.try_chain().map_or(0, |chain| chain.generation);
        assert_eq!(now, generation, "a dry run changes nothing: {line:?}");
        rig.ctl(line[0], &line[1..]).done();
    }
    assert_eq!(rig.try_chain(), None);
    assert_eq!(rig.pair.near.xdp_program(), None);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_dry_run_says_what_would_be_done_and_changes_nothing() {
    let rig = Rig::new();
    let path = object("verdict");
    let path = path.to_str().expect("a path is text");
    let said = rig.ctl("load", &[path, "--name", "first", "--dry-run", "--json"]);
    let said = said.done().json();
    assert_eq!(
        (&said["dry_run"], &said["generation"]),
        (&json!(true), &json!(1))
    );
    assert_eq!(said["members"][0]["program_id"], Value::Null);
    assert!(!said["plan"].as_array().expect("a list").is_empty());
    assert_eq!(rig.try_chain(), None);
    assert_eq!(rig.pair.near.xdp_program(), None);
    assert_eq!(rig.daemon.bpffs().pins().len(), 0);

    rig.load_verdict("first", PASS, &[]);
    rig.load_verdict("second", DROP, &[]);
    let (before, pins) = (rig.chain(), rig.daemon.bpffs().pins());
    for line in [
        &["load", path, "--name", "third"][..],
        &["unload", "first"],
        &["unload", "--all"],
        &["reorder", "second", "--first"],
        &["reorder", "second", "first"],
        &["set", "first", "--allowed", "pass"],
        &["replace", "first", path],
        &["config", "--final-verdict", "last"],
        &["config", "--mode", "generic"],
    ] {
        let text = rig.ctl(line[0], &[&line[1..], &["--dry-run"]].concat());
        assert!(!text.done().stdout.is_empty(), "{line:?}: {text}");
        assert_eq!(rig.chain(), before, "{line:?}");
        assert_eq!(rig.daemon.bpffs().pins(), pins, "{line:?}");
    }
    rig.ctl("unload", &["nobody", "--dry-run"])
        .refused(&["xd0", "nobody"]);
    rig.try_load(&object("rejected"), "bad", &["--dry-run"])
        .refused(&["xd0", "verifier"]);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_change_says_in_json_what_it_did() {
    let rig = Rig::new();
    let path = object("verdict");
    let path = path.to_str().expect("a path is text");
    let said = rig
        .ctl("load", &[path, "--name", "first", "--json"])
        .done()
        .json();
    let member = rig.chain().member("first").clone();
    assert_eq!(
        (&said["interface"], &said["dry_run"]),
        (&json!("xd0"), &json!(false))
    );
    assert_eq!(
        (&said["generation"], &said["mode"]),
        (&json!(1), &json!("native"))
    );
    assert_eq!(said["members"][0]["name"], "first");
    assert_eq!(said["members"][0]["id"], member.id);
    assert_eq!(said["members"][0]["slot"], 0);
    assert_eq!(
        said["members"][0]["program_id"],
        member.program_id.expect("it is loaded")
    );
    assert_eq!(said["members"][0]["engine"], engine(&rig));
    assert_eq!(said["reloads"], json!([]));
    let said = rig.ctl("unload", &["--all", "--json"]).done().json();
    assert_eq!(
        (&said["generation"], &said["mode"]),
        (&json!(0), &Value::Null)
    );
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_command_line_that_makes_no_sense_ends_with_2() {
    let rig = Rig::new();
    rig.load_verdict("first", PASS, &[]);
    let before = rig.chain();
    for line in [
        "",
        "nonsense",
        "list --nonsense",
        "load",
        "load xd0",
        "unload xd0",
        "unload xd0 a --all",
        "reorder xd0",
        "reorder xd0 first --first --last",
        "reorder xd0 first --priority x",
        "reorder xd0 first --priority -1",
        "reorder xd0 first --priority 4294967296",
        "reorder xd0 first --before",
        "set xd0 first",
        "set xd0",
        "set xd0 first --allowed maybe",
        "set xd0 first --chain-call 2",
        "replace xd0 first",
        "config xd0",
        "config xd0 --final-verdict drop",
        "config xd0 --counters maybe",
        "config xd0 --mode fast",
        "config xd0 --engine warp",
        "unload xd0 first --if-generation x",
        "show xd0",
        "load xd0 x.o --map-size flows",
        "load xd0 x.o --map-size flows=x",
        "load xd0 x.o --global verdict",
        "status now",
    ] {
        let words: Vec<&str> = line.split_whitespace().collect();
        let output = rig.daemon.ctl(&words);
        assert_eq!(output.code, Some(2), "dispatchctl {line}: {output}");
        assert!(
            !output.stderr.is_empty() && output.stdout.is_empty(),
            "{line}: {output}"
        );
        assert_eq!(rig.chain(), before, "{line}");
    }
    for (line, code) in [("--help", 0), ("--version", 0), ("load --help", 0)] {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(
            rig.daemon.ctl(&words).code,
            Some(code),
            "dispatchctl {line}"
        );
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_daemon_that_can_not_be_reached_ends_with_3() {
    let nobody = scratch().join("nobody.sock");
    let path = object("verdict");
    let path = path.to_str().expect("a path is text");
    for line in [
        &["status"][..],
        &["list", "--json"],
        &["show", "lo", "a"],
        &["load", "lo", path],
        &["unload", "lo", "--all"],
        &["reorder", "lo", "a", "--first"],
        &["set", "lo", "a", "--allowed", "pass"],
        &["replace", "lo", "a", path],
        &["config", "lo", "--counters", "on"],
    ] {
        let output = std::process::Command::new(binary("dispatchctl"))
            .args(line)
            .env("DISPATCHD_SOCKET", &nobody)
            .output()
            .expect("dispatchctl can be started");
        let output = Output::from(output);
        output.unreachable(&["nobody.sock"]);
        if line.contains(&"--json") {
            let document: Value = serde_json::from_str(&output.stdout).expect("a document");
            assert_eq!(document["error"]["code"], "not_reachable", "{line:?}");
        } else {
            assert_eq!(output.stdout, "", "{line:?}");
        }
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn the_socket_can_be_given_on_the_command_line() {
    let daemon = Daemon::start();
    let socket = daemon.socket();
    let socket = socket.to_str().expect("a path is text");
    let output = std::process::Command::new(binary("dispatchctl"))
        .args(["--socket", socket, "status"])
        .output()
        .expect("dispatchctl can be started");
    Output::from(output).done();
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn the_daemons_own_command_line_makes_sense_or_ends_with_2() {
    for line in [
        "--nonsense",
        "--engine warp",
        "--allow-uid me",
        "--allow-uid 1:all",
        "--log-format x",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let output = tests::start_failure(&words, |_| {});
        assert_eq!(output.code, Some(2), "dispatchd {line}: {output}");
    }
    assert_eq!(tests::start_failure(&["--help"], |_| {}).code, Some(0));
    assert_eq!(tests::start_failure(&["--version"], |_| {}).code, Some(0));
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn logs_can_be_json_and_each_line_is_a_document() {
    let daemon = Daemon::with(&["--log-format", "json"]);
    let log = daemon.log();
    assert!(!log.is_empty());
    for line in log.lines() {
        let document: Value = serde_json::from_str(line).expect("each line is JSON");
        assert!(document["level"].is_string(), "{line}");
    }
}

/// The engine that the daemon takes by itself.
fn engine(rig: &Rig) -> &'static str {
    let status = rig.daemon.ctl(&["status", "--json"]).done().json();
    if status["engines"]["freplace"]["available"] == true {
        "freplace"
    } else {
        "tailcall"
    }
}
