//! The texts, whole: `src/render/expected/`. With `UPDATE_EXPECTED=1` in the environment the files
//! are written instead; the difference is then to be read in the commit.

use std::{env, fs, path::Path};

use super::*;
use crate::samples;

#[test]
fn a_list_explains_its_order() {
    check("list", &list(&[samples::chain(), samples::odd_chain()]));
    check(
        "list_trouble",
        &list(&[samples::unreadable_chain(), samples::waiting_chain()]),
    );
}

#[test]
fn a_list_of_one_namespace_does_not_name_it() {
    check("list_one", &list(&[samples::chain()]));
    check("list_none", &list(&[]));
}

#[test]
fn a_member_is_shown_whole() {
    let chain = samples::chain();
    check("show", &show("eth0", Some(&chain), &samples::detail()));
}

#[test]
fn the_redirect_program_is_shown_with_its_sockets() {
    let chain = samples::chain();
    let shown = show("eth0", Some(&chain), &samples::redirect());
    check("show_sockets", &shown);
}

#[test]
fn sockets_are_shown_where_there_are_no_maps() {
    let mut detail = samples::redirect();
    detail.maps.clear();
    let shown = show("eth0", None, &detail);
    assert!(shown.contains("  sockets\n"), "{shown}");
}

#[test]
fn the_status_says_what_each_engine_can() {
    check("status", &status(&samples::daemon()));
}

#[test]
fn a_change_is_a_line_for_each_member() {
    let outcomes = [samples::loaded("eth0"), samples::loaded("eth1")];
    check("changes", &changes(&outcomes));
    check("emptied", &changes(&[samples::emptied()]));
}

#[test]
fn a_dry_run_is_the_plan() {
    check(
        "dry_run",
        &dry_run(&[samples::loaded("eth0"), samples::emptied()]),
    );
}

fn check(name: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/render/expected")
        .join(name)
        .with_extension("txt");
    if env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&file, text).unwrap();
    }
    let expected = fs::read_to_string(&file).unwrap();
    assert_eq!(text, expected, "{}", file.display());
}
