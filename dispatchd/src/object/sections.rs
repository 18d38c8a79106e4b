//! What a section's name says about the programs in it.

/// What a program's section says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeclaredType {
    /// An XDP program for an interface: `xdp`, `xdp.frags`, `xdp_anything`.
    Xdp,
    /// Nothing that we know: it may be an XDP program (old loaders took any name).
    Unknown,
    /// A program of another type, or an XDP program for a map's entries.
    Other,
}

/// First words of the sections of other program types, as libbpf, aya and tc know them.
const OTHER_TYPES: &[&str] = &[
    "action",
    "cgroup",
    "cgroup_skb",
    "classifier",
    "fentry",
    "fexit",
    "flow_dissector",
    "fmod_ret",
    "freplace",
    "iter",
    "kprobe",
    "kretprobe",
    "ksyscall",
    "kretsyscall",
    "lirc_mode2",
    "lsm",
    "lsm_cgroup",
    "lwt_in",
    "lwt_out",
    "lwt_seg6local",
    "lwt_xmit",
    "netfilter",
    "netkit",
    "perf_event",
    "raw_tp",
    "raw_tracepoint",
    "sk_lookup",
    "sk_msg",
    "sk_reuseport",
    "sk_skb",
    "socket",
    "sockops",
    "struct_ops",
    "syscall",
    "tc",
    "tcx",
    "tp",
    "tp_btf",
    "tracepoint",
    "uprobe",
    "uretprobe",
    "usdt",
];

impl DeclaredType {
    pub(super) fn of(section: &str) -> Self {
        // libbpf: "?" says not to load it unless asked.
        let section = section.strip_prefix('?').unwrap_or(section);
        let mut words = section.split('/');
        // "kprobe.multi", "fentry.s", "xdp.frags".
        let first = words.next().unwrap_or_default();
        let kind = first.split('.').next().unwrap_or_default();
        let target = words.next();
        if OTHER_TYPES.contains(&kind) {
            Self::Other
        } else if kind == "xdp" {
            match target {
                Some("cpumap" | "devmap") => Self::Other,
                _ => Self::Xdp,
            }
        } else if first.starts_with("xdp_devmap") || first.starts_with("xdp_cpumap") {
            Self::Other
        } else if first.starts_with("xdp") {
            Self::Xdp
        } else {
            Self::Unknown
        }
    }
}

/// Whether programs of this section say that they take packets of several buffers.
pub(super) fn has_frags(section: &str) -> bool {
    let section = section.strip_prefix('?').unwrap_or(section);
    section == "xdp.frags" || section.starts_with("xdp.frags/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_known_to_be_of_other_types_are() {
        for name in [
            "xdp",
            "xdp.frags",
            "xdp/prog",
            "xdp_stats",
            "xdp-main",
            "?xdp",
            "xdp_pass",
        ] {
            assert_eq!(DeclaredType::of(name), DeclaredType::Xdp, "{name}");
        }
        for name in ["prog", "my_section", "filter", "tc_ingress", "socketry"] {
            assert_eq!(DeclaredType::of(name), DeclaredType::Unknown, "{name}");
        }
        for name in [
            "tc",
            "tc/ingress",
            "classifier/x",
            "kprobe/tcp_connect",
            "kprobe.multi/x",
            "fentry.s/x",
            "socket",
            "cgroup/skb",
            "xdp/devmap",
            "xdp.frags/cpumap",
            "xdp_devmap/x",
        ] {
            assert_eq!(DeclaredType::of(name), DeclaredType::Other, "{name}");
        }
    }

    #[test]
    fn frags_are_named_in_the_section() {
        for name in ["xdp.frags", "xdp.frags/x", "?xdp.frags"] {
            assert!(has_frags(name), "{name}");
        }
        for name in ["xdp", "xdp/frags", "xdp.fragsy", "frags"] {
            assert!(!has_frags(name), "{name}");
        }
    }
}
