//! The programs and maps that measure what a packet costs.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use libbpf_sys as bpf;

/// What a [`Spread`] does with a packet that has its source.
#[derive(Clone, Copy)]
pub(super) enum Then<'a> {
    /// Hands it to a program, as a root would.
    Judge(BorrowedFd<'a>),
    /// Sends it out of an interface.
    Send(u32),
}

/// A program that gives each packet another source, out of many, in turn.
pub(super) struct Spread {
    program: OwnedFd,
    /// Whose program array entry goes with the last descriptor.
    _maps: [OwnedFd; 3],
}

impl Spread {
    /// The number of sources is a power of two.
    pub(super) fn new(sources: &[Ipv4Addr], then: Then<'_>) -> io::Result<Self> {
        let count = u32::try_from(sources.len()).map_err(io::Error::other)?;
        let addresses = map(bpf::BPF_MAP_TYPE_ARRAY, 4, count)?;
        for (index, source) in (0_u32..).zip(sources) {
            set(addresses.as_fd(), index, &source.octets())?;
        }
        let turn = map(bpf::BPF_MAP_TYPE_ARRAY, 8, 1)?;
        let jump = map(bpf::BPF_MAP_TYPE_PROG_ARRAY, 4, 1)?;
        if let Then::Judge(program) = then {
            set(jump.as_fd(), 0, &program.as_raw_fd().to_ne_bytes())?;
        }
        let code = code([&addresses, &turn, &jump], count - 1, then);
        Ok(Self {
            program: load(&code)?,
            _maps: [addresses, turn, jump],
        })
    }

    /// Nanoseconds for one packet, of so many.
    pub(super) fn cost(&self, packets: i32) -> io::Result<f64> {
        let mut options = options(packets);
        run(self.program.as_fd(), &mut options)?;
        Ok(options.duration.into())
    }

    /// Sends so many packets.
    pub(super) fn send(&self, packets: i32) -> io::Result<()> {
        let mut options = options(packets);
        options.flags = bpf::BPF_F_TEST_XDP_LIVE_FRAMES;
        options.batch_size = 64; // an interface's queue takes in so many at once
        run(self.program.as_fd(), &mut options)
    }
}

/// A program that passes everything.
pub(super) fn pass() -> io::Result<OwnedFd> {
    load(&[constant(0, 2), instruction(0x95, 0, 0, 0, 0)])
}

/// r6 is the context, r7 the packet.
fn code([addresses, turn, jump]: [&OwnedFd; 3], mask: u32, then: Then<'_>) -> Vec<bpf::bpf_insn> {
    let mut code = vec![
        instruction(0xbf, 6, 1, 0, 0),  // r6 = context
        instruction(0x61, 2, 6, 4, 0),  // r2 = end
        instruction(0x61, 7, 6, 0, 0),  // r7 = start
        instruction(0xbf, 3, 7, 0, 0),  // r3 = r7
        instruction(0x07, 3, 0, 0, 42), // r3 += 42
    ];
    let mut leaves = vec![code.len()];
    code.push(instruction(0x2d, 3, 2, 0, 0)); // leave if r3 > r2
    code.push(constant(1, 0));
    code.extend(look_up(turn)); // r0 = &turn
    leaves.push(code.len());
    code.push(instruction(0x15, 0, 0, 0, 0)); // leave if r0 == 0
    code.extend([
        instruction(0x79, 8, 0, 0, 0),                  // r8 = *r0
        instruction(0x07, 8, 0, 0, 1),                  // r8 += 1
        instruction(0x7b, 0, 8, 0, 0),                  // *r0 = r8
        instruction(0x57, 8, 0, 0, mask.cast_signed()), // r8 &= mask
        instruction(0xbf, 1, 8, 0, 0),                  // r1 = r8
    ]);
    code.extend(look_up(addresses)); // r0 = &addresses[r1]
    leaves.push(code.len());
    code.push(instruction(0x15, 0, 0, 0, 0)); // leave if r0 == 0
    code.push(instruction(0x61, 1, 0, 0, 0)); // r1 = *r0
    code.push(instruction(0x63, 7, 1, 26, 0)); // the source = r1
    match then {
        Then::Judge(_) => {
            code.push(instruction(0xbf, 1, 6, 0, 0)); // r1 = context
            code.extend(load_map(2, jump));
            code.push(constant(3, 0));
            code.push(instruction(
                0x85,
                0,
                0,
                0,
                bpf::BPF_FUNC_tail_call.cast_signed(),
            ));
        }
        Then::Send(interface) => {
            // Redirected frames are used again, with what was written into them: all of it is.
            code.push(constant(1, interface.cast_signed()));
            code.push(constant(2, 0));
            code.push(instruction(
                0x85,
                0,
                0,
                0,
                bpf::BPF_FUNC_redirect.cast_signed(),
            ));
            code.push(instruction(0x95, 0, 0, 0, 0));
        }
    }
    let out = code.len();
    code.push(constant(0, 2));
    code.push(instruction(0x95, 0, 0, 0, 0));
    for leave in leaves {
        code[leave].off = i16::try_from(out - leave - 1).expect("a program is short");
    }
    code
}

