//! Which kernel functions a stranger's program may call.
//!
//! The daemon loads with its own capabilities, and they let a program read all of the kernel's
//! memory. What is allowed here is what the kernel allows an XDP program whose loader has
//! `CAP_BPF` and `CAP_NET_ADMIN` but not `CAP_PERFMON`, less what packets don't need.

use libbpf_sys as sys;

/// The helpers that any program may call.
const ALLOWED: &[sys::bpf_func_id] = &[
    // Maps.
    sys::BPF_FUNC_map_lookup_elem,
    sys::BPF_FUNC_map_update_elem,
    sys::BPF_FUNC_map_delete_elem,
    sys::BPF_FUNC_map_push_elem,
    sys::BPF_FUNC_map_pop_elem,
    sys::BPF_FUNC_map_peek_elem,
    sys::BPF_FUNC_map_lookup_percpu_elem,
    sys::BPF_FUNC_for_each_map_elem,
    // Locks, timers, loops, other programs.
    sys::BPF_FUNC_spin_lock,
    sys::BPF_FUNC_spin_unlock,
    sys::BPF_FUNC_timer_init,
    sys::BPF_FUNC_timer_set_callback,
    sys::BPF_FUNC_timer_start,
    sys::BPF_FUNC_timer_cancel,
    sys::BPF_FUNC_loop,
    sys::BPF_FUNC_tail_call,
    // Time, chance, place.
    sys::BPF_FUNC_ktime_get_ns,
    sys::BPF_FUNC_ktime_get_boot_ns,
    sys::BPF_FUNC_ktime_get_coarse_ns,
    sys::BPF_FUNC_ktime_get_tai_ns,
    sys::BPF_FUNC_jiffies64,
    sys::BPF_FUNC_get_prandom_u32,
    sys::BPF_FUNC_get_smp_processor_id,
    sys::BPF_FUNC_get_numa_node_id,
    // Strings.
    sys::BPF_FUNC_strncmp,
    sys::BPF_FUNC_strtol,
    sys::BPF_FUNC_strtoul,
    // Records for user space, in maps of the object.
    sys::BPF_FUNC_ringbuf_output,
    sys::BPF_FUNC_ringbuf_reserve,
    sys::BPF_FUNC_ringbuf_submit,
    sys::BPF_FUNC_ringbuf_discard,
    sys::BPF_FUNC_ringbuf_query,
    sys::BPF_FUNC_ringbuf_reserve_dynptr,
    sys::BPF_FUNC_ringbuf_submit_dynptr,
    sys::BPF_FUNC_ringbuf_discard_dynptr,
    // Memory of their own.
    sys::BPF_FUNC_dynptr_from_mem,
    sys::BPF_FUNC_dynptr_read,
    sys::BPF_FUNC_dynptr_write,
    sys::BPF_FUNC_dynptr_data,
    // The packet.
    sys::BPF_FUNC_perf_event_output,
    sys::BPF_FUNC_csum_diff,
    sys::BPF_FUNC_xdp_adjust_head,
    sys::BPF_FUNC_xdp_adjust_meta,
    sys::BPF_FUNC_xdp_adjust_tail,
    sys::BPF_FUNC_xdp_get_buff_len,
    sys::BPF_FUNC_xdp_load_bytes,
    sys::BPF_FUNC_xdp_store_bytes,
    // Where it goes.
    sys::BPF_FUNC_redirect,
    sys::BPF_FUNC_redirect_map,
    sys::BPF_FUNC_fib_lookup,
    sys::BPF_FUNC_check_mtu,
    // Sockets.
    sys::BPF_FUNC_sk_lookup_tcp,
    sys::BPF_FUNC_sk_lookup_udp,
    sys::BPF_FUNC_skc_lookup_tcp,
    sys::BPF_FUNC_sk_release,
    // SYN cookies.
    sys::BPF_FUNC_tcp_check_syncookie,
    sys::BPF_FUNC_tcp_gen_syncookie,
    sys::BPF_FUNC_tcp_raw_gen_syncookie_ipv4,
    sys::BPF_FUNC_tcp_raw_gen_syncookie_ipv6,
    sys::BPF_FUNC_tcp_raw_check_syncookie_ipv4,
    sys::BPF_FUNC_tcp_raw_check_syncookie_ipv6,
];

