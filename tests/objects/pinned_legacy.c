// Maps as tc's loader knew them: legacy, with a place to be pinned at, and one that only its file
// knows, for which the compiler names the whole section.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct bpf_elf_map {
	__u32 type;
	__u32 size_key;
	__u32 size_value;
	__u32 max_elem;
	__u32 flags;
	__u32 id;
	__u32 pinning;
};

#define PIN_GLOBAL_NS 2

struct bpf_elf_map SEC("maps") dispatchd_test_global = {
	.type = BPF_MAP_TYPE_ARRAY,
	.size_key = 4,
	.size_value = 8,
	.max_elem = 2,
	.pinning = PIN_GLOBAL_NS,
};

static struct bpf_elf_map SEC("maps") unused __attribute__((used)) = {
	.type = BPF_MAP_TYPE_HASH,
	.size_key = 4,
	.size_value = 8,
	.max_elem = 2,
	.pinning = PIN_GLOBAL_NS,
};

SEC("prog")
int pinned_legacy(struct xdp_md *ctx)
{
	__u32 key = 1;

	return bpf_map_lookup_elem(&dispatchd_test_global, &key) ? XDP_PASS : XDP_ABORTED;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
