//! The documents, field by field: a field that goes or changes breaks somebody's script.

use serde_json::{Value, json};

use super::*;
use crate::samples;

#[test]
fn an_empty_list_has_no_chains() {
    assert_eq!(parsed(&list(&[])), json!({ "chains": [] }));
}

#[test]
fn a_list_holds_every_field() {
    let mut chain = samples::chain();
    chain.members.truncate(1);
    let member = json!({
        "slot": 0,
        "id": 1,
        "name": "stats",
        "program": "count_packets",
        "program_id": 215,
        "priority": 10,
        "requested_priority": 10,
        "chain_call": ["pass"],
        "allowed": ["aborted", "drop", "pass", "tx", "redirect", "other"],
        "engine": "tailcall",
        "engine_reason": null,
        "state": "running",
        "owner": { "uid": 0, "pid": 1234, "client": "stats" },
        "lifetime": "attached",
        "source": "object",
        "sha256": "ab".repeat(32),
        "pins": null,
        "packets": {
            "aborted": 0, "drop": 0, "pass": 123_456, "tx": 0, "redirect": 0,
            "continue": 0, "other": 0, "missed": 0, "overruled": 0,
        },
        "ns_per_packet": null,
    });
    assert_eq!(
        parsed(&list(&[chain])),
        json!({ "chains": [{
            "id": 4_294_967_298_u64,
            "interface": "eth0",
            "ifindex": 2,
            "netns": { "cookie": 1, "name": null },
            "mode": "native",
            "hook": "link",
            "attached": true,
            "looked_ms_ago": null,
            "hook_program": null,
            "parked": false,
            "generation": 7,
            "build": 9,
            "pending": null,
            "pins": "/sys/fs/bpf/dispatchd/1-2",
            "unreadable": null,
            "final_verdict": "pass",
            "counters": true,
            "frags": false,
            "members": [member],
        }] })
    );
}

#[test]
fn what_is_not_there_is_null() {
    let document = parsed(&list(&[samples::odd_chain()]));
    let member = &document["chains"][0]["members"][0];
    for field in ["slot", "program_id", "sha256"] {
        assert_eq!(member.get(field), Some(&Value::Null), "{field}");
    }
    assert_eq!(
        member["owner"]["client"], "\u{1b}[2Jroot\n",
        "not escaped twice"
    );
}

#[test]
fn what_is_unusual_about_a_chain_is_said() {
    let document = parsed(&list(&[
        samples::odd_chain(),
        samples::unreadable_chain(),
        samples::waiting_chain(),
    ]));
    let [odd, unreadable, waiting] = [0, 1, 2].map(|at| &document["chains"][at]);
    assert_eq!(
        odd["hook_program"],
        json!({ "id": 4711, "name": "ri\u{7}val" })
    );
    assert_eq!(odd["pending"], json!({ "deadline_s": 58, "reverts_to": 6 }));
    assert_eq!(
        (&odd["attached"], &odd["looked_ms_ago"], &odd["parked"]),
        (&json!(false), &json!(40), &json!(true))
    );
    for field in ["id", "mode", "hook", "final_verdict"] {
        assert_eq!(unreadable.get(field), Some(&Value::Null), "{field}");
    }
    assert_eq!(unreadable["generation"], 0);
    assert_eq!(
        unreadable["unreadable"],
        json!({
            "why": "gen-9/registry was written by a later version of dispatchd (format 9, which takes \
                    a reader of format 4)",
            "reason": "registry",
            "pin": null,
            "call": null,
            "errno": null,
            "program_id": null,
            "build": 9,
            "found": null,
            "registry": {
                "fault": "too_new", "version": 9, "reader": 4, "option": null, "says_build": null,
            },
        })
    );
    assert_eq!(
        (&waiting["interface"], &waiting["ifindex"], &waiting["hook"]),
        (&json!("eth0"), &json!(0), &Value::Null)
    );
}

#[test]
fn a_failure_is_a_document() {
    let refused = libdispatch::Error::Refused(libdispatch::Refusal {
        code: libdispatch::RefusalCode::NotAllowed,
        message: "uid 7 may not change chains".to_owned(),
        log: None,
        remedy: Some(libdispatch::Remedy::AllowLoad { uid: 7 }),
    });
    let message = "uid 7 may not change chains";
    assert_eq!(
        parsed(&error(Some("eth0"), message, &refused)),
        json!({ "error": {
            "code": "not_allowed",
            "message": message,
            "interface": "eth0",
            "remedy": "`dispatchd --allow-uid 7:load` lets it load its own objects",
        }})
    );
    let unreachable = libdispatch::Error::NotReachable {
        socket: "/run/x".into(),
        source: std::io::ErrorKind::NotFound.into(),
    };
    let document = parsed(&error(None, "no", &unreachable));
    assert_eq!(document["error"]["code"], "not_reachable");
    for field in ["interface", "remedy"] {
        assert_eq!(document["error"].get(field), Some(&Value::Null), "{field}");
    }
}

