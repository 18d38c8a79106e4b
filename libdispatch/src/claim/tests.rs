use proptest::prelude::*;

use super::*;

const LINGER: Duration = Duration::from_secs(10);

#[test]
fn a_claim_refused_for_now_is_wanted_until_its_linger_time_has_passed() {
    for kind in [KindOf::Member, KindOf::ActiveSocket] {
        let mut world = World::new();
        let number = world.insert(kind);
        world.reconnect();
        let linger = world.claims.records[&number].linger();
        for passed in [Duration::ZERO, linger / 2] {
            world.refuse(number, RefusalCode::Claim, passed);
            assert!(world.claims.records[&number].is_wanted(), "{kind:?}");
        }
        world.refuse(number, RefusalCode::Claim, linger);
        let lost = world.claims.lost_reason(number);
        assert_eq!(lost, Some(&refusal(RefusalCode::Claim)), "{kind:?}");
    }
}

#[test]
fn the_time_before_a_daemon_was_there_does_not_count() {
    let mut world = World::new();
    let number = world.insert(KindOf::Member);
    world.reconnect();
    world.refuse(number, RefusalCode::Claim, Duration::ZERO);
    world.reconnect();
    world.refuse(number, RefusalCode::Claim, LINGER * 2);
    assert!(world.claims.any_wanted());
    world.refuse(number, RefusalCode::Claim, LINGER * 3);
    assert!(!world.claims.any_wanted());
}

#[test]
fn a_daemon_that_cannot_read_a_members_chain_says_nothing_of_the_member() {
    let mut world = World::new();
    let number = world.insert(KindOf::Member);
    world.reconnect();
    for passed in [Duration::ZERO, LINGER, LINGER * 100] {
        world.refuse(number, RefusalCode::Daemon, passed);
        assert!(world.claims.any_wanted());
    }
    world.refuse(number, RefusalCode::NoSuchMember, LINGER * 100);
    assert!(!world.claims.any_wanted());
}

#[test]
fn what_is_gone_is_lost_at_once() {
    for code in [
        RefusalCode::NoSuchMember,
        RefusalCode::NoSuchSocket,
        RefusalCode::NoSuchInterface,
        RefusalCode::InterfaceGone,
        RefusalCode::NotAllowed,
        RefusalCode::NotOwner,
    ] {
        for kind in [KindOf::Member, KindOf::ActiveSocket] {
            let mut world = World::new();
            let number = world.insert(kind);
            world.reconnect();
            world.refuse(number, code, Duration::ZERO);
            assert_eq!(world.claims.lost_reason(number), Some(&refusal(code)));
            world.reconnect();
            assert_eq!(world.claims.lost_reason(number), Some(&refusal(code)));
            assert!(!world.claims.release(number), "nobody has to be told");
        }
    }
}

#[test]
fn only_an_active_socket_is_wanted_after_a_lost_connection() {
    let mut world = World::new();
    let opened = world.insert(KindOf::OpenedSocket);
    let active = world.insert(KindOf::ActiveSocket);
    world.reconnect();
    assert!(world.claims.lost_reason(opened).is_some());
    let wanted = world.claims.next_wanted(None).expect("the active one");
    assert_eq!(wanted.number, active);
    assert!(wanted.socket.is_some());
    assert!(matches!(wanted.request, RequestBody::ReclaimSocket { .. }));
}

#[test]
fn a_change_takes_away_only_what_was_there_when_it_was_sent() {
    let mut world = World::new();
    let earlier = world.insert(KindOf::Member);
    let sent = world.claims.mark();
    let later = world.insert(KindOf::Member);
    let unregister = change(Operation::Unregister {
        member: "stats".into(),
    });
    let line = world.line();
    world.claims.note(line, unregister, &changed(), sent);
    assert!(!world.claims.release(earlier));
    assert!(world.claims.release(later));
}

#[test]
fn a_member_that_is_named_by_its_id_is_taken_away_wherever_it_is() {
    for (id, is_left) in [(1, false), (2, true)] {
        let mut world = World::new();
        let number = world.insert(KindOf::Member);
        let (line, sent) = (world.line(), world.claims.mark());
        let unregister = protocol::Change {
            interface: None,
            ..change(Operation::Unregister {
                member: MemberRef::Id(id).into(),
            })
        };
        world.claims.note(line, unregister, &changed(), sent);
        assert_eq!(world.claims.release(number), is_left);
    }
}

#[test]
fn a_member_whose_connection_was_lost_before_its_answer_was_noted_is_wanted() {
    let mut world = World::new();
    let line = world.line();
    world.reconnect();
    let number = world.insert_on(line, KindOf::Member);
    let wanted = world.claims.next_wanted(None);
    assert_eq!(wanted.map(|wanted| wanted.number), Some(number));
}

