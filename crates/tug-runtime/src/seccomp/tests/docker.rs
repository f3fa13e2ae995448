//! Facts about Docker's default profile that can be read off its documentation.

use super::*;

/// What happens to a call by name on x86_64.
fn native(program: &[Instruction], call: syscalls::x86_64::Sysno, arguments: [u64; 6]) -> Action {
    bpf::run(program, X86_64, call as u32, arguments).0
}

const ANY: [u64; 6] = [0x1234_5678_9abc_def0; 6];

fn with_first(argument: u64) -> [u64; 6] {
    [argument, 7, 7, 7, 7, 7]
}

#[test]
fn an_ordinary_container_may_do_what_programs_do_and_not_administer() {
    use syscalls::x86_64::Sysno as S;
    let program = default_program(Machine::X86_64, &fourteen());
    for call in [
        S::read,
        S::openat,
        S::execve,
        S::ptrace,
        S::chroot,
        S::seccomp,
        S::fork,
        S::mknod,
        S::arch_prctl,
        S::removexattrat,
        S::process_vm_readv,
    ] {
        assert_eq!(native(&program, call, ANY), Action::ALLOW, "{call}");
    }
    for call in [
        S::mount,
        S::umount2,
        S::unshare,
        S::setns,
        S::keyctl,
        S::add_key,
        S::request_key,
        S::bpf,
        S::io_uring_setup,
        S::userfaultfd,
        S::kexec_load,
        S::open_by_handle_at,
        S::init_module,
        S::reboot,
        S::swapon,
        S::perf_event_open,
        S::open_tree,
        S::fsopen,
        S::pivot_root,
        S::clock_settime,
        S::syslog,
        S::sethostname,
        S::quotactl,
    ] {
        assert_eq!(native(&program, call, ANY), DENIED, "{call}");
    }
}

#[test]
fn capabilities_open_what_they_are_about() {
    use syscalls::x86_64::Sysno as S;
    for (capability, calls) in [
        ("SYS_CHROOT", &[S::chroot][..]),
        ("SYS_ADMIN", &[S::mount, S::unshare, S::setns, S::clone3, S::bpf, S::move_mount]),
        ("SYS_MODULE", &[S::init_module, S::finit_module, S::delete_module]),
        ("SYS_TIME", &[S::settimeofday, S::clock_settime]),
        ("SYS_NICE", &[S::mbind, S::set_mempolicy]),
        ("SYSLOG", &[S::syslog]),
        ("BPF", &[S::bpf]),
        ("DAC_READ_SEARCH", &[S::open_by_handle_at]),
    ] {
        let without = default_program(Machine::X86_64, &[]);
        let with = default_program(Machine::X86_64, &capabilities(&[capability]));
        for call in calls {
            assert_ne!(native(&without, *call, ANY), Action::ALLOW, "{call}");
            assert_eq!(native(&with, *call, ANY), Action::ALLOW, "{call} with {capability}");
        }
    }
}

#[test]
fn processes_are_for_all_and_namespaces_are_not() {
    use syscalls::x86_64::Sysno as S;
    let program = default_program(Machine::X86_64, &fourteen());
    let clone = |flags: i32| native(&program, S::clone, with_first(flags as u64));
    assert_eq!(clone(libc::SIGCHLD), Action::ALLOW);
    assert_eq!(clone(libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD), Action::ALLOW);
    for namespace in [
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWNS,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWCGROUP,
    ] {
        assert_eq!(clone(namespace | libc::SIGCHLD), DENIED, "{namespace:#x}");
    }
    assert_eq!(native(&program, S::clone3, ANY), UNKNOWN);
    let root = default_program(Machine::X86_64, &capabilities(&["SYS_ADMIN"]));
    assert_eq!(native(&root, S::clone, with_first(libc::CLONE_NEWUSER as u64)), Action::ALLOW);
}

#[test]
fn arguments_decide_about_sockets_and_personalities() {
    use syscalls::x86_64::Sysno as S;
    let program = default_program(Machine::X86_64, &fourteen());
    let socket = |family: i32| native(&program, S::socket, with_first(family as u64));
    for family in [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK, 39, 41] {
        assert_eq!(socket(family), Action::ALLOW, "family {family}");
    }
    assert_eq!(socket(libc::AF_VSOCK), DENIED);
    assert_eq!(socket(libc::AF_ALG), DENIED);
    let personality = |persona| native(&program, S::personality, with_first(persona));
    for persona in [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff] {
        assert_eq!(personality(persona), Action::ALLOW, "{persona:#x}");
    }
    // ADDR_NO_RANDOMIZE, MMAP_PAGE_ZERO, and more than 32 bits.
    for persona in [0x4_0000, 0x10_0000, 1 << 32, u64::MAX] {
        assert_eq!(personality(persona), DENIED, "{persona:#x}");
    }
}

