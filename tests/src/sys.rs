//! The system calls that no safe crate has: `bpf(2)` through libbpf, packet sockets, a cookie.

use std::collections::BTreeSet;
use std::ffi::{CString, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use libbpf_sys as bpf;
use nix::libc;

/// `SO_NETNS_COOKIE` (Linux 5.14) of the calling thread's namespace.
pub(crate) fn netns_cookie() -> u64 {
    let socket = nix::sys::socket::socket(
        nix::sys::socket::AddressFamily::Inet,
        nix::sys::socket::SockType::Datagram,
        nix::sys::socket::SockFlag::SOCK_CLOEXEC,
        None,
    )
    .expect("a socket can be made");
    let mut cookie = 0_u64;
    let mut size = size_of_u32::<u64>();
    // SAFETY: `cookie` is 8 bytes and `size` says so; both outlive the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut size,
        )
    };
    assert_eq!(result, 0, "SO_NETNS_COOKIE: {}", io::Error::last_os_error());
    cookie
}

/// `include/uapi/asm-generic/socket.h`.
const SO_NETNS_COOKIE: i32 = 71;

/// The index of an interface in the calling thread's namespace.
pub(crate) fn interface_index(name: &str) -> u32 {
    nix::net::if_::if_nametoindex(name).expect("the interface is there")
}

/// The id of the XDP program on an interface in the calling thread's namespace.
pub(crate) fn xdp_program(index: u32) -> Option<u32> {
    let mut id = 0;
    // SAFETY: `id` outlives the call.
    let result = unsafe { bpf::bpf_xdp_query_id(signed(index), 0, &raw mut id) };
    check(result, "bpf_xdp_query_id").expect("any interface can be asked");
    (id != 0).then_some(id)
}

/// Attaches a program by netlink to an interface in the calling thread's namespace, or with `None`
/// detaches what is there.
pub(crate) fn xdp_attach(index: u32, program: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let program = program.map_or(-1, |program| program.as_raw_fd());
    // SAFETY: the call keeps no pointer; null options mean the defaults.
    let result = unsafe { bpf::bpf_xdp_attach(signed(index), program, 0, ptr::null()) };
    check(result, "bpf_xdp_attach").map(drop)
}

/// Takes the program off the link with this id (`BPF_LINK_DETACH`): what an impolite tool does.
pub(crate) fn link_detach(id: u32) -> io::Result<()> {
    // SAFETY: the call takes no pointer.
    let link = unsafe { bpf::bpf_link_get_fd_by_id(id) };
    let link = owned(link, "bpf_link_get_fd_by_id")?;
    // SAFETY: the call takes no pointer, and the descriptor is open.
    let result = unsafe { bpf::bpf_link_detach(link.as_raw_fd()) };
    check(result, "bpf_link_detach").map(drop)
}

/// One instruction.
#[derive(Clone, Copy)]
pub(crate) struct Instruction {
    pub(crate) code: u8,
    pub(crate) to: u8,
    pub(crate) from: u8,
    pub(crate) offset: i16,
    pub(crate) immediate: i32,
}

/// Loads an XDP program from instructions.
pub(crate) fn load_xdp(name: &str, instructions: &[Instruction]) -> io::Result<OwnedFd> {
    let name = CString::new(name).expect("a name has no zero byte");
    let instructions: Vec<bpf::bpf_insn> = instructions
        .iter()
        .map(|instruction| {
            let mut raw = bpf::bpf_insn {
                code: instruction.code,
                off: instruction.offset,
                imm: instruction.immediate,
                ..Default::default()
            };
            raw.set_dst_reg(instruction.to);
            raw.set_src_reg(instruction.from);
            raw
        })
        .collect();
    // SAFETY: name, licence and instructions outlive the call, the instructions are as many as
    // said, and null options mean the defaults.
    let program = unsafe {
        bpf::bpf_prog_load(
            bpf::BPF_PROG_TYPE_XDP,
            name.as_ptr(),
            c"GPL".as_ptr(),
            instructions.as_ptr(),
            instructions.len() as bpf::size_t,
            ptr::null_mut(),
        )
    };
    owned(program, "BPF_PROG_LOAD")
}

/// What a test run of a program gave.
pub(crate) struct Run {
    /// What the program returned.
    pub(crate) verdict: u32,
    /// The packet afterwards.
    pub(crate) packet: Vec<u8>,
}

/// Runs an XDP program once on a packet of its own.
pub(crate) fn run(program: BorrowedFd<'_>, packet: &[u8]) -> io::Result<Run> {
    let mut after = vec![0_u8; packet.len() + 256];
    let mut options = bpf::bpf_test_run_opts {
        sz: size_of::<bpf::bpf_test_run_opts>() as bpf::size_t,
        data_in: packet.as_ptr().cast(),
        data_size_in: length(packet),
        data_out: after.as_mut_ptr().cast(),
        data_size_out: length(&after),
        repeat: 1,
        ..Default::default()
    };
    // SAFETY: both buffers outlive the call and are as long as said.
    let result = unsafe { bpf::bpf_prog_test_run_opts(program.as_raw_fd(), &raw mut options) };
    check(result, "BPF_PROG_TEST_RUN")?;
    after.truncate(options.data_size_out as usize);
    Ok(Run {
        verdict: options.retval,
        packet: after,
    })
}

