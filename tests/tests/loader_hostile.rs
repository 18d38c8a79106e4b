//! Objects that are made to be expensive cost their user a refusal, and nobody else anything.

use libdispatch::Program;
use tests::hostile::every_kind;
use tests::loader::{LoaderProcesses, status};
use tests::{PairOptions, Rig, as_user, scratch};

const USER: u32 = 54_321;
/// What looking at one may take, in seconds of processor time.
const SECONDS: f64 = 2.0;
/// What the daemon may have resident, whatever comes.
const KILOBYTES: u64 = 32 << 10;

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn every_kind_is_refused_soon_and_the_daemon_stays_small() {
    let rig = Rig::with(&["--allow-uid", "54321:load"], &PairOptions::default());
    let loader = LoaderProcesses::of(rig.daemon.pid());
    for hostile in every_kind() {
        let kind = hostile.kind;
        let path = scratch().join(format!("hostile-{}.o", std::process::id()));
        std::fs::write(&path, &hostile.bytes).expect("there is room");
        let program = Program::from_file(&path)
            .expect("it was just made")
            .name("hostile");
        loader.spare();
        let before = loader.seconds_of_ended();
        let error = as_user(USER, || {
            let client = rig.client("user");
            client.register("xd0", &program).map(drop).expect_err(kind)
        });
        std::fs::remove_file(&path).expect("it was just made");
        let refusal = error.refusal().unwrap_or_else(|| panic!("{kind}: {error}"));
        assert!(refusal.message.contains("xd0"), "{kind}: {refusal}");
        assert!(
            refusal.message.len() < 1000,
            "{kind}: {} bytes",
            refusal.message.len()
        );
        loader.spare();
        let seconds = loader.seconds_of_ended() - before;
        eprintln!("{kind}: {seconds:.2} s: {}", refusal.message);
        assert!(seconds <= SECONDS, "{kind}: {seconds} s");
    }
    let most = status(rig.daemon.pid(), "VmHWM").expect("it runs");
    let kilobytes: u64 = most.trim_end_matches(" kB").parse().expect("a number");
    assert!(kilobytes < KILOBYTES, "{most}");
    rig.load_verdict("next", 2, &[]);
}
