// Reads a word of the stack that nobody wrote: whatever the kernel had there before.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int reads_stack(struct xdp_md *ctx)
{
	__u64 word;

	asm volatile("%0 = *(u64 *)(r10 - 256)" : "=r"(word));
	return word ? XDP_DROP : XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
