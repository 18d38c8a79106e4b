// Keeps a packet for a while: 1024 * `rounds` steps.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

volatile const __u32 rounds = 1;
volatile const __u32 verdict = XDP_PASS;

struct state {
	__u64 sum;
};

static long inner(__u32 index, void *context)
{
	struct state *state = context;

	state->sum = state->sum * 6364136223846793005ULL + index;
	return 0;
}

static long outer(__u32 index, void *context)
{
	bpf_loop(1024, inner, context, 0);
	return 0;
}

SEC("xdp")
int slow(struct xdp_md *ctx)
{
	struct state state = { .sum = ctx->rx_queue_index };

	bpf_loop(rounds, outer, &state, 0);
	// A use of the sum, which is never this one.
	return state.sum == 1 ? XDP_ABORTED : verdict;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
