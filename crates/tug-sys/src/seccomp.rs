//! Loading a system call filter (seccomp(2)) into the calling thread.

#![expect(unsafe_code, reason = "the filter is handed over as a pointer")]

use std::io;

/// One instruction of classic BPF, laid out as the kernel's `struct sock_filter`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What to do: `BPF_LD | BPF_W | BPF_ABS` and the like.
    pub code: u16,
    /// How many instructions to skip when the comparison holds.
    pub jt: u8,
    /// How many instructions to skip when it does not.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// Filters the system calls of the calling thread, and of all it starts, from here on and for good.
/// With `log`, the kernel's audit log names every call that is not simply allowed (Linux 4.14;
/// older kernels load the same filter without the log).
///
/// # Errors
/// EACCES without CAP_SYS_ADMIN when the thread's no_new_privs is not set, EINVAL for a program the
/// kernel does not take or a kernel without filters, `InvalidInput` for more than 65,535 instructions.
pub fn load(program: &[Instruction], log: bool) -> io::Result<()> {
    let len = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // The kernel only reads the program; its type has no const pointer.
    let program =
        libc::sock_fprog { len, filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut() };
    let flags = if log { libc::SECCOMP_FILTER_FLAG_LOG } else { 0 };
    match set_filter(&program, flags) {
        // A kernel that does not know the flag. A program it does not take fails again below.
        Err(error) if log && error.raw_os_error() == Some(libc::EINVAL) => set_filter(&program, 0),
        // Linux before 3.17, and sandboxes that know only the older call.
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => set_filter_by_prctl(&program),
        result => result,
    }
}

fn set_filter(program: &libc::sock_fprog, flags: libc::c_ulong) -> io::Result<()> {
    // SAFETY: the program points to `len` instructions that live until the call returns, and the
    // kernel copies them. Instruction has the layout of sock_filter.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::c_ulong::from(libc::SECCOMP_SET_MODE_FILTER),
            flags,
            std::ptr::from_ref(program),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn set_filter_by_prctl(program: &libc::sock_fprog) -> io::Result<()> {
    // SAFETY: as in `set_filter`.
    let result = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::c_ulong::from(libc::SECCOMP_MODE_FILTER),
            std::ptr::from_ref(program),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

const _: () = assert!(
    size_of::<Instruction>() == size_of::<libc::sock_filter>()
        && align_of::<Instruction>() == align_of::<libc::sock_filter>()
);
