//! The container's system call filter: which calls its processes may make.
//!
//! A profile (Docker's default, [`docker`], or one of the user's in Docker's JSON format,
//! [`profile`]) becomes a [`Policy`](policy::Policy), the profile as it reads on this machine for
//! these capabilities; the policy becomes a BPF program ([`compile`]). What a profile means where
//! its text leaves it open is what runc and libseccomp make of it, since that is what profiles are
//! written against:
//!
//! - A name the machine's tables do not have is skipped.
//! - Calls newer than the newest the profile names fail with ENOSYS, so that a C library falls back
//!   to an older call instead of giving up on EPERM.
//! - A rule without conditions beats those with conditions; two conditions on one argument are
//!   alternatives.
//! - Calls through an architecture the profile does not list kill the thread.
//!
//! Docker's default for ordinary capabilities is compiled ahead of time ([`ahead`]); everything else is
//! compiled when it is needed, in some 30 microseconds.

mod abi;
mod ahead;
mod compile;
mod docker;
mod policy;
mod profile;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use tug_sys::seccomp::Instruction;
use tug_types::{Explain, Kind};

/// Why a profile is not a filter.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// Not JSON, or not of the profile's shape.
    #[error("read the seccomp profile")]
    Json(#[source] serde_json::Error),
    /// `defaultAction` is missing though there are rules.
    #[error("the seccomp profile has system calls but no defaultAction")]
    NoDefaultAction,
    /// Two spellings of one thing.
    #[error("the seccomp profile has both {0:?} and {1:?}")]
    Both(&'static str, &'static str),
    /// A rule that names the empty string.
    #[error("rule {rule} of the seccomp profile names a system call \"\"")]
    EmptyName {
        /// Counted from 1.
        rule: usize,
    },
    /// No action of seccomp's.
    #[error("{action:?} is not an action of a seccomp profile")]
    Action {
        /// As the profile has it.
        action: String,
    },
    /// An action that needs an agent outside the container to decide.
    #[error("SCMP_ACT_NOTIFY is not supported in a seccomp profile")]
    Notify,
    /// A number that the action cannot carry.
    #[error("{number} does not fit {action} in the seccomp profile")]
    Errno {
        /// As the profile has it.
        action: String,
        /// As the profile has it.
        number: u64,
    },
    /// No comparison of seccomp's.
    #[error("{operator:?}, which the seccomp profile has for {call}, is not a comparison")]
    Operator {
        /// The first system call of the rule.
        call: String,
        /// As the profile has it.
        operator: String,
    },
    /// A condition on an argument that no system call has.
    #[error("{call} of the seccomp profile has a condition on argument {index}: there are 0 to 5")]
    Argument {
        /// The first system call of the rule.
        call: String,
        /// As the profile has it.
        index: u64,
    },
    /// No architecture of seccomp's.
    #[error("{architecture:?} is not an architecture of a seccomp profile")]
    Architecture {
        /// As the profile has it.
        architecture: String,
    },
    /// No flag of seccomp(2)'s.
    #[error("{flag:?} is not a flag of a seccomp profile")]
    Flag {
        /// As the profile has it.
        flag: String,
    },
    /// A `minKernel` that is no version.
    #[error("{version:?} is not a kernel version of the form \"5.10\" in the seccomp profile")]
    KernelVersion {
        /// As the profile has it.
        version: String,
    },
    /// This kernel's release names no version to compare a `minKernel` with.
    #[error("compare the seccomp profile's minKernel with this kernel's release {release:?}")]
    KernelRelease {
        /// What uname(2) says.
        release: String,
    },
    /// More than the kernel takes.
    #[error(
        "the seccomp profile needs a program of {instructions} instructions, the kernel takes {MAX_INSTRUCTIONS}"
    )]
    TooLong {
        /// How many it came to.
        instructions: usize,
    },
}

/// The kernel's `BPF_MAXINSNS`.
const MAX_INSTRUCTIONS: usize = 4096;

impl Explain for SeccompError {
    fn kind(&self) -> Kind {
        match self {
            Self::KernelRelease { .. } => Kind::Internal,
            _ => Kind::Invalid,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Json(_) => "the format is that of Docker's default.json",
            Self::NoDefaultAction => "SCMP_ACT_ERRNO as defaultAction denies what no rule allows",
            Self::Both(..) => "keep one of them",
            Self::Action { .. } => {
                "SCMP_ACT_ followed by ALLOW, ERRNO, KILL, KILL_THREAD, KILL_PROCESS, TRAP, TRACE or LOG"
            }
            Self::Operator { .. } => "SCMP_CMP_ followed by EQ, NE, LT, LE, GT, GE or MASKED_EQ",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// The filter to load for a process with these capabilities (its bounding set, `CAP_...`); None for
/// no filter.
///
/// # Errors
/// What is wrong with the user's profile; the others never fail.
pub(crate) fn program(
    seccomp: &crate::Seccomp,
    capabilities: &[String],
) -> Result<Option<Cow<'static, [Instruction]>>, SeccompError> {
    let machine = abi::Machine::this();
    let policy = match seccomp {
        crate::Seccomp::Unconfined => return Ok(None),
        crate::Seccomp::Default if docker::is_ordinary(capabilities) => {
            return Ok(Some(Cow::Borrowed(ahead::program(machine))));
        }
        crate::Seccomp::Default => docker::policy(machine, capabilities),
        crate::Seccomp::Profile(json) => match profile::policy(machine, json, capabilities)? {
            Some(policy) => policy,
            None => return Ok(None),
        },
    };
    compile::program(&policy).map(Cow::Owned).map(Some)
}

/// Whether the profile asks for `SECCOMP_FILTER_FLAG_LOG`, the `log` of [`tug_sys::seccomp::load`].
pub(crate) fn logs(seccomp: &crate::Seccomp) -> bool {
    match seccomp {
        crate::Seccomp::Unconfined | crate::Seccomp::Default => false,
        crate::Seccomp::Profile(json) => profile::logs(json),
    }
}
