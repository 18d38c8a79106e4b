//! What the tests ask of compiler and kernel.

#![expect(clippy::unwrap_used, reason = "a test that can't go on stops there")]

use std::env;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use dispatchd::object::Object;
use libbpf_sys as sys;

pub(crate) const ABORTED: u32 = sys::XDP_ABORTED;
pub(crate) const DROP: u32 = sys::XDP_DROP;
pub(crate) const PASS: u32 = sys::XDP_PASS;

/// The object of `tests/objects/<name>.c`, compiled.
pub(crate) fn compiled(name: &str) -> Object {
    Object::inspect(compiled_bytes(name)).unwrap()
}

pub(crate) fn compiled_bytes(name: &str) -> Vec<u8> {
    // Where there is no compiler, a folder has the objects.
    if let Some(folder) = env::var_os("TEST_OBJECTS") {
        return fs::read(Path::new(&folder).join(name).with_extension("o")).unwrap();
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/objects")
        .join(name)
        .with_extension("c");
    // Tests run at the same time, so each has a file of its own.
    let directory = tempfile::tempdir().unwrap();
    let object = directory.path().join("object.o");
    let output = Command::new("clang")
        .args(["-O2", "-g", "-target", "bpf", "-c"])
        .arg(format!("-I/usr/include/{}-linux-gnu", env::consts::ARCH))
        .arg(&source)
        .arg("-o")
        .arg(&object)
        .output()
        .expect("clang runs (Debian packages clang, libbpf-dev, linux-libc-dev)");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}.c: {errors}");
    fs::read(&object).unwrap()
}

/// The objects of Debian's packages xdp-tools and libxdp1.
pub(crate) fn packaged() -> Vec<(String, Object)> {
    let directory = format!("/usr/lib/{}-linux-gnu/bpf", env::consts::ARCH);
    let mut paths: Vec<PathBuf> = fs::read_dir(&directory)
        .expect("Debian package xdp-tools is installed")
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, Object::inspect(fs::read(path).unwrap()).unwrap())
        })
        .collect()
}

/// A packet as the kernel's test run wants it: at least an Ethernet header.
pub(crate) fn packet(first: u8) -> Vec<u8> {
    let mut packet = vec![0; 64];
    packet[0] = first;
    packet
}

/// What a program says of a packet.
pub(crate) fn run(program: &OwnedFd, packet: &[u8]) -> u32 {
    let mut options = sys::bpf_test_run_opts {
        sz: size_of::<sys::bpf_test_run_opts>() as u64,
        data_in: packet.as_ptr().cast(),
        data_size_in: u32::try_from(packet.len()).unwrap(),
        repeat: 1,
        ..Default::default()
    };
    // SAFETY: the options have the size they say, and the packet lives until the call returns.
    let result = unsafe { sys::bpf_prog_test_run_opts(program.as_raw_fd(), &raw mut options) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    options.retval
}

/// The first bytes of an array's element 0.
pub(crate) fn element(map: &OwnedFd) -> u64 {
    let (key, mut value) = (0u32, 0u64);
    assert_eq!(map_info(map).value_size, 8);
    // SAFETY: an array's key has 4 bytes, and this one's value 8.
    let result = unsafe {
        sys::bpf_map_lookup_elem(
            map.as_raw_fd(),
            (&raw const key).cast(),
            (&raw mut value).cast(),
        )
    };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    value
}

pub(crate) fn map_info(map: &OwnedFd) -> sys::bpf_map_info {
    let mut info = sys::bpf_map_info::default();
    let mut size = u32::try_from(size_of_val(&info)).unwrap();
    // SAFETY: the kernel writes at most `size` bytes, which is what `info` has.
    let result =
        unsafe { sys::bpf_map_get_info_by_fd(map.as_raw_fd(), &raw mut info, &raw mut size) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    info
}

pub(crate) fn program_info(program: BorrowedFd<'_>) -> sys::bpf_prog_info {
    let mut info = sys::bpf_prog_info::default();
    let mut size = u32::try_from(size_of_val(&info)).unwrap();
    // SAFETY: the kernel writes at most `size` bytes, which is what `info` has.
    let result =
        unsafe { sys::bpf_prog_get_info_by_fd(program.as_raw_fd(), &raw mut info, &raw mut size) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    info
}

/// Waits until the kernel has freed a program and maps, which it does when it finds time.
pub(crate) fn await_gone(program: u32, maps: &[u32]) {
    let deadline = Instant::now() + Duration::from_secs(10);
    // SAFETY: both take an id and make a descriptor.
    let is_program = || exists(unsafe { sys::bpf_prog_get_fd_by_id(program) });
    // SAFETY: as above.
    let is_map = |map: &u32| exists(unsafe { sys::bpf_map_get_fd_by_id(*map) });
    while is_program() || maps.iter().any(is_map) {
        assert!(
            Instant::now() < deadline,
            "program {program} or one of the maps {maps:?} is still there"
        );
        thread::sleep(Duration::from_millis(10));
    }
}

fn exists(result: i32) -> bool {
    if result >= 0 {
        // SAFETY: the call just made this descriptor, and gave it to nobody else.
        drop(unsafe { OwnedFd::from_raw_fd(result) });
    }
    result >= 0
}

/// The running kernel's version: major, minor.
pub(crate) fn release() -> (u32, u32) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release
        .split(['.', '-'])
        .map(|number| number.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}
