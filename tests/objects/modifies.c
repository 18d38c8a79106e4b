// Programs that change the packet's length: head, tail, metadata.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int head(struct xdp_md *ctx)
{
	return bpf_xdp_adjust_head(ctx, -4) ? XDP_ABORTED : XDP_PASS;
}

SEC("xdp")
int tail(struct xdp_md *ctx)
{
	return bpf_xdp_adjust_tail(ctx, -4) ? XDP_ABORTED : XDP_PASS;
}

SEC("xdp")
int meta(struct xdp_md *ctx)
{
	return bpf_xdp_adjust_meta(ctx, -4) ? XDP_ABORTED : XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
