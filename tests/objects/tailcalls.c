// Goes on to one of two programs of its own: by the packet's last bit of the first byte. Without
// them it aborts.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} targets SEC(".maps");

SEC("xdp")
int choose(struct xdp_md *ctx)
{
	__u8 *data = (void *)(long)ctx->data;
	__u8 *end = (void *)(long)ctx->data_end;

	if (data + 1 > end)
		return XDP_ABORTED;
	bpf_tail_call(ctx, &targets, data[0] & 1);
	return XDP_ABORTED;
}

SEC("xdp/even")
int even(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("xdp/odd")
int odd(struct xdp_md *ctx)
{
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
