// Returns the verdict it is told to.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

volatile const unsigned verdict = XDP_PASS;

SEC("xdp")
int verdict_prog(struct xdp_md *ctx)
{
	return verdict;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