/// One event, and which claim it is about, counted from the oldest.
#[derive(Clone, Copy, Debug)]
enum Event {
    Insert(KindOf),
    Activate(usize),
    Connected,
    Lost { present: bool },
    Granted { claim: usize, present: bool },
    RefusedForNow { claim: usize, present: bool },
    RefusedForGood { claim: usize, present: bool },
    LingerPasses,
    Dropped(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KindOf {
    Member,
    OpenedSocket,
    ActiveSocket,
}

/// What must have become of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Held,
    Wanted { refused: Option<Instant> },
    Lost,
    Dropped,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_claim_is_what_its_events_say_in_any_order(events in proptest::collection::vec(event(), 1..60)) {
        let mut world = World::new();
        let mut expected: Vec<(ClaimNumber, KindOf, Expected)> = Vec::new();
        for event in events {
            world.happen(event, &mut expected);
            let connected = world.claims.line.is_some();
            let mut wanted = Vec::new();
            for (number, kind, expected) in &expected {
                let record = world.claims.records.get(number).map(|claim| claim.standing.clone());
                match (record, expected) {
                    (None, Expected::Dropped) | (Some(Standing::Lost(_)), Expected::Lost) => {}
                    (Some(Standing::Held), Expected::Held) => prop_assert!(connected),
                    (Some(Standing::Wanted { refused }), Expected::Wanted { refused: since }) => {
                        prop_assert_eq!(refused, *since);
                        prop_assert_ne!(*kind, KindOf::OpenedSocket);
                        wanted.push(*number);
                    }
                    (record, expected) => prop_assert!(false, "{record:?}, not {expected:?}"),
                }
            }
            prop_assert_eq!(world.pass(), wanted, "each that is wanted once, and no other");
        }
    }
}

fn event() -> impl Strategy<Value = Event> {
    let kind = prop_oneof![
        Just(KindOf::Member),
        Just(KindOf::OpenedSocket),
        Just(KindOf::ActiveSocket)
    ];
    let answer = || (0..6_usize, prop::bool::weighted(0.8));
    prop_oneof![
        3 => kind.prop_map(Event::Insert),
        1 => (0..6_usize).prop_map(Event::Activate),
        3 => Just(Event::Connected),
        3 => prop::bool::weighted(0.8).prop_map(|present| Event::Lost { present }),
        3 => answer().prop_map(|(claim, present)| Event::Granted { claim, present }),
        3 => answer().prop_map(|(claim, present)| Event::RefusedForNow { claim, present }),
        1 => answer().prop_map(|(claim, present)| Event::RefusedForGood { claim, present }),
        2 => Just(Event::LingerPasses),
        1 => (0..6_usize).prop_map(Event::Dropped),
    ]
}

/// Claims, a clock, and the lines that there were.
struct World {
    claims: Claims,
    lines: u64,
    start: Instant,
    now: Instant,
}

impl World {
    /// Connected, with nothing.
    fn new() -> Self {
        let start = Instant::now();
        let mut world = Self {
            claims: Claims::default(),
            lines: 1,
            start,
            now: start,
        };
        world.claims.connected(LineNumber(1));
        world
    }

    fn line(&self) -> LineNumber {
        LineNumber(self.lines)
    }

    fn reconnect(&mut self) {
        self.claims.lost(self.line());
        self.lines += 1;
        self.claims.connected(self.line());
    }

    fn refuse(&mut self, number: ClaimNumber, code: RefusalCode, passed: Duration) {
        let line = self.line();
        self.claims
            .refused(line, number, refusal(code), self.start + passed);
    }

    fn insert(&mut self, kind: KindOf) -> ClaimNumber {
        self.insert_on(self.line(), kind)
    }

    fn insert_on(&mut self, line: LineNumber, kind: KindOf) -> ClaimNumber {
        if kind == KindOf::Member {
            let register = protocol::Registration {
                linger_ms: u32::try_from(LINGER.as_millis()).unwrap(),
                ..crate::Program::from_bytes(*b"object").registration([7; 16])
            };
            let change = change(Operation::Register(Box::new(register)));
            let sent = self.claims.mark();
            return self.claims.note(line, change, &changed(), sent)[0];
        }
        let (end, _) = std::io::pipe().unwrap();
        let socket = Arc::new(end.into());
        let number = self.claims.opened(line, "eth0", 0, [7; 16], socket);
        if kind == KindOf::ActiveSocket {
            self.claims.set_active(number, true);
        }
        number
    }