/// Every helper's name without its `bpf_`, by number (`enum bpf_func_id`, closed since Linux 6.1).
const NAMES: &str = "\
    unspec map_lookup_elem map_update_elem map_delete_elem probe_read ktime_get_ns \
    trace_printk get_prandom_u32 get_smp_processor_id skb_store_bytes l3_csum_replace \
    l4_csum_replace tail_call clone_redirect get_current_pid_tgid get_current_uid_gid \
    get_current_comm get_cgroup_classid skb_vlan_push skb_vlan_pop skb_get_tunnel_key \
    skb_set_tunnel_key perf_event_read redirect get_route_realm perf_event_output \
    skb_load_bytes get_stackid csum_diff skb_get_tunnel_opt skb_set_tunnel_opt \
    skb_change_proto skb_change_type skb_under_cgroup get_hash_recalc get_current_task \
    probe_write_user current_task_under_cgroup skb_change_tail skb_pull_data csum_update \
    set_hash_invalid get_numa_node_id skb_change_head xdp_adjust_head probe_read_str \
    get_socket_cookie get_socket_uid set_hash setsockopt skb_adjust_room redirect_map \
    sk_redirect_map sock_map_update xdp_adjust_meta perf_event_read_value perf_prog_read_value \
    getsockopt override_return sock_ops_cb_flags_set msg_redirect_map msg_apply_bytes \
    msg_cork_bytes msg_pull_data bind xdp_adjust_tail skb_get_xfrm_state get_stack \
    skb_load_bytes_relative fib_lookup sock_hash_update msg_redirect_hash sk_redirect_hash \
    lwt_push_encap lwt_seg6_store_bytes lwt_seg6_adjust_srh lwt_seg6_action rc_repeat \
    rc_keydown skb_cgroup_id get_current_cgroup_id get_local_storage sk_select_reuseport \
    skb_ancestor_cgroup_id sk_lookup_tcp sk_lookup_udp sk_release map_push_elem map_pop_elem \
    map_peek_elem msg_push_data msg_pop_data rc_pointer_rel spin_lock spin_unlock sk_fullsock \
    tcp_sock skb_ecn_set_ce get_listener_sock skc_lookup_tcp tcp_check_syncookie \
    sysctl_get_name sysctl_get_current_value sysctl_get_new_value sysctl_set_new_value strtol \
    strtoul sk_storage_get sk_storage_delete send_signal tcp_gen_syncookie skb_output \
    probe_read_user probe_read_kernel probe_read_user_str probe_read_kernel_str tcp_send_ack \
    send_signal_thread jiffies64 read_branch_records get_ns_current_pid_tgid xdp_output \
    get_netns_cookie get_current_ancestor_cgroup_id sk_assign ktime_get_boot_ns seq_printf \
    seq_write sk_cgroup_id sk_ancestor_cgroup_id ringbuf_output ringbuf_reserve ringbuf_submit \
    ringbuf_discard ringbuf_query csum_level skc_to_tcp6_sock skc_to_tcp_sock \
    skc_to_tcp_timewait_sock skc_to_tcp_request_sock skc_to_udp6_sock get_task_stack \
    load_hdr_opt store_hdr_opt reserve_hdr_opt inode_storage_get inode_storage_delete d_path \
    copy_from_user snprintf_btf seq_printf_btf skb_cgroup_classid redirect_neigh per_cpu_ptr \
    this_cpu_ptr redirect_peer task_storage_get task_storage_delete get_current_task_btf \
    bprm_opts_set ktime_get_coarse_ns ima_inode_hash sock_from_file check_mtu \
    for_each_map_elem snprintf sys_bpf btf_find_by_name_kind sys_close timer_init \
    timer_set_callback timer_start timer_cancel get_func_ip get_attach_cookie task_pt_regs \
    get_branch_snapshot trace_vprintk skc_to_unix_sock kallsyms_lookup_name find_vma loop \
    strncmp get_func_arg get_func_ret get_func_arg_cnt get_retval set_retval xdp_get_buff_len \
    xdp_load_bytes xdp_store_bytes copy_from_user_task skb_set_tstamp ima_file_hash kptr_xchg \
    map_lookup_percpu_elem skc_to_mptcp_sock dynptr_from_mem ringbuf_reserve_dynptr \
    ringbuf_submit_dynptr ringbuf_discard_dynptr dynptr_read dynptr_write dynptr_data \
    tcp_raw_gen_syncookie_ipv4 tcp_raw_gen_syncookie_ipv6 tcp_raw_check_syncookie_ipv4 \
    tcp_raw_check_syncookie_ipv6 ktime_get_tai_ns user_ringbuf_drain cgrp_storage_get \
    cgrp_storage_delete";

