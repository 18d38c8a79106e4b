// Keeps the verifier busy for seconds: every bit of a random number doubles the number of paths,
// and as it has to know the sum at the end, no two of them meet in the same state.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

// One more is more than the 1,000,000 instructions that it follows.
#define BITS 17

// Bits that are not in it are known to be 0.
volatile const __u32 mask = ~0u;

static __noinline int depth7(__u32 random)
{
	__u64 sum = 0;

#pragma clang loop unroll(full)
	for (int bit = 0; bit < BITS; bit++) {
		// Assembly, or the compiler makes do without a branch.
		if (random & (1u << bit))
			asm volatile("%0 += %1" : "+r"(sum) : "i"(1 << bit));
	}
	return sum < (1 << BITS) ? XDP_PASS : XDP_ABORTED;
}

// It copies every frame and its stack at every branch.
#define DEPTH(here, next)                                  \
	static __noinline int here(__u32 random)           \
	{                                                  \
		volatile __u64 stack[7];                   \
                                                           \
		for (int word = 0; word < 7; word++)       \
			stack[word] = word;                \
		return next(random) + (int)stack[0];       \
	}

DEPTH(depth6, depth7)
DEPTH(depth5, depth6)
DEPTH(depth4, depth5)
DEPTH(depth3, depth4)
DEPTH(depth2, depth3)
DEPTH(depth1, depth2)

SEC("xdp")
int slow_to_verify(struct xdp_md *ctx)
{
	return depth1(bpf_get_prandom_u32() & mask);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
