//! Objects that are loaded as extensions.

use super::*;
use dispatchd::kernel::probe_freplace;
use dispatchd::object::SlotFunction;

#[test]
#[ignore = "needs root and a kernel with freplace: cargo xtask test runs it"]
fn debians_programs_load_as_extensions() {
    let template = probe_freplace().expect("this kernel has freplace");
    let mut programs = 0;
    for (name, object) in packaged() {
        for program in object
            .programs()
            .iter()
            .filter(|p| p.declared == DeclaredType::Xdp)
        {
            let sizes = [("xdpdump_perf_map".to_owned(), 1)];
            let extension = LoadAs {
                extends: Some(template.function()),
                frags: program.frags,
            };
            let request = LoadRequest {
                program: Some(&program.name),
                map_sizes: if name.contains("xdpdump") {
                    &sizes
                } else {
                    &[]
                },
                trusted: true,
                target: extension,
                ..plain()
            };
            let loaded = load(&object, &request);
            assert!(loaded.is_ok(), "{} of {name}: {loaded:?}", program.name);
            programs += 1;
        }
    }
    assert!(programs >= 14, "{programs}");
}

#[test]
#[ignore = "needs root and a kernel with freplace: cargo xtask test runs it"]
fn what_changes_packets_takes_a_roots_slot_though_newer_kernels_refuse_it_for_a_plain_function() {
    let template = probe_freplace().expect("this kernel has freplace");
    let stub = compiled("plain_stub");
    let loaded_stub = load(&stub, &plain()).unwrap();
    let plain_function = SlotFunction {
        root: loaded_stub.program.as_fd(),
        type_id: stub.function_type("stub").unwrap(),
    };
    for program in ["head", "tail", "meta"] {
        let against = |function| {
            let target = LoadAs {
                extends: Some(function),
                frags: false,
            };
            let request = LoadRequest {
                program: Some(program),
                target,
                ..plain()
            };
            load(&compiled("modifies"), &request)
        };
        assert!(against(template.function()).is_ok(), "{program}");
        let refuses = kernel::release() >= (6, 12);
        match against(plain_function) {
            Ok(_) => assert!(!refuses, "{program}"),
            Err(ObjectError::Verifier { log, .. }) => {
                assert!(
                    refuses && log.contains("changes packet data"),
                    "{program}: {log}"
                );
            }
            Err(error) => panic!("{program}: {error:?}"),
        }
    }
}
