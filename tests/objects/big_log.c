// The verifier follows a long loop and then refuses what comes after, so that its log, which
// shows the whole way, is longer than 1 MB.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int big_log(struct xdp_md *ctx)
{
	__u8 *data = (void *)(long)ctx->data;
	__u64 sum = 0;

	for (__u32 step = 0; step < 10000; step++) {
		sum += step;
		asm volatile("" : "+r"(sum));
	}
	return data[0] + sum;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
