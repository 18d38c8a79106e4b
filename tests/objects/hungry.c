// Tail-calls itself until the kernel refuses, and passes the packet then: nothing is left of the
// packet's 33 tail calls. Put it into its own array at index 0.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} again SEC(".maps");

SEC("xdp")
int hungry(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &again, 0);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
