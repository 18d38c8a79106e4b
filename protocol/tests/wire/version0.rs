//! Version 0 and this one still tell each other that they don't understand each other: the
//! greetings and refusals keep its bytes.

use protocol::{Hello, RefusalCode, Refused, Reply, ReplyBody, Request, RequestBody, Welcome};
use serde::Deserialize;

/// Recorded from version 0: `Hello { lowest: 0, highest: 1, client: "stats 0.1" }`.
const HELLO: &str = "040302010000000000000000000001000900000000000000737461747320302e31";
/// Recorded from version 0: `Welcome { version: 0, daemon: "0.1.0", features: ["freplace"] }`.
const WELCOME: &str = "0403020100000000000000000000000000000500000000000000302e312e3001000000000000000800000000000000667265706c616365";
/// Recorded from version 0: a refusal by the verifier, with its log.
const REFUSED: &str = "0403020100000000010000001b00000017000000000000007265667573656420627920746865207665726966696572011500000000000000523120696e76616c6964206d656d20616363657373";

/// What version 0 read, of a request.
#[derive(Debug, PartialEq, Deserialize)]
struct OldRequest {
    id: u64,
    body: OldRequestBody,
}

#[derive(Debug, PartialEq, Deserialize)]
enum OldRequestBody {
    Hello {
        lowest: u16,
        highest: u16,
        client: String,
    },
}

/// What version 0 read, of a reply.
#[derive(Debug, PartialEq, Deserialize)]
struct OldReply {
    id: u64,
    body: Result<OldReplyBody, OldRefused>,
}

#[derive(Debug, PartialEq, Deserialize)]
enum OldReplyBody {
    Welcome {
        version: u16,
        daemon: String,
        features: Vec<String>,
    },
}

#[derive(Debug, PartialEq, Deserialize)]
struct OldRefused {
    code: u32,
    message: String,
    log: Option<String>,
}

#[test]
fn what_version_0_sent_is_understood() {
    let request: Request = protocol::decode(&unhex(HELLO)).unwrap();
    let RequestBody::Hello(hello) = request.body else {
        panic!("{request:?}");
    };
    assert_eq!((hello.lowest, hello.highest), (0, 1));
    assert!(hello.options.is_empty());
    let reply: Reply = protocol::decode(&unhex(WELCOME)).unwrap();
    assert!(matches!(reply.body, Ok(ReplyBody::Welcome(_))), "{reply:?}");
    let reply: Reply = protocol::decode(&unhex(REFUSED)).unwrap();
    assert_eq!(reply.body.unwrap_err().code, RefusalCode::Verifier);
}

#[test]
fn what_is_sent_to_version_0_has_its_bytes() {
    let body = RequestBody::Hello(Hello {
        lowest: 0,
        highest: 1,
        client: "stats 0.1".into(),
        ..Hello::default()
    });
    let id = 0x0102_0304;
    assert_eq!(
        protocol::encode(&Request { id, body }).unwrap(),
        unhex(HELLO)
    );
    let welcome = Welcome {
        version: 0,
        daemon: "0.1.0".into(),
        features: vec!["freplace".into()],
        ..Welcome::default()
    };
    let body = Ok(ReplyBody::Welcome(welcome));
    assert_eq!(
        protocol::encode(&Reply { id, body }).unwrap(),
        unhex(WELCOME)
    );
    let refused = Refused::new(RefusalCode::Verifier, "refused by the verifier")
        .with_log(Some("R1 invalid mem access".into()));
    let body = Err(refused);
    assert_eq!(
        protocol::encode(&Reply { id, body }).unwrap(),
        unhex(REFUSED)
    );
}

#[test]
fn version_0_reads_our_hello_and_our_refusal() {
    let hello = Hello {
        lowest: protocol::VERSION_LOWEST,
        highest: protocol::VERSION_HIGHEST,
        client: "new".into(),
        ..Hello::default()
    };
    let body = RequestBody::Hello(hello);
    let bytes = protocol::encode(&Request { id: 1, body }).unwrap();
    let read: OldRequest = protocol::decode_part(&bytes).unwrap();
    let OldRequestBody::Hello { lowest, .. } = read.body;
    assert_eq!((read.id, lowest), (1, protocol::VERSION_LOWEST));

    let body = Err(Refused::new(RefusalCode::Version, "no"));
    let bytes = protocol::encode(&Reply { id: 1, body }).unwrap();
    let read: OldReply = protocol::decode_part(&bytes).unwrap();
    let refused = OldRefused {
        code: 0,
        message: "no".into(),
        log: None,
    };
    assert_eq!(read.body, Err(refused));
}

fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.map(byte).collect()
}
