//! What a container needs outside of itself, and how each piece goes away again.
//!
//! Set-up pushes an [`Undo`] right before each step that could leave something behind; teardown pops
//! and runs them all, whatever fails on the way. Each may run although its step failed half-way or
//! never happened.

use crate::{MonitorSpec, NetworkSpec};
use std::path::PathBuf;
use tug_net::{PublishedPort, Reservation};
use tug_runtime::{Rootfs, cgroup};
use tug_types::{ContainerId, Explain, Failure};

/// The places a monitor works in, kept for its whole life.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) id: ContainerId,
    pub(crate) cgroup_parent: String,
    pub(crate) run_dir: PathBuf,
    pub(crate) container_dir: PathBuf,
    /// Without its ports, which only set-up needs.
    pub(crate) network: Option<NetworkSpec>,
    undo: Vec<Undo>,
}

/// One thing to take down.
#[derive(Debug)]
pub(crate) enum Undo {
    /// The directory the root filesystem is mounted on, in the container's own namespace.
    MountPoint(PathBuf),
    /// The container's processes and cgroup.
    Cgroup,
    /// The veth pair of a container that has ended: it goes with its namespace, so it is only taken
    /// off the bridge. Removing it here would wait out the kernel's grace periods, some 25 ms.
    Link,
    /// The veth pair a killed monitor left, whatever became of its namespace.
    LeftLink,
    /// Elements of the published ports, and the sockets that reserve them.
    Ports(Vec<PublishedPort>, #[expect(dead_code, reason = "held until then")] Reservation),
}

impl Ground {
    pub(crate) fn of(spec: &MonitorSpec) -> Self {
        let network = spec.network.as_ref().map(|network| NetworkSpec {
            bridge: network.bridge.clone(),
            endpoint: network.endpoint.clone(),
            ports: Vec::new(),
        });
        let mut ground = Self {
            id: spec.container.id.clone(),
            cgroup_parent: spec.container.cgroup_parent.clone(),
            run_dir: spec.run_dir.clone(),
            container_dir: spec.container_dir.clone(),
            network,
            undo: Vec::new(),
        };
        if let Rootfs::Overlay { mount_point, .. } = &spec.container.rootfs {
            ground.push(Undo::MountPoint(mount_point.clone()));
        }
        ground
    }

    pub(crate) fn push(&mut self, undo: Undo) {
        self.undo.push(undo);
    }

    /// Everything a killed monitor may have left: all of it, each being harmless when it is not
    /// there.
    pub(crate) fn remains(
        id: &ContainerId,
        cgroup_parent: &str,
        places: (PathBuf, PathBuf),
        network: Option<NetworkSpec>,
    ) -> Self {
        let (run_dir, container_dir) = places;
        let mut undo = vec![Undo::MountPoint(run_dir.join("rootfs")), Undo::Cgroup];
        if network.is_some() {
            undo.push(Undo::LeftLink);
            undo.push(Undo::Ports(Vec::new(), Reservation::default()));
        }
        let (id, cgroup_parent) = (id.clone(), cgroup_parent.to_owned());
        Self { id, cgroup_parent, run_dir, container_dir, network, undo }
    }

    fn run(&self, undo: Undo) -> Result<(), Failure> {
        let failure = |error: tug_net::Error| error.failure();
        match (undo, &self.network) {
            (Undo::MountPoint(path), _) => remove_dir(path),
            (Undo::Cgroup, _) => {
                let killed = cgroup::kill_all(&self.id, &self.cgroup_parent);
                let removed = cgroup::remove(&self.id, &self.cgroup_parent);
                killed.and(removed).map_err(|error| error.failure())
            }
            (Undo::Link, Some(network)) => {
                tug_net::retire(&network.endpoint.host_link).map_err(failure)
            }
            (Undo::LeftLink, Some(network)) => {
                tug_net::detach(&network.endpoint.host_link).map_err(failure)
            }
            // Ports that nobody knows to be published are looked for.
            (Undo::Ports(ports, _), Some(network)) if ports.is_empty() => {
                tug_net::unpublish(&network.bridge, network.endpoint.address).map_err(failure)
            }
            (Undo::Ports(ports, _), Some(network)) => {
                let address = network.endpoint.address;
                tug_net::unpublish_ports(&network.bridge, address, &ports).map_err(failure)
            }
            (Undo::Link | Undo::LeftLink | Undo::Ports(..), None) => Ok(()),
        }
    }
}

/// Undoes everything, last first, and tells what could not be undone. The second time it has
/// nothing to do.
pub(crate) fn take_down(ground: &mut Ground) -> Vec<Failure> {
    let mut failures = Vec::new();
    while let Some(undo) = ground.undo.pop() {
        failures.extend(ground.run(undo).err());
    }
    failures
}

fn remove_dir(path: PathBuf) -> Result<(), Failure> {
    match std::fs::remove_dir(&path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(crate::Error::File { verb: "remove", path, source }.failure()),
    }
}
