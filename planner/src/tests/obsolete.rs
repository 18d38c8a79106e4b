//! What is freed and when, whatever fails and whatever else becomes obsolete meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::{Build, Cleanup, CodeId, MemberId, Obsolete, Slot};

/// What a change of a chain leaves beside a build.
#[derive(Clone, Debug)]
struct Left {
    counted: usize,
    codes: Vec<(MemberId, CodeId)>,
    members: Vec<MemberId>,
}

#[derive(Clone, Debug)]
enum Event {
    /// Another build takes the place of the live one.
    Swap(Left),
    /// A build was prepared, and its commit is never done.
    Abandon(Left),
    /// A registry was written beside the live build's, and its commit is never done.
    Draft,
    /// One of the due steps is begun.
    Begin(Index),
    /// The step that was begun is over, done or failed.
    End { is_done: bool },
}

/// A build that is retired, as far as the steps got that were seen.
#[derive(Debug)]
struct Retired {
    is_inside: bool,
    is_counted: bool,
    /// How many events came before.
    since: usize,
}

/// What is left, kept beside what [`Obsolete`] says.
#[derive(Debug)]
struct World {
    obsolete: Obsolete,
    live: Build,
    last: Build,
    builds: BTreeMap<Build, Retired>,
    codes: BTreeSet<(MemberId, CodeId)>,
    members: BTreeSet<MemberId>,
    drafts: BTreeSet<Build>,
    events: usize,
    begun: Option<Begun>,
}

/// A step that is being carried out.
#[derive(Debug)]
struct Begun {
    step: Cleanup,
    newest: Build,
    /// How many events came before.
    at: usize,
}

impl World {
    fn new() -> Self {
        Self {
            obsolete: Obsolete::default(),
            live: Build(1),
            last: Build(1),
            builds: BTreeMap::new(),
            codes: BTreeSet::new(),
            members: BTreeSet::new(),
            drafts: BTreeSet::new(),
            events: 0,
            begun: None,
        }
    }

    fn play(&mut self, event: Event) {
        self.events += 1;
        match event {
            Event::Swap(left) => {
                let old = self.live;
                self.last = Build(self.last.0 + 1);
                self.live = self.last;
                self.leave(old, left, true);
            }
            Event::Abandon(left) => {
                self.last = Build(self.last.0 + 1);
                let left = Left { counted: 0, ..left };
                self.leave(self.last, left, false);
            }
            Event::Draft => {
                self.drafts.insert(self.live);
                self.merge(&[Cleanup::RemoveDraft { build: self.live }]);
            }
            Event::Begin(which) => {
                let due = self.obsolete.due();
                if self.begun.is_none() && !due.is_empty() {
                    self.begin(which.get(&due));
                }
            }
            Event::End { is_done } => self.end(is_done),
        }
    }

    /// A build is obsolete. Packets may be inside if it ran.
    fn leave(&mut self, build: Build, left: Left, ran: bool) {
        let mut steps: Vec<_> = ran.then_some(Cleanup::Grace).into_iter().collect();
        if left.counted > 0 {
            let ids = (1..).map(MemberId);
            steps.push(Cleanup::FoldCounters {
                build,
                members: (0..).map(Slot).zip(ids).take(left.counted).collect(),
            });
        }
        steps.push(Cleanup::RetireBuild { build });
        let code = |(member, code): &(MemberId, CodeId)| Cleanup::RemoveCode {
            member: *member,
            code: *code,
        };
        steps.extend(left.codes.iter().map(code));
        let member = |member: &MemberId| Cleanup::RemoveMember { member: *member };
        steps.extend(left.members.iter().map(member));
        let retired = Retired {
            is_inside: ran,
            is_counted: left.counted > 0,
            since: self.events,
        };
        self.builds.insert(build, retired);
        self.codes.extend(left.codes);
        self.members.extend(left.members);
        self.merge(&steps);
    }

    fn merge(&mut self, steps: &[Cleanup]) {
        self.obsolete.merge(Obsolete::of(steps));
    }

