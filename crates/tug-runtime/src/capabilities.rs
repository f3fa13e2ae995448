//! Capabilities of the process to be (capabilities(7)): bounding, permitted, effective; inheritable and
//! ambient empty, as Docker has them.

use crate::Error;
use rustix::thread::{CapabilitySet, CapabilitySets};

/// Numbers are positions.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// A set of capabilities as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Set(u64);

impl Set {
    /// By names with `CAP_`; what no kernel knows is left out (the engine refused it already).
    pub(crate) fn from_names(names: &[String]) -> Self {
        let bit = |name: &String| {
            let bare = name.strip_prefix("CAP_").unwrap_or(name);
            NAMES.iter().position(|known| *known == bare).map_or(0, |at| 1 << at)
        };
        Self(names.iter().map(bit).fold(0, |all, bit| all | bit))
    }

    /// What an init needs: to signal a command of another user.
    pub(crate) fn to_signal() -> Self {
        Self(1 << 5)
    }

    /// No capability.
    pub(crate) fn none() -> Self {
        Self(0)
    }

    /// Narrows the bounding set to this one. Executing a program as root gives all that is left in it, so
    /// nothing may be left that was not asked for, whatever this process itself has; nor a capability
    /// newer than [`NAMES`]. Those asked for that the host lacks are returned by name.
    pub(crate) fn bound(self, host: u64) -> Result<Vec<&'static str>, Error> {
        for number in (0..u64::BITS).filter(|number| self.0 >> number & 1 == 0) {
            let bit = CapabilitySet::from_bits_retain(1 << number);
            match rustix::thread::remove_capability_from_bounding_set(bit) {
                Ok(()) => {}
                // Past the last one this kernel knows.
                Err(rustix::io::Errno::INVAL) => break,
                Err(error) => return Err(failed(error)),
            }
        }
        let lacking = |n: &usize| self.0 >> n & 1 == 1 && host >> n & 1 == 0;
        Ok((0..NAMES.len()).filter(lacking).map(|number| NAMES[number]).collect())
    }

    /// Takes this set, as far as it is had, as permitted and effective.
    pub(crate) fn take(self, had: u64) -> Result<(), Error> {
        let set = CapabilitySet::from_bits_retain(self.0 & had);
        rustix::thread::clear_ambient_capability_set().map_err(failed)?;
        let sets =
            CapabilitySets { effective: set, permitted: set, inheritable: CapabilitySet::empty() };
        rustix::thread::set_capabilities(None, sets).map_err(failed)
    }
}

/// Makes everything permitted effective again.
pub(crate) fn raise(permitted: u64) -> Result<(), Error> {
    let set = CapabilitySet::from_bits_retain(permitted);
    let sets =
        CapabilitySets { effective: set, permitted: set, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets).map_err(failed)
}

/// What this process may do.
pub(crate) fn permitted() -> Result<u64, Error> {
    Ok(rustix::thread::capabilities(None).map_err(failed)?.permitted.bits())
}

fn failed(errno: rustix::io::Errno) -> Error {
    Error::Capabilities { source: errno.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_kernels_numbers() {
        let names = ["CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_CHECKPOINT_RESTORE"].map(str::to_owned);
        assert_eq!(Set::from_names(&names), Set(1 | 1 << 21 | 1 << 40));
    }
}
