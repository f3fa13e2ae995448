//! From a container's record to what its monitor is told. Pure, so that every flag's effect can be
//! tested without starting anything.

use crate::record::{NetworkMode, Record};
use crate::{Error, capabilities};
use std::path::{Path, PathBuf};
use tug_monitor::LogConfig;
use tug_runtime::{
    ContainerSpec, Device, IdMap, Mount, MountSource, Namespace, Namespaces, Process, Propagation,
    Resources, Rlimit, Rootfs, Seccomp, UserNamespace, defaults,
};
use tug_types::{ContainerId, ContainerPath};

const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const DEFAULT_LOG_SIZE: u64 = 100_000_000;
/// First host id of user namespaces, as distributions' /etc/subuid begins.
pub(crate) const SUBORDINATE_IDS: IdMap = IdMap { inside: 0, outside: 100_000, count: 65_536 };

/// Host paths the description refers to.
pub(crate) struct Places<'a> {
    pub container_dir: &'a Path,
    pub run_dir: &'a Path,
    /// Trees of the layers, uppermost first.
    pub layers: Vec<PathBuf>,
    /// Network namespace to join, for `--network container:`.
    pub join_network: Option<PathBuf>,
}

/// What can be wrong in a record and needs no host to see.
pub(crate) fn check(record: &Record) -> Result<(), Error> {
    security(record)?;
    log(record)?;
    signal_number(record.config.stop_signal.as_deref().unwrap_or("SIGTERM"))?;
    rlimits(record)?;
    namespaces(record, None)?;
    capability_set(record)?;
    crate::network::extra_hosts(record)?;
    working_dir(record).map(drop)
}

/// The container as the runtime sees it.
pub(crate) fn container(
    id: &ContainerId,
    record: &Record,
    places: &Places<'_>,
) -> Result<ContainerSpec, Error> {
    let (config, host) = (&record.config, &record.host);
    let security = security(record)?;
    let privileged = host.privileged;
    let (masked_paths, readonly_paths) = covered_paths(record, security.unmasked)?;
    Ok(ContainerSpec {
        id: id.clone(),
        hostname: config.hostname.clone(),
        domainname: Some(config.domainname.clone()).filter(|name| !name.is_empty()),
        rootfs: Rootfs::Overlay {
            lowers: places.layers.clone(),
            upper: places.container_dir.join("upper"),
            work: places.container_dir.join("work"),
            mount_point: places.run_dir.join("rootfs"),
            volatile: host.auto_remove,
        },
        readonly_rootfs: host.readonly_rootfs,
        namespaces: namespaces(record, places.join_network.clone())?,
        process: process(record, security.no_new_privileges)?,
        mounts: mounts(record, places.container_dir)?,
        devices: devices(record)?,
        device_rules: host.device_cgroup_rules.clone().unwrap_or_default(),
        resources: resources(record),
        sysctls: sysctls(record),
        shm_size: u64::try_from(host.shm_size).unwrap_or(64 << 20),
        init: host.init.unwrap_or(false),
        privileged,
        seccomp: if privileged { Seccomp::Unconfined } else { security.seccomp },
        masked_paths,
        readonly_paths,
        cgroup_parent: cgroup_parent(record),
    })
}

