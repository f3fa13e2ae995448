//! Docker's default profile, as of mid-2026.
//!
//! The facts are those of moby's profile: which calls, for whom, with which arguments. Rows for
//! machines that tug does not run on are left out, and so is the question whether the kernel is at
//! least 4.8 (since then seccomp looks at a call after a tracer has changed it, so that ptrace is no
//! way around the filter): no kernel tug starts on is older.

use super::abi::Machine;
use super::policy::{Action, Condition, ENOSYS, EPERM, Policy, Test};

/// Some calls, when they have a rule, and which.
struct Row {
    when: When,
    /// Names between spaces.
    calls: &'static str,
    conditions: &'static [Condition],
    action: Action,
}

enum When {
    Always,
    /// The process has the capability.
    With(&'static str),
    Without(&'static str),
    On(Machine),
}

const fn allow(when: When, calls: &'static str) -> Row {
    Row { when, calls, conditions: &[], action: Action::ALLOW }
}

const fn allow_if(when: When, calls: &'static str, conditions: &'static [Condition]) -> Row {
    Row { when, calls, conditions, action: Action::ALLOW }
}

const fn first(test: Test) -> Condition {
    Condition { argument: 0, test }
}

/// Calls that need no capability, or check it themselves against the container's user namespace,
/// and that reach nothing outside what the container was given.
const HARMLESS: &str = "
    accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32
    clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
    clock_nanosleep clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2
    dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait
    epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64
    fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat
    fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstat64
    fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64
    futex_wait futex_waitv futex_wake futimesat get_robust_list get_thread_area getcpu getcwd
    getdents getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32
    getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresgid32
    getresuid getresuid32 getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday
    getuid getuid32 getxattr getxattrat inotify_add_watch inotify_init inotify_init1
    inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup
    io_submit ioctl ioprio_get ioprio_set ipc kill landlock_add_rule landlock_create_ruleset
    landlock_restrict_self lchown lchown32 lgetxattr link linkat listen listmount listxattr
    listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 madvise
    map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock
    mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open mq_timedreceive
    mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget
    msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat _newselect
    open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free
    pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease
    pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recv
    recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr removexattrat rename
    renameat renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask
    rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64
    rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr
    sched_getparam sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64
    sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select
    semctl semget semop semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg
    sendto set_robust_list set_thread_area set_tid_address setfsgid setfsgid32 setfsuid setfsuid32
    setgid setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid setregid32
    setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit setsid setsockopt
    setuid setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd
    signalfd4 sigprocmask sigreturn socketcall socketpair splice stat stat64 statfs statfs64
    statmount statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time
    timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime
    timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime
    timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat
    uretprobe utime utimensat utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write
    writev";

const AF_ALG: u64 = libc::AF_ALG as u64;
const AF_VSOCK: u64 = libc::AF_VSOCK as u64;

/// All that clone(2) can make a namespace of. CLONE_NEWTIME is missing because clone(2) sees a part
/// of the exit signal in that bit.
const NAMESPACES: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWCGROUP) as u64;

const ROWS: &[Row] = &[
    allow(When::Always, HARMLESS),
    // Reach only processes that the caller may ptrace, which its user namespace and ids decide.
    allow(When::Always, "process_vm_readv process_vm_writev ptrace"),
    // Every family but two: AF_VSOCK talks to the hypervisor past all network namespaces, and
    // AF_ALG opens the kernel's cryptography, a large surface that programs hardly use. Through
    // socketcall(2), 32-bit x86 gets both all the same: a filter cannot see what it points to.
    allow_if(When::Always, "socket", &[first(Test::Less(AF_ALG))]),
    allow_if(When::Always, "socket", &[first(Test::Equal(AF_ALG + 1))]),
    allow_if(When::Always, "socket", &[first(Test::Greater(AF_VSOCK))]),
    // Execution domains that are no attack surface: Linux, PER_LINUX32, each also with UNAME26
    // (old programs that stumble over a version above 2.6), and the question which it is now.
    // Others map page zero or switch address randomisation off.
    allow_if(When::Always, "personality", &[first(Test::Equal(0))]),
    allow_if(When::Always, "personality", &[first(Test::Equal(0x0008))]),
    allow_if(When::Always, "personality", &[first(Test::Equal(0x2_0000))]),
    allow_if(When::Always, "personality", &[first(Test::Equal(0x2_0008))]),
    allow_if(When::Always, "personality", &[first(Test::Equal(0xffff_ffff))]),
    // What these machines' C libraries and interpreters cannot do without: thread-local storage,
    // flushing caches after writing code, ARM's own order of arguments.
    allow(
        When::On(Machine::Aarch64),
        "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls",
    ),
    // The thread pointer; segments of 16-bit programs.
    allow(When::On(Machine::X86_64), "arch_prctl modify_ldt"),
    // Opens files by handle, with no path to be checked on the way.
    allow(When::With("CAP_DAC_READ_SEARCH"), "open_by_handle_at"),
    // Mounts, namespaces and what else administers a machine. The kernel asks for CAP_SYS_ADMIN
    // too, but is content with one that a new user namespace gives to anybody; hence not without
    // it here, so that nobody gets at this much kernel code by way of a user namespace.
    allow(
        When::With("CAP_SYS_ADMIN"),
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie
        lsm_get_self_attr lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree
        perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2
        unshare",
    ),
    // Processes and threads for everybody, namespaces not.
    allow_if(
        When::Without("CAP_SYS_ADMIN"),
        "clone",
        &[first(Test::Masked { mask: NAMESPACES, value: 0 })],
    ),
    // Has its flags in memory where a filter cannot see them. ENOSYS and not EPERM: C libraries
    // then go on with clone.
    Row {
        when: When::Without("CAP_SYS_ADMIN"),
        calls: "clone3",
        conditions: &[],
        action: Action::errno(ENOSYS),
    },
    // The following are what the capability is about, useless without it, and so not offered to
    // an attacker who has not got it.
    allow(When::With("CAP_SYS_BOOT"), "reboot"),
    allow(When::With("CAP_SYS_CHROOT"), "chroot"),
    allow(When::With("CAP_SYS_MODULE"), "delete_module init_module finit_module"),
    allow(When::With("CAP_SYS_PACCT"), "acct"),
    // Beyond ptrace itself: descriptors and memory advice of other processes, comparing kernel
    // objects (an oracle about addresses).
    allow(
        When::With("CAP_SYS_PTRACE"),
        "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
    ),
    allow(When::With("CAP_SYS_RAWIO"), "iopl ioperm"),
    // The clock is no namespace's: setting it sets the host's.
    allow(When::With("CAP_SYS_TIME"), "settimeofday stime clock_settime clock_settime64"),
    allow(When::With("CAP_SYS_TTY_CONFIG"), "vhangup"),
    // Placement on NUMA nodes, with which one container can slow others down.
    allow(
        When::With("CAP_SYS_NICE"),
        "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    ),
    // The rights that were split off CAP_SYS_ADMIN. The kernel's log is the host's.
    allow(When::With("CAP_SYSLOG"), "syslog"),
    allow(When::With("CAP_BPF"), "bpf"),
    allow(When::With("CAP_PERFMON"), "perf_event_open"),
];

/// The profile as it reads for these capabilities.
pub(super) fn policy(machine: Machine, capabilities: &[String]) -> Policy {
    let mut policy = Policy::new(machine.native(), machine.abis().iter().copied(), DEFAULT);
    for (name, conditions, action) in rules(machine, capabilities) {
        policy.add(name, conditions, action);
    }
    policy
}

/// Whether the profile reads for these capabilities as it does for Docker's fourteen, of which chroot(2)'s
/// alone makes a difference.
pub(super) fn is_ordinary(capabilities: &[String]) -> bool {
    let has = |name: &str| capabilities.iter().any(|capability| capability == name);
    ROWS.iter().all(|row| match row.when {
        When::Always | When::On(_) => true,
        When::With(name) | When::Without(name) => has(name) == (name == "CAP_SYS_CHROOT"),
    })
}

/// What happens without a rule: the answer programs expect when they lack a right.
pub(super) const DEFAULT: Action = Action::errno(EPERM);

/// The rows that apply, one rule a name.
pub(super) fn rules(
    machine: Machine,
    capabilities: &[String],
) -> impl Iterator<Item = (&'static str, &'static [Condition], Action)> {
    let has = |name: &str| capabilities.iter().any(|capability| capability == name);
    let applies = move |row: &&Row| match row.when {
        When::Always => true,
        When::With(capability) => has(capability),
        When::Without(capability) => !has(capability),
        When::On(machines) => machine == machines,
    };
    ROWS.iter().filter(applies).flat_map(|row| {
        row.calls.split_ascii_whitespace().map(|name| (name, row.conditions, row.action))
    })
}
