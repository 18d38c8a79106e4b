//! Two processors: one for those who send, one for those who are measured.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::Result;

/// The first and the last that we may use.
#[derive(Clone, Copy)]
pub(crate) struct Cpus {
    pub(crate) first: usize,
    pub(crate) last: usize,
}

impl Cpus {
    /// Finds them.
    pub(crate) fn find() -> Result<Self> {
        let allowed = sched_getaffinity(None)?;
        let mut cpus = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu));
        let first = cpus.next().ok_or("there is a CPU")?;
        let last = cpus.next_back().ok_or("two CPUs are needed")?;
        Ok(Self { first, last })
    }
}

/// Keeps the thread, and what it starts, on this CPU.
pub(crate) fn pin(cpu: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    Ok(sched_setaffinity(None, &set)?)
}
