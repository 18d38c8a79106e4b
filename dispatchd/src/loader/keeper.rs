//! Keeps the loader's parent running: starts it, and starts it again when it ends.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::wire::{self, HandOver, Patience, WireError};

/// The first word of the parent's command line, by which the program knows that it is the parent.
pub(super) const NAME: &str = "dispatchd-loader";

/// How long a conversation waits for a parent that is being started again.
const START_TIMEOUT: Duration = Duration::from_secs(5);
/// How long nobody is started after one ended.
const PAUSE: Duration = Duration::from_millis(100);

/// The way to the loader's parent.
#[derive(Debug)]
pub struct Keeper {
    /// `None` while there is no parent.
    control: Mutex<Option<OwnedFd>>,
    started: Condvar,
}

impl Keeper {
    /// Starts the parent, and a thread that waits for its end. Best before there is much memory and
    /// many threads.
    pub fn start() -> io::Result<Arc<Self>> {
        let keeper = Arc::new(Self {
            control: Mutex::new(None),
            started: Condvar::new(),
        });
        let kept = Arc::clone(&keeper);
        let (said, first) = sync_channel(1);
        // The parent is killed when the thread that started it ends, so this one starts them all and
        // lives as long as the daemon.
        thread::Builder::new()
            .name("loader".to_owned())
            .spawn(move || {
                let started = kept.start_parent();
                let child = match started {
                    Ok(child) => {
                        let _ = said.send(Ok(()));
                        child
                    }
                    Err(error) => {
                        let _ = said.send(Err(error));
                        return;
                    }
                };
                kept.keep(child);
            })?;
        first.recv().map_err(io::Error::other)??;
        Ok(keeper)
    }

    /// The way to a parent that somebody else is.
    #[cfg(test)]
    pub(super) fn of(control: OwnedFd) -> Arc<Self> {
        Arc::new(Self {
            control: Mutex::new(Some(control)),
            started: Condvar::new(),
        })
    }

    fn keep(&self, mut parent: Child) -> ! {
        loop {
            let ended = parent.wait();
            drop(
                self.control
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .take(),
            );
            match ended {
                Ok(status) => {
                    tracing::error!(%status, "the loader's process ended; starting it again");
                }
                Err(error) => {
                    tracing::error!(%error, "the loader's process is lost; starting it again");
                }
            }
            parent = loop {
                thread::sleep(PAUSE);
                match self.start_parent() {
                    Ok(parent) => break parent,
                    Err(error) => {
                        tracing::error!(%error, "the loader's process can't be started; nothing is loaded until it can");
                        thread::sleep(START_TIMEOUT);
                    }
                }
            };
        }
    }

    fn start_parent(&self) -> io::Result<Child> {
        let (ours, theirs) = wire::pair()?;
        // The very program that runs, also where another has taken its path.
        let child = Command::new("/proc/self/exe")
            .arg0(NAME)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        *self.control.lock().unwrap_or_else(PoisonError::into_inner) = Some(ours);
        self.started.notify_all();
        Ok(child)
    }

    /// Gives the child's end of a conversation to a child.
    pub(super) fn hand_over(&self, message: &HandOver, socket: &OwnedFd) -> Result<(), WireError> {
        let deadline = Instant::now() + START_TIMEOUT;
        let patience = Patience {
            deadline: Some(deadline),
            client: None,
        };
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(parent) = control.as_ref() {
                match wire::send(parent.as_fd(), message, &[socket.as_fd()], patience) {
                    Ok(()) => return Ok(()),
                    // One that listens no more ends by this, and is started again.
                    Err(_) => *control = None,
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(WireError::Late);
            }
            control = self
                .started
                .wait_timeout(control, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}
