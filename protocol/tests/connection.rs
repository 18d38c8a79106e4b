//! Real sockets, real descriptors: what arrives, and what is refused.
#![expect(
    clippy::unwrap_used,
    reason = "a test's helpers fail by panicking, as the test does"
)]

use std::fs::File;
use std::io::{self, IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use protocol::memfd::sealed;
use protocol::{
    BODY_BYTES_MAX, Change, CodecError, Connection, FDS_MAX, GREETING_BYTES_MAX, Hello, MemfdError,
    PACKET_BYTES_MAX, ReceiveError, RefusalCode, Refused, Reply, Request, RequestBody, SendError,
};
use rustix::fs::fstat;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    sendmsg, socketpair,
};

#[test]
fn a_message_arrives_with_its_descriptors_in_order() {
    let (client, daemon) = pair();
    let files: Vec<File> = (0..FDS_MAX)
        .map(|_| tempfile::tempfile().unwrap())
        .collect();
    client.send(&status(7), &borrowed(&files)).unwrap();

    let (request, received) = daemon.receive::<Request>().unwrap().unwrap();
    assert_eq!(request, status(7));
    assert_eq!(inodes(&received), inodes(&files));
    for fd in &received {
        let flags = rustix::io::fcntl_getfd(fd).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }
}

#[test]
fn a_fifth_descriptor_is_refused_by_the_sender() {
    let (client, daemon) = pair();
    let files: Vec<File> = (0..=FDS_MAX)
        .map(|_| tempfile::tempfile().unwrap())
        .collect();
    let refused = client.send(&status(1), &borrowed(&files)).unwrap_err();
    assert!(matches!(
        refused,
        SendError::TooManyDescriptors { count: 5 }
    ));

    drop(client);
    assert!(
        daemon.receive::<Request>().unwrap().is_none(),
        "nothing was sent"
    );
}

#[test]
fn a_large_message_travels_both_ways_with_four_descriptors() {
    let (client, daemon) = pair();
    let files: Vec<File> = (0..FDS_MAX)
        .map(|_| tempfile::tempfile().unwrap())
        .collect();
    let request = large();
    client.send(&request, &borrowed(&files)).unwrap();
    let (received, fds) = daemon.receive::<Request>().unwrap().unwrap();
    assert_eq!(received, request);
    assert_eq!(
        inodes(&fds),
        inodes(&files),
        "the body's memfd is not the message's"
    );

    let reply = refusal_with_log(4 << 20);
    daemon.send(&reply, &borrowed(&files)).unwrap();
    let (received, fds) = client.receive::<Reply>().unwrap().unwrap();
    assert_eq!(received, reply);
    assert_eq!(inodes(&fds), inodes(&files));
}

#[test]
fn the_longest_inline_body_and_one_byte_more_both_arrive() {
    let (client, daemon) = pair();
    let overhead = protocol::encode(&refusal_with_log(0)).unwrap().len();
    for log in [PACKET_BYTES_MAX - overhead, PACKET_BYTES_MAX - overhead + 1] {
        let reply = refusal_with_log(log);
        daemon.send(&reply, &[]).unwrap();
        assert_eq!(client.receive::<Reply>().unwrap().unwrap().0, reply);
    }
}

#[test]
fn the_longest_message_and_not_one_byte_more() {
    let (client, daemon) = pair();
    let overhead = protocol::encode(&refusal_with_log(0)).unwrap().len();
    let longest = refusal_with_log(BODY_BYTES_MAX - overhead);
    daemon.send(&longest, &[]).unwrap();
    assert_eq!(client.receive::<Reply>().unwrap().unwrap().0, longest);

    let longer = refusal_with_log(BODY_BYTES_MAX - overhead + 1);
    let refused = daemon.send(&longer, &[]).unwrap_err();
    assert!(matches!(
        refused,
        SendError::Codec(CodecError::TooLarge { .. })
    ));
}

