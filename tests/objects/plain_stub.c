// What an extension may take the place of, with a function that leaves packets as they are.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

__attribute__((noinline)) int stub(struct xdp_md *ctx)
{
	volatile int verdict = XDP_ABORTED;

	return ctx ? verdict : XDP_DROP;
}

SEC("xdp")
int plain_stub(struct xdp_md *ctx)
{
	return stub(ctx);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
