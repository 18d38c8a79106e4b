//! What a call costs that comes at the limit of this process's descriptors.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a step that fails fails the test"
)]

mod fake;

use std::{
    error::Error as _,
    io,
    os::fd::{AsFd as _, AsRawFd as _},
};

use fake::{Act, FakeDaemon};
use libdispatch::{Client, Error, Program};
use protocol::{MapShape, ReplyBody, RequestBody};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// One test: the limit is the process's.
#[test]
fn a_descriptor_that_has_no_room_fails_its_call_alone() {
    let daemon = FakeDaemon::start();
    let client = Client::builder().socket(daemon.path()).connect().unwrap();
    let program = Program::from_bytes(*b"object").name("stats");
    let registration = client.register("eth0", &program).unwrap();
    // Above the limit: when the daemon closes it, that makes no room.
    let pipe = io::pipe().unwrap().0;
    let mut sent = Some(fcntl_dupfd_cloexec(&pipe, 500).unwrap());
    daemon.script(move |body| {
        let is_map = matches!(body, RequestBody::MapDescriptor { .. });
        let shape = MapShape {
            name: "PACKETS".to_owned(),
            id: 1,
            map_type: 2,
            key_size: 4,
            value_size: 8,
            max_entries: 1,
        };
        let sent = is_map.then(|| sent.take()).flatten()?;
        Some(Act::SayWith(ReplyBody::Map(shape), sent))
    });
    let error = without_room(|| registration.map("PACKETS")).unwrap_err();
    let Error::Io { source, .. } = &error else {
        panic!("{error}: {:?}", error.source());
    };
    let no_room = rustix::io::Errno::MFILE.raw_os_error();
    assert_eq!(source.raw_os_error(), Some(no_room));

    registration.detail().unwrap();
    let claimed = |body: &RequestBody| matches!(body, RequestBody::Reclaim { .. });
    assert!(
        !daemon.heard().iter().any(claimed),
        "the connection goes on"
    );
}

/// Does it with no room for another descriptor.
fn without_room<T>(act: impl FnOnce() -> T) -> T {
    let before = getrlimit(Resource::Nofile);
    let probe = io::stdin().as_fd().try_clone_to_owned().unwrap();
    let lowest_free = u64::try_from(probe.as_raw_fd()).unwrap();
    drop(probe);
    let limited = Rlimit {
        current: Some(lowest_free),
        ..before
    };
    setrlimit(Resource::Nofile, limited).unwrap();
    let result = act();
    setrlimit(Resource::Nofile, before).unwrap();
    result
}