/// The user's settings over Docker's own: in a network of its own everybody may use any port and ping.
fn sysctls(record: &Record) -> std::collections::BTreeMap<String, String> {
    let mut sysctls = record.host.sysctls.clone();
    let own_network = matches!(record.network(), NetworkMode::Bridge | NetworkMode::None);
    if own_network && matches!(record.host.userns_mode.as_str(), "" | "host") {
        for (name, value) in [
            ("net.ipv4.ip_unprivileged_port_start", "0"),
            ("net.ipv4.ping_group_range", "0 2147483647"),
        ] {
            sysctls.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
    }
    sysctls
}

/// The cgroup above the container's own.
pub(crate) fn cgroup_parent(record: &Record) -> String {
    match record.host.cgroup_parent.trim_matches('/') {
        "" => "tug".to_owned(),
        parent => parent.to_owned(),
    }
}

/// The process to start.
pub(crate) fn process(record: &Record, no_new_privileges: bool) -> Result<Process, Error> {
    let (config, host) = (&record.config, &record.host);
    let [rows, columns] = host.console_size;
    Ok(Process {
        args: record.command(),
        env: environment(record),
        cwd: working_dir(record)?,
        user: config.user.clone(),
        additional_groups: host.group_add.clone().unwrap_or_default(),
        terminal: config.tty,
        terminal_size: Some((rows, columns)).filter(|size| config.tty && *size != (0, 0)),
        capabilities: capability_set(record)?,
        rlimits: rlimits(record)?,
        no_new_privileges,
        oom_score_adj: Some(host.oom_score_adj).filter(|score| *score != 0),
    })
}

/// PATH, HOSTNAME and TERM first, as Docker has them, unless the container's own say otherwise.
pub(crate) fn environment(record: &Record) -> Vec<String> {
    let config = &record.config;
    let mut env = vec![DEFAULT_PATH.to_owned(), format!("HOSTNAME={}", config.hostname)];
    if config.tty {
        env.push("TERM=xterm".to_owned());
    }
    for variable in &config.env {
        let name = variable.split('=').next();
        match env.iter().position(|other| other.split('=').next() == name) {
            Some(at) => env[at].clone_from(variable),
            None => env.push(variable.clone()),
        }
    }
    env
}

fn working_dir(record: &Record) -> Result<ContainerPath, Error> {
    let text = record.config.working_dir.as_str();
    ContainerPath::parse(if text.is_empty() { "/" } else { text }).map_err(|_| Error::BadValue {
        what: "working directory",
        value: text.to_owned(),
        why: "it needs to be an absolute path".to_owned(),
    })
}

fn capability_set(record: &Record) -> Result<Vec<String>, Error> {
    let host = &record.host;
    capabilities::select(
        defaults::capabilities(),
        host.cap_add.as_deref().unwrap_or_default(),
        host.cap_drop.as_deref().unwrap_or_default(),
        host.privileged,
    )
}

fn rlimits(record: &Record) -> Result<Vec<Rlimit>, Error> {
    const NAMES: [&str; 16] = [
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
        "as",
    ];
    let limit = |value: i64| u64::try_from(value).unwrap_or(u64::MAX);
    record
        .host
        .ulimits
        .iter()
        .map(|ulimit| {
            let bad = |why: &str| Error::BadValue {
                what: "ulimit",
                value: ulimit.name.clone(),
                why: why.to_owned(),
            };
            if !NAMES.contains(&ulimit.name.as_str()) {
                return Err(bad("there is no such limit; see getrlimit(2)"));
            }
            let (soft, hard) = (limit(ulimit.soft), limit(ulimit.hard));
            if soft > hard {
                return Err(bad("ulimit soft limit must be less than or equal to hard limit"));
            }
            Ok(Rlimit { name: ulimit.name.clone(), soft, hard })
        })
        .collect()
}

fn namespaces(record: &Record, join_network: Option<PathBuf>) -> Result<Namespaces, Error> {
    let host = &record.host;
    let net = match (record.network(), join_network) {
        (_, Some(path)) => Namespace::Path(path),
        (NetworkMode::Host, None) => Namespace::Host,
        _ => Namespace::New,
    };
    Ok(Namespaces {
        net,
        pid: mode("--pid", &host.pid_mode)?,
        ipc: mode("--ipc", &host.ipc_mode)?,
        uts: mode("--uts", &host.uts_mode)?,
        cgroup: mode("--cgroupns", &host.cgroupns_mode)?,
        user: match host.userns_mode.as_str() {
            "" | "host" => None,
            "private" | "auto" => Some(UserNamespace {
                uid_map: vec![SUBORDINATE_IDS],
                gid_map: vec![SUBORDINATE_IDS],
            }),
            other => return Err(unsupported_mode("--userns", other)),
        },
    })
}

fn mode(flag: &str, text: &str) -> Result<Namespace, Error> {
    match text {
        "" | "private" | "shareable" => Ok(Namespace::New),
        "host" => Ok(Namespace::Host),
        other => Err(unsupported_mode(flag, other)),
    }
}

fn unsupported_mode(flag: &str, value: &str) -> Error {
    Error::Unsupported {
        flag: format!("{flag} {value}"),
        hint: Some(format!("{flag} takes private or host")),
    }
}

pub(crate) struct Security {
    pub(crate) seccomp: Seccomp,
    pub(crate) no_new_privileges: bool,
    unmasked: bool,
}

/// `--security-opt`.
pub(crate) fn security(record: &Record) -> Result<Security, Error> {
    let mut security =
        Security { seccomp: Seccomp::Default, no_new_privileges: false, unmasked: false };
    for option in record.host.security_opt.iter().flatten() {
        let (name, value) = option.split_once(['=', ':']).unwrap_or((option, ""));
        match (name, value) {
            ("no-new-privileges", "" | "true") => security.no_new_privileges = true,
            ("no-new-privileges", "false") => security.no_new_privileges = false,
            ("seccomp", "unconfined") => security.seccomp = Seccomp::Unconfined,
            ("seccomp", "builtin" | "") => security.seccomp = Seccomp::Default,
            ("seccomp", profile) => security.seccomp = Seccomp::Profile(profile.to_owned()),
            ("systempaths", "unconfined") => security.unmasked = true,
            // What they switch off is not there to begin with.
            ("apparmor", "unconfined") | ("label", "disable") => {}
            _ => {
                return Err(Error::Unsupported {
                    flag: format!("--security-opt {option}"),
                    hint: Some(
                        "tug knows no-new-privileges, seccomp=unconfined or a profile, systempaths=unconfined, apparmor=unconfined and label=disable".to_owned(),
                    ),
                });
            }
        }
    }
    Ok(security)
}

fn covered_paths(
    record: &Record,
    unmasked: bool,
) -> Result<(Vec<ContainerPath>, Vec<ContainerPath>), Error> {
    if record.host.privileged || unmasked {
        return Ok((Vec::new(), Vec::new()));
    }
    let paths = |own: &Option<Vec<String>>, defaults: Vec<ContainerPath>| match own {
        None => Ok(defaults),
        Some(list) => list.iter().map(|text| inside(text)).collect(),
    };
    Ok((
        paths(&record.host.masked_paths, defaults::masked_paths())?,
        paths(&record.host.readonly_paths, defaults::readonly_paths())?,
    ))
}

fn inside(text: &str) -> Result<ContainerPath, Error> {
    ContainerPath::parse(text)
        .map_err(|error| Error::BadMount { destination: text.to_owned(), why: error.to_string() })
}

/// hostname (not for a build's command, which may write one into the image), hosts and resolv.conf, then what the user and the image wish, parents first.
fn mounts(record: &Record, container_dir: &Path) -> Result<Vec<Mount>, Error> {
    let mut list = Vec::new();
    for (name, destination) in [
        ("resolv.conf", "/etc/resolv.conf"),
        ("hostname", "/etc/hostname"),
        ("hosts", "/etc/hosts"),
    ] {
        let own = record.mounts.iter().any(|mount| mount.destination == destination);
        if own || record.step && name == "hostname" {
            continue;
        }
        list.push(Mount {
            destination: inside(destination)?,
            source: MountSource::Bind { path: container_dir.join(name) },
            readonly: record.host.readonly_rootfs,
            recursive_readonly: false,
            propagation: None,
        });
    }
    for mount in &record.mounts {
        let source = match mount.kind.as_str() {
            "tmpfs" => MountSource::Tmpfs { options: mount.mode.clone() },
            _ => MountSource::Bind { path: PathBuf::from(&mount.source) },
        };
        list.push(Mount {
            destination: inside(&mount.destination)?,
            source,
            readonly: !mount.rw,
            recursive_readonly: !mount.rw,
            propagation: propagation(&mount.propagation),
        });
    }
    // A volume on /etc goes below the three files.
    list.sort_by_key(|mount| mount.destination.as_str().matches('/').count());
    Ok(list)
}

fn propagation(text: &str) -> Option<Propagation> {
    match text {
        "private" => Some(Propagation::Private),
        "rprivate" => Some(Propagation::Rprivate),
        "slave" => Some(Propagation::Slave),
        "rslave" => Some(Propagation::Rslave),
        "shared" => Some(Propagation::Shared),
        "rshared" => Some(Propagation::Rshared),
        _ => None,
    }
}

fn devices(record: &Record) -> Result<Vec<Device>, Error> {
    record
        .host
        .devices
        .iter()
        .map(|device| {
            Ok(Device {
                host: PathBuf::from(&device.path_on_host),
                container: inside(&device.path_in_container)?,
                permissions: device.cgroup_permissions.clone(),
            })
        })
        .collect()
}

fn resources(record: &Record) -> Resources {
    let host = &record.host;
    let positive = |value: i64| u64::try_from(value).ok().filter(|value| *value > 0);
    let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    Resources {
        memory: positive(host.memory),
        memory_swap: match (host.memory, host.memory_swap) {
            (_, -1) => Some(-1),
            (memory, 0) if memory > 0 => Some(memory.saturating_mul(2)),
            (_, 0) => None,
            (_, swap) => Some(swap),
        },
        memory_reservation: positive(host.memory_reservation),
        nano_cpus: positive(host.nano_cpus),
        cpu_shares: positive(host.cpu_shares),
        cpu_quota: Some(host.cpu_quota).filter(|quota| *quota != 0),
        cpu_period: positive(host.cpu_period),
        cpuset_cpus: text(&host.cpuset_cpus),
        cpuset_mems: text(&host.cpuset_mems),
        pids_limit: host.pids_limit.filter(|limit| *limit != 0),
    }
}

/// `--log-opt max-size`, times `max-file` where given.
pub(crate) fn log(record: &Record) -> Result<LogConfig, Error> {
    let options = &record.host.log_config.config;
    let mut max_size = DEFAULT_LOG_SIZE;
    for (name, value) in options {
        let bad = |why: &str| Error::BadValue {
            what: "log option",
            value: format!("{name}={value}"),
            why: why.to_owned(),
        };
        match name.as_str() {
            "max-size" if value == "-1" => max_size = u64::MAX,
            "max-size" => {
                max_size = bytes(value).ok_or_else(|| bad("expected a size such as 10m"))?
            }
            "max-file" | "compress" | "mode" => {}
            _ => return Err(bad("tug knows max-size and max-file")),
        }
    }
    if let Some(files) = options.get("max-file") {
        let files: u64 =
            files.parse().ok().filter(|files| *files > 0).ok_or_else(|| Error::BadValue {
                what: "log option",
                value: format!("max-file={files}"),
                why: "expected a number from 1".to_owned(),
            })?;
        if options.contains_key("max-size") {
            max_size = max_size.saturating_mul(files);
        }
    }
    Ok(LogConfig { max_size })
}

/// `10`, `10b`, `10k`, `10m`, `10g`, in powers of 1024.
fn bytes(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(['b', 'k', 'm', 'g', 't']);
    let shift = match lower[digits.len()..].trim_end_matches('b') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok().filter(|value| *value > 0)?.checked_mul(1 << shift)
}

/// A signal by name, with or without `SIG`, or by number (signal(7)).
pub(crate) fn signal_number(text: &str) -> Result<i32, Error> {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
        "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
        "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    let bad = || Error::BadValue {
        what: "signal",
        value: text.to_owned(),
        why: "there is no such signal; see signal(7)".to_owned(),
    };
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=64).contains(&number) { Ok(number) } else { Err(bad()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(at) = NAMES.iter().position(|known| *known == name) {
        return Ok(i32::try_from(at).unwrap_or(0) + 1);
    }
    let real_time = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(""), _) => Some(34),
        (Some(plus), _) => {
            plus.strip_prefix('+').and_then(|n| n.parse::<i32>().ok()).map(|n| 34 + n)
        }
        (_, Some("")) => Some(64),
        (_, Some(minus)) => {
            minus.strip_prefix('-').and_then(|n| n.parse::<i32>().ok()).map(|n| 64 - n)
        }
        _ => None,
    };
    real_time.filter(|number| (34..=64).contains(number)).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Config, HostConfig};

    #[test]
    fn the_environment_starts_with_path_and_hostname() {
        let config = Config {
            hostname: "h".to_owned(),
            tty: true,
            env: vec!["A=1".to_owned(), "PATH=/x".to_owned()],
            ..Config::default()
        };
        let record = Record { config, ..Record::default() };
        assert_eq!(environment(&record), ["PATH=/x", "HOSTNAME=h", "TERM=xterm", "A=1"]);
    }

    #[test]
    fn swap_defaults_to_twice_the_memory() {
        let swap = |memory, memory_swap| {
            let host = HostConfig { memory, memory_swap, ..HostConfig::default() };
            resources(&Record { host, ..Record::default() }).memory_swap
        };
        assert_eq!(
            [swap(0, 0), swap(10, 0), swap(10, -1), swap(10, 15)],
            [None, Some(20), Some(-1), Some(15)]
        );
    }

    #[test]
    fn signals_by_name_and_number() {
        for (text, number) in [
            ("TERM", 15),
            ("SIGKILL", 9),
            ("sigusr1", 10),
            ("37", 37),
            ("RTMIN+3", 37),
            ("RTMAX-1", 63),
        ] {
            assert_eq!(signal_number(text).unwrap(), number, "{text}");
        }
        for text in ["", "0", "65", "NOPE", "RTMIN+99"] {
            assert!(signal_number(text).is_err(), "{text}");
        }
    }

    #[test]
    fn log_options_multiply_and_unknown_ones_are_named() {
        let log = |options: &[(&str, &str)]| {
            let mut record = Record::default();
            record.host.log_config.config =
                options.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            log(&record)
        };
        assert_eq!(log(&[]).unwrap().max_size, 100_000_000);
        assert_eq!(log(&[("max-size", "10m"), ("max-file", "3")]).unwrap().max_size, 30 << 20);
        assert_eq!(log(&[("max-size", "-1")]).unwrap().max_size, u64::MAX);
        assert!(log(&[("max-size", "ten")]).is_err() && log(&[("tag", "x")]).is_err());
    }

    #[test]
    fn unknown_security_options_are_refused() {
        let host =
            HostConfig { security_opt: Some(vec!["magic=on".to_owned()]), ..HostConfig::default() };
        assert!(matches!(
            check(&Record { host, ..Record::default() }),
            Err(Error::Unsupported { .. })
        ));
    }
}
