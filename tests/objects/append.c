// Appends its number to a list in the packet: byte 16 says how many there are, they follow.
// So a packet shows which members it met, and in what order.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define LIST 16
const volatile __u8 number = 0;
const volatile __u32 verdict = XDP_PASS;
// How long the list may become: as long as fits into a packet of 64 bytes.
const volatile __u8 list_max = 46;

// For the tests to write, and to find as they wrote it.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} NOTES SEC(".maps");

SEC("xdp")
int append(struct xdp_md *ctx)
{
	__u8 *data = (void *)(long)ctx->data;
	__u8 *end = (void *)(long)ctx->data_end;
	__u32 key = 0;
	__u64 *note;

	if (data + LIST + 1 > end)
		return XDP_ABORTED;
	__u8 length = data[LIST];
	if (length > list_max)
		return XDP_ABORTED;
	__u8 *place = data + LIST + 1 + length;
	if (place + 1 > end)
		return XDP_ABORTED;
	*place = number;
	data[LIST] = length + 1;

	// A use of the map, or the compiler leaves it out.
	note = bpf_map_lookup_elem(&NOTES, &key);
	return note ? verdict : XDP_ABORTED;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
