// Asks how the kernel is configured.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

extern int LINUX_KERNEL_VERSION __kconfig;

SEC("xdp")
int kconfig(struct xdp_md *ctx)
{
	return LINUX_KERNEL_VERSION > 0x60000 ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