#[test]
fn calls_of_the_future_do_not_exist() {
    let program = default_program(Machine::X86_64, &fourteen());
    for (architecture, number) in [
        (X86_64, syscalls::x86_64::Sysno::removexattrat as u32 + 1),
        (X86_64, 600),
        (X86_64, u32::MAX),
        (I386, syscalls::x86::Sysno::removexattrat as u32 + 1),
        (X86_64, X32_BIT + 548),
    ] {
        let (action, _) = bpf::run(&program, architecture, number, ANY);
        assert_eq!(action, UNKNOWN, "{architecture:#x} {number}");
    }
    // A gap in the table is nothing new.
    assert_eq!(bpf::run(&program, X86_64, 400, ANY).0, DENIED);
}

#[test]
fn programs_of_32_bits_get_their_own_numbers() {
    use syscalls::x86::Sysno as S;
    let program = default_program(Machine::X86_64, &fourteen());
    let i386 = |call: S, arguments| bpf::run(&program, I386, call as u32, arguments).0;
    for call in [S::waitpid, S::chown32, S::socketcall, S::ipc, S::_llseek, S::clock_gettime64] {
        assert_eq!(i386(call, ANY), Action::ALLOW, "{call}");
    }
    for call in [S::umount, S::stime, S::vm86, S::mount] {
        assert_eq!(i386(call, ANY), DENIED, "{call}");
    }
    assert_eq!(i386(S::clone, with_first(libc::CLONE_NEWUSER as u64)), DENIED);
    let x32 = |number: u32| bpf::run(&program, X86_64, X32_BIT + number, ANY).0;
    assert_eq!(x32(syscalls::x86_64::Sysno::openat as u32), Action::ALLOW);
    assert_eq!(x32(syscalls::x86_64::Sysno::mount as u32), DENIED);
    // rt_sigaction, ptrace and pwritev2 by x32's numbers, kexec_load, then x86_64's rt_sigaction.
    assert_eq!([512, 521, 547].map(x32), [Action::ALLOW; 3]);
    assert_eq!([528, 13].map(x32), [DENIED; 2]);
}

#[test]
fn arm_has_its_private_calls_and_no_other_machines() {
    let program = default_program(Machine::Aarch64, &fourteen());
    let arm = |number| bpf::run(&program, ARM, number, ANY).0;
    // cacheflush and set_tls; usr26 between them has no rule.
    assert_eq!([0xf_0002, 0xf_0005].map(arm), [Action::ALLOW; 2]);
    assert_eq!(arm(0xf_0003), UNKNOWN);
    let aarch64 = |number| bpf::run(&program, AARCH64, number, ANY).0;
    assert_eq!(aarch64(syscalls::aarch64::Sysno::openat as u32), Action::ALLOW);
    assert_eq!(aarch64(syscalls::aarch64::Sysno::mount as u32), DENIED);
    for architecture in [X86_64, I386, 0] {
        assert_eq!(bpf::run(&program, architecture, 1, ANY).0, Action::KILL_THREAD);
    }
}

/// Nine comparisons or so find one of a thousand numbers.
#[test]
fn the_tree_is_a_tree() {
    let program = default_program(Machine::X86_64, &fourteen());
    for architecture in [X86_64, I386] {
        for number in (0..600).chain(X32_BIT..X32_BIT + 600) {
            let (_, steps) = bpf::run(&program, architecture, number, [1 << 40; 6]);
            assert!(steps < 40, "{architecture:#x} {number}: {steps} instructions");
        }
    }
    assert!(program.len() < 1000, "{} instructions", program.len());
}

#[test]
fn dockers_fourteen_have_their_program_ready() {
    let ready = super::super::program(&crate::Seccomp::Default, &fourteen()).unwrap().unwrap();
    assert!(matches!(ready, std::borrow::Cow::Borrowed(_)));
    assert!(*ready == default_program(Machine::this(), &fourteen()));
    for name in ["SYS_ADMIN", "SYS_TIME", "BPF"] {
        let mut more = fourteen();
        more.extend(capabilities(&[name]));
        let made = super::super::program(&crate::Seccomp::Default, &more).unwrap().unwrap();
        assert!(*made == default_program(Machine::this(), &more), "{name}");
        assert!(made != ready, "{name}");
    }
    let none = super::super::program(&crate::Seccomp::Default, &[]).unwrap().unwrap();
    assert!(none != ready, "chroot is not for those without its capability");
}

#[test]
fn what_is_not_ready_is_compiled_in_no_time() {
    let mut capabilities = fourteen();
    capabilities.push("CAP_SYS_TIME".to_owned());
    let once = || {
        let start = std::time::Instant::now();
        super::super::program(&crate::Seccomp::Default, &capabilities).unwrap().unwrap();
        start.elapsed()
    };
    let best = (0..100).map(|_| once()).min().unwrap();
    // Optimised, 30 microseconds were measured.
    let limit = if cfg!(debug_assertions) { 5000 } else { 60 };
    assert!(best.as_micros() < limit, "{best:?}");
}
