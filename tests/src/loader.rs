//! The processes in which a daemon loads objects.

use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::process::{Resource, Rlimit, prlimit};

use crate::{DEADLINE, wait_until};

/// The name of the loader's processes.
const NAME: &str = "dispatchd-load";

/// The loader of a daemon.
#[derive(Clone, Copy, Debug)]
pub struct LoaderProcesses {
    daemon: u32,
}

impl LoaderProcesses {
    /// That of the daemon with this process id.
    pub fn of(daemon: u32) -> Self {
        Self { daemon }
    }

    /// The process that starts the others.
    pub fn parent(self) -> u32 {
        let mut found = None;
        wait_until("the loader runs", DEADLINE, || {
            let children = children_of(self.daemon);
            found = children.into_iter().find(|pid| name(*pid) == NAME);
            found.is_some()
        });
        found.expect("it was waited for")
    }

    /// The processes that look at objects, or wait for one.
    pub fn children(self) -> Vec<u32> {
        children_of(self.parent())
    }

    /// The only child, which waits for the next object.
    pub fn spare(self) -> u32 {
        let mut found = Vec::new();
        wait_until("one child waits", DEADLINE, || {
            found = self.children();
            found.len() == 1
        });
        found[0]
    }

    /// Stops the child that the next object goes to, so that it is never done.
    pub fn stop_spare(self) -> u32 {
        let spare = self.spare();
        signal(spare, Signal::SIGSTOP);
        wait_until("it is stopped", DEADLINE, || state(spare) == Some('T'));
        spare
    }

    /// Stops a child, if it has not ended.
    pub fn stop(self, child: u32) -> bool {
        signal(child, Signal::SIGSTOP);
        wait_until("it is stopped, or ends", DEADLINE, || {
            !matches!(state(child), Some('R' | 'S' | 'D'))
        });
        state(child) == Some('T')
    }

    /// Waits until a child has its object: another one then waits for the next.
    pub fn wait_until_busy(self, child: u32) {
        wait_until("another child waits", DEADLINE, || {
            let children = self.children();
            children.contains(&child) && children.len() > 1
        });
    }

    /// Seconds of processor time that all children that have ended took.
    pub fn seconds_of_ended(self) -> f64 {
        let stat = stat(self.parent()).expect("it runs");
        let field = |index: usize| stat[index].parse::<f64>().expect("a number");
        // `cutime` and `cstime`, counted from behind the name, in hundredths.
        (field(13) + field(14)) / 100.0
    }

    /// Gives the parent, and the children that come from now on, a limit.
    pub fn limit_next(self, resource: Resource, current: u64, maximum: u64) {
        let limit = Rlimit {
            current: Some(current),
            maximum: Some(maximum),
        };
        let parent = i32::try_from(self.parent()).expect("a pid is positive");
        prlimit(rustix::process::Pid::from_raw(parent), resource, limit).expect("root may");
        let spare = self.spare();
        signal(spare, Signal::SIGKILL);
        wait_until("another child waits", DEADLINE, || {
            let children = self.children();
            children.len() == 1 && !children.contains(&spare)
        });
    }
}

/// Whether a process runs, or is stopped.
pub fn is_alive(pid: u32) -> bool {
    state(pid).is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// Sends a signal to a process.
pub fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).expect("a pid is positive");
    kill(Pid::from_raw(pid), signal).expect("root may");
}

/// A line of `/proc/PID/status`, without its name.
pub fn status(pid: u32, field: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    Some(line.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn children_of(parent: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("it is mounted");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let is_child =
        |pid: &u32| stat(*pid).is_some_and(|stat| stat[1] == parent.to_string() && stat[0] != "Z");
    pids.filter(is_child).collect()
}

fn state(pid: u32) -> Option<char> {
    stat(pid)?[0].chars().next()
}

fn name(pid: u32) -> String {
    let name = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("comm"));
    name.unwrap_or_default().trim_end().to_owned()
}

/// The fields of `/proc/PID/stat` behind the name.
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}
