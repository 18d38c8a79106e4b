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
    assert_eq!(
        parsed(&list(&[chain])),
        json!({ "chains": [{
            "interface": "eth0",
            "ifindex": 2,
            "netns": { "cookie": 1, "name": null },
            "mode": "native",
            "hook": "link",
            "generation": 7,
            "final_verdict": "pass",
            "counters": true,
            "frags": false,
            "members": [{
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
                "sha256": "ab".repeat(32),
                "packets": {
                    "aborted": 0, "drop": 0, "pass": 123_456, "tx": 0, "redirect": 0,
                    "continue": 0, "other": 0, "missed": 0, "overruled": 0,
                },
            }],
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
            "protocol": 0,
            "uptime_s": 183_845,
            "engines": {
                "freplace": { "available": false, "reason": "no BTF in the kernel" },
                "tailcall": { "available": true, "reason": null },
            },
            "chains": 2,
            "members": 5,
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
            "generation": 8,
            "mode": "generic",
            "notes": ["generic mode: the driver refused native: EOPNOTSUPP"],
            "members": [
                { "name": "stats", "id": 1, "slot": 0, "program_id": 201, "engine": "tailcall" },
                { "name": "firewall", "id": 2, "slot": 1, "program_id": 202, "engine": "tailcall" },
            ],
            "plan": ["build generation 8", "swap"],
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