    /// Checks that nothing is freed that is needed.
    fn begin(&mut self, step: &Cleanup) {
        match step {
            Cleanup::Grace => assert!(self.builds.values().any(|it| it.is_inside)),
            Cleanup::FoldCounters { build, .. } => {
                let retired = &self.builds[build];
                assert!(!retired.is_inside && retired.is_counted, "{self:#?}");
                let mut older = self.builds.range(..build);
                assert!(older.all(|(_, older)| !older.is_counted), "{self:#?}");
            }
            Cleanup::RetireBuild { build } => {
                let retired = &self.builds[build];
                assert!(!retired.is_inside && !retired.is_counted, "{self:#?}");
            }
            Cleanup::RemoveDraft { build } => assert!(self.drafts.contains(build)),
            Cleanup::RemoveCode { member, code } => {
                assert!(self.builds.is_empty(), "{self:#?}");
                assert!(self.codes.contains(&(*member, *code)));
            }
            Cleanup::RemoveMember { member } => {
                assert!(self.builds.is_empty(), "{self:#?}");
                assert!(self.members.contains(member));
            }
            Cleanup::RemoveChain => assert!(
                self.builds.is_empty() && self.codes.is_empty() && self.members.is_empty(),
                "{self:#?}"
            ),
        }
        self.begun = Some(Begun {
            step: step.clone(),
            newest: self.obsolete.newest().unwrap_or(Build(0)),
            at: self.events,
        });
    }

    fn end(&mut self, is_done: bool) {
        let Some(Begun { step, newest, at }) = self.begun.take() else {
            return;
        };
        if !is_done {
            assert!(self.still_due(&step), "{step:?} is tried again: {self:#?}");
            return;
        }
        match &step {
            Cleanup::Grace => {
                let before = self.builds.values_mut().filter(|it| it.since <= at);
                before.for_each(|retired| retired.is_inside = false);
            }
            Cleanup::FoldCounters { build, .. } => {
                let retired = self.builds.get_mut(build).unwrap();
                retired.is_counted = false;
            }
            Cleanup::RetireBuild { build } => drop(self.builds.remove(build)),
            Cleanup::RemoveDraft { build } => drop(self.drafts.remove(build)),
            Cleanup::RemoveCode { member, code } => drop(self.codes.remove(&(*member, *code))),
            Cleanup::RemoveMember { member } => {
                self.members.remove(member);
                self.codes.retain(|(of, _)| of != member);
            }
            Cleanup::RemoveChain => self.drafts.clear(),
        }
        self.obsolete.done(&step, newest);
    }

    /// Whether a step that failed comes again, now or once the builds are gone that were left in the
    /// meantime. A member takes its code with it.
    fn still_due(&self, step: &Cleanup) -> bool {
        let due = all_steps(&self.obsolete);
        if let Cleanup::RemoveCode { member, .. } = step
            && due.contains(&Cleanup::RemoveMember { member: *member })
        {
            return true;
        }
        due.contains(step)
    }

    /// Carries out all that is due until nothing is.
    fn finish(&mut self) -> Vec<Cleanup> {
        self.end(true);
        let mut done = Vec::new();
        while !self.obsolete.is_empty() {
            let due = self.obsolete.due();
            assert!(
                !due.is_empty(),
                "something is due as long as something is left: {self:#?}"
            );
            for step in due {
                self.begin(&step);
                self.end(true);
                done.push(step);
            }
        }
        assert!(self.builds.is_empty() && self.codes.is_empty());
        assert!(self.members.is_empty() && self.drafts.is_empty());
        assert_eq!(self.obsolete.due(), []);
        done
    }
}

/// Every step, in the order in which they are due.
pub(super) fn all_steps(obsolete: &Obsolete) -> Vec<Cleanup> {
    let mut rest = obsolete.clone();
    let mut steps = Vec::new();
    while !rest.is_empty() {
        for step in rest.due() {
            rest.done(&step, rest.newest().unwrap_or(Build(0)));
            steps.push(step);
        }
    }
    steps
}

