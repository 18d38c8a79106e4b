//! Processors.

use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};

/// Keeps the calling thread on the processor that it is on. What one thread sends is queued a
/// processor, so that it arrives in order only if it was sent from one.
pub fn stay_on_this_cpu() {
    let mut set = CpuSet::new();
    set.set(sched_getcpu());
    sched_setaffinity(None, &set).expect("it runs there");
}
