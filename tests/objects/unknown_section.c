// A section name that no loader knows.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("my_section")
int unknown_section(struct xdp_md *ctx)
{
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
