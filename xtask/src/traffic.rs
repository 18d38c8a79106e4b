//! The two ends of the demo's UDP and TCP traffic, each run inside its namespace.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

const PORT: u16 = 7777;
const MESSAGES: u32 = 100;
const MESSAGE: [u8; 512] = [7; 512];
const PATIENCE: Duration = Duration::from_secs(5);

/// `xtask demo-traffic`: not for people.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    protocol: Protocol,
    role: Role,
    server: std::net::IpAddr,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Protocol {
    Udp,
    Tcp,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Role {
    /// Sends back what comes, until it is ended.
    Serve,
    /// Sends messages and counts the answers.
    Ask,
}

pub(crate) fn run(arguments: &Arguments) -> io::Result<()> {
    let address = (arguments.server, PORT);
    match (arguments.protocol, arguments.role) {
        (Protocol::Udp, Role::Serve) => {
            let socket = UdpSocket::bind(address)?;
            let mut buffer = MESSAGE;
            loop {
                let (len, from) = socket.recv_from(&mut buffer)?;
                socket.send_to(&buffer[..len], from)?;
            }
        }
        (Protocol::Tcp, Role::Serve) => {
            let (mut stream, _) = TcpListener::bind(address)?.accept()?;
            let mut buffer = MESSAGE;
            while ended_is_fine(stream.read_exact(&mut buffer))?.is_some() {
                stream.write_all(&buffer)?;
            }
            Ok(())
        }
        (Protocol::Udp, Role::Ask) => {
            let socket = UdpSocket::bind(("0.0.0.0", 0))?;
            socket.connect(address)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            retry(|| {
                socket.send(&MESSAGE)?;
                socket.recv(&mut MESSAGE.clone())
            })?;
            let answers = (1..MESSAGES)
                .filter(|_| {
                    socket.send(&MESSAGE).is_ok() && socket.recv(&mut MESSAGE.clone()).is_ok()
                })
                .count();
            println!("udp: {} of {MESSAGES} messages answered", answers + 1);
            Ok(())
        }
        (Protocol::Tcp, Role::Ask) => {
            let mut stream = retry(|| TcpStream::connect(address))?;
            stream.set_read_timeout(Some(PATIENCE))?;
            let mut buffer = MESSAGE;
            for _ in 0..MESSAGES {
                stream.write_all(&MESSAGE)?;
                stream.read_exact(&mut buffer)?;
            }
            println!("tcp: {MESSAGES} of {MESSAGES} messages answered");
            Ok(())
        }
    }
}

/// `None` once the other end has ended.
fn ended_is_fine<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        other => other.map(Some),
    }
}

/// Until the other end listens.
fn retry<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Err(error)
                if error.kind() == io::ErrorKind::ConnectionRefused
                    && Instant::now() < deadline =>
            {
                std::thread::sleep(Duration::from_millis(10));
            }
            other => return other,
        }
    }
}
