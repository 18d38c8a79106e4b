//! Threads that fetch for each other, in every order in which they can take their steps: each gets
//! what it waits for, and none sleeps for ever (loom finds that nobody can go on).

#![allow(clippy::unwrap_used, reason = "a step that fails fails the test")]

#[path = "../src/turn.rs"]
mod turn;

/// What `libdispatch::sync` is for the file above.
mod sync {
    pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
}

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use loom::{
    sync::{Arc, Mutex},
    thread,
};
use turn::Turn;

/// What one thread fetches: an answer, or that there are none any more.
type Fetched = Option<u32>;

/// Answers that came, and whether more will.
#[derive(Default)]
struct Came {
    answers: BTreeSet<u32>,
    ended: bool,
}

/// Waits for an answer; `None` if no more will come.
fn wait(turn: &Turn<Came>, source: &Mutex<VecDeque<u32>>, answer: u32) -> Fetched {
    let look = |came: &mut Came| {
        let found = came.answers.remove(&answer).then_some(Some(answer));
        found.or_else(|| came.ended.then_some(None))
    };
    let keep = |came: &mut Came, fetched: Fetched| match fetched {
        Some(answer) => drop(came.answers.insert(answer)),
        None => came.ended = true,
    };
    // Loom's threads don't wait for a clock.
    let limit = Instant::now() + Duration::from_secs(3600);
    let fetch = || source.lock().unwrap().pop_front();
    turn.wait(limit, look, fetch, keep)
        .expect("there is time left")
}

/// Threads that wait for one answer each, which come in this order, and then the end.
fn model(waited_for: &'static [u32], come: &'static [u32]) {
    let mut orders = loom::model::Builder::new();
    // All orders of three threads take ten seconds. A wake-up that is lost shows with few switches.
    orders.preemption_bound = Some(3);
    orders.check(move || {
        let turn = Arc::new(Turn::new(Came::default()));
        let source = Arc::new(Mutex::new(come.iter().copied().collect::<VecDeque<_>>()));
        let (last, others) = waited_for.split_last().expect("somebody waits");
        let threads: Vec<_> = others
            .iter()
            .map(|answer| {
                let (turn, source) = (turn.clone(), source.clone());
                thread::spawn(move || (*answer, wait(&turn, &source, *answer)))
            })
            .collect();
        let own = (*last, wait(&turn, &source, *last));
        let all = threads.into_iter().map(|thread| thread.join().unwrap());
        for (answer, got) in all.chain([own]) {
            assert_eq!(got, come.contains(&answer).then_some(answer));
        }
    });
}

#[test]
fn two_get_their_own_in_order() {
    model(&[1, 2], &[1, 2]);
}

#[test]
fn two_get_their_own_out_of_order_and_among_others() {
    model(&[1, 2], &[2, 3, 1]);
}

#[test]
fn three_get_their_own() {
    model(&[1, 2, 3], &[3, 1, 2]);
}

#[test]
fn whoever_gets_nothing_hears_of_the_end() {
    model(&[1, 2], &[2]);
    model(&[1, 2], &[]);
}

#[test]
fn a_change_by_another_thread_ends_the_wait() {
    loom::model(|| {
        let turn = Arc::new(Turn::new(Came::default()));
        let source = Arc::new(Mutex::new(VecDeque::from([2])));
        let waiting = {
            let (turn, source) = (turn.clone(), source.clone());
            thread::spawn(move || wait(&turn, &source, 2))
        };
        turn.change(|came| came.ended = true);
        assert!(matches!(waiting.join().unwrap(), Some(2) | None));
    });
}
