// Reads the kernel's own structure of a map, which holds addresses.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} notes SEC(".maps");

SEC("xdp")
int reads_map_struct(struct xdp_md *ctx)
{
	return *(volatile __u64 *)&notes ? XDP_DROP : XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
