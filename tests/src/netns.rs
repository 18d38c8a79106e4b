//! A network namespace of a test's own.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{panic, process, thread};

use nix::sched::{CloneFlags, setns};

use crate::{Output, sys};

/// A named network namespace, as `ip netns add` makes it; deleted when its last clone is dropped.
#[derive(Clone)]
pub struct NetNs {
    name: Arc<Name>,
}

struct Name(String);

impl NetNs {
    /// A new namespace, in which IPv6 is off: no packets but those that the test sends.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self::named(&format!("xdt-{}-{count}", process::id()))
    }

    /// A new namespace with a name that the test chose.
    pub fn named(name: &str) -> Self {
        ip(&["netns", "add", name]);
        let netns = Self {
            name: Arc::new(Name(name.to_owned())),
        };
        netns.run(|| {
            for scope in ["all", "default"] {
                let path = format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6");
                if fs::exists(&path).expect("/proc can be read") {
                    fs::write(path, "1").expect("root may turn IPv6 off");
                }
            }
        });
        netns.ip("link set lo up");
        netns
    }

    /// Its name under `/run/netns`.
    pub fn name(&self) -> &str {
        &self.name.0
    }

    /// The file that holds it.
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(self.name())
    }

    /// `SO_NETNS_COOKIE`: never used twice.
    pub fn cookie(&self) -> u64 {
        self.run(sys::netns_cookie)
    }

    /// Runs `work` on a thread inside the namespace.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let path = self.path();
        thread::scope(|scope| {
            let inside = scope.spawn(move || {
                let namespace = File::open(&path).expect("the namespace's file is there");
                setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).expect("root may enter it");
                drop(namespace);
                work()
            });
            inside
                .join()
                .unwrap_or_else(|panic| panic::resume_unwind(panic))
        })
    }

    /// Whether an interface of this name is there.
    pub fn has_interface(&self, name: &str) -> bool {
        self.run(|| nix::net::if_::if_nametoindex(name).is_ok())
    }

    /// How many packets busy polling processed, of all its devices (`BusyPollRxPackets`).
    pub fn busy_polled(&self) -> u64 {
        let text = self.run(|| fs::read_to_string("/proc/thread-self/net/netstat"));
        let text = text.expect("/proc can be read");
        // A line of names, and a line of values.
        let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
        let mut words = || lines.next().expect("it is there").split_whitespace();
        let (names, values) = (words(), words());
        let mut pairs = names.zip(values);
        let found = pairs.find(|(name, _)| *name == "BusyPollRxPackets");
        let (_, value) = found.expect("the kernel counts it");
        value.parse().expect("it is a number")
    }

    /// Runs `ip` in the namespace, with the words of this line.
    pub fn ip(&self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        ip(&[&["-n", self.name()], &words[..]].concat());
    }
}

impl Default for NetNs {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let deleted = Command::new("ip").args(["netns", "del", &self.0]).output();
        if !thread::panicking() {
            let deleted = Output::from(deleted.expect("ip runs"));
            assert_eq!(deleted.code, Some(0), "ip netns del: {deleted}");
        }
    }
}

/// Runs `ip`, which must succeed.
fn ip(arguments: &[&str]) {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .expect("ip runs (Debian package iproute2)");
    let output = Output::from(output);
    assert_eq!(output.code, Some(0), "ip {arguments:?}: {output}");
}