/// Runs an XDP program on so many live frames, each like this one: what it redirects is sent.
pub(crate) fn run_live(program: BorrowedFd<'_>, frame: &[u8], count: i32) -> io::Result<()> {
    let mut options = bpf::bpf_test_run_opts {
        sz: size_of::<bpf::bpf_test_run_opts>() as bpf::size_t,
        data_in: frame.as_ptr().cast(),
        data_size_in: length(frame),
        repeat: count,
        flags: bpf::BPF_F_TEST_XDP_LIVE_FRAMES,
        batch_size: LIVE_BATCH,
        ..Default::default()
    };
    // SAFETY: the frame outlives the call and is as long as said; there is no output.
    let result = unsafe { bpf::bpf_prog_test_run_opts(program.as_raw_fd(), &raw mut options) };
    check(result, "BPF_PROG_TEST_RUN of live frames").map(drop)
}

/// Frames between two flushes: a veth's ring holds 256, and takes in these before the next come.
const LIVE_BATCH: u32 = 64;

/// Opens a pinned program, map or link.
pub(crate) fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes()).expect("a path has no zero byte");
    // SAFETY: the path outlives the call.
    owned(unsafe { bpf::bpf_obj_get(path.as_ptr()) }, "BPF_OBJ_GET")
}

/// Pins a program, map or link.
pub(crate) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes()).expect("a path has no zero byte");
    // SAFETY: the path outlives the call.
    let result = unsafe { bpf::bpf_obj_pin(object.as_raw_fd(), path.as_ptr()) };
    check(result, "BPF_OBJ_PIN").map(drop)
}

/// Makes a map.
pub(crate) fn map_create(kind: u32, key: u32, value: u32, entries: u32) -> io::Result<OwnedFd> {
    // SAFETY: the name outlives the call, and null options mean the defaults.
    let map =
        unsafe { bpf::bpf_map_create(kind, c"xdt_odd".as_ptr(), key, value, entries, ptr::null()) };
    owned(map, "BPF_MAP_CREATE")
}

/// Attaches a program by a link to an interface in the calling thread's namespace.
pub(crate) fn xdp_link(index: u32, program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: null options mean the defaults.
    let link = unsafe {
        bpf::bpf_link_create(
            program.as_raw_fd(),
            signed(index),
            bpf::BPF_XDP,
            ptr::null(),
        )
    };
    owned(link, "BPF_LINK_CREATE")
}

/// A program's id.
pub(crate) fn program_id(program: BorrowedFd<'_>) -> u32 {
    let mut info = bpf::bpf_prog_info::default();
    let mut size = size_of_u32::<bpf::bpf_prog_info>();
    // SAFETY: `info` is as long as `size` says, and both outlive the call.
    let result =
        unsafe { bpf::bpf_prog_get_info_by_fd(program.as_raw_fd(), &raw mut info, &raw mut size) };
    check(result, "BPF_OBJ_GET_INFO_BY_FD").expect("a program has an id");
    info.id
}

/// A link's id.
pub(crate) fn link_id(link: BorrowedFd<'_>) -> u32 {
    let mut info = bpf::bpf_link_info::default();
    let mut size = size_of_u32::<bpf::bpf_link_info>();
    // SAFETY: `info` is as long as `size` says, and both outlive the call.
    let result =
        unsafe { bpf::bpf_link_get_info_by_fd(link.as_raw_fd(), &raw mut info, &raw mut size) };
    check(result, "BPF_OBJ_GET_INFO_BY_FD").expect("a link has an id");
    info.id
}

/// A map's id and shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MapInfo {
    pub(crate) id: u32,
    pub(crate) kind: u32,
    pub(crate) key_size: usize,
    pub(crate) value_size: usize,
    pub(crate) entries: u32,
}

/// A map's id and shape.
pub(crate) fn map_info(map: BorrowedFd<'_>) -> MapInfo {
    let mut info = bpf::bpf_map_info::default();
    let mut size = size_of_u32::<bpf::bpf_map_info>();
    // SAFETY: `info` is as long as `size` says, and both outlive the call.
    let result =
        unsafe { bpf::bpf_map_get_info_by_fd(map.as_raw_fd(), &raw mut info, &raw mut size) };
    check(result, "BPF_OBJ_GET_INFO_BY_FD").expect("a map has an id");
    MapInfo {
        id: info.id,
        kind: info.type_,
        key_size: info.key_size as usize,
        value_size: info.value_size as usize,
        entries: info.max_entries,
    }
}

/// A map's value. For a per-CPU map the buffer holds one value for each possible CPU.
///
/// The caller has asked [`map_info`], so that key and value are as long as the map's.
pub(crate) fn map_lookup(map: BorrowedFd<'_>, key: &[u8], value: &mut [u8]) -> io::Result<()> {
    // SAFETY: key and value are at least as long as the map's, and outlive the call.
    let result = unsafe {
        bpf::bpf_map_lookup_elem(
            map.as_raw_fd(),
            key.as_ptr().cast::<c_void>(),
            value.as_mut_ptr().cast::<c_void>(),
        )
    };
    check(result, "BPF_MAP_LOOKUP_ELEM").map(drop)
}

