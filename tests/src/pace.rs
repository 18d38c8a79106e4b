//! Fitting tests to the speed of what they run on.
//!
//! `TEST_SLOWNESS` says how many times slower than a real processor that is, roughly. An emulated one
//! then does the same things, fewer times and with more patience.

use std::env;
use std::iter::StepBy;
use std::sync::LazyLock;
use std::time::Duration;

static SLOWNESS: LazyLock<u32> = LazyLock::new(|| {
    env::var("TEST_SLOWNESS").map_or(1, |text| text.parse().expect("it is a number above 0"))
});

/// How often to do what is done so often on a real processor.
pub fn volume(times: u64) -> u64 {
    times.div_ceil(u64::from(*SLOWNESS))
}

/// How long to wait for what takes at most so long on a real processor.
pub fn patience(time: Duration) -> Duration {
    time * *SLOWNESS
}

/// Every item on a real processor; otherwise some, evenly spread.
pub fn some_of<T: IntoIterator>(items: T) -> StepBy<T::IntoIter> {
    let step = usize::try_from(*SLOWNESS).expect("it is small");
    items.into_iter().step_by(step)
}
