//! What the daemon makes of a child that says anything.

use std::io::{Write as _, pipe};
use std::sync::Mutex;
use std::thread;

use proptest::prelude::*;

use super::*;

const STRANGER: Caller<'static> = Caller {
    uid: 1000,
    trusted: false,
    connection: None,
};

/// Looks at an object by a loader whose children say this.
fn inspect(child: impl Fn(OwnedFd) + Send + Sync) -> Result<Outline, LoadError> {
    with_children(child, |loader| {
        let looked = loader.inspect(STRANGER, Arc::new(b"object".to_vec()), None, false);
        looked.map(|(_, outline)| outline)
    })
}

/// Does something with a loader whose parent is a thread: each conversation is had by `child`.
fn with_children<T>(child: impl Fn(OwnedFd) + Send + Sync, work: impl FnOnce(Loader) -> T) -> T {
    let (control, parent) = wire::pair().expect("sockets can be made");
    thread::scope(|scope| {
        scope.spawn(move || {
            while let Ok((_, mut fds)) =
                wire::receive::<HandOver>(parent.as_fd(), Patience::default())
            {
                child(fds.pop().expect("the child's end of the conversation"));
            }
        });
        work(Loader::new(Keeper::of(control), None, true))
    })
}

fn answer(socket: &OwnedFd, answer: &Answer, fds: &[BorrowedFd<'_>]) {
    wire::send(socket.as_fd(), answer, fds, Patience::default()).expect("the daemon listens");
}

fn inspected(program: &str) -> Answer {
    Answer::Inspected(Inspected {
        program: program.to_owned(),
        frags: true,
        fit: Fit::Fits,
    })
}

#[test]
fn what_a_child_says_of_a_strangers_program_keeps_it_from_being_an_extension() {
    let outline = inspect(|socket| answer(&socket, &inspected("main"), &[])).expect("it is fine");
    assert_eq!(outline.program, "main");
    assert!(outline.abilities.frags);
    assert_eq!(outline.abilities.obstacle, Some(Obstacle::Untrusted));
}

#[test]
fn an_end_without_an_answer_is_a_refusal_that_says_how() {
    for (end, words) in [
        (End::Signalled(nix::libc::SIGSEGV), "crash (signal 11)"),
        (End::Signalled(nix::libc::SIGABRT), "memory"),
        (End::Signalled(nix::libc::SIGKILL), "be killed"),
        (
            End::Signalled(nix::libc::SIGXCPU),
            "2 seconds of processor time",
        ),
        (End::Signalled(nix::libc::SIGVTALRM), "processor time"),
        (End::Late(7), "7 seconds of processor time"),
        (End::Exited(3), "without an answer"),
    ] {
        let error =
            inspect(|socket| answer(&socket, &Answer::Ended(end), &[])).expect_err("it ended");
        assert!(matches!(error, LoadError::Ended(_)), "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(!error.is_the_kernels());
    }
}

#[test]
fn a_loader_that_hangs_up_is_asked_once_more() {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let error = inspect(|socket| {
        asked.fetch_add(1, Ordering::Relaxed);
        drop(socket);
    });
    assert!(matches!(error, Err(LoadError::Gone)), "{error:?}");
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    let asked = std::sync::atomic::AtomicUsize::new(0);
    inspect(|socket| {
        if asked.fetch_add(1, Ordering::Relaxed) == 1 {
            answer(&socket, &inspected("main"), &[]);
        }
    })
    .expect("the second one answers");
}

#[test]
fn a_child_that_ends_before_it_was_asked_is_no_objects_fault() {
    for code in [1, 2] {
        let asked = std::sync::atomic::AtomicUsize::new(0);
        let outline = inspect(|socket| {
            let end = Answer::Ended(End::Exited(code));
            let said = match asked.fetch_add(1, Ordering::Relaxed) {
                0 => end,
                _ => inspected("main"),
            };
            answer(&socket, &said, &[]);
        });
        assert_eq!(outline.expect("the second one answers").program, "main");
    }
}

/// Reading nothing once is not the end: see the next test for where it comes from. An empty packet reads
/// the same, and comes whenever it is sent.
#[test]
fn who_reads_nothing_looks_again() {
    let (one, other) = wire::pair().expect("sockets can be made");
    send_raw(&one, &[], &[]);
    answer(&one, &inspected("main"), &[]);
    let received = wire::receive::<Answer>(other.as_fd(), Patience::default());
    assert!(received.is_ok(), "{received:?}");
    drop(one);
    let ended = wire::receive::<Answer>(other.as_fd(), Patience::default());
    assert!(matches!(ended, Err(WireError::Gone)), "{ended:?}");
}

/// The kernel looks for a packet first and for a hang-up then, and both may come in between.
#[test]
fn what_was_sent_before_a_hang_up_is_received() {
    const ROUNDS: usize = 20_000;
    let next: Mutex<Option<Option<OwnedFd>>> = Mutex::new(None);
    thread::scope(|scope| {
        // Neither sleeps, so that they meet.
        scope.spawn(|| {
            loop {
                match next.lock().expect("nobody panics with it").take() {
                    Some(Some(socket)) => answer(&socket, &inspected("main"), &[]),
                    Some(None) => break,
                    None => std::hint::spin_loop(),
                }
            }
        });
        let lost = (0..ROUNDS).find(|_| {
            let (one, other) = wire::pair().expect("sockets can be made");
            *next.lock().expect("nobody panics with it") = Some(Some(one));
            wire::receive::<Answer>(other.as_fd(), Patience::default()).is_err()
        });
        *next.lock().expect("nobody panics with it") = Some(None);
        assert_eq!(lost, None, "in this round");
    });
}

#[test]
fn answers_to_other_questions_and_names_without_an_end_are_nonsense() {
    let facts = || {
        Answer::Loaded(wire::Facts {
            maps: Vec::new(),
            has_program_array: false,
            priority: None,
            chain_call: None,
        })
    };
    let error = inspect(|socket| answer(&socket, &facts(), &[]));
    assert!(matches!(error, Err(LoadError::Hostile(_))), "{error:?}");
    let error = inspect(|socket| answer(&socket, &inspected(&"a".repeat(1 << 20)), &[]));
    assert!(matches!(error, Err(LoadError::Hostile(_))), "{error:?}");
}

#[test]
fn only_programs_and_maps_are_taken_and_as_many_as_were_said() {
    let (reader, _end) = pipe().expect("a pipe can be made");
    let facts = |maps: usize| {
        Answer::Loaded(wire::Facts {
            maps: vec!["map".to_owned(); maps],
            has_program_array: false,
            priority: None,
            chain_call: Some(0xff),
        })
    };
    let spec = || LoadSpec {
        object: Arc::new(Object {
            bytes: Arc::default(),
            digest: [0; 32],
        }),
        outline: Outline {
            program: "main".to_owned(),
            abilities: Abilities {
                obstacle: None,
                frags: false,
            },
        },
        form: Form {
            engine: Engine::Tailcall,
            frags: false,
            attach: planner::AttachType::Xdp,
        },
        map_sizes: Vec::new(),
        globals: Vec::new(),
        tail_calls: Vec::new(),
        trusted: false,
        existing: Reuse::Shared(Vec::new()),
    };
    for (maps, descriptors) in [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (300, 301)] {
        let fds = vec![reader.as_fd(); descriptors];
        let child = |socket: OwnedFd| answer(&socket, &facts(maps), &fds);
        let loaded = with_children(child, |loader| loader.load(STRANGER, spec()).map(drop));
        assert!(
            matches!(loaded, Err(LoadError::Hostile(_))),
            "{maps} {descriptors} {loaded:?}"
        );
    }
    let extension = LoadSpec {
        form: Form {
            engine: Engine::Freplace,
            frags: false,
            attach: planner::AttachType::Xdp,
        },
        ..spec()
    };
    let loaded = with_children(drop, |loader| loader.load(STRANGER, extension).map(drop));
    assert!(matches!(loaded, Err(LoadError::Untrusted)), "{loaded:?}");
}

#[test]
fn a_client_that_hangs_up_and_a_time_that_is_over_end_the_waiting() {
    let (client, theirs) = wire::pair().expect("sockets can be made");
    let caller = Caller {
        connection: Some(client.as_fd()),
        ..STRANGER
    };
    drop(theirs);
    let kept = Mutex::new(Vec::new());
    let looked = with_children(
        |socket| kept.lock().expect("nobody panicked").push(socket),
        |loader| {
            loader
                .inspect(caller, Arc::default(), None, false)
                .map(drop)
        },
    );
    assert!(matches!(looked, Err(LoadError::ClientGone)), "{looked:?}");

    let (socket, _other) = wire::pair().expect("sockets can be made");
    let patience = Patience {
        deadline: Some(Instant::now() + Duration::from_millis(5)),
        client: None,
    };
    let received = wire::receive::<Answer>(socket.as_fd(), patience);
    assert!(matches!(received, Err(WireError::Late)), "{received:?}");
}

#[test]
fn a_long_message_with_many_descriptors_arrives_whole() {
    let (one, other) = wire::pair().expect("sockets can be made");
    let (reader, _end) = pipe().expect("a pipe can be made");
    let fds = vec![reader.as_fd(); 450];
    let text = "x".repeat(1 << 20);
    thread::scope(|scope| {
        scope.spawn(|| answer(&one, &Answer::Failed(text.clone()), &fds));
        let (received, fds) =
            wire::receive::<Answer>(other.as_fd(), Patience::default()).expect("it was sent");
        assert!(matches!(received, Answer::Failed(received) if received == text));
        assert_eq!(fds.len(), 450);
    });
}

#[test]
fn a_body_that_its_sender_can_still_change_is_not_read() {
    let (one, other) = wire::pair().expect("sockets can be made");
    let mut unsealed = std::fs::File::from(
        rustix::fs::memfd_create("body", rustix::fs::MemfdFlags::CLOEXEC).expect("it can be made"),
    );
    unsealed.write_all(&[0; 100]).expect("there is room");
    send_raw(&one, &[1, 0, 0, 0, 0], &[unsealed.as_fd()]);
    let received = wire::receive::<Answer>(other.as_fd(), Patience::default());
    assert!(
        matches!(received, Err(WireError::Hostile(_))),
        "{received:?}"
    );
}

fn send_raw(socket: &OwnedFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
    use std::io::IoSlice;
    use std::mem::MaybeUninit;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = rustix::net::SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        control.push(rustix::net::SendAncillaryMessage::ScmRights(fds));
    }
    let flags = rustix::net::SendFlags::empty();
    rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags)
        .expect("there is room");
}

proptest! {
    #[test]
    fn arbitrary_packets_are_refused_or_understood(
        packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 1..4),
    ) {
        let (one, other) = wire::pair().expect("sockets can be made");
        for packet in &packets {
            send_raw(&one, packet, &[]);
        }
        drop(one);
        let _ = wire::receive::<Answer>(other.as_fd(), Patience::default());
    }

    #[test]
    fn a_changed_answer_is_refused_or_understood(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let (one, other) = wire::pair().expect("sockets can be made");
        let refused = Answer::Refused(RefusedObject {
            kind: RefusedKind::Verifier,
            text: "text".to_owned(),
            log: Some("log".to_owned()),
            unsized_map: Some("map".to_owned()),
        });
        answer(&one, &refused, &[]);
        let mut bytes = [0; 200];
        let (count, _) = rustix::net::recv(&other, &mut bytes, rustix::net::RecvFlags::empty())
            .expect("it was sent");
        for (place, value) in changes {
            bytes[place.index(count)] = value;
        }
        send_raw(&one, &bytes[..count], &[]);
        drop(one);
        let _ = wire::receive::<Answer>(other.as_fd(), Patience::default());
    }
}
