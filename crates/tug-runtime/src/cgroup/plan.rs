//! Which limit is written to which file. Pure: asks nothing of the host but its [`Hierarchies`].

use super::devices::{self, Rule};
use super::{CgroupError, Controller, Hierarchies, Hierarchy};
use crate::spec::Resources;
use std::io;
use std::path::Path;

/// Everything to write into a container's groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    writes: Vec<Write>,
    /// `None`: any device.
    devices: Option<Vec<Rule>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Write {
    controller: Controller,
    flag: &'static str,
    file: &'static str,
    value: String,
    /// A kernel without the file gets a warning instead of an error.
    may_lack: bool,
}

/// What `resources` and `devices` mean on this host.
pub(crate) fn plan(
    resources: &Resources,
    devices: Option<Vec<Rule>>,
    hierarchies: &Hierarchies,
) -> Result<Plan, CgroupError> {
    let mut writes = Vec::new();
    for controller in [Controller::Memory, Controller::Cpu, Controller::Cpuset, Controller::Pids] {
        let hierarchy = hierarchies.with(controller);
        let v2 = hierarchy.map_or(hierarchies.only_v2(), Hierarchy::is_v2);
        let wanted = match controller {
            Controller::Memory => memory(resources, v2),
            Controller::Cpu => cpu(resources, v2),
            Controller::Cpuset => cpuset(resources),
            _ => pids(resources),
        };
        if let (Some(first), None) = (wanted.first(), hierarchy) {
            return Err(CgroupError::NoController {
                flag: first.flag,
                controller: controller.name(),
            });
        }
        writes.extend(wanted);
    }
    Ok(Plan { writes, devices })
}

fn write(controller: Controller, flag: &'static str, file: &'static str, value: String) -> Write {
    Write { controller, flag, file, value, may_lack: false }
}

fn memory(resources: &Resources, v2: bool) -> Vec<Write> {
    let mut writes = Vec::new();
    let mut add =
        |flag, file, value: String| writes.push(write(Controller::Memory, flag, file, value));
    if let Some(limit) = resources.memory {
        add("--memory", if v2 { "memory.max" } else { "memory.limit_in_bytes" }, limit.to_string());
    }
    if let Some(soft) = resources.memory_reservation {
        let file = if v2 { "memory.low" } else { "memory.soft_limit_in_bytes" };
        add("--memory-reservation", file, soft.to_string());
    }
    let swap = match (resources.memory_swap, v2) {
        (None, _) => None,
        (Some(-1), true) => Some("max".to_owned()),
        (Some(both), true) => {
            let memory = i64::try_from(resources.memory.unwrap_or(0)).unwrap_or(i64::MAX);
            Some((both - memory).max(0).to_string())
        }
        (Some(both), false) => Some(both.to_string()),
    };
    if let Some(value) = swap {
        let file = if v2 { "memory.swap.max" } else { "memory.memsw.limit_in_bytes" };
        // Kernels without swap accounting run the container with the memory limit alone, as Docker does.
        writes.push(Write {
            may_lack: true,
            ..write(Controller::Memory, "--memory-swap", file, value)
        });
    }
    writes
}

fn cpu(resources: &Resources, v2: bool) -> Vec<Write> {
    let mut writes = Vec::new();
    let mut add =
        |flag, file, value: String| writes.push(write(Controller::Cpu, flag, file, value));
    if let Some(shares) = resources.cpu_shares {
        match v2 {
            true => add("--cpu-shares", "cpu.weight", weight(shares).to_string()),
            false => add("--cpu-shares", "cpu.shares", shares.to_string()),
        }
    }
    let period = resources.cpu_period.unwrap_or(100_000);
    let (flag, quota) = match resources.nano_cpus {
        Some(cpus) => ("--cpus", i64::try_from(cpus / 10_000).ok()),
        None => ("--cpu-quota", resources.cpu_quota),
    };
    let max =
        || quota.filter(|quota| *quota > 0).map_or("max".to_owned(), |quota| quota.to_string());
    match (v2, quota.is_some() || resources.cpu_period.is_some()) {
        (_, false) => {}
        (true, true) => add(flag, "cpu.max", format!("{} {period}", max())),
        (false, true) => {
            if resources.cpu_period.is_some() || resources.nano_cpus.is_some() {
                add(flag, "cpu.cfs_period_us", period.to_string());
            }
            if let Some(quota) = quota {
                add(flag, "cpu.cfs_quota_us", quota.to_string());
            }
        }
    }
    writes
}

