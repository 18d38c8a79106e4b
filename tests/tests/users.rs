//! Users who are not root: what they may do, and what not.

mod raw;

use libdispatch::{Error, Program, RefusalCode, Remedy};
use raw::Scene;
use tests::{DEADLINE, as_user, object, wait_until};

const PASS: u32 = 2;
/// Nobody's.
const USER: u32 = 54_321;

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_user_whom_nobody_let_in_is_kept_out() {
    let scene = Scene::new();
    let error = as_user(USER, || {
        scene
            .rig
            .port()
            .try_client("user")
            .expect_err("nobody let it in")
    });
    assert!(matches!(error, Error::NotReachable { .. }), "{error}");

    let scene = Scene::with(&["--allow-uid", "54322:load"]);
    let error = as_user(USER, || {
        scene
            .rig
            .port()
            .try_client("user")
            .expect_err("nobody let it in")
    });
    let refusal = error.refusal().expect("the daemon says it");
    assert_eq!(refusal.code, RefusalCode::NotAllowed);
    assert!(refusal.message.contains("54321"), "{refusal}");
    assert_eq!(refusal.remedy, Some(Remedy::AllowUser));
    assert!(
        refusal.to_string().ends_with("can let a user in"),
        "{refusal}"
    );
    scene.still_stands();
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_user_with_too_many_connections_is_told_what_to_do() {
    let scene = Scene::with(&["--allow-uid", "54321:load"]);
    let error = as_user(USER, || {
        let mut connected = Vec::new();
        loop {
            match scene.rig.port().try_client("user") {
                Ok(client) => connected.push(client),
                Err(error) => break error,
            }
        }
    });
    let refusal = error.refusal().expect("the daemon says it");
    assert_eq!(refusal.code, RefusalCode::Quota);
    assert!(refusal.message.contains("uid 54321 has 64"), "{refusal}");
    assert_eq!(refusal.remedy, Some(Remedy::CloseConnections));
    scene.still_stands();
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_user_who_may_load_has_its_own_members_and_no_others() {
    let scene = Scene::with(&["--allow-uid", "54321:load"]);
    let rig = &scene.rig;
    as_user(USER, || {
        let client = rig.client("user");
        let program = verdict("theirs");
        let registration = client.register("xd0", &program).expect("the user may load");
        let member = registration.detail().expect("it is there").member;
        assert_eq!(member.owner.uid, USER);
        client
            .change("xd0")
            .reorder("theirs", libdispatch::Position::Priority(9))
            .apply()
            .expect("it is the user's own");
        for change in [
            client.change("xd0").unregister("kept"),
            client
                .change("xd0")
                .reorder("kept", libdispatch::Position::First),
            client.change("xd0").replace("kept", &program),
        ] {
            let error = change.apply().expect_err("it is root's");
            let code = error.refusal().expect("the daemon says it").code;
            assert_eq!(code, RefusalCode::NotOwner, "{error}");
        }
        let error = client
            .change("xd0")
            .unregister_all()
            .apply()
            .expect_err("not all are theirs");
        assert!(error.refusal().is_some(), "{error}");
        let off = libdispatch::Configuration {
            counters: Some(false),
            ..Default::default()
        };
        let error = client
            .change("xd0")
            .configure(off)
            .apply()
            .expect_err("it is everybody's");
        assert_eq!(
            error.refusal().expect("it says so").code,
            RefusalCode::NotAllowed
        );
        let error = client
            .map("xd0", "kept", ".rodata")
            .expect_err("it is root's");
        assert_eq!(
            error.refusal().expect("it says so").code,
            RefusalCode::NotOwner
        );
    });
    rig.ctl("unload", &["kept"]).done();
    rig.load_verdict("kept", PASS, &[]);
    wait_until("the user's member is gone", DEADLINE, || {
        rig.chain().order() == ["kept"]
    });
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_users_program_may_not_call_what_reads_the_kernel_and_roots_may() {
    let scene = Scene::with(&["--allow-uid", "54321:load"]);
    let rig = &scene.rig;
    let spy = Program::from_file(object("probe_read"))
        .expect("it was compiled")
        .name("spy");
    as_user(USER, || {
        let error = rig
            .client("user")
            .register("xd0", &spy)
            .expect_err("it reads the kernel");
        let refusal = error.refusal().expect("the daemon says it");
        assert_eq!(refusal.code, RefusalCode::Helper);
        assert!(
            refusal.message.contains("bpf_probe_read_kernel"),
            "{refusal}"
        );
    });
    scene.still_stands();
    scene
        .rig
        .client("root")
        .register("xd0", &spy)
        .expect("root may")
        .unregister()
        .expect("it is");
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_user_who_may_redirect_only_loads_no_objects() {
    let scene = Scene::with(&["--allow-uid", "54321"]);
    as_user(USER, || {
        let client = scene.rig.client("user");
        assert_eq!(client.list(None).expect("it may look").len(), 1);
        let error = client
            .register("xd0", &verdict("theirs"))
            .expect_err("it may not load");
        let refusal = error.refusal().expect("the daemon says it");
        assert_eq!(refusal.code, RefusalCode::NotAllowed, "{refusal}");
    });
    scene.still_stands();
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn root_of_a_user_namespace_is_not_root() {
    let scene = Scene::with(&["--allow-uid", "54322:load"]);
    let copy = everybodys(&tests::binary("dispatchctl"));
    let mut unshare = std::process::Command::new("unshare");
    unshare
        .args(["--user", "--map-root-user"])
        .arg(&copy)
        .arg("status")
        .env("DISPATCHD_SOCKET", scene.rig.daemon.socket());
    let output = std::os::unix::process::CommandExt::uid(&mut unshare, USER).output();
    let output = tests::Output::from(output.expect("unshare runs (Debian package util-linux)"));
    output.refused(&["54321"]);
    scene.still_stands();
}

fn verdict(name: &str) -> Program {
    Program::from_file(object("verdict"))
        .expect("it was compiled")
        .name(name)
}

/// A copy of a binary that everybody can reach.
fn everybodys(binary: &std::path::Path) -> tempfile::TempPath {
    use std::os::unix::fs::PermissionsExt;
    let copy = tempfile::NamedTempFile::new()
        .expect("a file can be made")
        .into_temp_path();
    std::fs::copy(binary, &copy).expect("it can be copied");
    let everybody = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&copy, everybody).expect("it is ours");
    copy
}
