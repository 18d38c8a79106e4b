//! Takes connections: each waits in the lobby until it greets, and has a thread of its own then.

mod lobby;
#[expect(unsafe_code, reason = "a socket option that no crate here has")]
pub(crate) mod passing;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use planner::ConnectionId;
use protocol::{Connection, Listener, RefusalCode, Reply};

use self::lobby::{Lobby, Newcomer};
use crate::bug;
use crate::closing::Closing;
use crate::session::{self, Admitted, Hub};
use crate::translate;

/// Connections at once, beyond which only root is let in. Each has a thread and a few objects.
const CONNECTIONS_MAX: usize = 1024;
/// Connections of one uid at once, root's apart, so that it can't keep others out.
const CONNECTIONS_PER_UID: usize = 64;
/// How long nobody is let in after one could not be: there is nothing to wait on.
const FULL_PAUSE: Duration = Duration::from_millis(100);
/// How long the one thread that takes connections may wait for one of them.
const GREETING_PATIENCE: Duration = Duration::from_millis(100);
/// Whose a connection is if the kernel doesn't say: the overflow uid.
const NOBODY: u32 = 65_534;
/// Room for a session, which parses nothing deep.
const STACK_BYTES: usize = 512 << 10;

/// The connections that are open, by uid.
#[derive(Debug, Default)]
struct Open(Mutex<BTreeMap<u32, usize>>);

/// Serves until the listener is shut down.
pub fn run(listener: &Listener, hub: &Hub) {
    if let Err(error) = passing::let_descriptors_in(listener, false) {
        tracing::error!(%error, "whoever connects can send descriptors");
    }
    let open = Arc::new(Open::default());
    let closing = Closing::default();
    let mut lobby = Lobby::default();
    let mut next = 1;
    loop {
        let ready = match lobby.wait(listener) {
            Ok(ready) => ready,
            Err(error) => {
                tracing::error!(%error, "can't wait for connections");
                thread::sleep(FULL_PAUSE);
                continue;
            }
        };
        for newcomer in ready.speaking {
            start(newcomer, hub.clone());
        }
        for newcomer in ready.silent {
            closing.close(newcomer.admitted.peer.uid, newcomer);
        }
        if !ready.at_the_door {
            continue;
        }
        match listener.accept() {
            Ok(connection) => {
                let id = ConnectionId(next);
                next += 1;
                match admit(&connection, hub, Arc::clone(&open)) {
                    Ok((admitted, place)) => lobby.add(connection, id, admitted, place),
                    Err(uid) => closing.close(uid, connection),
                }
            }
            Err(error) if was_shut_down(&error) => return,
            Err(error) => {
                tracing::error!(%error, "can't take a connection");
                // Out of descriptors or memory: others have to end first.
                thread::sleep(FULL_PAUSE);
            }
        }
    }
}

fn was_shut_down(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(nix::libc::EINVAL)
}

/// Decides whether a connection may wait for its greeting, by what the kernel says of its peer. If it
/// may not, it has been told; the error is whose it was.
fn admit(connection: &Connection, hub: &Hub, open: Arc<Open>) -> Result<(Admitted, Place), u32> {
    let peer = connection.peer().map_err(|_| NOBODY)?;
    // What is sent and read here is small and there: nobody is waited for.
    let patience = Some(GREETING_PATIENCE);
    let set = connection.set_send_timeout(patience);
    set.and_then(|()| connection.set_receive_timeout(patience))
        .map_err(|_| peer.uid)?;
    let grant = hub.policy.grant(peer.uid, None);
    if grant.is_empty() {
        tracing::info!(uid = peer.uid, pid = peer.pid, "kept a user out");
        let message = format!("uid {} may not use this daemon", peer.uid);
        refuse(connection, RefusalCode::NotAllowed, message);
        return Err(peer.uid);
    }
    match Place::take(open, peer.uid) {
        Ok(place) => Ok((Admitted { peer, grant }, place)),
        Err(message) => {
            refuse(connection, RefusalCode::Quota, message);
            Err(peer.uid)
        }
    }
}

/// Starts a thread that reads a greeting and serves a client that greets as it should.
fn start(newcomer: Newcomer, hub: Hub) {
    let Newcomer {
        connection,
        id,
        admitted,
        place,
        ..
    } = newcomer;
    let started = thread::Builder::new()
        .name(format!("client-{}", id.0))
        .stack_size(STACK_BYTES)
        .spawn(move || {
            // What came with a greeting is closed here, and so is the connection: both may take long,
            // and keep their place for that time.
            let _place = place;
            let connection = connection;
            bug::is_clients();
            let Ok(Some(greeting)) = session::greeting(&connection) else {
                return;
            };
            session::serve(&hub, &connection, id, &admitted, &greeting);
        });
    if let Err(error) = started {
        tracing::error!(%error, "can't start a client's thread");
    }
}

/// Turns a connection down before a byte of it is read, and hangs up. Nobody knows yet which
/// version the client speaks, so the refusal has no options.
fn refuse(connection: &Connection, code: RefusalCode, message: String) {
    let body = Err(translate::refused(code, message));
    let _ = connection.send(&Reply { id: 0, body }, &[]);
}

/// A connection's place among those that are open.
#[derive(Debug)]
struct Place {
    open: Arc<Open>,
    uid: u32,
}

impl Place {
    /// Or why there is none.
    fn take(open: Arc<Open>, uid: u32) -> Result<Self, String> {
        let mut count = open.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = count.values().sum();
        let own = count.get(&uid).copied().unwrap_or_default();
        if uid != 0 && own >= CONNECTIONS_PER_UID {
            return Err(format!(
                "uid {uid} has {own} connections, as many as it may"
            ));
        }
        if uid != 0 && all >= CONNECTIONS_MAX {
            return Err(format!(
                "there are {all} connections, and uid {uid} may have no further one"
            ));
        }
        count.insert(uid, own + 1);
        drop(count);
        Ok(Self { open, uid })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut count = self.open.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = count.get_mut(&self.uid) {
            *own -= 1;
            if *own == 0 {
                count.remove(&self.uid);
            }
        }
    }
}
