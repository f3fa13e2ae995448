//! `--sysctl`: kernel settings of the container's own namespaces, and no others.

use crate::Error;
use crate::root::Root;
use crate::spec::{ContainerSpec, Namespace};
use rustix::fs::OFlags;

/// Which namespace a setting belongs to (namespaces(7), sysctl documentation of the kernel).
fn owner<'a>(spec: &'a ContainerSpec, name: &str) -> Option<&'a Namespace> {
    const IPC: [&str; 8] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    if name.starts_with("net.") {
        Some(&spec.namespaces.net)
    } else if IPC.contains(&name) || name.starts_with("fs.mqueue.") {
        Some(&spec.namespaces.ipc)
    } else if matches!(name, "kernel.domainname" | "kernel.hostname") {
        Some(&spec.namespaces.uts)
    } else {
        None
    }
}

/// Writes them through the container's own /proc.
pub(crate) fn apply(spec: &ContainerSpec, root: &Root) -> Result<(), Error> {
    for (name, value) in &spec.sysctls {
        let host = || Error::HostSysctl { name: name.clone() };
        if owner(spec, name) != Some(&Namespace::New) || name.contains('/') {
            return Err(host());
        }
        let failed = |errno: rustix::io::Errno| Error::Sysctl {
            name: name.clone(),
            value: value.clone(),
            source: errno.into(),
        };
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        let file = root.open(&path, OFlags::WRONLY).map_err(failed)?;
        rustix::io::write(&file, value.as_bytes()).map_err(failed)?;
    }
    Ok(())
}
