//! The names of map types: `enum bpf_map_type`, `include/uapi/linux/bpf.h`.

/// In the order of their numbers.
const NAMES: [&str; 34] = [
    "unspec",
    "hash",
    "array",
    "prog_array",
    "perf_event_array",
    "percpu_hash",
    "percpu_array",
    "stack_trace",
    "cgroup_array",
    "lru_hash",
    "lru_percpu_hash",
    "lpm_trie",
    "array_of_maps",
    "hash_of_maps",
    "devmap",
    "sockmap",
    "cpumap",
    "xskmap",
    "sockhash",
    "cgroup_storage",
    "reuseport_sockarray",
    "percpu_cgroup_storage",
    "queue",
    "stack",
    "sk_storage",
    "devmap_hash",
    "struct_ops",
    "ringbuf",
    "inode_storage",
    "task_storage",
    "bloom_filter",
    "user_ringbuf",
    "cgrp_storage",
    "arena",
];

/// The type's name, as bpftool prints it; `unknown` for one that came later.
pub(crate) fn name(map_type: u32) -> &'static str {
    let index = usize::try_from(map_type).ok();
    index
        .and_then(|index| NAMES.get(index).copied())
        .unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_and_names_agree() {
        for (number, name) in [
            (1, "hash"),
            (6, "percpu_array"),
            (11, "lpm_trie"),
            (17, "xskmap"),
        ] {
            assert_eq!(super::name(number), name);
        }
        assert_eq!(super::name(27), "ringbuf");
        assert_eq!(super::name(33), "arena");
        assert_eq!(super::name(4711), "unknown");
    }
}