/// Whether any program may call it.
pub(super) fn is_allowed(helper: i32) -> bool {
    u32::try_from(helper).is_ok_and(|helper| ALLOWED.contains(&helper))
}

/// The helper's name, such as `bpf_probe_read_kernel`.
pub(super) fn name(helper: i32) -> String {
    let name = usize::try_from(helper)
        .ok()
        .and_then(|helper| NAMES.split_ascii_whitespace().nth(helper));
    match name {
        Some(name) => format!("bpf_{name}"),
        None => format!("helper number {helper}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_at_their_numbers() {
        for (helper, expected) in [
            (sys::BPF_FUNC_map_lookup_elem, "bpf_map_lookup_elem"),
            (sys::BPF_FUNC_trace_printk, "bpf_trace_printk"),
            (sys::BPF_FUNC_probe_read_kernel, "bpf_probe_read_kernel"),
            (sys::BPF_FUNC_cgrp_storage_delete, "bpf_cgrp_storage_delete"),
            (4000, "helper number 4000"),
        ] {
            assert_eq!(name(i32::try_from(helper).unwrap()), expected);
        }
        assert_eq!(name(-1), "helper number -1");
    }

    #[test]
    fn what_reads_the_kernel_is_not_allowed() {
        for helper in [
            sys::BPF_FUNC_probe_read,
            sys::BPF_FUNC_probe_read_kernel,
            sys::BPF_FUNC_probe_read_kernel_str,
            sys::BPF_FUNC_probe_read_user,
            sys::BPF_FUNC_get_current_task,
            sys::BPF_FUNC_get_current_task_btf,
            sys::BPF_FUNC_trace_printk,
            sys::BPF_FUNC_trace_vprintk,
            sys::BPF_FUNC_override_return,
            sys::BPF_FUNC_snprintf,
            sys::BPF_FUNC_snprintf_btf,
            sys::BPF_FUNC_skc_to_tcp_sock,
            sys::BPF_FUNC_perf_event_read_value,
            sys::BPF_FUNC_unspec,
            4000,
        ] {
            assert!(!is_allowed(i32::try_from(helper).unwrap()), "{helper}");
        }
        assert!(!is_allowed(-1));
    }

    #[test]
    fn what_packets_need_is_allowed() {
        for helper in [
            sys::BPF_FUNC_map_lookup_elem,
            sys::BPF_FUNC_redirect_map,
            sys::BPF_FUNC_xdp_adjust_head,
            sys::BPF_FUNC_perf_event_output,
            sys::BPF_FUNC_tail_call,
        ] {
            assert!(is_allowed(i32::try_from(helper).unwrap()), "{helper}");
        }
    }
}
