//! `--sysctl`: kernel settings of the container's own namespaces, and no others.

use crate::Error;
use crate::root::Root;
use crate::spec::{ContainerSpec, Namespace};
use rustix::fs::OFlags;
use std::os::fd::OwnedFd;

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

/// The container's own /proc/sys, held open while it is still writable; none when nothing is to be set.
/// Says what is not the container's to set.
pub(crate) fn prepare(spec: &ContainerSpec, root: &Root) -> Result<Option<OwnedFd>, Error> {
    for name in spec.sysctls.keys() {
        if owner(spec, name) != Some(&Namespace::New) || name.contains('/') {
            return Err(Error::HostSysctl { name: name.clone() });
        }
    }
    if spec.sysctls.is_empty() {
        return Ok(None);
    }
    root.open("/proc/sys", OFlags::PATH | OFlags::DIRECTORY)
        .map(Some)
        .map_err(Error::system("open the container's kernel settings"))
}

/// Writes them. Those of an interface need it to be there: called once the network is.
pub(crate) fn apply(spec: &ContainerSpec, settings: Option<OwnedFd>) -> Result<(), Error> {
    let Some(settings) = settings.map(Root::new) else { return Ok(()) };
    for (name, value) in &spec.sysctls {
        let failed = |errno: rustix::io::Errno| Error::Sysctl {
            name: name.clone(),
            value: value.clone(),
            source: errno.into(),
        };
        let file = settings.open(&name.replace('.', "/"), OFlags::WRONLY).map_err(failed)?;
        rustix::io::write(&file, value.as_bytes()).map_err(failed)?;
    }
    Ok(())
}
