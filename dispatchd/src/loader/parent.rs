//! The loader's parent: a small process of one thread that holds a child ready, hands each
//! conversation to one, ends it when nobody waits for it any more, and says how it ended.
//!
//! It never looks at an object. It is started by [`Keeper`](super::keeper::Keeper) as a program of its
//! own, so that a fork copies the tables of a small process and no thread's locks.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{ForkResult, fork};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, WaitOptions};

use super::wire::{self, Answer, End, HandOver, Patience, WireError};
use super::{child, confine};
use crate::object;

/// How often it is looked at how much time the children have taken. The kernel enforces its own limit
/// only when a system call returns, and a verifier's may take long.
const LOOK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// A child, which waits for its conversation or has it.
struct Child {
    process: OwnedFd,
    pid: Pid,
    /// To it. It stays open, so that the child can't take the hand-over for a hang-up.
    socket: OwnedFd,
}

/// A child in a conversation.
struct Running {
    child: Child,
    /// Seconds of processor time that it has.
    seconds: u64,
    /// It was killed for having taken more.
    late: bool,
    /// The child's end of the conversation; `None` once the daemon has hung up and the child was killed.
    conversation: Option<OwnedFd>,
}

#[derive(Default)]
struct Parent {
    spare: Option<Child>,
    running: Vec<Running>,
}

/// Runs until the daemon is gone. Standard input is the socket to it.
pub fn run() -> ExitCode {
    match serve() {
        Ok(never) => match never {},
        Err(WireError::Gone) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve() -> Result<Infallible, WireError> {
    // What asks the daemon to stop may be sent to all of its processes. This one stops with it.
    let mut signals = SigSet::empty();
    signals.extend([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]);
    signals.thread_block().map_err(io::Error::from)?;
    confine::die_with_parent()?;
    rustix::thread::set_name(c"dispatchd-load")?;
    let control = rustix::stdio::stdin().try_clone_to_owned()?;
    let nothing = rustix::fs::open(
        "/dev/null",
        rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )?;
    rustix::stdio::dup2_stdin(&nothing)?;
    rustix::stdio::dup2_stdout(&nothing)?;
    rustix::stdio::dup2_stderr(&nothing)?;
    drop(nothing);
    object::learn_the_kernel();
    let mut parent = Parent::default();
    loop {
        parent.keep_a_spare();
        parent.attend(control.as_fd())?;
    }
}

impl Parent {
    /// Without one, the next conversation is told why.
    fn keep_a_spare(&mut self) {
        if self.spare.is_none() {
            self.spare = self.fork().ok();
        }
    }

    /// Waits for something to happen, and does what it takes.
    fn attend(&mut self, control: BorrowedFd<'_>) -> Result<(), WireError> {
        let mut polled = vec![PollFd::from_borrowed_fd(control, PollFlags::IN)];
        // In the place of what isn't there: the control socket, asked for nothing.
        let nothing = || PollFd::from_borrowed_fd(control, PollFlags::empty());
        polled.push(match &self.spare {
            Some(spare) => PollFd::new(&spare.process, PollFlags::IN),
            None => nothing(),
        });
        for running in &self.running {
            polled.push(PollFd::new(&running.child.process, PollFlags::IN));
            polled.push(match &running.conversation {
                Some(conversation) => PollFd::new(conversation, PollFlags::RDHUP),
                None => nothing(),
            });
        }
        let look = (!self.running.is_empty()).then_some(&LOOK);
        match poll(&mut polled, look) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let happened: Vec<PollFlags> = polled.iter().map(PollFd::revents).collect();
        let hung_up = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        let mut of_running = happened[2..].chunks_exact(2);
        self.running.retain_mut(|running| {
            let (ended, left) = match of_running.next() {
                Some(&[process, socket]) => {
                    let ended = process.contains(PollFlags::IN);
                    (
                        ended,
                        running.conversation.is_some() && socket.intersects(hung_up),
                    )
                }
                _ => (false, false),
            };
            if ended {
                running.report();
            } else if left {
                running.child.kill();
                running.conversation = None;
            } else {
                running.kill_if_late();
            }
            !ended
        });
        if self.spare.is_some() && happened[1].contains(PollFlags::IN) {
            let gone = self.spare.take();
            let _ = gone.map(|spare| wait_for(spare.process.as_fd()));
        }
        if happened[0].intersects(PollFlags::IN | hung_up) {
            let (HandOver { confinement }, mut fds) = wire::receive(control, Patience::default())?;
            if let Some(socket) = fds.pop() {
                self.hand_over(&HandOver { confinement }, socket);
            }
        }
        Ok(())
    }

    fn hand_over(&mut self, message: &HandOver, conversation: OwnedFd) {
        let spare = self.spare.take();
        // One that has waited may have ended just now.
        let handed = spare.and_then(|spare| spare.hand(message, conversation.as_fd()).ok());
        let handed = handed.map_or_else(|| self.fork()?.hand(message, conversation.as_fd()), Ok);
        match handed {
            Ok(child) => self.running.push(Running {
                child,
                seconds: confine::seconds_of(message.confinement.rights),
                late: false,
                conversation: Some(conversation),
            }),
            Err(error) => tell(
                conversation.as_fd(),
                End::Never(error.raw_os_error().unwrap_or_default()),
            ),
        }
    }

    #[expect(unsafe_code, reason = "forking is")]
    fn fork(&mut self) -> io::Result<Child> {
        let (socket, childs) = wire::pair()?;
        let parent = rustix::process::getpid();
        // SAFETY: this process has one thread, so that no lock is held by one that the child lacks.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => {
                let pid = Pid::from_raw(child.as_raw()).ok_or(io::ErrorKind::InvalidData)?;
                let process = rustix::process::pidfd_open(pid, PidfdFlags::empty());
                let process = process.inspect_err(|_| {
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                    let _ = rustix::process::waitpid(Some(pid), WaitOptions::empty());
                })?;
                Ok(Child {
                    process,
                    pid,
                    socket,
                })
            }
            ForkResult::Child => {
                // Of what the parent holds a child keeps its own socket alone: others' conversations
                // would not end with their children.
                drop((std::mem::take(self), socket));
                close_all_but(childs.as_fd());
                let lives = confine::die_with_parent().is_ok()
                    && rustix::process::getppid() == Some(parent);
                if lives {
                    child::run(childs);
                }
                std::process::exit(1)
            }
        }
    }
}

