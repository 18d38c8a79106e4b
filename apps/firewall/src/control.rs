//! The socket that a running firewall takes commands from, and the way to it.
//!
//! A command is a line with its name, then its rules, one a line, then the end of what the client
//! writes. The answer is one JSON document. Who may use it says the folder's mode.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use shell::Failure;

/// Time that a client has to say what it wants, and the other way round. A client that does
/// nothing holds up the others so long.
const PATIENCE: Duration = Duration::from_secs(2);
/// What a command may have, in bytes: a million rules.
const BYTES_MAX: u64 = 64 << 20;

/// The listening end. Dropping it removes the socket.
pub(crate) struct Control {
    listener: UnixListener,
    path: PathBuf,
}

/// A client that waits for an answer.
pub(crate) struct Call {
    stream: UnixStream,
    pub(crate) command: String,
}

impl Control {
    /// Listens at a path, in place of whoever did before: a program of this name is registered on
    /// an interface once only.
    pub(crate) fn listen(path: &Path) -> Result<Self, Failure> {
        let listen = || {
            if let Some(folder) = path.parent() {
                let mut private = fs::DirBuilder::new();
                private.recursive(true).mode(0o700).create(folder)?;
            }
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            let listener = UnixListener::bind(path)?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        let listener = listen().map_err(|source| failure(path, source))?;
        Ok(Self {
            listener,
            path: path.to_owned(),
        })
    }

    /// A client's command, if there is one. A client that says nothing is no failure of ours.
    pub(crate) fn accept(&self) -> Option<Call> {
        let (mut stream, _) = self.listener.accept().ok()?;
        let command = receive(&mut stream).ok()?;
        Some(Call { stream, command })
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // It may be gone already, with its folder.
        let _ = fs::remove_file(&self.path);
    }
}

impl Call {
    /// Answers. That the client is gone is no failure of ours.
    pub(crate) fn answer(mut self, answer: &Value) {
        let _ = self.stream.write_all(answer.to_string().as_bytes());
    }
}

/// Sends a command to the firewall that listens at a path, and waits for its answer.
pub(crate) fn call(path: &Path, command: &str) -> Result<Value, Failure> {
    let answer = || {
        let mut stream = UnixStream::connect(path)?;
        stream.write_all(command.as_bytes())?;
        stream.shutdown(std::net::Shutdown::Write)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        serde_json::from_str(&answer).map_err(io::Error::other)
    };
    answer().map_err(|source| failure(path, source))
}

/// Where the firewall of an interface listens, if nobody says otherwise: a name for each interface
/// of each network namespace, in a folder of the user's own.
pub(crate) fn default_path(interface: &str) -> Result<PathBuf, Failure> {
    let folder = if rustix::process::geteuid().is_root() {
        PathBuf::from("/run/firewall")
    } else {
        let own = std::env::var_os("XDG_RUNTIME_DIR").ok_or_else(|| {
            let problem = "XDG_RUNTIME_DIR is not set; say --control PATH";
            failure(Path::new("control socket"), io::Error::other(problem))
        })?;
        PathBuf::from(own).join("firewall")
    };
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::DGRAM,
        None,
    );
    let index = socket
        .and_then(|socket| rustix::net::netdevice::name_to_index(socket, interface))
        .map_err(|error| failure(Path::new(interface), error.into()))?;
    let namespace = Path::new("/proc/thread-self/ns/net");
    let namespace = fs::metadata(namespace)
        .map_err(|error| failure(namespace, error))?
        .ino();
    Ok(folder.join(format!("{namespace}-{index}.sock")))
}

fn receive(stream: &mut UnixStream) -> io::Result<String> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut command = String::new();
    stream.take(BYTES_MAX).read_to_string(&mut command)?;
    Ok(command)
}

fn failure(path: &Path, source: io::Error) -> Failure {
    Failure::Control {
        path: path.to_owned(),
        source,
    }
}
