//! Which cgroup hierarchies the host has: read from `/proc/self/mountinfo` (proc_pid_mountinfo(5)).

use super::CgroupError;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tug_types::ContainerId;

/// A controller tug sets limits with, by its v1 name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the kernel's own names")]
pub enum Controller {
    Cpu,
    Cpuset,
    Memory,
    Pids,
    Devices,
}

impl Controller {
    const ALL: [Self; 5] = [Self::Cpu, Self::Cpuset, Self::Memory, Self::Pids, Self::Devices];

    /// The kernel's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cpuset => "cpuset",
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Devices => "devices",
        }
    }
}

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    mount_point: PathBuf,
    /// Name below /sys/fs/cgroup, `cpu,cpuacct`; empty for a v2 tree mounted as /sys/fs/cgroup.
    name: String,
    v2: bool,
    controllers: Vec<Controller>,
}

impl Hierarchy {
    /// Where it is mounted on the host.
    pub fn mount_point(&self) -> &Path {
        &self.mount_point
    }

    /// Directory name below /sys/fs/cgroup.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is a cgroup2 tree.
    pub fn is_v2(&self) -> bool {
        self.v2
    }

    /// Whether limits of this controller are set here. Devices of v2 are a program, set anywhere in
    /// the v2 tree.
    pub fn has(&self, controller: Controller) -> bool {
        self.controllers.contains(&controller)
    }

    /// The group of a container.
    pub fn group(&self, parent: &str, id: &ContainerId) -> PathBuf {
        let mut path = self.mount_point.join(parent);
        path.push(id.as_str());
        path
    }

    /// Hands the controllers of a v2 group down to its children; those it lacks are not asked for.
    pub(super) fn delegate(&self, group: &Path) {
        for controller in self.controllers.iter().filter(|c| **c != Controller::Devices) {
            // One that cannot be had shows when a limit needs it.
            let text = format!("+{}", controller.name());
            let _ = super::write(&group.join("cgroup.subtree_control"), &text);
        }
    }
}

/// All hierarchies of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchies(Vec<Hierarchy>);

impl Hierarchies {
    /// Reads mountinfo once in a process' life: hierarchies do not come and go.
    pub(crate) fn of_host() -> Result<&'static Self, CgroupError> {
        static FOUND: OnceLock<Hierarchies> = OnceLock::new();
        if let Some(found) = FOUND.get() {
            return Ok(found);
        }
        let path = "/proc/self/mountinfo";
        let text = std::fs::read_to_string(path)
            .map_err(|source| CgroupError::Hierarchies { path, source })?;
        let mut found = Self::parse(&text);
        for hierarchy in found.0.iter_mut().filter(|hierarchy| hierarchy.v2) {
            let file = hierarchy.mount_point.join("cgroup.controllers");
            hierarchy.set_v2_controllers(&std::fs::read_to_string(file).unwrap_or_default());
        }
        if found.0.is_empty() {
            return Err(CgroupError::NoHierarchy);
        }
        Ok(FOUND.get_or_init(|| found))
    }

    /// The hierarchies below `/sys/fs/cgroup` in a mountinfo text. A v2 tree has no controllers yet.
    pub fn parse(mountinfo: &str) -> Self {
        let mut list: Vec<Hierarchy> = Vec::new();
        for line in mountinfo.lines() {
            let Some((before, after)) = line.split_once(" - ") else { continue };
            let mount_point = before.split(' ').nth(4).unwrap_or("");
            let Some(below) = mount_point.strip_prefix("/sys/fs/cgroup") else { continue };
            let mut after = after.split(' ');
            let (kind, options) = (after.next().unwrap_or(""), after.nth(1).unwrap_or(""));
            if !matches!(kind, "cgroup" | "cgroup2")
                || list.iter().any(|h| h.mount_point == Path::new(mount_point))
            {
                continue;
            }
            let v2 = kind == "cgroup2";
            let of_options = |controller: &Controller| {
                !v2 && options.split(',').any(|option| option == controller.name())
            };
            list.push(Hierarchy {
                mount_point: PathBuf::from(mount_point),
                name: below.trim_start_matches('/').to_owned(),
                v2,
                controllers: Controller::ALL.into_iter().filter(of_options).collect(),
            });
        }
        Self(list)
    }

    /// In the order they are mounted.
    pub fn all(&self) -> &[Hierarchy] {
        &self.0
    }

    /// The one that has a controller.
    pub fn with(&self, controller: Controller) -> Option<&Hierarchy> {
        self.0.iter().find(|hierarchy| hierarchy.has(controller))
    }

    /// Whether v2 is all there is.
    pub fn only_v2(&self) -> bool {
        self.0.len() == 1 && self.0[0].v2
    }
}

impl Hierarchy {
    fn set_v2_controllers(&mut self, controllers: &str) {
        let there = |c: &Controller| controllers.split_whitespace().any(|name| name == c.name());
        self.controllers = Controller::ALL.into_iter().filter(there).collect();
        if self.name.is_empty() {
            self.controllers.push(Controller::Devices);
        }
    }
}

#[cfg(test)]
pub(super) mod samples {
    use super::*;

    pub(in super::super) const V2: &str =
        "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
    pub(in super::super) const HYBRID: &str = "\
25 24 0:22 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
26 25 0:23 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
27 25 0:24 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
28 25 0:25 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
29 25 0:27 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
30 25 0:28 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
31 25 0:29 / /mnt/elsewhere rw,relatime - cgroup2 cgroup2 rw
";

    pub(in super::super) fn v2() -> Hierarchies {
        let mut hierarchies = Hierarchies::parse(V2);
        hierarchies.0[0].set_v2_controllers("cpuset cpu io memory pids");
        hierarchies
    }

    #[test]
    fn a_pure_v2_tree() {
        let hierarchies = v2();
        assert!(hierarchies.only_v2());
        let tree = hierarchies.with(Controller::Devices).unwrap();
        assert_eq!((tree.mount_point(), tree.name()), (Path::new("/sys/fs/cgroup"), ""));
    }

    #[test]
    fn a_hybrid_has_v1_controllers_beside_a_bare_v2_tree() {
        let hierarchies = Hierarchies::parse(HYBRID);
        assert_eq!(hierarchies.all().len(), 5, "the one elsewhere is not ours");
        assert!(!hierarchies.only_v2());
        assert_eq!(hierarchies.with(Controller::Cpu).unwrap().name(), "cpu,cpuacct");
        assert!(hierarchies.with(Controller::Pids).is_none());
    }
}
