//! Programs written by hand: members, and the chains that ours are compared with.

use dispatcher_abi::Verdict;
use libbpf_sys as bpf;

/// What every member says.
const PASS: i32 = Verdict::Pass as i32;

const R0: u8 = 0;
const R1: u8 = 1;
/// The first register that a call leaves alone.
const R6: u8 = 6;

/// A program's code, and where its functions start.
pub(crate) struct Code {
    pub(crate) instructions: Vec<bpf::bpf_insn>,
    /// The first is the program itself.
    pub(crate) functions: Vec<u32>,
}

/// Returns PASS: a member, and the bare program.
pub(crate) fn pass() -> Code {
    Code {
        instructions: returns_pass().to_vec(),
        functions: vec![0],
    }
}

/// Calls so many functions that return PASS, and leaves at any other value: what no chain of
/// members can be cheaper than.
pub(crate) fn call_chain(slots: usize) -> Code {
    const PER_SLOT: usize = 3;
    let body = 1 + PER_SLOT * slots + 1;
    let callee = |slot: usize| body + returns_pass().len() * slot;
    let mut code = vec![move_register(R6, R1)];
    for slot in 0..slots {
        let call = code.len() + 1;
        code.push(move_register(R1, R6));
        code.push(call_function(distance(call, callee(slot))));
        let leave = distance(call + 1, body - 1);
        code.push(leave_unless(R0, PASS, leave));
    }
    code.push(exit());
    for _ in 0..slots {
        code.extend(returns_pass());
    }
    let functions = (0..slots).map(callee);
    Code {
        instructions: code,
        functions: std::iter::once(0)
            .chain(functions)
            .map(|at| u32::try_from(at).expect("a program is short"))
            .collect(),
    }
}

fn returns_pass() -> [bpf::bpf_insn; 2] {
    [move_constant(R0, PASS), exit()]
}

/// From behind one instruction to another one.
fn distance(from: usize, to: usize) -> i32 {
    i32::try_from(to - from - 1).expect("a program is short")
}

fn move_constant(to: u8, value: i32) -> bpf::bpf_insn {
    let mut instruction = instruction(bpf::BPF_ALU64 | bpf::BPF_MOV | bpf::BPF_K, value);
    instruction.set_dst_reg(to);
    instruction
}

fn move_register(to: u8, from: u8) -> bpf::bpf_insn {
    let mut instruction = instruction(bpf::BPF_ALU64 | bpf::BPF_MOV | bpf::BPF_X, 0);
    instruction.set_dst_reg(to);
    instruction.set_src_reg(from);
    instruction
}

fn call_function(distance: i32) -> bpf::bpf_insn {
    let mut instruction = instruction(bpf::BPF_JMP | bpf::BPF_CALL, distance);
    instruction.set_src_reg(u8::try_from(bpf::BPF_PSEUDO_CALL).expect("it is 1"));
    instruction
}

fn leave_unless(register: u8, value: i32, distance: i32) -> bpf::bpf_insn {
    let mut instruction = instruction(bpf::BPF_JMP | bpf::BPF_JNE | bpf::BPF_K, value);
    instruction.set_dst_reg(register);
    instruction.off = i16::try_from(distance).expect("a program is short");
    instruction
}

fn exit() -> bpf::bpf_insn {
    instruction(bpf::BPF_JMP | bpf::BPF_EXIT, 0)
}

fn instruction(code: u32, immediate: i32) -> bpf::bpf_insn {
    bpf::bpf_insn {
        code: u8::try_from(code).expect("an opcode is a byte"),
        imm: immediate,
        ..Default::default()
    }
}
