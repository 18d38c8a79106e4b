// Redirects each queue's packets to the queue's socket, if there is one, with what it knows of them
// ahead: when they came, and where.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u32);
} XSKS SEC(".maps");

struct metadata {
	__u64 time;
	__u32 interface;
	__u32 length;
};

SEC("xdp")
int rx_time(struct xdp_md *ctx)
{
	__u32 length = ctx->data_end - ctx->data;
	struct metadata *metadata;

	if (bpf_xdp_adjust_meta(ctx, -(int)sizeof(*metadata)))
		return XDP_ABORTED;
	metadata = (void *)(long)ctx->data_meta;
	if ((void *)(metadata + 1) > (void *)(long)ctx->data)
		return XDP_ABORTED;
	metadata->time = bpf_ktime_get_ns();
	metadata->interface = ctx->ingress_ifindex;
	metadata->length = length;
	return bpf_redirect_map(&XSKS, ctx->rx_queue_index, XDP_PASS);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
