// Reads what lies behind the memory of a map: somebody else's.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct bpf_ringbuf;

// The kernel's, as far as it is needed.
struct bpf_ringbuf_map {
	struct bpf_ringbuf *rb;
} __attribute__((preserve_access_index));

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} notes SEC(".maps");

SEC("xdp")
int reads_behind_map(struct xdp_md *ctx)
{
	struct bpf_ringbuf_map *map = (void *)&notes;
	// The structure ends with an array whose length the verifier doesn't know.
	volatile char *memory = (void *)map->rb;

	return memory[1 << 20] ? XDP_DROP : XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
