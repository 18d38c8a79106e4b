//! Queues that an interface doesn't have, whose driver doesn't say how many there are.

mod socket;

use libdispatch::{RefusalCode, SocketRequest};
use socket::{MEMORY, code, memory, queues};
use tests::is_too_old;

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn an_interface_whose_driver_does_not_count_its_queues_has_those_that_the_kernel_counts() {
    let rig = queues(1);
    // A name that is in no other namespace.
    for command in [
        "link set lo down",
        "link set lo name home0",
        "link set home0 up",
    ] {
        rig.pair.near.netns.ip(command);
    }
    let client = rig.client("application");
    let on = |queue| SocketRequest::new("home0", queue).rings(64);
    for queue in [1, 63, u32::MAX] {
        for opened in [
            client.open_socket(&on(queue), memory(MEMORY)),
            client.open_bare_socket(&on(queue)),
        ] {
            let error = opened.expect_err("there is one");
            assert_eq!(code(&error), RefusalCode::NoSuchQueue);
            let text = error.to_string();
            let wanted = format!("interface home0 has no queue {queue}: it has 1 receive queues");
            assert!(text.contains(&wanted), "{text}");
        }
    }
    let opened = client.open_socket(&on(0), memory(MEMORY));
    if !is_too_old(&opened) {
        drop(opened.expect("there is one"));
    }
}
