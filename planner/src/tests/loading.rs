//! What is loaded for a change, and what becomes of it if a program is refused.

use dispatcher_abi::{Engine, EngineChoice, REDIRECT_MEMBER};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::testing::{
    ENGINES, Request, change, client, facts, fill, outline, registration, requests, root,
};
use crate::{
    Abilities, Authority, BuiltIn, Change, Code, CodeId, Configuration, Engines, Facts, LoadId,
    LoadOrder, LoadStep, Loading, Maps, MapsOf, MemberId, Obstacle, Operation, Outline, Plan,
    Refusal, Registration, Source, State, decide, needs,
};

const TAILCALL_ONLY: Engines = Engines {
    freplace: false,
    tailcall: true,
};

/// What happens to a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Loaded,
    /// The kernel turned the program down.
    Refused,
    /// Something else was wrong, before the kernel looked at it.
    Failed,
}

use Outcome::{Failed, Loaded, Refused};

/// A change whose programs are loaded, each under a number of its own: 1 is the first.
struct Run {
    loading: Loading,
    state: State,
    orders: Vec<LoadOrder>,
    failures: usize,
    step: LoadStep,
}

impl Run {
    fn begin(state: &State, authority: &Authority, change: &Change, outlines: &[Outline]) -> Self {
        let mut loading = Loading::new(authority.clone(), change.clone(), outlines.to_vec());
        Self {
            step: loading.begin(state, LoadId(1)),
            loading,
            state: state.clone(),
            orders: Vec::new(),
            failures: 0,
        }
    }

    /// The program that is to be loaded; `None` if there is none any more.
    fn order(&self) -> Option<&LoadOrder> {
        match &self.step {
            LoadStep::Load(order) => Some(order),
            LoadStep::Ready { .. } | LoadStep::Refused(_) | LoadStep::Failed(_) => None,
        }
    }

    fn go_on(&mut self, outcome: Outcome) {
        let order = self.order().unwrap().clone();
        let next = LoadId(order.load.0 + 1);
        self.step = match outcome {
            Loaded => self.loading.loaded(&self.state, learned(&order), next),
            Refused | Failed => {
                self.failures += 1;
                let by_kernel = outcome == Refused;
                self.loading.failed(&self.state, by_kernel, next)
            }
        };
        self.orders.push(order);
    }

    /// Plays these outcomes, and then the last one, as long as there is something to load.
    fn play(mut self, outcomes: &[Outcome], last: Outcome) -> Self {
        let mut outcomes = outcomes.iter().copied();
        while self.order().is_some() {
            self.go_on(outcomes.next().unwrap_or(last));
            assert!(self.orders.len() < 1000, "it ends");
        }
        self
    }

    /// What the change does, all of whose programs are loaded.
    fn plan(&self, authority: &Authority) -> Plan {
        let LoadStep::Ready { facts, reloaded } = &self.step else {
            panic!("{:?}", self.step)
        };
        decide(
            &self.state,
            authority,
            self.loading.change(),
            facts,
            reloaded,
        )
        .unwrap()
    }

    fn engines(&self) -> Vec<Engine> {
        self.orders.iter().map(|order| order.form.engine).collect()
    }
}

/// What the loader learns by loading what was ordered.
fn learned(order: &LoadOrder) -> Facts {
    let source = match &order.code {
        Code::Fresh(_) => Facts::outlined(order.load, order.outline.clone()).source,
        Code::Again(reload) => reload.source.clone(),
        Code::BuiltIn(built_in) => Source::BuiltIn(*built_in),
    };
    Facts {
        load: order.load,
        program_id: 1000 + u32::try_from(order.load.0).unwrap(),
        source,
        abilities: order.outline.abilities,
        form: order.form,
        replaces: order.replaces,
        ..facts()
    }
}

fn filled(engines: Engines, members: usize) -> State {
    let mut state = State::new(engines);
    let plan = fill(members).play(&mut state).unwrap().unwrap();
    state.commit(&plan);
    state
}

fn named(name: &str) -> Registration {
    Registration {
        name: Some(name.into()),
        ..registration()
    }
}

fn register(registration: Registration) -> Change {
    change(vec![Operation::Register(registration)])
}

fn able() -> Outline {
    outline(&facts())
}

/// Takes no packets of several buffers.
fn plain() -> Outline {
    Outline {
        abilities: Abilities {
            obstacle: None,
            frags: false,
        },
        ..able()
    }
}