#[test]
fn a_hang_up_is_the_end() {
    let (client, daemon) = pair();
    client.send(&status(1), &[]).unwrap();
    drop(client);
    assert_eq!(daemon.receive::<Request>().unwrap().unwrap().0, status(1));
    assert!(daemon.receive::<Request>().unwrap().is_none());
    assert!(
        daemon.receive::<Request>().unwrap().is_none(),
        "and stays it"
    );
    let refused = daemon.send(&status(1), &[]).unwrap_err();
    assert!(matches!(refused, SendError::Io(error) if error.kind() == io::ErrorKind::BrokenPipe));
}

#[test]
fn what_was_sent_before_a_hang_up_arrives_even_if_an_answer_was_left_unread() {
    let (client, daemon) = pair();
    daemon.send(&refusal_with_log(0), &[]).unwrap();
    client.send(&status(1), &[]).unwrap();
    client.send(&status(2), &[]).unwrap();
    drop(client); // the kernel says ECONNRESET first
    assert_eq!(daemon.receive::<Request>().unwrap().unwrap().0, status(1));
    assert_eq!(daemon.receive::<Request>().unwrap().unwrap().0, status(2));
    assert!(daemon.receive::<Request>().unwrap().is_none());
}

#[test]
fn an_empty_packet_is_malformed_and_no_hang_up() {
    let (client, daemon) = pair();
    send_raw(&client, &[], &[]);
    client.send(&status(2), &[]).unwrap();
    let refused = daemon.receive::<Request>().unwrap_err();
    assert!(matches!(
        refused,
        ReceiveError::Malformed(CodecError::EmptyPacket)
    ));
    assert_eq!(daemon.receive::<Request>().unwrap().unwrap().0, status(2));
}

#[test]
fn an_empty_packet_with_a_descriptor_is_malformed() {
    let (client, daemon) = pair();
    send_raw(&client, &[], &[tempfile::tempfile().unwrap().as_fd()]);
    drop(client);
    let refused = daemon.receive::<Request>().unwrap_err();
    assert!(matches!(
        refused,
        ReceiveError::Malformed(CodecError::EmptyPacket)
    ));
}

#[test]
fn a_packet_larger_than_allowed_is_refused_whole() {
    let (client, daemon) = pair();
    send_raw(&client, &vec![0; 2 + PACKET_BYTES_MAX], &[]);
    client.send(&status(2), &[]).unwrap();
    let refused = daemon.receive::<Request>().unwrap_err();
    assert!(matches!(
        refused,
        ReceiveError::TooLarge {
            max: PACKET_BYTES_MAX
        }
    ));
    assert_eq!(daemon.receive::<Request>().unwrap().unwrap().0, status(2));
}

#[test]
fn what_follows_a_message_is_refused_with_it() {
    let (client, daemon) = pair();
    let mut packet = inline(&status(1));
    packet.push(0);
    send_raw(&client, &packet, &[]);
    let refused = daemon.receive::<Request>().unwrap_err();
    assert!(matches!(
        refused,
        ReceiveError::Malformed(CodecError::TrailingBytes { bytes: 1 })
    ));
}

#[test]
fn a_message_in_the_packet_outlives_its_descriptors() {
    for count in [5, 6, 7, 60] {
        let (client, daemon) = pair();
        let (mut reader, writer) = io::pipe().unwrap();
        send_raw(&client, &inline(&status(1)), &vec![writer.as_fd(); count]);
        drop(writer);
        let (message, fds) = daemon.receive_partly::<Request>().unwrap().unwrap();
        assert_eq!(message, status(1));
        assert!(fds.is_none());
        assert_eq!(reader.read(&mut [0]).unwrap(), 0, "all are closed");
    }
    // The last one would be the body: no other is taken for it.
    let (client, daemon) = pair();
    let body = sealed("body", &protocol::encode(&status(1)).unwrap()).unwrap();
    send_raw(&client, &[1], &vec![body.as_fd(); 60]);
    let refused = daemon.receive_partly::<Request>().unwrap_err();
    assert!(matches!(refused, ReceiveError::Truncated), "{refused}");
}

