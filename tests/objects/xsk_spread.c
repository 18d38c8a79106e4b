// Spreads a queue's packets over the sockets of entries 0 and 1, by the lowest bit of the number that they carry.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define NUMBER_END 22

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} XSKS SEC(".maps");

SEC("xdp.frags")
int xsk_spread(struct xdp_md *ctx)
{
	__u8 *data = (void *)(long)ctx->data;

	if ((void *)(data + NUMBER_END) > (void *)(long)ctx->data_end)
		return XDP_PASS;
	return bpf_redirect_map(&XSKS, data[NUMBER_END - 1] & 1, XDP_PASS);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