/// The loads of one object that is registered.
fn one(engine: EngineChoice, outcomes: &[Outcome]) -> Run {
    let registration = Registration {
        engine,
        ..named("new")
    };
    let state = filled(ENGINES, 2);
    Run::begin(&state, &root(), &register(registration), &[able()]).play(outcomes, Loaded)
}

#[test]
fn a_program_that_is_refused_as_an_extension_is_loaded_as_an_xdp_program() {
    let run = one(EngineChoice::Auto, &[Refused]);
    assert_eq!(run.engines(), [Engine::Freplace, Engine::Tailcall]);
    let next = run.plan(&root()).next.unwrap();
    let (_, member) = next.member("new").unwrap();
    assert_eq!(member.form.engine, Engine::Tailcall);
    assert_eq!(member.abilities.obstacle, Some(Obstacle::Refused));
    assert_eq!(
        next.tail_call_reason(member, ENGINES),
        Some(Obstacle::Refused)
    );
}

#[test]
fn a_program_that_is_refused_as_both_fails_with_what_was_wrong_with_the_extension() {
    for second in [Refused, Failed] {
        let run = one(EngineChoice::Auto, &[Refused, second]);
        assert_eq!(run.engines(), [Engine::Freplace, Engine::Tailcall]);
        assert_eq!(run.step, LoadStep::Failed(0));
    }
}

#[test]
fn a_program_that_was_not_for_the_kernel_to_judge_is_not_tried_again() {
    let run = one(EngineChoice::Auto, &[Failed]);
    assert_eq!(run.engines(), [Engine::Freplace]);
    assert_eq!(run.step, LoadStep::Failed(0));
}

#[test]
fn who_asks_for_freplace_gets_it_or_its_failure() {
    let run = one(EngineChoice::Freplace, &[Refused]);
    assert_eq!(run.engines(), [Engine::Freplace]);
    assert_eq!(run.step, LoadStep::Failed(0));
}

#[test]
fn who_asks_for_a_tail_call_gets_it_or_its_failure() {
    let run = one(EngineChoice::Tailcall, &[Refused]);
    assert_eq!(run.engines(), [Engine::Tailcall]);
    assert_eq!(run.step, LoadStep::Failed(0));
}

#[test]
fn a_program_that_no_slot_can_take_fails_with_its_own_failure() {
    let extensions_only = Engines {
        freplace: true,
        tailcall: false,
    };
    let mut state = filled(ENGINES, 1);
    state.engines = extensions_only;
    let run = Run::begin(&state, &root(), &register(named("new")), &[able()]);
    let run = run.play(&[Refused], Loaded);
    assert_eq!(run.step, LoadStep::Failed(0), "and not with a refusal");
}

#[test]
fn what_was_loaded_before_a_refusal_is_loaded_anew() {
    let operations = ["a", "b"].map(|name| Operation::Register(named(name)));
    let outlines = [able(), able()];
    let state = State::new(ENGINES);
    let run = Run::begin(&state, &root(), &change(operations.into()), &outlines);
    let run = run.play(&[Loaded, Refused], Loaded);
    let codes: Vec<_> = run.orders.iter().map(|order| order.code.clone()).collect();
    let fresh = [0, 1, 0, 1].map(Code::Fresh);
    assert_eq!(codes, fresh);
    let LoadStep::Ready { facts, .. } = &run.step else {
        panic!("{:?}", run.step)
    };
    let loads: Vec<_> = facts.iter().map(|facts| facts.load).collect();
    assert_eq!(loads, [LoadId(3), LoadId(4)]);
    run.plan(&root());
}

/// A chain of tail-called members that were loaded plainly for the sake of `plain`, and without it.
fn waits_for_an_upgrade() -> (State, Change) {
    let mut state = filled(TAILCALL_ONLY, 2);
    let add = register(named("plain"));
    let run = Run::begin(&state, &root(), &add, &[plain()]).play(&[], Loaded);
    state.commit(&run.plan(&root()));
    let go = change(vec![Operation::Unregister {
        name: "plain".into(),
    }]);
    (state, go)
}

