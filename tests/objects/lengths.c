// Notes how long the packet and its metadata are.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} LENGTHS SEC(".maps");

SEC("xdp.frags")
int lengths(struct xdp_md *ctx)
{
	__u32 packet = 0, metadata = 1;
	__u64 *note = bpf_map_lookup_elem(&LENGTHS, &packet);

	if (note)
		*note = ctx->data_end - ctx->data;
	note = bpf_map_lookup_elem(&LENGTHS, &metadata);
	if (note)
		*note = ctx->data - ctx->data_meta;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