/// r0 = the element with the number in r1.
fn look_up(map: &OwnedFd) -> Vec<bpf::bpf_insn> {
    let mut code = vec![instruction(0x63, 10, 1, -4, 0)]; // the key, on the stack
    code.extend(load_map(1, map));
    code.extend([
        instruction(0xbf, 2, 10, 0, 0),
        instruction(0x07, 2, 0, 0, -4),
        instruction(0x85, 0, 0, 0, bpf::BPF_FUNC_map_lookup_elem.cast_signed()),
    ]);
    code
}

fn load_map(register: u8, map: &OwnedFd) -> [bpf::bpf_insn; 2] {
    let by_descriptor = 1; // BPF_PSEUDO_MAP_FD
    [
        instruction(0x18, register, by_descriptor, 0, map.as_raw_fd()),
        instruction(0, 0, 0, 0, 0),
    ]
}

fn constant(register: u8, value: i32) -> bpf::bpf_insn {
    instruction(0xb7, register, 0, 0, value)
}

fn instruction(code: u8, to: u8, from: u8, off: i16, imm: i32) -> bpf::bpf_insn {
    let mut instruction = bpf::bpf_insn {
        code,
        off,
        imm,
        ..Default::default()
    };
    instruction.set_dst_reg(to);
    instruction.set_src_reg(from);
    instruction
}

/// An Ethernet frame with an IPv4 packet; protocol 0, which nothing asks for.
fn packet() -> [u8; 64] {
    let mut packet = [0; 64];
    packet[12] = 8;
    packet[14] = 0x45;
    packet
}

static PACKET: std::sync::LazyLock<[u8; 64]> = std::sync::LazyLock::new(packet);

fn options(packets: i32) -> bpf::bpf_test_run_opts {
    bpf::bpf_test_run_opts {
        sz: size_of::<bpf::bpf_test_run_opts>() as bpf::size_t,
        data_in: PACKET.as_ptr().cast(),
        data_size_in: 64,
        repeat: packets,
        ..Default::default()
    }
}

fn run(program: BorrowedFd<'_>, options: &mut bpf::bpf_test_run_opts) -> io::Result<()> {
    // SAFETY: what the options point to is static.
    check(unsafe { bpf::bpf_prog_test_run_opts(program.as_raw_fd(), options) }).map(drop)
}

fn load(code: &[bpf::bpf_insn]) -> io::Result<OwnedFd> {
    let mut options = bpf::bpf_prog_load_opts {
        sz: size_of::<bpf::bpf_prog_load_opts>() as bpf::size_t,
        // What aya gives to XDP programs, and so what a program array with one takes.
        expected_attach_type: bpf::BPF_XDP,
        ..Default::default()
    };
    // SAFETY: code and options outlive the call, and are as many as said.
    let program = check(unsafe {
        bpf::bpf_prog_load(
            bpf::BPF_PROG_TYPE_XDP,
            c"spread".as_ptr(),
            c"GPL".as_ptr(),
            code.as_ptr(),
            code.len() as bpf::size_t,
            &raw mut options,
        )
    })?;
    // SAFETY: the call just made this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(program) })
}

fn map(kind: u32, value_bytes: u32, entries: u32) -> io::Result<OwnedFd> {
    // SAFETY: the name is static; null options are the defaults.
    let map = check(unsafe {
        bpf::bpf_map_create(
            kind,
            c"spread".as_ptr(),
            4,
            value_bytes,
            entries,
            std::ptr::null(),
        )
    })?;
    // SAFETY: the call just made this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(map) })
}

/// The value is as long as the map's, four bytes.
fn set(map: BorrowedFd<'_>, index: u32, value: &[u8; 4]) -> io::Result<()> {
    // SAFETY: key and value are as long as the map's and outlive the call.
    check(unsafe {
        bpf::bpf_map_update_elem(
            map.as_raw_fd(),
            (&raw const index).cast(),
            value.as_ptr().cast(),
            0,
        )
    })
    .map(drop)
}

fn check(result: i32) -> io::Result<i32> {
    if result >= 0 {
        Ok(result)
    } else {
        Err(io::Error::last_os_error())
    }
}