impl Child {
    /// Hands a conversation to it; one that can't take it is ended.
    fn hand(self, message: &HandOver, conversation: BorrowedFd<'_>) -> io::Result<Self> {
        let sent = wire::send(
            self.socket.as_fd(),
            message,
            &[conversation],
            Patience::default(),
        );
        if let Err(error) = sent {
            self.kill();
            wait_for(self.process.as_fd());
            return Err(error.into());
        }
        Ok(self)
    }

    /// Without effect on one that has ended.
    fn kill(&self) {
        let _ = rustix::process::pidfd_send_signal(&self.process, rustix::process::Signal::KILL);
    }
}

impl Running {
    /// Says how the child ended.
    fn report(&self) {
        let mut end = wait_for(self.child.process.as_fd());
        if self.late {
            end = End::Late(self.seconds);
        }
        if let Some(conversation) = &self.conversation {
            tell(conversation.as_fd(), end);
        }
    }

    fn kill_if_late(&mut self) {
        let taken = processor_time(self.child.pid).unwrap_or_default();
        if !self.late && taken >= Duration::from_secs(self.seconds) {
            self.late = true;
            self.child.kill();
        }
    }
}

/// How much processor time a child has taken. Its number stays its own until it was waited for.
fn processor_time(pid: Pid) -> Option<Duration> {
    /// What `/proc` counts times in, a second (`USER_HZ`).
    const TICKS: u64 = 100;

    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).ok()?;
    // Behind the name, which is in parentheses: the state is the first, times are the 12th and 13th.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11);
    let mut ticks = || times.next()?.parse::<u64>().ok();
    Some(Duration::from_millis((ticks()? + ticks()?) * 1000 / TICKS))
}

/// A daemon that doesn't listen knows already.
fn tell(socket: BorrowedFd<'_>, end: End) {
    let now = Patience {
        deadline: Some(Instant::now()),
        client: None,
    };
    let _ = wire::send(socket, &Answer::Ended(end), &[], now);
}

fn wait_for(process: BorrowedFd<'_>) -> End {
    match rustix::process::waitid(WaitId::PidFd(process), WaitIdOptions::EXITED) {
        Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => End::Exited(code),
            (_, Some(signal)) => End::Signalled(signal),
            _ => End::Exited(0),
        },
        Ok(None) | Err(_) => End::Exited(0),
    }
}

/// Closes every descriptor behind standard error but this one.
#[expect(
    unsafe_code,
    reason = "what is closed is owned by nobody that is still there"
)]
fn close_all_but(kept: BorrowedFd<'_>) {
    use std::os::fd::AsRawFd as _;
    let kept = kept.as_raw_fd().cast_unsigned();
    for (first, last) in [(3, kept.saturating_sub(1)), (kept + 1, u32::MAX)] {
        if first <= last {
            // SAFETY: a child never returns to the code that owns the rest.
            unsafe { nix::libc::close_range(first, last, 0) };
        }
    }
}
