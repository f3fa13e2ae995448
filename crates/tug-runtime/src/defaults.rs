//! What a container gets when nobody says otherwise: Docker's defaults.

use tug_types::ContainerPath;

/// The 14 capabilities of a default container, each with its use.
const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",            // packages set owners
    "CAP_DAC_OVERRIDE",     // root inside reads what it owns whatever the mode
    "CAP_FSETID",           // chmod keeps set-id bits
    "CAP_FOWNER",           // root inside changes modes of others' files
    "CAP_MKNOD",            // package scripts make nodes; the device cgroup decides on use
    "CAP_NET_RAW",          // ping
    "CAP_SETGID",           // su, daemons dropping privileges
    "CAP_SETUID",           // the same
    "CAP_SETFCAP",          // packages with file capabilities
    "CAP_SETPCAP",          // daemons dropping capabilities
    "CAP_NET_BIND_SERVICE", // port 80
    "CAP_SYS_CHROOT",       // daemons locking themselves in
    "CAP_KILL",             // supervisors of other users' processes
    "CAP_AUDIT_WRITE",      // login programs
];

/// The default capabilities.
pub fn capabilities() -> &'static [&'static str] {
    &CAPABILITIES
}

/// Paths that tell about or reach the host and are covered.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore", // the host's memory
    "/proc/keys",  // keys of all users
    "/proc/latency_stats",
    "/proc/sched_debug", // the host's processes
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap", // power measurements give secrets away
    "/sys/firmware",
];

/// Paths that would change the host and are made read-only.
const READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The default masked paths.
pub fn masked_paths() -> Vec<ContainerPath> {
    paths(&MASKED)
}

/// The default read-only paths.
pub fn readonly_paths() -> Vec<ContainerPath> {
    paths(&READ_ONLY)
}

fn paths(texts: &[&str]) -> Vec<ContainerPath> {
    texts.iter().filter_map(|text| ContainerPath::parse(text).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_of_the_lists_is_lost() {
        assert_eq!(masked_paths().len(), MASKED.len());
        assert_eq!(readonly_paths().len(), READ_ONLY.len());
    }
}