#[test]
fn a_change_goes_on_without_the_upgrade_that_fails() {
    let (state, go) = waits_for_an_upgrade();
    for failure in [Refused, Failed] {
        for outcomes in [&[failure][..], &[Loaded, failure]] {
            let run = Run::begin(&state, &root(), &go, &[]).play(outcomes, Loaded);
            let tried = run.orders.len();
            assert_eq!(tried, outcomes.len(), "nothing is loaded afterwards");
            let plan = run.plan(&root());
            assert_eq!(plan.reloads, [""; 0]);
            assert_eq!(plan.removes.len(), 1);
        }
    }
    let run = Run::begin(&state, &root(), &go, &[]).play(&[], Loaded);
    assert_eq!(run.plan(&root()).reloads, ["m0", "m1"]);
}

#[test]
fn a_change_fails_without_the_reload_that_it_needs() {
    let plainly = register(named("plain"));
    let engine = Operation::Configure(Configuration {
        engine: Some(EngineChoice::Tailcall),
        ..Configuration::default()
    });
    for (engines, change, outlines) in [
        (TAILCALL_ONLY, plainly, vec![plain()]),
        (ENGINES, change(vec![engine]), vec![]),
    ] {
        for failure in [Refused, Failed] {
            let run = Run::begin(&filled(engines, 2), &root(), &change, &outlines);
            let run = run.play(&[], failure);
            let is_again = |order: &LoadOrder| matches!(order.code, Code::Again(_));
            assert!(run.orders.iter().all(is_again));
            assert!(matches!(run.step, LoadStep::Failed(number) if number < run.failures));
        }
    }
}

#[test]
fn a_member_is_loaded_again_with_its_own_maps_from_its_own_source() {
    let (state, go) = waits_for_an_upgrade();
    let chain = state.chains.values().next().unwrap();
    let run = Run::begin(&state, &root(), &go, &[]).play(&[], Loaded);
    for (order, member) in run.orders.iter().zip(&chain.members) {
        assert_eq!(order.maps, Maps::Own(member.id, member.code));
        assert_eq!(order.replaces, Some((member.id, member.code)));
        let Code::Again(reload) = &order.code else {
            panic!("{order:?}")
        };
        assert_eq!(reload.source, member.source);
        assert_eq!(order.trusted, member.source.is_trusted());
    }
}

#[test]
fn an_object_is_loaded_as_trusted_for_whom_may_have_that() {
    for (uid, trusted) in [(0, true), (1000, false)] {
        let state = State::new(ENGINES);
        let run = Run::begin(&state, &client(uid, 1), &register(named("new")), &[able()]);
        assert_eq!(run.order().unwrap().trusted, trusted);
    }
}

#[test]
fn the_daemons_own_program_is_loaded_from_no_object() {
    let redirect = Registration {
        built_in: Some(BuiltIn::XskRedirect),
        ..named(REDIRECT_MEMBER)
    };
    let operations = vec![
        Operation::Register(named("first")),
        Operation::Register(redirect),
    ];
    let daemon = Authority::daemon(1);
    let outlines = [able(), able()];
    let state = State::new(ENGINES);
    let run = Run::begin(&state, &daemon, &change(operations), &outlines).play(&[], Loaded);
    let codes: Vec<_> = run.orders.iter().map(|order| order.code.clone()).collect();
    assert_eq!(codes, [Code::Fresh(0), Code::BuiltIn(BuiltIn::XskRedirect)]);
    let next = run.plan(&daemon).next.unwrap();
    assert_eq!(
        next.redirect().map(|member| &*member.name),
        Some(REDIRECT_MEMBER)
    );
}

fn shares(name: &str, group: &str) -> Registration {
    Registration {
        share_group: Some(group.into()),
        ..named(name)
    }
}

#[test]
fn a_share_group_has_the_maps_of_its_users_members_and_of_earlier_loads() {
    let mut state = State::new(ENGINES);
    let mut ids = Vec::new();
    for (uid, place, name, group) in [
        (1000, 0, "mine", "g"),
        (1001, 0, "theirs", "g"),
        (1000, 0, "other", "h"),
        (1000, 1, "elsewhere", "g"),
    ] {
        let add = Change {
            interface: crate::testing::interface(place),
            ..register(shares(name, group))
        };
        let user = client(uid, 1);
        let run = Run::begin(&state, &user, &add, &[able()]).play(&[], Loaded);
        let plan = run.plan(&user);
        state.commit(&plan);
        let chain = plan.next.unwrap();
        ids.push(chain.member(name).unwrap().1.id);
    }
    let operations = [("a", "g"), ("b", "h"), ("c", "g")]
        .map(|(name, group)| Operation::Register(shares(name, group)));
    let mut operations = Vec::from(operations);
    operations.push(Operation::Register(named("alone")));
    let change = change(operations);
    let outlines = vec![able(); 4];
    // The third is refused as an extension, so that all are loaded anew.
    let outcomes = [Loaded, Loaded, Refused];
    let run = Run::begin(&state, &client(1000, 2), &change, &outlines).play(&outcomes, Loaded);
    let member = |index: usize| MapsOf::Member(ids[index], CodeId(1));
    let (mine, other, elsewhere) = (member(0), member(2), member(3));
    for first in [1, 4] {
        let order = |index: usize| &run.orders[first - 1 + index].maps;
        let load = MapsOf::Load(LoadId(first as u64));
        assert_eq!(order(0), &Maps::Shared(vec![mine, elsewhere]));
        assert_eq!(order(1), &Maps::Shared(vec![other]));
        assert_eq!(order(2), &Maps::Shared(vec![load, mine, elsewhere]));
    }
    assert_eq!(run.orders.len(), 7);
    assert_eq!(run.orders[6].maps, Maps::Shared(vec![]));
}

