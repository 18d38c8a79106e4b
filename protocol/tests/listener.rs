//! Whose path it is.
#![expect(
    clippy::unwrap_used,
    reason = "a test's helpers fail by panicking, as the test does"
)]

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use protocol::{Connection, Listener, Request, RequestBody};
use tempfile::TempDir;

const REQUEST: Request = Request {
    id: 1,
    body: RequestBody::Status,
};

#[test]
fn a_client_that_connects_is_heard() {
    let (_directory, path) = place();
    let listener = Listener::bind(&path, 0o600).unwrap();
    speak(&path, &listener);
}

#[test]
fn the_peer_of_a_client_is_the_daemon_and_the_other_way() {
    let (_directory, path) = place();
    let listener = Listener::bind(&path, 0o600).unwrap();
    let client = Connection::connect(&path).unwrap();
    let daemon = listener.accept().unwrap();
    assert_eq!(client.peer().unwrap().pid, std::process::id());
    assert_eq!(daemon.peer().unwrap().pid, std::process::id());
}

#[test]
fn a_live_socket_is_not_stolen() {
    let (_directory, path) = place();
    let listener = Listener::bind(&path, 0o600).unwrap();
    let refused = Listener::bind(&path, 0o600).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AddrInUse);
    drop(listener.accept().unwrap()); // the probe
    speak(&path, &listener);
}

#[test]
fn a_live_socket_of_another_type_is_not_stolen() {
    let (_directory, path) = place();
    let _stream = UnixListener::bind(&path).unwrap();
    let refused = Listener::bind(&path, 0o600).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AddrInUse);
}

#[test]
fn a_live_socket_too_busy_to_accept_is_not_stolen() {
    let (_directory, path) = place();
    let _listener = Listener::bind(&path, 0o600).unwrap();
    // Each try waits in the backlog (128) as a connection, until there is no room for one more.
    for _ in 0..200 {
        let refused = Listener::bind(&path, 0o600).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AddrInUse);
    }
}

#[test]
fn a_stale_socket_is_replaced() {
    let (_directory, path) = place();
    drop(UnixListener::bind(&path).unwrap()); // std leaves the file
    let listener = Listener::bind(&path, 0o600).unwrap();
    speak(&path, &listener);
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let (_directory, path) = place();
    fs::write(&path, "precious").unwrap();
    let refused = Listener::bind(&path, 0o600).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&path).unwrap(), b"precious");
}

#[test]
fn a_symbolic_link_is_left_alone() {
    let (directory, path) = place();
    let target = directory.path().join("target");
    drop(UnixListener::bind(&target).unwrap());
    std::os::unix::fs::symlink(&target, &path).unwrap();
    let refused = Listener::bind(&path, 0o600).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
    assert!(target.exists());
}

#[test]
fn the_permissions_are_those_asked_for() {
    for mode in [0o600, 0o666] {
        let (_directory, path) = place();
        let _listener = Listener::bind(&path, mode).unwrap();
        let file = fs::metadata(&path).unwrap();
        assert!(file.file_type().is_socket());
        assert_eq!(
            file.permissions().mode() & 0o7777,
            mode,
            "whatever the umask"
        );
    }
}

#[test]
fn the_path_goes_with_the_listener() {
    let (_directory, path) = place();
    drop(Listener::bind(&path, 0o600).unwrap());
    assert!(!path.exists());
}

#[test]
fn the_path_stays_if_somebody_else_took_it() {
    let (_directory, path) = place();
    let old = Listener::bind(&path, 0o600).unwrap();
    fs::rename(&path, path.with_extension("old")).unwrap();
    let new = Listener::bind(&path, 0o600).unwrap();
    drop(old);
    speak(&path, &new);
}

#[test]
fn a_path_too_long_for_a_socket_is_an_error() {
    let path = PathBuf::from(format!("/tmp/{}", "x".repeat(200)));
    assert!(Listener::bind(&path, 0o600).is_err());
    assert!(Connection::connect(&path).is_err());
}

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dispatchd.sock");
    (directory, path)
}

/// Both ends can be on one thread: the backlog and the socket's buffer hold what isn't read yet.
fn speak(path: &Path, listener: &Listener) {
    let client = Connection::connect(path).unwrap();
    client.send(&REQUEST, &[]).unwrap();
    let daemon = listener.accept().unwrap();
    assert_eq!(daemon.receive::<Request>().unwrap().unwrap().0, REQUEST);
}