/// Sets a map's value, as long as [`map_info`] says.
pub(crate) fn map_update(map: BorrowedFd<'_>, key: &[u8], value: &[u8]) -> io::Result<()> {
    // SAFETY: key and value are at least as long as the map's, and outlive the call.
    let result = unsafe {
        bpf::bpf_map_update_elem(
            map.as_raw_fd(),
            key.as_ptr().cast::<c_void>(),
            value.as_ptr().cast::<c_void>(),
            u64::from(bpf::BPF_ANY),
        )
    };
    check(result, "BPF_MAP_UPDATE_ELEM").map(drop)
}

/// Takes a key out of a map.
pub(crate) fn map_delete(map: BorrowedFd<'_>, key: &[u8]) -> io::Result<()> {
    // SAFETY: the key is at least as long as the map's, and outlives the call.
    let result =
        unsafe { bpf::bpf_map_delete_elem(map.as_raw_fd(), key.as_ptr().cast::<c_void>()) };
    check(result, "BPF_MAP_DELETE_ELEM").map(drop)
}

/// How many CPUs a per-CPU value has.
pub(crate) fn possible_cpus() -> usize {
    // SAFETY: the call takes nothing.
    let cpus = unsafe { bpf::libbpf_num_possible_cpus() };
    usize::try_from(cpus).expect("/sys says how many CPUs there are")
}

/// Waits until every interrupt that runs now has ended (`MEMBARRIER_CMD_GLOBAL`).
pub(crate) fn grace_period() {
    // SAFETY: the call takes no pointer.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
    assert_eq!(result, 0, "membarrier: {}", io::Error::last_os_error());
}

/// Makes the calling thread another user's, and only it: the raw calls, unlike the C library's,
/// leave the process's other threads alone. There is no way back for the thread.
pub(crate) fn become_user(uid: u32) {
    let calls = [
        (libc::SYS_setgroups, [0, 0, 0]),
        (libc::SYS_setresgid, [uid, uid, uid]),
        (libc::SYS_setresuid, [uid, uid, uid]),
    ];
    for (call, [one, two, three]) in calls {
        // SAFETY: the calls take numbers; the list of groups is empty, so its pointer is not used.
        let result = unsafe { libc::syscall(call, one as usize, two as usize, three as usize) };
        assert_eq!(
            result,
            0,
            "root may become anybody: {}",
            io::Error::last_os_error()
        );
    }
}

/// What the kernel numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Program,
    Map,
    Link,
}

/// The ids of all things of a kind on the host.
pub(crate) fn ids(kind: Kind) -> BTreeSet<u32> {
    let mut ids = BTreeSet::new();
    let mut id = 0;
    loop {
        // SAFETY: the next id's place outlives the call.
        let result = unsafe {
            match kind {
                Kind::Program => bpf::bpf_prog_get_next_id(id, &raw mut id),
                Kind::Map => bpf::bpf_map_get_next_id(id, &raw mut id),
                Kind::Link => bpf::bpf_link_get_next_id(id, &raw mut id),
            }
        };
        match check(result, "BPF_*_GET_NEXT_ID") {
            Ok(_) => ids.insert(id),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return ids,
            Err(error) => panic!("{error}"),
        };
    }
}

/// A raw packet socket on an interface of the calling thread's namespace. It sees every packet
/// that the interface's stack sees, and sends any bytes.
pub(crate) fn packet_socket(index: u32) -> io::Result<OwnedFd> {
    let every_protocol = u16::try_from(libc::ETH_P_ALL).expect("it is 3").to_be();
    // SAFETY: the call takes no pointer.
    let socket = unsafe {
        libc::socket(
            libc::AF_PACKET,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
            i32::from(every_protocol),
        )
    };
    let socket = owned(socket, "socket(AF_PACKET)")?;
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).expect("it is 17"),
        sll_protocol: every_protocol,
        sll_ifindex: signed(index),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: the address is a `sockaddr_ll`, as long as said, and outlives the call.
    let result = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of_u32::<libc::sockaddr_ll>(),
        )
    };
    check(result, "bind(AF_PACKET)")?;
    Ok(socket)
}

/// A descriptor from a call that returns one or a negative error.
fn owned(result: i32, call: &'static str) -> io::Result<OwnedFd> {
    let descriptor = check(result, call)?;
    // SAFETY: the call just made this descriptor, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// libbpf and libc say an error by a negative result and `errno`.
fn check(result: i32, call: &'static str) -> io::Result<i32> {
    if result >= 0 {
        return Ok(result);
    }
    let error = io::Error::last_os_error();
    Err(io::Error::new(error.kind(), format!("{call}: {error}")))
}

fn signed(index: u32) -> i32 {
    i32::try_from(index).expect("an interface index is positive")
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("a packet is small")
}

fn size_of_u32<T>() -> u32 {
    u32::try_from(size_of::<T>()).expect("it is small")
}
