//! What the verifier says to those that may not read the kernel's memory: which of its rules are for
//! them alone, what to do about each, and nothing of where the kernel keeps its things.

use std::fmt;

/// What the author of a program can do about a rule that holds without `CAP_PERFMON`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// A number that isn't known is added to a pointer.
    UnknownOffset,
    /// One pointer is taken from another.
    Difference,
    /// A pointer is compared with something else than its end.
    Comparison,
    /// It prints.
    Printing,
    /// Parts of a word on the stack are written by themselves.
    PartialStores,
    /// Memory that nobody wrote is read.
    Uninitialised,
    /// A structure of the kernel's is read.
    KernelStructure,
}

/// What the verifier says. Its words are those of Linux 6.1 to 6.18.
const SAID: [(&str, Advice); 9] = [
    ("prohibited for !root", Advice::UnknownOffset),
    ("pointer -= pointer prohibited", Advice::Difference),
    ("pointer comparison prohibited", Advice::Comparison),
    ("bpf_trace_printk", Advice::Printing),
    ("bpf_trace_vprintk", Advice::Printing),
    ("attempt to corrupt spilled pointer", Advice::PartialStores),
    ("invalid read from stack", Advice::Uninitialised),
    ("invalid indirect read from stack", Advice::Uninitialised),
    ("is allowed only to CAP_PERFMON", Advice::KernelStructure),
];

/// The reason stands in the last lines; what is before may quote the program's own source.
const LAST_LINES: usize = 8;

impl Advice {
    /// What a verifier's log is to be answered with.
    pub(super) fn on(log: &str) -> Option<Self> {
        // A line that quotes the source (`; return a - b;`) says nothing of what is wrong.
        let mut lines = log.lines().rev().take(LAST_LINES);
        lines.find_map(|line| {
            let is_source = line.starts_with(';');
            let found = SAID.iter().find(|(said, _)| line.contains(said));
            found.filter(|_| !is_source).map(|(_, advice)| *advice)
        })
    }

    /// What a helper that is not allowed is to be answered with.
    pub(super) fn on_helper(helper: &str) -> Option<Self> {
        matches!(helper, "bpf_trace_printk" | "bpf_trace_vprintk").then_some(Self::Printing)
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownOffset => {
                "a pointer may not have a number added that is only known when it runs, such as \
                 `ip + ihl * 4`: read at constant offsets from `data`, and what lies behind options \
                 or tags by bpf_xdp_load_bytes"
            }
            Self::Difference => {
                "a pointer may not be taken from another, such as `data_end - data`: \
                 bpf_xdp_get_buff_len gives the packet's length"
            }
            Self::Comparison => {
                "a pointer may be compared with `data_end`, and what a map's lookup gave with NULL: \
                 leave other comparisons out, such as one of the context with NULL"
            }
            Self::Printing => {
                "it may not print: write records to a ring buffer (bpf_ringbuf_output)"
            }
            Self::PartialStores => {
                "a word on the stack may not be written in parts where a pointer was: write its 64 \
                 bits at once, such as the key of an LPM trie as one u64"
            }
            Self::Uninitialised => {
                "what nobody wrote may not be read: give every variable on the stack a value, its \
                 padding too"
            }
            Self::KernelStructure => "the kernel's own structures may not be read",
        })?;
        f.write_str("; a user with the right load-trusted may load it as it is")
    }
}

/// Takes the kernel's addresses out of a text, in whatever way they are written.
pub(super) fn without_addresses(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut clean = String::with_capacity(text.len());
    let mut copied = 0;
    let mut at = 0;
    while at < bytes.len() {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let starts = at == 0 || !is_word(bytes[at - 1]);
        if !starts || !bytes[at].is_ascii_hexdigit() {
            at += 1;
            continue;
        }
        let len = bytes[at..]
            .iter()
            .take_while(|byte| is_word(**byte))
            .count();
        let negative = at > 0 && bytes[at - 1] == b'-';
        if is_address(&text[at..at + len], negative) {
            clean.push_str(&text[copied..at]);
            clean.push_str("ADDRESS");
            copied = at + len;
        }
        at += len;
    }
    clean.push_str(&text[copied..]);
    clean
}

