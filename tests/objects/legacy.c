// An old program, as a tutorial prints it, from its first line below on: legacy map, unknown
// section. libbpf's headers had this structure before 1.0.
struct bpf_map_def {
	unsigned int type;
	unsigned int key_size;
	unsigned int value_size;
	unsigned int max_entries;
	unsigned int map_flags;
};

//PART1:
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

//PART2:
/* LLVM maps __sync_fetch_and_add() as a built-in function to the BPF atomic add
 * instruction (that is BPF_STX | BPF_XADD | BPF_W for word sizes)
 */
#ifndef lock_xadd
#define lock_xadd(ptr, val)     ((void) __sync_fetch_and_add(ptr, val))
#endif

//PART3:
//统计XDP_PASS收包数，key=XDP_PASS(2)，value=收包数
struct bpf_map_def SEC("maps") xdp_stats_map = {
        .type        = BPF_MAP_TYPE_ARRAY,
        .key_size    = sizeof(__u32),
        .value_size  = sizeof(__u64),
        .max_entries = XDP_REDIRECT+1,
};

//PART4:
static __always_inline long add_recv_cnt() {
        __u32 key = XDP_PASS; /* XDP_PASS = 2 */
        __u64 *rec_ptr;

        //查找返回value的指针，对于BPF_MAP_TYPE_ARRAY类型，因为数组是静态创建好的，总是返回有效指针
        rec_ptr = bpf_map_lookup_elem(&xdp_stats_map, &key);
        if (!rec_ptr)
                return XDP_ABORTED;

        //多核可能同时访问rec_ptr，需要原子操作
        lock_xadd(rec_ptr, 1);
        return XDP_PASS;
}

//PART5:
SEC("xdp_stats")
int  xdp_stats_func(struct xdp_md *ctx) {
        return add_recv_cnt();
}

//PART6:
char _license[] SEC("license") = "GPL";
