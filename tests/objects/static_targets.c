// A program array that the object fills itself.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

int target(struct xdp_md *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__array(values, int(struct xdp_md *));
} targets SEC(".maps") = {
	.values = { (void *)&target },
};

SEC("xdp/target")
int target(struct xdp_md *ctx)
{
	return XDP_DROP;
}

SEC("xdp")
int static_targets(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &targets, 0);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
