//! Machines do what their commands do, and what goes wrong in them can't look like success.

mod needs_qemu {
    use std::fs;
    use std::time::Duration;

    use vm::{Error, Exit, Kernel, Output, Problem, Series, Vm};

    fn machine(script: &str) -> Vm {
        let kernel = Kernel::debian(Series::V6_1).expect("Debian has it");
        Vm::new(&kernel).command(["sh", "-c", script])
    }

    fn done(machine: &Vm) -> Output {
        machine.output().expect("the machine runs its command")
    }

    /// What was wrong, and what the console said, which is removed.
    fn failed(machine: &Vm) -> (Problem, String) {
        match machine.output() {
            Err(Error::Guest { problem, console }) => {
                let log = fs::read_to_string(&console).expect("the console was kept");
                fs::remove_file(console).expect("it is ours");
                (problem, log)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    #[ignore = "needs QEMU and Debian's kernel: cargo xtask test runs it"]
    fn output_and_exit_code_are_the_commands() {
        let output = done(&machine("echo said; echo complained >&2; exit 42"));
        assert_eq!(output.exit, Exit::Code(42));
        assert_eq!(output.stdout, b"said\n");
        assert_eq!(output.stderr, b"complained\n");
        let output = done(&machine("kill -TERM $$"));
        assert_eq!(output.exit, Exit::Signal(15));
    }

    #[test]
    #[ignore = "needs QEMU and Debian's kernel: cargo xtask test runs it"]
    fn files_variables_and_modules_are_there() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let machine = machine("cat /carried; echo $SAID; ls -1 /sys/module; mount")
            .file(file.as_ref(), "/carried")
            .env("SAID", "two words")
            .module("dummy");
        let output = done(&machine);
        assert_eq!(output.exit, Exit::Code(0));
        let stdout = String::from_utf8(output.stdout).expect("it is text");
        let carried = fs::read_to_string(file).expect("it is there");
        for words in [
            &carried,
            "two words\n",
            "\ndummy\n",
            "\nveth\n",
            "/sys/fs/bpf",
        ] {
            assert!(stdout.contains(words), "no {words:?}: {stdout}");
        }
    }

    #[test]
    #[ignore = "needs QEMU and Debian's kernel: cargo xtask test runs it"]
    fn a_panic_is_a_failure_whatever_was_printed() {
        let script = "echo code 0; echo code 0 > /dev/ttyS0; echo c > /proc/sysrq-trigger";
        let (problem, console) = failed(&machine(script));
        assert!(matches!(problem, Problem::Panicked(_)), "{problem:?}");
        assert!(console.contains("sysrq triggered crash"), "{console}");
    }

    #[test]
    #[ignore = "needs QEMU and Debian's kernel: cargo xtask test runs it"]
    fn a_machine_that_hangs_is_stopped() {
        let machine = machine("while :; do :; done").timeout(Duration::from_secs(15));
        let (problem, console) = failed(&machine);
        assert_eq!(problem, Problem::TimedOut(15));
        assert!(console.contains("Linux version 6.1."), "{console}");
    }

    #[test]
    #[ignore = "needs QEMU and Debian's kernel: cargo xtask test runs it"]
    fn a_machine_that_ends_without_a_report_is_a_failure() {
        let (problem, _) = failed(&machine("busybox poweroff -f"));
        assert!(matches!(problem, Problem::NoReport(_)), "{problem:?}");
    }

    #[test]
    #[ignore = "needs QEMU and Debian's kernel: cargo xtask test runs it"]
    fn a_command_that_is_not_there_is_named() {
        let kernel = Kernel::debian(Series::V6_1).expect("Debian has it");
        let (problem, _) = failed(&Vm::new(&kernel).command(["no-such-program"]));
        let Problem::Init(message) = problem else {
            panic!("{problem:?}");
        };
        assert!(message.contains("no-such-program"), "{message}");
    }

    #[test]
    #[ignore = "needs QEMU and Debian's kernel: cargo xtask test runs it"]
    fn a_module_that_is_not_there_is_named() {
        let error = machine("true").module("no_such_module").output();
        assert!(matches!(error, Err(Error::NoModule(name)) if name == "no_such_module"));
    }

    #[test]
    #[ignore = "needs QEMU and Debian's kernel: cargo xtask test runs it"]
    fn the_newer_kernel_is_newer() {
        let kernel = Kernel::debian(Series::V6_12).expect("Debian's backports have it");
        let output = done(&Vm::new(&kernel).command(["uname", "-r"]));
        assert!(output.stdout.starts_with(b"6.12."), "{output:?}");
    }
}
