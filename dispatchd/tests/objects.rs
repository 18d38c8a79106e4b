//! Objects on a real kernel: what loads does what it was written for, what doesn't is refused with
//! the reason.

#[path = "objects/kernel.rs"]
mod kernel;
#[path = "objects/needs_freplace.rs"]
mod needs_freplace;

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use dispatchd::object::{
    DeclaredType, Existing, ExistingMap, GlobalFault, GlobalValue, LoadAs, LoadRequest, Loaded,
    MapFault, ObjectError, Unsupported, load,
};
use kernel::{
    ABORTED, DROP, PASS, await_gone, compiled, element, map_info, packaged, packet, program_info,
    run,
};
use planner::TailCall;

/// The only program, as it is, for anybody.
fn plain() -> LoadRequest<'static> {
    LoadRequest {
        program: None,
        map_sizes: &[],
        globals: &[],
        tail_calls: &[],
        trusted: false,
        existing: Existing::Shared(&[]),
        target: LoadAs::XDP,
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_plain_program_returns_its_verdict() {
    for (name, expected) in [
        ("verdict", PASS),
        ("frags", PASS),
        ("unknown_section", DROP),
        ("legacy", PASS),
        ("pinned", PASS),
        ("pinned_legacy", PASS),
        ("counter", PASS),
        ("slow", PASS),
        ("slow_to_verify", PASS),
        ("hungry", PASS),
    ] {
        let loaded = load(&compiled(name), &plain()).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        assert_eq!(run(&loaded.program, &packet(0)), expected, "{name}");
        let info = program_info(loaded.program.as_fd());
        assert_eq!(info.id, loaded.program_id, "{name}");
        assert_eq!(loaded.has_program_array, name == "hungry");
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn debians_programs_load() {
    let mut programs = 0;
    for (name, object) in packaged() {
        for program in object.programs() {
            if program.declared == DeclaredType::Other {
                continue;
            }
            let request = LoadRequest {
                program: Some(&program.name),
                ..plain()
            };
            let loaded = load(&object, &request)
                .unwrap_or_else(|error| panic!("{name} {}: {error:?}", program.name));
            run(&loaded.program, &packet(0));
            programs += 1;
        }
    }
    assert!(programs >= 12, "{programs} programs");
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn each_of_several_programs_loads_by_its_name() {
    let object = compiled("several");
    for (name, expected) in [
        ("pass", PASS),
        ("drop", DROP),
        ("aborted", ABORTED),
        ("tx", 3),
    ] {
        let request = LoadRequest {
            program: Some(name),
            ..plain()
        };
        let loaded = load(&object, &request).unwrap();
        assert_eq!(run(&loaded.program, &packet(0)), expected, "{name}");
        let line_infos = program_info(loaded.program.as_fd()).nr_line_info;
        assert!(line_infos > 0, "{name} has lost its lines");
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_program_is_fitted_to_the_kernels_types() {
    let object = compiled("core");
    for (name, expected) in [("has_mtu", PASS), ("has_nothing", DROP)] {
        let request = LoadRequest {
            program: Some(name),
            ..plain()
        };
        let loaded = load(&object, &request).unwrap();
        assert_eq!(run(&loaded.program, &packet(0)), expected, "{name}");
    }
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_program_of_another_section_name_keeps_its_types() {
    let loaded = load(&compiled("unknown_section"), &plain()).unwrap();
    let info = program_info(loaded.program.as_fd());
    assert!(info.btf_id > 0 && info.nr_func_info == 1 && info.nr_line_info > 0);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn globals_are_set_before_the_load() {
    let object = compiled("verdict");
    let with = |name: &str, value| {
        let globals = [(name.to_owned(), value)];
        let request = LoadRequest {
            globals: &globals,
            ..plain()
        };
        load(&object, &request)
    };
    for verdict in [0, 1, 4, 31, 200, i128::from(u32::MAX)] {
        let loaded = with("verdict", GlobalValue::Integer(verdict)).unwrap();
        assert_eq!(i128::from(run(&loaded.program, &packet(0))), verdict);
    }
    let loaded = with("verdict", GlobalValue::Integer(-1)).unwrap();
    assert_eq!(run(&loaded.program, &packet(0)), u32::MAX);
    let loaded = with("verdict", GlobalValue::Bytes(vec![1, 0, 0, 0])).unwrap();
    assert_eq!(run(&loaded.program, &packet(0)), DROP);

    let fault = |name, value| match with(name, value) {
        Err(ObjectError::Global { fault, .. }) => fault,
        other => panic!("{other:?}"),
    };
    let too_large = GlobalValue::Integer(i128::from(u32::MAX) + 1);
    assert!(matches!(
        fault("verdict", too_large),
        GlobalFault::OutOfRange { bytes: 4, .. }
    ));
    assert!(matches!(
        fault("verdict", GlobalValue::Bytes(vec![0; 3])),
        GlobalFault::Size { given: 3, .. }
    ));
    assert!(matches!(
        fault("verdit", GlobalValue::Integer(0)),
        GlobalFault::Unknown { known } if known.0 == ["verdict"]
    ));
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_map_without_a_size_needs_one() {
    let object = compiled("unsized");
    let error = load(&object, &plain()).unwrap_err().to_string();
    assert!(
        error.contains("map flows: the object doesn't say how many"),
        "{error}"
    );

    let with = |name: &str, entries| {
        let map_sizes = [(name.to_owned(), entries)];
        let request = LoadRequest {
            map_sizes: &map_sizes,
            ..plain()
        };
        load(&object, &request)
    };
    let loaded = with("flows", 77).unwrap();
    assert_eq!(map_info(map(&loaded, "flows")).max_entries, 77);
    let error = with("flow", 77).unwrap_err().to_string();
    assert!(error.contains("there is flows"), "{error}");
    let error = with("flows", u32::MAX).unwrap_err();
    assert!(
        matches!(
            error,
            ObjectError::Map {
                fault: MapFault::Refused { .. },
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn tail_calls_go_where_the_request_says() {
    let object = compiled("tailcalls");
    let call = |map: &str, index, program: &str| TailCall {
        map: map.to_owned(),
        index,
        program: program.to_owned(),
    };
    let with = |tail_calls: &[TailCall]| {
        let request = LoadRequest {
            program: Some("choose"),
            tail_calls,
            ..plain()
        };
        load(&object, &request)
    };
    let empty = with(&[]).unwrap();
    assert_eq!(run(&empty.program, &packet(0)), ABORTED);
    let both = with(&[call("targets", 0, "even"), call("targets", 1, "odd")]).unwrap();
    assert_eq!(run(&both.program, &packet(0)), PASS);
    assert_eq!(run(&both.program, &packet(1)), DROP);
    let same = with(&[call("targets", 0, "odd"), call("targets", 1, "odd")]).unwrap();
    assert_eq!(run(&same.program, &packet(0)), DROP);

    let error = with(&[call("targets", 2, "odd")]).unwrap_err();
    assert!(error.to_string().contains("none at index 2"), "{error}");
    let error = with(&[call("target", 0, "odd")]).unwrap_err();
    assert!(error.to_string().contains("there is targets"), "{error}");
    let error = with(&[call("targets", 0, "nobody")]).unwrap_err();
    assert!(
        matches!(error, ObjectError::NoSuchProgram { .. }),
        "{error:?}"
    );

    let hungry = [call("again", 0, "hungry")];
    let request = LoadRequest {
        tail_calls: &hungry,
        ..plain()
    };
    let hungry = load(&compiled("hungry"), &request).unwrap();
    assert_eq!(run(&hungry.program, &packet(0)), PASS);
    let counter = [call("packets", 0, "counter")];
    let request = LoadRequest {
        tail_calls: &counter,
        ..plain()
    };
    let error = load(&compiled("counter"), &request).unwrap_err();
    assert!(error.to_string().contains("not a program array"), "{error}");
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn an_existing_map_is_shared_if_it_has_the_same_shape() {
    let object = compiled("counter");
    let first = load(&object, &plain()).unwrap();
    let existing: Vec<_> = first
        .maps
        .iter()
        .map(|map| ExistingMap {
            name: &map.name,
            fd: map.fd.as_fd(),
        })
        .collect();
    let second = load(
        &object,
        &LoadRequest {
            existing: Existing::Shared(&existing),
            ..plain()
        },
    )
    .unwrap();
    run(&first.program, &packet(0));
    run(&second.program, &packet(0));
    for name in ["packets", ".bss"] {
        assert_eq!(id(&first, name), id(&second, name), "{name}");
        assert_eq!(element(map(&first, name)), 2, "{name}");
    }

    let sizes = [("packets".to_owned(), 2)];
    let globals = [("seen".to_owned(), GlobalValue::Integer(40))];
    let larger = load(
        &object,
        &LoadRequest {
            map_sizes: &sizes,
            globals: &globals,
            existing: Existing::Shared(&existing),
            ..plain()
        },
    )
    .unwrap();
    run(&larger.program, &packet(0));
    assert_ne!(id(&first, "packets"), id(&larger, "packets"));
    assert_eq!(element(map(&larger, "packets")), 1);
    assert_eq!(element(map(&larger, ".bss")), 41);
    assert_eq!(element(map(&first, ".bss")), 2);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_program_that_is_loaded_again_keeps_all_its_maps_as_they_are() {
    let object = compiled("counter");
    let sizes = [("packets".to_owned(), 7)];
    let globals = [("seen".to_owned(), GlobalValue::Integer(40))];
    let first = load(
        &object,
        &LoadRequest {
            map_sizes: &sizes,
            globals: &globals,
            ..plain()
        },
    )
    .unwrap();
    run(&first.program, &packet(0));
    let own: Vec<_> = first
        .maps
        .iter()
        .map(|map| ExistingMap {
            name: &map.name,
            fd: map.fd.as_fd(),
        })
        .collect();
    let frags = LoadAs {
        frags: true,
        ..LoadAs::XDP
    };
    for target in [LoadAs::XDP, frags] {
        let again = load(
            &object,
            &LoadRequest {
                existing: Existing::Own(&own),
                target,
                ..plain()
            },
        )
        .unwrap();
        assert_ne!(again.program_id, first.program_id);
        for map in &first.maps {
            assert_eq!(id(&first, &map.name), id(&again, &map.name), "{}", map.name);
        }
        run(&again.program, &packet(0));
    }
    assert_eq!(element(map(&first, ".bss")), 43);
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_map_that_wants_to_be_pinned_is_the_members_own() {
    let object = compiled("pinned");
    let (first, second) = (
        load(&object, &plain()).unwrap(),
        load(&object, &plain()).unwrap(),
    );
    let name = "dispatchd_test_pinned";
    assert_ne!(id(&first, name), id(&second, name));
    assert!(!Path::new("/sys/fs/bpf").join(name).exists());
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn a_refused_program_brings_its_whole_log() {
    let log = |name| match load(&compiled(name), &plain()) {
        Err(ObjectError::Verifier { log, program, .. }) => {
            assert_eq!(program, name);
            log
        }
        other => panic!("{name}: {other:?}"),
    };
    assert!(log("rejected").contains("invalid access to packet"));
    let log = log("big_log");
    assert!(log.len() > 1 << 20, "{} bytes", log.len());
    assert!(log.contains("R1=ctx") && log.contains("invalid access to packet"));
    assert!(
        log.trim_end()
            .lines()
            .last()
            .unwrap()
            .starts_with("processed ")
    );
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn only_the_trusted_may_read_the_kernel() {
    let object = compiled("probe_read");
    let error = load(&object, &plain()).unwrap_err();
    assert!(
        matches!(&error, ObjectError::Helper { helper, .. } if helper == "bpf_probe_read_kernel"),
        "{error:?}"
    );
    let trusted = LoadRequest {
        trusted: true,
        ..plain()
    };
    load(&object, &trusted).unwrap();
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn what_would_load_wrongly_is_refused() {
    let part = |name| {
        let object = compiled(name);
        let trusted = LoadRequest {
            program: Some(name),
            trusted: true,
            ..plain()
        };
        match load(&object, &trusted) {
            Err(ObjectError::Unsupported { part, .. }) => part,
            other => panic!("{name}: {other:?}"),
        }
    };
    let extern_of = |name| {
        let part = part(name);
        let Unsupported::Extern { name } = part else {
            panic!("{name}: {part:?}");
        };
        name
    };
    assert_eq!(extern_of("kfunc"), "bpf_xdp_metadata_rx_timestamp");
    assert_eq!(extern_of("kconfig"), "LINUX_KERNEL_VERSION");
    let filled_of = |name| {
        let part = part(name);
        let Unsupported::StaticValues { map } = part else {
            panic!("{name}: {part:?}");
        };
        map
    };
    assert_eq!(filled_of("array_of_maps"), "outer");
    assert_eq!(filled_of("static_targets"), "targets");
}

#[test]
#[ignore = "needs root and a BPF kernel: cargo xtask test runs it"]
fn nothing_outlives_its_descriptors() {
    let object = compiled("counter");
    let loaded = load(&object, &plain()).unwrap();
    let maps: Vec<u32> = loaded.maps.iter().map(|map| map_info(&map.fd).id).collect();
    let program = loaded.program_id;
    drop(loaded);
    await_gone(program, &maps);
}

fn map<'a>(loaded: &'a Loaded, name: &str) -> &'a OwnedFd {
    let mut maps = loaded.maps.iter();
    &maps
        .find(|map| map.name == name)
        .expect("the map is there")
        .fd
}

fn id(loaded: &Loaded, name: &str) -> u32 {
    map_info(map(loaded, name)).id
}
