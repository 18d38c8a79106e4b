//! The wire, frozen: `tests/golden.txt` has the bytes of one example of everything that can be said.
//!
//! A line that changes breaks every client that is already built. Until version 1 is frozen that
//! is allowed, on purpose: `GOLDEN=write cargo test -p protocol --test wire` writes the file anew.
//! Lines that only come in addition, after the others of their kind, break nobody.

use std::fmt::{Debug, Write as _};

use dispatcher_abi::{
    Engine, EngineChoice, FinalVerdict, Lifetime, Mode, ModeChoice, OnMiss, VerdictMask,
};
use protocol::{
    CodecError, Hello, Message, OptionKey, Options, RefusalCode, Reply, ReplyBody, Request,
    RequestBody, Variants, Welcome,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::examples::{
    ENGINE_REASONS, GONE, HOOKS, ORIGINS, SOCKET_MODES, SOCKET_STATES, STATES, globals, grants,
    members, notes, operations, pin_kinds, positions, probe_reasons, pushes, refused,
    registry_faults, remedies, replies, requests, sources, steps, umems, unreadables, warnings,
};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden.txt");

#[test]
fn the_wire_has_not_changed() {
    let now = golden();
    if std::env::var_os("GOLDEN").is_some_and(|value| value == "write") {
        std::fs::write(PATH, &now).unwrap();
    }
    let frozen = std::fs::read_to_string(PATH).unwrap();
    assert!(
        frozen == now,
        "the wire has changed:\n{}\nIf that is meant: GOLDEN=write cargo test -p protocol --test wire",
        difference(&frozen, &now)
    );
}

#[test]
fn every_variant_is_in_the_documentation() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/protocol.md");
    let page = std::fs::read_to_string(page).unwrap();
    for line in std::fs::read_to_string(PATH).unwrap().lines() {
        let (kind, rest) = line.split_once('/').unwrap();
        let variant = rest.split(' ').next().unwrap();
        let documented =
            page.contains(&format!("`{variant}`")) || page.contains(&format!("`{variant}("));
        assert!(
            documented || variant.starts_with(char::is_lowercase),
            "{kind}/{variant}"
        );
    }
}

fn difference(frozen: &str, now: &str) -> String {
    let mut text = String::new();
    for line in frozen
        .lines()
        .filter(|line| !now.lines().any(|other| other == *line))
    {
        writeln!(text, "- {line}").unwrap();
    }
    for line in now
        .lines()
        .filter(|line| !frozen.lines().any(|other| other == *line))
    {
        writeln!(text, "+ {line}").unwrap();
    }
    text
}

/// `name bytes`, one line for each example.
fn golden() -> String {
    let mut lines = String::new();
    let id = 0x0102_0304;
    every(&mut lines, "request", &requests(), 8, |body| {
        Whole(Request { id, body })
    });
    every(&mut lines, "reply", &replies(), 12, |body| {
        Whole(Reply { id, body: Ok(body) })
    });
    for (name, body) in [
        ("reply/refused", refused()),
        (
            "reply/refused-with-remedy",
            refused().with_remedy(remedies()[6].clone()),
        ),
    ] {
        let body = Err(body);
        one(&mut lines, name, &Whole(Reply { id, body }));
    }
    greetings_with_options(&mut lines, id);
    one(&mut lines, "options/two", &options());
    every(&mut lines, "operation", &operations(), 0, |operation| {
        operation
    });
    open(&mut lines, "member", &members());
    every(&mut lines, "position", &positions(), 0, |position| position);
    every(&mut lines, "global", &globals(), 0, |value| value);
    every(&mut lines, "source", &sources(), 0, |source| source);
    codes(&mut lines);
    open(&mut lines, "note", &notes());
    open(&mut lines, "step", &steps());
    open(&mut lines, "engine-reason", ENGINE_REASONS);
    open(&mut lines, "probe-reason", &probe_reasons());
    open(&mut lines, "unreadable", &unreadables());
    open(&mut lines, "pin-kind", &pin_kinds());
    open(&mut lines, "registry-fault", &registry_faults());
    open(&mut lines, "warning", &warnings());
    open(&mut lines, "remedy", &remedies());
    open(&mut lines, "push", &pushes());
    every(&mut lines, "gone", GONE, 0, |why| why);
    every(&mut lines, "origin", ORIGINS, 0, |origin| origin);
    every(&mut lines, "hook", HOOKS, 0, |hook| hook);
    every(&mut lines, "state", STATES, 0, |state| state);
    every(&mut lines, "engine", Engine::ALL, 0, |word| word);
    every(&mut lines, "engine-choice", EngineChoice::ALL, 0, |word| {
        word
    });
    every(&mut lines, "mode", Mode::ALL, 0, |word| word);
    every(&mut lines, "mode-choice", ModeChoice::ALL, 0, |word| word);
    every(&mut lines, "lifetime", Lifetime::ALL, 0, |word| word);
    every(&mut lines, "final-verdict", FinalVerdict::ALL, 0, |word| {
        word
    });
    every(&mut lines, "on-miss", OnMiss::ALL, 0, |word| word);
    every(&mut lines, "grant", &grants(), 0, |grant| grant);
    every(&mut lines, "umem", &umems(), 0, |umem| umem);
    every(&mut lines, "socket-mode", SOCKET_MODES, 0, |mode| mode);
    every(&mut lines, "socket-state", SOCKET_STATES, 0, |state| state);
    one(&mut lines, "mask/pass", &VerdictMask::PASS);
    one(&mut lines, "mask/all", &VerdictMask::ALL);
    lines
}