#[test]
fn new_code_has_its_members_maps() {
    let state = filled(ENGINES, 2);
    let replace = change(vec![Operation::Replace { name: "m1".into() }]);
    let run = Run::begin(&state, &root(), &replace, &[able()]);
    let order = run.order().unwrap();
    let code = (MemberId(2), CodeId(1));
    assert_eq!(
        order.maps,
        Maps::Shared(vec![MapsOf::Member(code.0, code.1)])
    );
    assert_eq!(order.replaces, Some(code));
}

#[test]
fn new_code_has_nothing_of_another_users_member() {
    let user = client(1000, 1);
    let replace = Operation::Replace { name: "m".into() };
    let owned = |uid| {
        let mut state = State::new(ENGINES);
        let owner = client(uid, 1);
        let run = Run::begin(&state, &owner, &register(named("m")), &[able()]);
        state.commit(&run.play(&[], Loaded).plan(&owner));
        state
    };
    let (mine, theirs) = (owned(1000), owned(1001));
    let run = Run::begin(&theirs, &user, &change(vec![replace.clone()]), &[able()]);
    assert!(matches!(
        run.step,
        LoadStep::Refused(Refusal::NotOwner { .. })
    ));
    // It becomes another user's while the program before it is being loaded.
    let operations = vec![Operation::Register(named("first")), replace];
    let mut run = Run::begin(&mine, &user, &change(operations), &[able(), able()]);
    run.state = theirs;
    run.go_on(Loaded);
    let order = run.order().unwrap();
    assert_eq!(order.maps, Maps::Shared(vec![]));
    assert_eq!(order.replaces, None);
}

#[test]
fn a_change_that_may_not_be_is_refused_before_anything_is_loaded() {
    let state = filled(ENGINES, 1);
    let run = Run::begin(&state, &client(1003, 1), &register(named("new")), &[able()]);
    assert_eq!(run.step, LoadStep::Refused(Refusal::NoRights { uid: 1003 }));
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![3 => Just(Loaded), 2 => Just(Refused), 1 => Just(Failed)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn loading_ends_and_what_was_loaded_is_what_the_change_takes(
        history in requests(1..=16),
        outcomes in vec(outcome(), 0..40),
        last in outcome(),
    ) {
        let mut state = State::new(ENGINES);
        for request in &history {
            if let Request::Change { client, change, facts } = request {
                let outlines: Vec<_> = facts.iter().map(outline).collect();
                let run = Run::begin(&state, client, change, &outlines).play(&outcomes, last);
                let members = state.at(change.interface.key).map_or(0, |it| it.members.len());
                // From the first on again for each object that is refused and for the upgrade.
                let rounds = outlines.len() + 2;
                prop_assert!(run.orders.len() <= rounds * (outlines.len() + members));
                match &run.step {
                    LoadStep::Ready { facts, .. } => {
                        prop_assert_eq!(facts.len(), change.loads());
                        run.plan(client);
                    }
                    LoadStep::Failed(number) => prop_assert!(*number < run.failures),
                    LoadStep::Refused(refusal) => {
                        prop_assert_eq!(run.orders.len(), 0);
                        let needs = needs(&state, client, change, &outlines, true);
                        prop_assert_eq!(needs, Err(refusal.clone()));
                    }
                    LoadStep::Load(_) => unreachable!("it was played to its end"),
                }
            }
            if let Ok(Some(plan)) = request.play(&mut state) {
                state.commit(&plan);
            }
        }
    }
}
