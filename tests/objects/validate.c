// Counts in which order a packet met the members 1 and 2 (see append.c), and drops it: it goes
// last, so what gets past it was not filtered.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

enum sequence {
	ONE_TWO,
	TWO_ONE,
	OTHER,
	SEQUENCES,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SEQUENCES);
	__type(key, __u32);
	__type(value, __u64);
} SEEN SEC(".maps");

SEC("xdp")
int validate(struct xdp_md *ctx)
{
	__u8 *data = (void *)(long)ctx->data;
	__u8 *end = (void *)(long)ctx->data_end;
	__u32 sequence = OTHER;
	__u64 *count;

	if (data + 19 <= end && data[16] == 2) {
		if (data[17] == 1 && data[18] == 2)
			sequence = ONE_TWO;
		if (data[17] == 2 && data[18] == 1)
			sequence = TWO_ONE;
	}
	count = bpf_map_lookup_elem(&SEEN, &sequence);
	if (!count)
		return XDP_ABORTED;
	*count += 1;
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
