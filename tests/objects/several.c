// Three XDP programs in sections of their own, two in one section, and one for tc.
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

static __noinline int shared(struct xdp_md *ctx, int verdict)
{
	return ctx->data == ctx->data_end ? XDP_ABORTED : verdict;
}

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	return shared(ctx, XDP_PASS);
}

SEC("xdp_drop")
int drop(struct xdp_md *ctx)
{
	return shared(ctx, XDP_DROP);
}

SEC("xdp/pair")
int aborted(struct xdp_md *ctx)
{
	return shared(ctx, XDP_ABORTED);
}

SEC("xdp/pair")
int tx(struct xdp_md *ctx)
{
	return shared(ctx, XDP_TX);
}

SEC("tc")
int for_tc(struct __sk_buff *skb)
{
	return skb->len > 9000 ? TC_ACT_SHOT : TC_ACT_OK;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
