//! Signals as something to wait for.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::sys::signal::SigSet;
pub use nix::sys::signal::Signal;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::Failure;

/// Signals that do nothing by themselves and are waited for instead.
#[derive(Debug)]
pub struct Signals {
    descriptor: SignalFd,
}

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// There is a signal.
    Signal(Signal),
    /// There is something to read.
    Ready,
    /// It is late.
    Late,
}

impl Signals {
    /// Takes these signals. To be called before any thread is started: threads inherit that the
    /// signals don't reach them.
    pub fn take(signals: &[Signal]) -> Result<Self, Failure> {
        let signals: SigSet = signals.iter().copied().collect();
        signals.thread_block().map_err(failure)?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let descriptor = SignalFd::with_flags(&signals, flags).map_err(failure)?;
        Ok(Self { descriptor })
    }

    /// The next signal, if there is one by then.
    pub fn wait_until(&self, deadline: Instant) -> Result<Option<Signal>, Failure> {
        match self.wait(deadline, None)? {
            Woken::Signal(signal) => Ok(Some(signal)),
            Woken::Ready | Woken::Late => Ok(None),
        }
    }

    /// Until there is a signal, or something to read, or it is late. Signals come first.
    pub fn wait(
        &self,
        deadline: Instant,
        readable: Option<BorrowedFd<'_>>,
    ) -> Result<Woken, Failure> {
        loop {
            if let Some(signal) = self.descriptor.read_signal().map_err(failure)? {
                let number = i32::try_from(signal.ssi_signo).unwrap_or_default();
                return Signal::try_from(number).map(Woken::Signal).map_err(failure);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if self.sleep(left, readable)? {
                return Ok(Woken::Ready);
            }
            if left.is_zero() {
                return Ok(Woken::Late);
            }
        }
    }

    /// Until a signal comes, there is something to read, which is what is returned, or time is up.
    fn sleep(&self, time: Duration, readable: Option<BorrowedFd<'_>>) -> Result<bool, Failure> {
        let time = Timespec::try_from(time).unwrap_or(Timespec {
            tv_sec: i64::MAX,
            tv_nsec: 0,
        });
        let mut watched = vec![PollFd::new(&self.descriptor, PollFlags::IN)];
        if let Some(readable) = &readable {
            watched.push(PollFd::new(readable, PollFlags::IN));
        }
        match poll(&mut watched, Some(&time)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {
                let [signal, rest @ ..] = watched.as_slice() else {
                    return Ok(false);
                };
                let no_signal = signal.revents().is_empty();
                Ok(no_signal && rest.iter().any(|it| !it.revents().is_empty()))
            }
            Err(error) => Err(Failure::Signals(error.into())),
        }
    }
}

fn failure(error: nix::Error) -> Failure {
    Failure::Signals(io::Error::from(error))
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::raise;

    use super::*;

    #[test]
    fn a_signal_ends_the_wait_and_does_nothing_else() {
        let signals = Signals::take(&[Signal::SIGUSR1]).unwrap();
        assert_eq!(signals.wait_until(Instant::now()).unwrap(), None);
        raise(Signal::SIGUSR1).unwrap();
        let hour = Instant::now() + Duration::from_secs(3600);
        assert_eq!(signals.wait_until(hour).unwrap(), Some(Signal::SIGUSR1));
        assert_eq!(signals.wait_until(Instant::now()).unwrap(), None);
    }
}
