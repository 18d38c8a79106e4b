//! What the first version pinned is continued, changed and upgraded. The golden files are what it
//! really pinned for three members, the redirect program among them; here they are pinned for a chain
//! of the same members, which a daemon of today loaded.

mod pins;
mod socket;

use std::fs;

use tests::{Chain, PairOptions, Pinnable, PinnedMap, Rig, frame, scratch};

use self::pins::{DROP, PASS, bytes};

const STATS_OBJECT: &[u8] = include_bytes!(env!("STATS_OBJECT"));
const REGISTRY: &[u8] = include_bytes!("../golden/first-version/registry.bin");
const TOTALS: [&[u8]; 3] = [
    include_bytes!("../golden/first-version/totals-1.bin"),
    include_bytes!("../golden/first-version/totals-2.bin"),
    include_bytes!("../golden/first-version/totals-3.bin"),
];
const CLAIM: &[u8] = include_bytes!("../golden/first-version/claim.bin");
/// The digest of the object that `guard` was loaded from there.
const GUARD: &str = "436a755586d25f7dd45e7363c8769508c4c2f308c6a65e4cf4cf8fe1db793b25";
/// And that of `stats`.
const STATS: &str = "7dc6eb98356c2cd28b6b180b00e9e4c0b7e62c458f55b96cda660ee9091860f1";
/// What the totals say: `stats` passed so many, and `guard` dropped them.
const FOLDED: u64 = 105;

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn what_the_first_version_pinned_is_continued_changed_and_upgraded() {
    // As it was there.
    let mut rig = Rig::with(&["--engine", "tailcall"], &PairOptions::default());
    let stats = scratch().join("first-version-stats.o");
    fs::write(&stats, STATS_OBJECT).expect("the target directory can be written");
    let place = ["--priority", "10", "--share-group", "lab"];
    rig.try_load(&stats, "stats", &place).done();
    rig.load_verdict("guard", DROP, &["--priority", "30"]);
    let client = rig.client("echo");
    let taken = socket::active(&client, 0);
    let members = rig.chain();
    assert_eq!(
        ids(&members),
        [("stats", 1), ("xsk-redirect", 3), ("guard", 2)]
    );
    rig.daemon.kill();
    drop((taken, client));
    make_it_the_first_versions(&rig, &members);
    let root = rig.pair.near.xdp_program();
    rig.daemon.restart();

    let log = rig.daemon.log();
    assert!(!log.contains("can't be read"), "{log}");
    assert_eq!(rig.pair.near.xdp_program(), root, "nothing was touched");
    let found = rig.chain();
    assert_eq!((found.generation, ids(&found)), (3, ids(&members)));
    assert_eq!(found.member("stats").packets.pass, FOLDED);
    assert_eq!(found.member("guard").packets.drop, FOLDED);
    assert_eq!(version(&rig, 3), 2);
    // The socket's queue waits for its client.
    let other = rig.client("other");
    let refused = socket::try_open(&other, 0, socket::MEMORY).expect_err("the queue is taken");
    assert!(refused.to_string().contains("queue 0"), "{refused}");

    // Packets go the way that they went, and are counted on.
    rig.send(&frame(64), 40);
    let after = rig.chain();
    let sum = |chain: &Chain, name| chain.member(name).packets.total();
    assert_eq!(sum(&after, "stats"), FOLDED + 40);

    // A change writes what this version writes, and what was counted goes on.
    rig.load_verdict("late", PASS, &["--priority", "5"]);
    assert_eq!(version(&rig, 4), 3);
    let changed = rig.chain();
    assert_eq!(ids(&changed)[1..], ids(&members)[..]);
    assert!(changed.member("late").id > 3);
    for name in ["stats", "guard", "xsk-redirect"] {
        assert_eq!(sum(&changed, name), sum(&after, name), "{name}");
        assert_eq!(
            changed.member(name).program_id,
            after.member(name).program_id
        );
    }
    rig.ctl("set", &["guard", "--allowed", "drop,pass"]).done();
    rig.ctl("reorder", &["guard", "--first"]).done();
    rig.send(&frame(64), 10);
    rig.daemon.kill();
    rig.daemon.restart();
    let last = rig.chain();
    assert_eq!(last.order(), ["guard", "late", "stats", "xsk-redirect"]);
    assert_eq!(sum(&last, "guard"), sum(&after, "guard") + 10);
    assert_eq!(sum(&last, "stats"), FOLDED + 40);
    let totals = bytes(&rig.port().pins().join("member-1/totals"));
    assert_eq!(totals.len(), 80);

    // Code is replaced, and what has an object can be loaded again from the daemon's store.
    let object = tests::object("verdict");
    let object = object.to_str().expect("a path is text");
    rig.ctl("replace", &["guard", object]).done();
    rig.ctl("unload", &["--all"]).done();
    assert_eq!(rig.pair.near.xdp_program(), None);
    assert_eq!(rig.daemon.bpffs().pins().len(), 0);
}

/// Puts the golden bytes where they belong.
fn make_it_the_first_versions(rig: &Rig, members: &Chain) {
    let directory = rig.port().pins();
    let mut registry = REGISTRY.to_vec();
    let near = &rig.pair.near;
    registry[12..20].copy_from_slice(&near.netns.cookie().to_le_bytes());
    registry[20..24].copy_from_slice(&near.index.to_le_bytes());
    for (name, digest) in [("guard", GUARD), ("stats", STATS)] {
        let is = members.member(name).sha256.as_deref();
        replace(
            &mut registry,
            &hex(digest),
            &hex(is.expect("it has an object")),
        );
    }
    Pinnable::array(&registry).pin(&directory.join("gen-3/registry"));
    for (id, totals) in (1..).zip(TOTALS) {
        Pinnable::hash(totals).pin(&directory.join(format!("member-{id}/totals")));
    }
    let claims = PinnedMap::open(&directory.join("member-3/code-1/maps/CLAIMS"));
    claims
        .set(&0_u32.to_ne_bytes(), CLAIM)
        .expect("it has room");
}

/// The version of a build's registry.
fn version(rig: &Rig, build: u64) -> u32 {
    let registry = bytes(&rig.port().pins().join(format!("gen-{build}/registry")));
    u32::from_le_bytes(registry[4..8].try_into().expect("it is whole"))
}

fn ids(chain: &Chain) -> Vec<(&str, u64)> {
    let members = chain.members.iter();
    members.map(|member| (&*member.name, member.id)).collect()
}

fn replace(bytes: &mut [u8], old: &[u8], new: &[u8]) {
    let found = bytes.windows(old.len()).position(|part| part == old);
    let at = found.expect("the golden registry has it");
    bytes[at..at + new.len()].copy_from_slice(new);
}

fn hex(text: &str) -> Vec<u8> {
    let digits = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("it is hexadecimal");
    (0..text.len()).step_by(2).map(digits).collect()
}
