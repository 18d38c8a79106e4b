// Redirects each queue's packets to the queue's socket, if there is one, with a mark ahead of them.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u32);
} XSKS SEC(".maps");

const volatile __u32 mark = 0;

SEC("xdp.frags")
int xsk_redirect(struct xdp_md *ctx)
{
	if (mark) {
		__u32 *metadata;

		if (bpf_xdp_adjust_meta(ctx, -(int)sizeof(*metadata)))
			return XDP_ABORTED;
		metadata = (void *)(long)ctx->data_meta;
		if ((void *)(metadata + 1) > (void *)(long)ctx->data)
			return XDP_ABORTED;
		*metadata = mark;
	}
	return bpf_redirect_map(&XSKS, ctx->rx_queue_index, XDP_PASS);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
