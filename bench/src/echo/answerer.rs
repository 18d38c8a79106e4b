//! Who answers.

use std::io::{self, ErrorKind};
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tests::Rig;

use super::Who;
use crate::Result;
use crate::application::Application;
use crate::cpus::pin;

pub(super) const NEAR: &str = "10.1.0.1";
pub(super) const PORT: u16 = 7;
/// How long `xsk-echo` polls after a packet, in microseconds: longer than the pause between two.
const BUSY_POLL: &str = "10000";

/// Somebody who answers.
pub(super) enum Answerer {
    Stack {
        stop: Arc<AtomicBool>,
        thread: JoinHandle<io::Result<()>>,
    },
    Application(Application),
}

impl Answerer {
    /// Starts one on this CPU.
    pub(super) fn start(who: Who, rig: &Rig, cpu: usize) -> Result<Self> {
        let arguments: &[&str] = match who {
            Who::Stack => return Self::stack(rig, cpu),
            Who::Sleeps => &[],
            Who::Polls => &["--busy-poll", BUSY_POLL],
        };
        Application::start(rig, cpu, arguments).map(Self::Application)
    }

    fn stack(rig: &Rig, cpu: usize) -> Result<Self> {
        let socket = rig.pair.near.netns.run(|| UdpSocket::bind((NEAR, PORT)))?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            pin(cpu)?;
            answer(&socket, &told)
        });
        Ok(Self::Stack { stop, thread })
    }

    /// Ends it.
    pub(super) fn end(self) -> Result<()> {
        match self {
            Self::Stack { stop, thread } => {
                stop.store(true, Ordering::Relaxed);
                let ended = thread.join();
                Ok(ended.map_err(|_| "the answering thread panicked")??)
            }
            Self::Application(application) => application.end(),
        }
    }
}

/// Returns every datagram until it is told to stop.
fn answer(socket: &UdpSocket, stop: &AtomicBool) -> io::Result<()> {
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    let mut datagram = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        match socket.recv_from(&mut datagram) {
            Ok((length, from)) => drop(socket.send_to(&datagram[..length], from)?),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