    /// Every claim that one pass asks for.
    fn pass(&self) -> Vec<ClaimNumber> {
        let first = self.claims.next_wanted(None);
        std::iter::successors(first, |wanted| self.claims.next_wanted(Some(wanted.number)))
            .map(|wanted| wanted.number)
            .collect()
    }

    fn happen(&mut self, event: Event, expected: &mut Vec<(ClaimNumber, KindOf, Expected)>) {
        let connected = self.claims.line.is_some();
        let line = |present: bool| LineNumber(self.lines - u64::from(!present));
        match event {
            Event::Insert(kind) => {
                // One that is opened has a line; it may be gone when the answer is noted.
                if kind == KindOf::ActiveSocket && !connected {
                    return;
                }
                let number = self.insert(kind);
                let standing = match kind {
                    _ if connected => Expected::Held,
                    KindOf::OpenedSocket => Expected::Lost,
                    KindOf::Member | KindOf::ActiveSocket => Expected::Wanted { refused: None },
                };
                expected.push((number, kind, standing));
            }
            Event::Activate(index) => {
                if let Some((number, kind @ KindOf::OpenedSocket, _)) = expected.get_mut(index) {
                    self.claims.set_active(*number, true);
                    *kind = KindOf::ActiveSocket;
                }
            }
            Event::Connected => {
                self.lines += 1;
                self.claims.connected(self.line());
                if connected {
                    lose_all(expected);
                }
            }
            Event::Lost { present } => {
                self.claims.lost(line(present));
                if present && connected {
                    lose_all(expected);
                }
            }
            Event::Granted { claim, present } => {
                let Some((number, _, standing)) = expected.get_mut(claim) else {
                    return;
                };
                self.claims.granted(line(present), *number);
                if let (Expected::Wanted { .. }, true) = (&standing, present && connected) {
                    *standing = Expected::Held;
                }
            }
            Event::RefusedForNow { claim, present } => {
                let Some((number, kind, standing)) = expected.get_mut(claim) else {
                    return;
                };
                let refusal = refusal(RefusalCode::Claim);
                self.claims
                    .refused(line(present), *number, refusal, self.now);
                let linger = match kind {
                    KindOf::Member => LINGER,
                    KindOf::OpenedSocket | KindOf::ActiveSocket => SOCKET_LINGER,
                };
                if let (Expected::Wanted { refused }, true) = (*standing, present && connected) {
                    let since = refused.unwrap_or(self.now);
                    *standing = if self.now - since >= linger {
                        Expected::Lost
                    } else {
                        Expected::Wanted {
                            refused: Some(since),
                        }
                    };
                }
            }
            Event::RefusedForGood { claim, present } => {
                let Some((number, _, standing)) = expected.get_mut(claim) else {
                    return;
                };
                let refusal = refusal(RefusalCode::NoSuchInterface);
                self.claims
                    .refused(line(present), *number, refusal, self.now);
                if let (Expected::Wanted { .. }, true) = (&standing, present && connected) {
                    *standing = Expected::Lost;
                }
            }
            Event::LingerPasses => self.now += LINGER,
            Event::Dropped(index) => {
                if let Some((number, _, standing)) = expected.get_mut(index) {
                    let tell = matches!(standing, Expected::Held | Expected::Wanted { .. });
                    assert_eq!(self.claims.release(*number), tell);
                    *standing = Expected::Dropped;
                }
            }
        }
    }
}

/// The line is gone on which everything was held.
fn lose_all(expected: &mut [(ClaimNumber, KindOf, Expected)]) {
    for (_, kind, standing) in expected {
        if let Expected::Held | Expected::Wanted { .. } = standing {
            *standing = match kind {
                KindOf::OpenedSocket => Expected::Lost,
                KindOf::Member | KindOf::ActiveSocket => Expected::Wanted { refused: None },
            };
        }
    }
}

fn change(operation: Operation) -> protocol::Change {
    protocol::Change {
        interface: Some("eth0".to_owned()),
        operations: vec![operation],
        ..protocol::Change::default()
    }
}

/// The answer to a change that registers one member.
fn changed() -> protocol::Changed {
    protocol::Changed {
        revision: 1,
        members: vec![protocol::Registered {
            name: "stats".to_owned(),
            id: 1,
            slot: 0,
            program_id: 1,
            form: protocol::Form {
                engine: crate::Engine::Tailcall,
                attach_type: protocol::ATTACH_TYPE_XDP,
                frags: false,
            },
            taken_up: false,
        }],
        ..protocol::Changed::default()
    }
}

fn refusal(code: RefusalCode) -> Refusal {
    Refusal::new(code, "no")
}