#[test]
fn every_code_is_in_the_documentation() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/json.md");
    let page = std::fs::read_to_string(page).unwrap();
    for code in libdispatch::RefusalCode::ALL {
        let word = code.name();
        assert!(page.contains(&format!("`{word}`")), "{word}");
    }
}

#[test]
fn a_member_is_its_entry_in_the_list_and_more() {
    let chain = samples::chain();
    let shown = parsed(&show("eth0", Some(&chain), &samples::detail()));
    let listed = parsed(&list(&[chain]));
    for (field, value) in listed["chains"][0]["members"][2].as_object().unwrap() {
        assert_eq!(&shown[field], value, "{field}");
    }
    assert_eq!(
        (&shown["interface"], &shown["ifindex"]),
        (&json!("eth0"), &json!(2))
    );
    assert_eq!(shown["on_miss"], "continue");
    assert_eq!(shown["tail_depth"], 1);
    assert_eq!(shown["linger_ms"], 30_000);
    assert_eq!(shown["share_group"], "taps");
    assert_eq!(
        shown["maps"][1],
        json!({
            "name": "NEXT", "id": 41, "type": "prog_array", "type_id": 3,
            "key_size": 4, "value_size": 4, "max_entries": 8,
        })
    );
}

#[test]
fn a_socket_holds_every_field() {
    let shown = parsed(&show("eth0", None, &samples::redirect()));
    assert_eq!(
        shown["sockets"][0],
        json!({
            "queue": 0,
            "owner": {"uid": 65_534, "pid": 77, "client": "xsk\u{7}echo"},
            "state": "active",
            "zero_copy": true,
            "bytes": 16 << 20,
            "counts": {
                "rx_dropped": 1, "rx_invalid_descs": 2, "tx_invalid_descs": 3, "rx_ring_full": 4,
                "rx_fill_ring_empty_descs": 5, "tx_ring_empty_descs": 6,
            },
        })
    );
    assert_eq!(shown["sockets"][1]["counts"], json!(null));
    let other = parsed(&show("eth0", None, &samples::detail()));
    assert_eq!(other["sockets"], json!([]));
}

#[test]
fn the_status_holds_every_field() {
    assert_eq!(
        parsed(&status(&samples::daemon())),
        json!({
            "version": "0.1.0",
            "protocol": 1,
            "uptime_s": 183_845,
            "engines": {
                "freplace": { "available": false, "reason": "no BTF in the kernel" },
                "tailcall": { "available": true, "reason": null },
            },
            "chains": 2,
            "members": 5,
            "warnings": [
                "the chain of eth0 is not attached",
                "the chain of eth1 is not attached: the hook runs ri\u{7}val (id 4711)",
                "the chain of eth2 can't be read: link is missing, below /sys/fs/bpf/dispatchd/1-4",
            ],
        })
    );
}

#[test]
fn a_change_is_the_document_and_several_are_a_list() {
    let one = parsed(&changes(&[samples::loaded("eth0")], false));
    assert_eq!(
        one,
        json!({
            "interface": "eth0",
            "dry_run": false,
            "chain": 4_294_967_298_u64,
            "generation": 8,
            "build": 10,
            "mode": "generic",
            "notes": ["eth0 has no native XDP (Operation not supported (os error 95)); generic \
                mode is used"],
            "members": [
                { "name": "stats", "id": 1, "slot": 0, "program_id": 201, "engine": "tailcall",
                  "taken_up": false },
                { "name": "firewall", "id": 2, "slot": 1, "program_id": 202, "engine": "tailcall",
                  "taken_up": false },
            ],
            "plan": [
                "aside: build 10 from dispatcher: slots 2, final verdict pass, counters on, frags \
                    off",
                "commit: swap build 9 of eth0 for 10",
                "cleanup: wait for packets that are still inside",
            ],
            "reloads": ["balancer"],
        })
    );
    let both = [samples::loaded("eth0"), samples::loaded("eth1")];
    let several = parsed(&changes(&both, false));
    assert_eq!(several["changes"][0], one);
    assert_eq!(several["changes"][1]["interface"], "eth1");
    let emptied = parsed(&changes(&[samples::emptied()], true));
    assert_eq!(
        (&emptied["mode"], &emptied["dry_run"]),
        (&Value::Null, &json!(true))
    );
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}