/// Five fit the control buffer, seven are cut off by the kernel, six are between.
#[test]
fn more_descriptors_than_allowed_are_all_closed() {
    for count in [5, 6, 7, 60] {
        let (client, daemon) = pair();
        let (mut reader, writer) = io::pipe().unwrap();
        send_raw(&client, &inline(&status(1)), &vec![writer.as_fd(); count]);
        drop(writer);
        let refused = daemon.receive::<Request>().unwrap_err();
        assert!(
            matches!(refused, ReceiveError::Truncated),
            "{count}: {refused}"
        );
        let read = reader.read(&mut [0]).unwrap();
        assert_eq!(read, 0, "{count}: no copy of the pipe's other end is left");
    }
}

#[test]
fn descriptors_of_a_malformed_message_are_closed() {
    let (client, daemon) = pair();
    let (mut reader, writer) = io::pipe().unwrap();
    send_raw(&client, &[9], &[writer.as_fd()]);
    drop(writer);
    let refused = daemon.receive::<Request>().unwrap_err();
    assert!(matches!(
        refused,
        ReceiveError::Malformed(CodecError::UnknownFrame { kind: 9 })
    ));
    assert_eq!(reader.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_body_in_anything_but_a_sealed_memfd_is_refused() {
    let (client, daemon) = pair();
    send_raw(&client, &[1], &[]);
    let refused = daemon.receive::<Request>().unwrap_err();
    assert!(matches!(
        refused,
        ReceiveError::Descriptor(MemfdError::Missing)
    ));

    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&protocol::encode(&status(1)).unwrap())
        .unwrap();
    let (reader, _writer) = io::pipe().unwrap();
    for fd in [file.as_fd(), reader.as_fd()] {
        send_raw(&client, &[1], &[fd]);
        let refused = daemon.receive::<Request>().unwrap_err();
        assert!(matches!(refused, ReceiveError::Descriptor(_)));
        assert_eq!(refused.refusal().unwrap().code, RefusalCode::Descriptor);
    }
}

#[test]
fn a_body_in_a_memfd_obeys_the_same_rules() {
    let (client, daemon) = pair();
    let body = protocol::encode(&status(5)).unwrap();
    send_raw(&client, &[1], &[sealed("small", &body).unwrap().as_fd()]);
    assert_eq!(daemon.receive::<Request>().unwrap().unwrap().0, status(5));

    let large = sealed("large", &vec![0; BODY_BYTES_MAX + 1]).unwrap();
    send_raw(&client, &[1], &[large.as_fd()]);
    let refused = daemon.receive::<Request>().unwrap_err();
    assert!(matches!(
        refused,
        ReceiveError::TooLarge {
            max: BODY_BYTES_MAX
        }
    ));

    send_raw(&client, &[1, 0], &[sealed("small", &body).unwrap().as_fd()]);
    let refused = daemon.receive::<Request>().unwrap_err();
    assert!(matches!(refused, ReceiveError::Malformed(_)));
}

#[test]
fn every_failure_but_the_sockets_own_has_a_refusal() {
    let io = ReceiveError::Io(io::ErrorKind::WouldBlock.into());
    assert_eq!(io.refusal(), None);
    for (error, code) in [
        (
            ReceiveError::Malformed(CodecError::EmptyPacket),
            RefusalCode::Malformed,
        ),
        (ReceiveError::Truncated, RefusalCode::Descriptor),
        (ReceiveError::TooLarge { max: 1 }, RefusalCode::TooLarge),
        (MemfdError::Missing.into(), RefusalCode::Descriptor),
        (
            MemfdError::TooLarge { size: 2, max: 1 }.into(),
            RefusalCode::TooLarge,
        ),
    ] {
        assert_eq!(error.refusal().unwrap().code, code);
    }
}

#[test]
fn a_greeting_is_small_and_brings_no_descriptor() {
    let hello = |name: &str| Request {
        id: 1,
        body: RequestBody::Hello(Hello {
            client: name.to_owned(),
            ..Hello::default()
        }),
    };
    let (client, daemon) = pair();
    client.send(&hello("stats"), &[]).unwrap();
    let greeting = daemon.receive_greeting::<Request>().unwrap();
    assert_eq!(greeting, Some(hello("stats")));

    let (client, daemon) = pair();
    client
        .send(&hello("stats"), &borrowed(&[tempfile::tempfile().unwrap()]))
        .unwrap();
    let refused = daemon.receive_greeting::<Request>().unwrap_err();
    assert!(matches!(refused, ReceiveError::DescriptorRefused));

    let (client, daemon) = pair();
    client.send(&large(), &[]).unwrap();
    let refused = daemon.receive_greeting::<Request>().unwrap_err();
    assert!(
        matches!(refused, ReceiveError::DescriptorRefused),
        "{refused}"
    );

    let (client, daemon) = pair();
    send_raw(&client, &vec![0; GREETING_BYTES_MAX + 2], &[]);
    let refused = daemon.receive_greeting::<Request>().unwrap_err();
    let max = GREETING_BYTES_MAX;
    assert!(matches!(refused, ReceiveError::TooLarge { max: m } if m == max));
    drop(client);
    assert!(daemon.receive_greeting::<Request>().unwrap().is_none());
}

#[test]
fn a_body_in_a_memfd_is_not_read_of_a_peer_that_has_nothing_large_to_say() {
    let (client, daemon) = pair();
    client.send(&large(), &[]).unwrap();
    let refused = daemon.receive_inline::<Request>().unwrap_err();
    assert!(
        matches!(refused, ReceiveError::TooLarge { .. }),
        "{refused}"
    );
    let file = [tempfile::tempfile().unwrap()];
    client.send(&status(2), &borrowed(&file)).unwrap();
    let (request, fds) = daemon.receive_inline::<Request>().unwrap().unwrap();
    assert_eq!(request, status(2));
    assert_eq!(inodes(&fds), inodes(&file), "descriptors it may bring");
}

#[test]
fn waiting_ends_at_the_timeout() {
    let (client, daemon) = pair();
    let short = Some(Duration::from_millis(1));
    daemon.set_receive_timeout(short).unwrap();
    let late = daemon.receive::<Request>().unwrap_err();
    assert!(matches!(late, ReceiveError::Io(error) if error.kind() == io::ErrorKind::WouldBlock));

    client.set_send_timeout(short).unwrap();
    let full = loop {
        if let Err(full) = client.send(&refusal_with_log(1024), &[]) {
            break full;
        }
    };
    assert!(matches!(full, SendError::Io(error) if error.kind() == io::ErrorKind::WouldBlock));
}

#[test]
fn the_peer_is_who_the_kernel_says() {
    let (client, _daemon) = pair();
    let peer = client.peer().unwrap();
    assert_eq!(peer.pid, std::process::id());
    assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
    assert_eq!(peer.gid, rustix::process::getegid().as_raw());
}

fn pair() -> (Connection, Connection) {
    let flags = SocketFlags::CLOEXEC;
    let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    (Connection::from_fd(one), Connection::from_fd(other))
}

fn status(id: u64) -> Request {
    Request {
        id,
        body: RequestBody::Status,
    }
}

/// A request that doesn't fit a packet.
fn large() -> Request {
    let member = "n".repeat(200).into();
    let operations = vec![protocol::Operation::Unregister { member }; 1000];
    Request {
        id: 3,
        body: RequestBody::Change(Change {
            operations,
            ..Change::default()
        }),
    }
}

fn refusal_with_log(bytes: usize) -> Reply {
    Reply {
        id: 1,
        body: Err(
            Refused::new(RefusalCode::Verifier, String::new()).with_log(Some("v".repeat(bytes)))
        ),
    }
}

fn inline(request: &Request) -> Vec<u8> {
    let mut packet = vec![0];
    packet.extend(protocol::encode(request).unwrap());
    packet
}

/// What a client that doesn't use this crate may send.
fn send_raw(connection: &Connection, packet: &[u8], fds: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(fds.is_empty() || control.push(SendAncillaryMessage::ScmRights(fds)));
    let parts = [IoSlice::new(packet)];
    sendmsg(connection, &parts, &mut control, SendFlags::NOSIGNAL).unwrap();
}

fn borrowed(files: &[File]) -> Vec<BorrowedFd<'_>> {
    files.iter().map(AsFd::as_fd).collect()
}

fn inodes(fds: &[impl AsFd]) -> Vec<u64> {
    fds.iter().map(|fd| fstat(fd).unwrap().st_ino).collect()
}
