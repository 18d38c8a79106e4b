// Keeps the verifier busy for seconds: every bit of the packet's hash doubles what may be, and
// no two paths meet in the same state.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int slow_to_verify(struct xdp_md *ctx)
{
	__u32 random = bpf_get_prandom_u32();
	__u64 sum = 0;

#pragma clang loop unroll(full)
	for (int bit = 0; bit < 15; bit++) {
		if (random & (1u << bit))
			sum += 1ULL << (2 * bit);
		asm volatile("" : "+r"(sum));
	}
	// The verifier has to know the sum, so it may not forget on which path it is.
	if (sum > (1ULL << 32))
		return XDP_ABORTED;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