/// cgroup v1 shares (2 to 262144) as a v2 weight (1 to 10000): the quadratic through 2→1, 1024→100 and
/// 262144→10000 that current runtimes agree on, so that the default stays the default.
fn weight(shares: u64) -> u64 {
    if shares <= 2 {
        return 1;
    }
    if shares >= 262_144 {
        return 10_000;
    }
    let log = (shares as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    10f64.powf(exponent).ceil() as u64
}

fn cpuset(resources: &Resources) -> Vec<Write> {
    let cpus = resources.cpuset_cpus.iter().map(|v| ("--cpuset-cpus", "cpuset.cpus", v));
    let mems = resources.cpuset_mems.iter().map(|v| ("--cpuset-mems", "cpuset.mems", v));
    cpus.chain(mems)
        .map(|(flag, file, value)| write(Controller::Cpuset, flag, file, value.clone()))
        .collect()
}

fn pids(resources: &Resources) -> Vec<Write> {
    let value = match resources.pids_limit {
        None => return Vec::new(),
        Some(limit) if limit > 0 => limit.to_string(),
        Some(_) => "max".to_owned(),
    };
    vec![write(Controller::Pids, "--pids-limit", "pids.max", value)]
}

impl Plan {
    /// Writes what belongs into the container's group of one hierarchy.
    pub(super) fn apply(
        &self,
        hierarchy: &Hierarchy,
        directory: &Path,
        warnings: &mut Vec<String>,
    ) -> Result<(), CgroupError> {
        for write in self.writes.iter().filter(|write| hierarchy.has(write.controller)) {
            let path = directory.join(write.file);
            match super::write(&path, &write.value) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound && write.may_lack => {
                    warnings.push(
                        "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.".to_owned(),
                    );
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(CgroupError::NoFile { flag: write.flag, file: write.file });
                }
                Err(source) => {
                    let value = write.value.clone();
                    return Err(CgroupError::Limit { flag: write.flag, value, path, source });
                }
            }
        }
        if hierarchy.has(Controller::Devices)
            && let Some(rules) = &self.devices
        {
            let limited = match hierarchy.is_v2() {
                true => tug_sys::bpf::attach_device_program(directory, &devices::program(rules)),
                false => limit_v1(directory, rules),
            };
            limited
                .map_err(|source| CgroupError::Devices { path: directory.to_owned(), source })?;
        }
        Ok(())
    }
}

/// Denies everything, then allows rule by rule: the file takes one at a time.
fn limit_v1(directory: &Path, rules: &[Rule]) -> io::Result<()> {
    use rustix::fs::{Mode, OFlags};
    super::write(&directory.join("devices.deny"), "a")?;
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(directory.join("devices.allow"), flags, Mode::empty())?;
    for rule in rules {
        rustix::io::write(&file, rule.text().as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::hierarchies::samples;
    use super::*;

    fn texts(resources: &Resources, hierarchies: &Hierarchies) -> Vec<String> {
        let plan = plan(resources, None, hierarchies).unwrap();
        plan.writes.iter().map(|write| format!("{}={}", write.file, write.value)).collect()
    }

    fn limits() -> Resources {
        Resources {
            memory: Some(64 << 20),
            memory_swap: Some(96 << 20),
            nano_cpus: Some(1_500_000_000),
            cpu_shares: Some(1024),
            cpuset_cpus: Some("0".to_owned()),
            ..Resources::default()
        }
    }

    #[test]
    fn v1_and_v2_say_the_same_in_their_own_words() {
        let hybrid = Hierarchies::parse(samples::HYBRID);
        assert_eq!(
            texts(&limits(), &hybrid),
            [
                "memory.limit_in_bytes=67108864",
                "memory.memsw.limit_in_bytes=100663296",
                "cpu.shares=1024",
                "cpu.cfs_period_us=100000",
                "cpu.cfs_quota_us=150000",
                "cpuset.cpus=0"
            ]
        );
        assert_eq!(
            texts(&limits(), &samples::v2()),
            [
                "memory.max=67108864",
                "memory.swap.max=33554432",
                "cpu.weight=100",
                "cpu.max=150000 100000",
                "cpuset.cpus=0"
            ]
        );
    }

    #[test]
    fn a_missing_controller_is_named_with_its_flag() {
        let resources = Resources { pids_limit: Some(10), ..Resources::default() };
        let error = plan(&resources, None, &Hierarchies::parse(samples::HYBRID)).unwrap_err();
        assert!(matches!(
            error,
            CgroupError::NoController { flag: "--pids-limit", controller: "pids" }
        ));
    }

    #[test]
    fn weights_keep_the_ends_and_the_default() {
        assert_eq!([weight(2), weight(1024), weight(262_144)], [1, 100, 10_000]);
    }

    #[test]
    fn nothing_asked_for_writes_nothing() {
        assert!(texts(&Resources::default(), &samples::v2()).is_empty());
    }
}