/// A message, or a part of one, as bytes and back.
pub(crate) trait Sent: Sized {
    fn bytes(&self) -> Vec<u8>;
    fn sent(bytes: &[u8]) -> Result<Self, CodecError>;
}

impl<T: Serialize + DeserializeOwned> Sent for T {
    fn bytes(&self) -> Vec<u8> {
        protocol::encode_part(self).unwrap()
    }

    fn sent(bytes: &[u8]) -> Result<Self, CodecError> {
        protocol::decode_part(bytes)
    }
}

/// A whole message: options may stand at its end.
#[derive(Debug, PartialEq)]
struct Whole<T>(T);

impl<T: Message> Sent for Whole<T> {
    fn bytes(&self) -> Vec<u8> {
        protocol::encode(&self.0).unwrap()
    }

    fn sent(bytes: &[u8]) -> Result<Self, CodecError> {
        protocol::decode(bytes).map(Whole)
    }
}

/// Codes, which may come from a later version.
fn codes(lines: &mut String) {
    for (index, code) in RefusalCode::ALL.iter().enumerate() {
        let bytes = one(lines, &format!("code/{code:?}"), code);
        assert_eq!(usize::from(bytes[0]), index, "{code:?} is out of order");
    }
    let next = u8::try_from(RefusalCode::ALL.len()).unwrap();
    let unknown = RefusalCode::sent(&[next, 0, 0, 0]).unwrap();
    assert_eq!(unknown, RefusalCode::Unknown(next.into()));
}

/// An enum that travels with its length: a variant that comes later is skipped.
fn open<Variant>(lines: &mut String, kind: &str, examples: &[Variant])
where
    Variant: Clone + Debug + PartialEq + Serialize + DeserializeOwned + Variants,
{
    let count = usize::try_from(Variant::COUNT).unwrap();
    assert_eq!(count, examples.len(), "{kind}");
    every(lines, kind, examples, 8, protocol::Open::Known);
    let later = [
        &8_u64.to_le_bytes()[..],
        &Variant::COUNT.to_le_bytes(),
        &[1; 4],
    ]
    .concat();
    let protocol::Open::Unknown(unknown) = protocol::Open::<Variant>::sent(&later).unwrap() else {
        panic!("{kind} has a variant that isn't counted");
    };
    assert_eq!(unknown.number(), Variant::COUNT);
    let again = protocol::Open::<Variant>::Unknown(unknown).bytes();
    assert_eq!(
        again, later,
        "{kind}: what isn't known is passed on as it is"
    );
}

/// The greetings have their options behind everything, if they have any.
fn greetings_with_options(lines: &mut String, id: u64) {
    let hello = Hello {
        lowest: 1,
        highest: 1,
        client: "stats 0.1".into(),
        options: options(),
    };
    let body = RequestBody::Hello(hello);
    one(
        lines,
        "request/hello-with-options",
        &Whole(Request { id, body }),
    );
    let welcome = Welcome {
        version: 1,
        daemon: "0.1.0".into(),
        features: Vec::new(),
        options: options(),
    };
    let body = Ok(ReplyBody::Welcome(welcome));
    one(
        lines,
        "reply/welcome-with-options",
        &Whole(Reply { id, body }),
    );
}

pub(crate) fn options() -> Options {
    let mut options = Options::new();
    options
        .set(OptionKey::<u32>::required(7), &0x0102_0304)
        .unwrap();
    options
        .set(OptionKey::<String>::optional(3), &"tap".to_owned())
        .unwrap();
    options
}

/// One line for each variant of an enum, whose number stands at `offset` in the message.
fn every<Variant, Message>(
    lines: &mut String,
    kind: &str,
    examples: &[Variant],
    offset: usize,
    message: impl Fn(Variant) -> Message,
) where
    Variant: Clone + Debug,
    Message: Sent + Debug + PartialEq,
{
    for (index, example) in examples.iter().enumerate() {
        let debug = format!("{example:?}");
        let variant = debug.split([' ', '(']).next().unwrap();
        let bytes = one(
            lines,
            &format!("{kind}/{variant}"),
            &message(example.clone()),
        );
        assert_eq!(
            usize::from(bytes[offset]),
            index,
            "{kind}/{variant} is out of order"
        );
    }
    if offset == 8 && !kind.starts_with("request") {
        return;
    }
    // Nobody forgets the variant that comes next.
    let mut next = vec![0; 256];
    next[offset] = u8::try_from(examples.len()).unwrap();
    let CodecError::Undecodable { reason } = Message::sent(&next).unwrap_err() else {
        panic!("{kind} has a variant without an example");
    };
    let end = format!("expected variant index 0 <= i < {}", examples.len());
    assert!(
        reason.ends_with(&end),
        "{kind} has a variant without an example: {reason}"
    );
}

fn one<Message>(lines: &mut String, name: &str, message: &Message) -> Vec<u8>
where
    Message: Sent + Debug + PartialEq,
{
    let bytes = message.bytes();
    assert_eq!(&Message::sent(&bytes).unwrap(), message);
    write!(lines, "{name} ").unwrap();
    for byte in &bytes {
        write!(lines, "{byte:02x}").unwrap();
    }
    lines.push('\n');
    bytes
}
