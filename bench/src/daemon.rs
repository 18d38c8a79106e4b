//! What changes, listings and restarts take.

pub(crate) mod add;
mod clock;
mod full;
#[expect(unsafe_code, reason = "calls of libbpf")]
mod hook;
pub(crate) mod reorder;
pub(crate) mod scale;

use libdispatch::{Client, Program};
use tests::{Daemon, End};

use crate::Result;

/// A connection of a client to whom the interface's namespace is home.
fn client(daemon: &Daemon, end: &End) -> Result<Client> {
    let builder = Client::builder().socket(daemon.socket());
    Ok(builder.netns(end.netns.name()).name("bench").connect()?)
}

/// Debian's `xdp-filter`, allowing everything: what somebody else's program is like.
const OBJECT: &str = "/usr/lib/x86_64-linux-gnu/bpf/xdpfilt_alw_all.o";

/// Puts members `m0`, `m1`, ... on an interface, all with one swap.
fn fill(client: &Client, interface: &str, object: &str, members: usize) -> Result<()> {
    let mut change = client.change(interface);
    for number in 0..members {
        let program = Program::from_file(object)?.name(format!("m{number}"));
        change = change.register(&program.kept());
    }
    change.apply()?;
    Ok(())
}
