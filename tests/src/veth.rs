//! Two interfaces joined by a cable.

use std::process::Command;
use std::time::Duration;

use crate::{DEADLINE, LiveFrames, NetNs, Output, sys, wait_until};

/// One end of a [`Pair`], in its own namespace.
pub struct End {
    /// Where it is.
    pub netns: NetNs,
    /// Its name there.
    pub name: String,
    /// Its index there.
    pub index: u32,
}

/// A veth pair between two namespaces of its own: packets that enter at `far` arrive at `near`,
/// where the chain is.
pub struct Pair {
    /// Where the chain under test is.
    pub near: End,
    /// Where packets come from.
    pub far: End,
}

/// How a pair is made.
pub struct PairOptions {
    /// Queues, both ways, on both ends.
    pub queues: u32,
    /// Both ends' MTU.
    pub mtu: u32,
    /// Whether the ends get addresses, `10.1.0.1` near and `10.1.0.2` far, with each other's
    /// hardware address known, so that no ARP packet is ever sent.
    pub addresses: bool,
}

impl Default for PairOptions {
    fn default() -> Self {
        Self {
            queues: 1,
            mtu: 1500,
            addresses: false,
        }
    }
}

/// The near end's hardware address.
pub(crate) const NEAR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The far end's.
pub(crate) const FAR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

impl Pair {
    /// A pair called `xd0` near and `far0` far, both up.
    pub fn new() -> Self {
        Self::with(&PairOptions::default())
    }

    /// A pair like this.
    pub fn with(options: &PairOptions) -> Self {
        Self::between(&NetNs::new(), &NetNs::new(), ["xd0", "far0"], options)
    }

    /// A pair between these namespaces whose ends, near and far, have these names.
    pub fn between(near: &NetNs, far: &NetNs, names: [&str; 2], options: &PairOptions) -> Self {
        let [near_name, far_name] = names;
        let PairOptions { queues, mtu, .. } = options;
        let shape = format!("mtu {mtu} numrxqueues {queues} numtxqueues {queues}");
        near.ip(&format!(
            "link add {near_name} address {} {shape} type veth \
             peer name {far_name} netns {} address {} {shape}",
            mac(NEAR_MAC),
            far.name(),
            mac(FAR_MAC),
        ));
        near.ip(&format!("link set {near_name} up"));
        far.ip(&format!("link set {far_name} up"));
        if options.addresses {
            near.ip(&format!("addr add 10.1.0.1/24 dev {near_name}"));
            far.ip(&format!("addr add 10.1.0.2/24 dev {far_name}"));
            near.ip(&format!(
                "neigh add 10.1.0.2 lladdr {} dev {near_name}",
                mac(FAR_MAC)
            ));
            far.ip(&format!(
                "neigh add 10.1.0.1 lladdr {} dev {far_name}",
                mac(NEAR_MAC)
            ));
        }
        Self {
            near: End::of(near, near_name),
            far: End::of(far, far_name),
        }
    }

    /// Sends this frame so many times, as fast as the kernel can, from the far end; returns when
    /// all have been through the near end's hook.
    pub fn send(&self, frame: &[u8], count: u64) {
        LiveFrames::into(&self.far).send(frame, count);
    }
}

impl Default for Pair {
    fn default() -> Self {
        Self::new()
    }
}

impl End {
    /// Waits until the kernel has it up: until then what it sends may be lost.
    pub fn wait_until_up(&self) {
        wait_until("the cable carries packets", DEADLINE, || {
            let mut ip = Command::new("ip");
            ip.args(["-o", "link", "show", &self.name]);
            let shown = self.netns.run(|| ip.output());
            let shown = Output::from(shown.expect("ip runs (Debian package iproute2)"));
            shown.done().stdout.contains("state UP")
        });
    }

    /// An interface that is there.
    pub fn of(netns: &NetNs, name: &str) -> Self {
        Self {
            netns: netns.clone(),
            name: name.to_owned(),
            index: netns.run(|| sys::interface_index(name)),
        }
    }

    /// Turns GRO on, without which packets that were redirected into the other end don't arrive here
    /// unless there is a native XDP program. (What a program sends back by TX waits without one.)
    pub fn gro(&self) {
        let output = self.netns.run(|| {
            Command::new("ethtool")
                .args(["-K", &self.name, "gro", "on"])
                .output()
                .expect("ethtool runs (Debian package ethtool)")
        });
        Output::from(output).done();
    }

    /// Has the kernel, after it processed packets, look for more so many times, each so much later
    /// (`napi_defer_hard_irqs`, `gro_flush_timeout`), before the device may interrupt again: meanwhile
    /// packets are for who polls. Devices come with 0 and 0, which is not at all.
    pub fn defer_interrupts(&self, times: u32, time: Duration) {
        let nanoseconds = time.as_nanos();
        let folder = format!("/sys/class/net/{}", self.name);
        let line = format!(
            "echo {times} > {folder}/napi_defer_hard_irqs && \
             echo {nanoseconds} > {folder}/gro_flush_timeout"
        );
        // Who is executed there sees that namespace's /sys.
        let name = self.netns.name();
        let output = Command::new("ip")
            .args(["netns", "exec", name, "sh", "-c", &line])
            .output()
            .expect("ip runs (Debian package iproute2)");
        Output::from(output).done();
    }

    /// The id of the XDP program on it, in whatever mode; `None` without one.
    pub fn xdp_program(&self) -> Option<u32> {
        self.netns.run(|| sys::xdp_program(self.index))
    }

    /// A driver's counter, as `ethtool -S` shows it; all whose names end like this are added up.
    pub fn driver_count(&self, ending: &str) -> u64 {
        let output = self.netns.run(|| {
            Command::new("ethtool")
                .args(["-S", &self.name])
                .output()
                .expect("ethtool runs (Debian package ethtool)")
        });
        let output = Output::from(output);
        output
            .done()
            .stdout
            .lines()
            .filter_map(|line| line.trim().split_once(": "))
            .filter(|(name, _)| name.ends_with(ending))
            .map(|(_, count)| count.parse::<u64>().expect("it is a number"))
            .sum()
    }
}

/// The address as `ip` writes it.
fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}
