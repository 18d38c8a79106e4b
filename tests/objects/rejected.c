// Reads the packet without looking where it ends: the verifier refuses that.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int rejected(struct xdp_md *ctx)
{
	__u8 *data = (void *)(long)ctx->data;

	return data[0];
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
