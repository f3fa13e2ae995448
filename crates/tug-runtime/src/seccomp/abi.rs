//! The ways into the kernel (a system call table each) and their names' numbers.

use std::str::FromStr as _;
use syscalls::{aarch64, arm, x86, x86_64};

/// A kind of machine tug runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Machine {
    X86_64,
    Aarch64,
}

impl Machine {
    pub(super) fn this() -> Self {
        // Any other machine would read its calls from the wrong tables.
        const { assert!(cfg!(any(target_arch = "x86_64", target_arch = "aarch64"))) };
        if cfg!(target_arch = "x86_64") { Self::X86_64 } else { Self::Aarch64 }
    }

    /// As `includes.arches` and `excludes.arches` of a profile name it.
    pub(super) fn docker_name(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// Its own way in first, then those for 32-bit programs.
    pub(super) fn abis(self) -> &'static [Abi] {
        match self {
            Self::X86_64 => &[Abi::X86_64, Abi::X86, Abi::X32],
            Self::Aarch64 => &[Abi::Aarch64, Abi::Arm],
        }
    }

    pub(super) fn native(self) -> Abi {
        self.abis()[0]
    }
}

/// A system call table. X32 is told from X86_64 by a bit of the number, all others by the
/// architecture the kernel says the call came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Abi {
    X86_64,
    X86,
    X32,
    Aarch64,
    Arm,
}

/// `__X32_SYSCALL_BIT`: what an x32 program adds to every number.
pub(super) const X32_BIT: u32 = 0x4000_0000;

impl Abi {
    /// By libseccomp's name, as profiles have it.
    pub(super) fn from_libseccomp(name: &str) -> Option<Self> {
        Some(match name {
            "SCMP_ARCH_X86_64" => Self::X86_64,
            "SCMP_ARCH_X86" => Self::X86,
            "SCMP_ARCH_X32" => Self::X32,
            "SCMP_ARCH_AARCH64" => Self::Aarch64,
            "SCMP_ARCH_ARM" => Self::Arm,
            _ => return None,
        })
    }

    /// `AUDIT_ARCH_*` of linux/audit.h: the ELF machine, 0x8000_0000 for 64 bits, 0x4000_0000 for
    /// little-endian.
    pub(super) fn audit(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
        }
    }

    /// The lowest number, to which those of the table are added.
    pub(super) fn base(self) -> u32 {
        if self == Self::X32 { X32_BIT } else { 0 }
    }

    /// A call's number (without [`Abi::base`]).
    pub(super) fn number(self, name: &str) -> Option<u32> {
        match self {
            Self::X86_64 => x86_64::Sysno::from_str(name).ok().map(|call| call as u32),
            Self::X86 => x86::Sysno::from_str(name).ok().map(|call| call as u32),
            Self::X32 => x86_64::Sysno::from_str(name).ok().map(x32),
            Self::Aarch64 => aarch64::Sysno::from_str(name).ok().map(|call| call as u32),
            Self::Arm => match name {
                // Under 32-bit ARM's own name in its table.
                "sync_file_range2" => Some(arm::Sysno::arm_sync_file_range as u32),
                _ => arm::Sysno::from_str(name)
                    .ok()
                    .map(|call| call as u32)
                    .or_else(|| private(name)),
            },
        }
    }
}

/// Calls that x32 has numbers of its own for, from 512 on: their structures differ from x86_64's.
/// From the kernel's syscall_64.tbl, which is closed to new ones.
const X32_OWN: [x86_64::Sysno; 36] = {
    use x86_64::Sysno as S;
    [
        S::rt_sigaction,
        S::rt_sigreturn,
        S::ioctl,
        S::readv,
        S::writev,
        S::recvfrom,
        S::sendmsg,
        S::recvmsg,
        S::execve,
        S::ptrace,
        S::rt_sigpending,
        S::rt_sigtimedwait,
        S::rt_sigqueueinfo,
        S::sigaltstack,
        S::timer_create,
        S::mq_notify,
        S::kexec_load,
        S::waitid,
        S::set_robust_list,
        S::get_robust_list,
        S::vmsplice,
        S::move_pages,
        S::preadv,
        S::pwritev,
        S::rt_tgsigqueueinfo,
        S::recvmmsg,
        S::sendmmsg,
        S::process_vm_readv,
        S::process_vm_writev,
        S::setsockopt,
        S::getsockopt,
        S::io_setup,
        S::io_submit,
        S::execveat,
        S::preadv2,
        S::pwritev2,
    ]
};

fn x32(call: x86_64::Sysno) -> u32 {
    match (512..).zip(X32_OWN).find(|&(_, own)| own == call) {
        Some((number, _)) => number,
        None => call as u32,
    }
}

/// Calls of 32-bit ARM that have numbers beyond the table (`__ARM_NR_BASE` in its asm/unistd.h).
fn private(name: &str) -> Option<u32> {
    Some(match name {
        "breakpoint" => 0xf_0001,
        "cacheflush" => 0xf_0002,
        "usr26" => 0xf_0003,
        "usr32" => 0xf_0004,
        "set_tls" => 0xf_0005,
        "get_tls" => 0xf_0006,
        _ => return None,
    })
}
