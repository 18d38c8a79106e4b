// Reads the kernel's memory, which only a trusted client's program may.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int probe_read(struct xdp_md *ctx)
{
	__u64 word = 0;

	bpf_probe_read_kernel(&word, sizeof(word), (void *)(long)ctx->rx_queue_index);
	return word ? XDP_DROP : XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