/// Whether a word of letters and digits is an address: `0x` and hexadecimal digits, 16 of those alone,
/// or a decimal number.
fn is_address(word: &str, negative: bool) -> bool {
    if let Some(digits) = word.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).is_ok_and(is_kernel);
    }
    if word.len() == 16 && u64::from_str_radix(word, 16).is_ok_and(is_kernel) {
        return true;
    }
    match word.parse::<u64>() {
        Ok(number) if negative => {
            let number = number.wrapping_neg();
            is_kernel(number) && number < (i64::from(i32::MIN)).cast_unsigned()
        }
        Ok(number) => is_kernel(number),
        Err(_) => false,
    }
}

/// The upper half of the address space, but for its last page frames, where small negative numbers are,
/// and for what can only be a bound: -2^n.
fn is_kernel(number: u64) -> bool {
    const FIRST: u64 = 0xff00_0000_0000_0000;
    const END: u64 = 0xffff_ffff_ff00_0000;
    (FIRST..END).contains(&number) && !number.wrapping_neg().is_power_of_two()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_rule_for_strangers_has_its_advice() {
        for (said, expected) in [
            (
                "R2 has pointer with unsupported alu operation, pointer arithmetic with it prohibited for !root",
                Advice::UnknownOffset,
            ),
            ("R3 pointer -= pointer prohibited", Advice::Difference),
            ("R1 pointer comparison prohibited", Advice::Comparison),
            ("unknown func bpf_trace_printk#6", Advice::Printing),
            (
                "program of this type cannot use helper bpf_trace_vprintk#177",
                Advice::Printing,
            ),
            (
                "attempt to corrupt spilled pointer on stack",
                Advice::PartialStores,
            ),
            (
                "invalid read from stack off -16+0 size 8",
                Advice::Uninitialised,
            ),
            (
                "'struct bpf_array' access is allowed only to CAP_PERFMON and CAP_SYS_ADMIN",
                Advice::KernelStructure,
            ),
        ] {
            let log =
                format!("0: R1=ctx() R10=fp0\n; x = y;\n1: (95) exit\n{said}\nprocessed 1 insns");
            assert_eq!(Advice::on(&log), Some(expected), "{said}");
        }
        for log in [
            "",
            "invalid access to packet, off=0 size=8, R1(id=0,off=0,r=0)",
            "; \"pointer comparison prohibited\"",
        ] {
            assert_eq!(Advice::on(log), None, "{log}");
        }
    }

    #[test]
    fn bounds_and_small_numbers_stay() {
        let log = "3: (18) r1 = 0x0 ; R1_w=map_value(map=x,ks=4,vs=8) R2=scalar(smin=-9223372036854775808,\
                   smax=0x7fffffff,umax=0xffffffffffffffff,var_off=(0x0; 0xffffffff00000000)) fp-8=mmmm \
                   off=-16 imm=-2147483648 18446744073709551615 0xfffffffffffffff8 deadbeefdeadbeef";
        assert_eq!(without_addresses(log), log);
    }

    #[test]
    fn broken_words_are_no_addresses() {
        for word in [
            "0x",
            "0xffff888000000000ffff",
            "ffff88800000000",
            "xffff888004c21a00",
            "é0ü",
        ] {
            assert_eq!(without_addresses(word), word);
        }
    }

    proptest! {
        #[test]
        fn no_address_stays_however_it_is_written(
            low in 0x8000_0000_0000_u64..0xffff_8000_0000,
            before in "[ =(,:]{0,3}",
            after in "[ ),;\n]{1,3}",
        ) {
            let address = 0xffff_0000_0000_0000 | low | 1;
            for written in [
                format!("0x{address:x}"),
                format!("{address:016x}"),
                format!("{address}"),
                format!("{}", address.cast_signed()),
            ] {
                let digits = written.trim_start_matches("0x").trim_start_matches('-').to_owned();
                let clean = without_addresses(&format!("R1{before}={written}{after}x"));
                prop_assert!(!clean.contains(&digits), "{written}: {clean}");
            }
        }

        #[test]
        fn other_text_stays(text in "[a-wyz ]{0,40}\\PC{0,20}") {
            let is_plain = !text.bytes().any(|byte| byte.is_ascii_digit());
            prop_assume!(is_plain);
            prop_assert_eq!(without_addresses(&text), text);
        }
    }
}
