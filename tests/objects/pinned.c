// A map that wants to be pinned under its name in /sys/fs/bpf.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} dispatchd_test_pinned SEC(".maps");

SEC("xdp")
int pinned(struct xdp_md *ctx)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&dispatchd_test_pinned, &key) ? XDP_PASS : XDP_ABORTED;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