fn left() -> impl Strategy<Value = Left> {
    let member = || (1..6_u64).prop_map(MemberId);
    let code = (member(), (1..4_u32).prop_map(CodeId));
    (0..3_usize, vec(code, 0..3), vec(member(), 0..3)).prop_map(|(counted, codes, members)| Left {
        counted,
        codes,
        members,
    })
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => left().prop_map(Event::Swap),
        1 => left().prop_map(Event::Abandon),
        1 => Just(Event::Draft),
        8 => any::<Index>().prop_map(Event::Begin),
        8 => prop::bool::weighted(0.8).prop_map(|is_done| Event::End { is_done }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn nothing_is_freed_too_early_and_everything_in_the_end(
        events in vec(event(), 0..60),
        goes in any::<bool>(),
    ) {
        let mut world = World::new();
        for event in events {
            world.play(event);
        }
        if goes {
            let live = world.live;
            world.end(true);
            world.leave(live, Left { counted: 0, codes: vec![], members: vec![MemberId(9)] }, true);
            world.merge(&[Cleanup::RemoveChain]);
        }
        let done = world.finish();
        let removals = done.iter().filter(|step| **step == Cleanup::RemoveChain);
        prop_assert_eq!(removals.count(), usize::from(goes));
        prop_assert!(!goes || done.last() == Some(&Cleanup::RemoveChain));
    }

    #[test]
    fn the_order_in_which_it_becomes_obsolete_makes_no_difference(
        left in vec(left(), 1..5),
        order in Just((0..5_usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let lists: Vec<Obsolete> = (1..)
            .map(Build)
            .zip(left)
            .map(|(build, left)| {
                let mut world = World::new();
                world.leave(build, left, true);
                world.obsolete
            })
            .collect();
        let merged = |lists: &mut dyn Iterator<Item = &Obsolete>| {
            let mut all = Obsolete::default();
            lists.for_each(|list| all.merge(list.clone()));
            all
        };
        let in_order = merged(&mut lists.iter());
        let shuffled = merged(&mut order.iter().filter_map(|index| lists.get(*index)));
        let twice = merged(&mut lists.iter().chain(&lists));
        prop_assert_eq!(&in_order, &shuffled);
        prop_assert_eq!(&in_order, &twice);
    }
}

#[test]
fn a_build_that_is_retired_while_a_grace_period_runs_needs_another_one() {
    let retired = |build| {
        Obsolete::of(&[
            Cleanup::Grace,
            Cleanup::RetireBuild {
                build: Build(build),
            },
        ])
    };
    let mut obsolete = retired(1);
    let newest = obsolete.newest().unwrap();
    obsolete.merge(retired(2));
    obsolete.done(&Cleanup::Grace, newest);
    let retire = |build| Cleanup::RetireBuild {
        build: Build(build),
    };
    assert_eq!(obsolete.due(), [Cleanup::Grace, retire(1)]);
    obsolete.done(&retire(1), newest);
    obsolete.done(&Cleanup::Grace, obsolete.newest().unwrap());
    assert_eq!(obsolete.due(), [retire(2)]);
}

#[test]
fn a_build_whose_counts_cannot_be_saved_holds_up_the_newer_ones() {
    let counted = |build| {
        let build = Build(build);
        Obsolete::of(&[
            Cleanup::Grace,
            Cleanup::FoldCounters {
                build,
                members: vec![(Slot(0), MemberId(1))],
            },
            Cleanup::RetireBuild { build },
        ])
    };
    let mut obsolete = counted(2);
    obsolete.merge(counted(1));
    obsolete.done(&Cleanup::Grace, obsolete.newest().unwrap());
    let folds = |obsolete: &Obsolete| -> Vec<Build> {
        let mut builds = Vec::new();
        for step in obsolete.due() {
            if let Cleanup::FoldCounters { build, .. } = step {
                builds.push(build);
            }
        }
        builds
    };
    assert_eq!(folds(&obsolete), [Build(1)]);
    let first = obsolete.due().remove(0);
    obsolete.done(&first, Build(2));
    assert_eq!(folds(&obsolete), [Build(2)]);
}
