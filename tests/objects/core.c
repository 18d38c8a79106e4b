// Fits itself to the kernel's types when it is loaded (CO-RE), in two programs.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

struct net_device {
	unsigned int mtu;
	int no_such_field;
} __attribute__((preserve_access_index));

SEC("xdp")
int has_mtu(struct xdp_md *ctx)
{
	return bpf_core_field_exists(struct net_device, mtu) ? XDP_PASS : XDP_DROP;
}

SEC("xdp_other")
int has_nothing(struct xdp_md *ctx)
{
	return bpf_core_field_exists(struct net_device, no_such_field) ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
