//! From flags to the engine's request. Each part of it is its own function.

use super::mount::{self, Volume};
use super::{Surroundings, env, host, ports, unsupported};
use crate::flags::Parsed;
use crate::quit::Quit;
use crate::value::size;
use std::collections::BTreeMap;
use tug_engine::{Config, CreateRequest, Healthcheck, HostConfig, LogConfig, RestartPolicy};

/// What the flags ask for. The first argument is the image, the rest its command.
///
/// # Errors
/// Docker's words, exit code 125.
pub(crate) fn request(
    parsed: &Parsed<'_>,
    around: &Surroundings<'_>,
) -> Result<CreateRequest, Quit> {
    unsupported::refuse(parsed)?;
    let (config, mut host) = (config(parsed, around)?, HostConfig::default());
    resources(parsed, &mut host)?;
    namespaces(parsed, &mut host)?;
    security(parsed, around, &mut host)?;
    network(parsed, &mut host)?;
    host.log_config = log(parsed)?;
    let (mut config, host) = mounts(parsed, around, config, host)?;
    config.exposed_ports = ports::exposed(parsed, &host.port_bindings)?;
    Ok(CreateRequest {
        name: parsed.text("name").filter(|name| !name.is_empty()).map(str::to_owned),
        config,
        host: HostConfig {
            container_id_file: parsed.text_or_empty("cidfile"),
            restart_policy: RestartPolicy { name: "no".to_owned(), maximum_retry_count: 0 },
            auto_remove: parsed.on("rm"),
            privileged: parsed.on("privileged"),
            readonly_rootfs: parsed.on("read-only"),
            init: parsed.switch("init"),
            group_add: some(parsed.list("group-add")),
            ..host
        },
        platform: parsed.text("platform").filter(|text| !text.is_empty()).map(str::to_owned),
    })
}

/// `null` where nothing was said, as Docker sends it.
fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn config(parsed: &Parsed<'_>, around: &Surroundings<'_>) -> Result<Config, Quit> {
    let attach = parsed.read_all("attach", stream)?;
    let attached = |stream: &str| attach.iter().any(|name| name == stream);
    let open_stdin = parsed.on("interactive");
    let attach_stdin = attached("stdin") || attach.is_empty() && open_stdin;
    Ok(Config {
        hostname: parsed.text_or_empty("hostname"),
        domainname: parsed.text_or_empty("domainname"),
        user: parsed.text_or_empty("user"),
        attach_stdin,
        attach_stdout: attach.is_empty() || attached("stdout"),
        attach_stderr: attach.is_empty() || attached("stderr"),
        tty: parsed.on("tty"),
        open_stdin,
        stdin_once: open_stdin && attach_stdin,
        env: env::variables(parsed, around)?,
        cmd: some(parsed.arguments.iter().skip(1).cloned().collect()),
        healthcheck: parsed
            .on("no-healthcheck")
            .then(|| Healthcheck { test: Some(vec!["NONE".to_owned()]), ..Healthcheck::default() }),
        image: parsed.first().to_owned(),
        working_dir: parsed.text_or_empty("workdir"),
        entrypoint: parsed.text("entrypoint").map(|text| vec![text.to_owned()]),
        labels: env::labels(parsed, around)?,
        stop_signal: parsed.text("stop-signal").filter(|text| !text.is_empty()).map(str::to_owned),
        stop_timeout: parsed.number("stop-timeout")?,
        ..Config::default()
    })
}

fn stream(text: &str) -> Result<String, &'static str> {
    match text.to_lowercase() {
        name if matches!(name.as_str(), "stdin" | "stdout" | "stderr") => Ok(name),
        _ => Err("valid streams are STDIN, STDOUT and STDERR"),
    }
}

fn resources(parsed: &Parsed<'_>, host: &mut HostConfig) -> Result<(), Quit> {
    let bytes = |name: &str| parsed.read(name, size::parse).map(Option::unwrap_or_default);
    let swap = |text: &str| if text == "-1" { Ok(-1) } else { size::parse(text) };
    host.memory = bytes("memory")?;
    host.memory_reservation = bytes("memory-reservation")?;
    host.shm_size = bytes("shm-size")?;
    host.memory_swap = parsed.read("memory-swap", swap)?.unwrap_or(0);
    host.nano_cpus = parsed.read("cpus", host::nano_cpus)?.unwrap_or(0);
    host.cpu_shares = parsed.number("cpu-shares")?.unwrap_or(0);
    host.cpu_period = parsed.number("cpu-period")?.unwrap_or(0);
    host.cpu_quota = parsed.number("cpu-quota")?.unwrap_or(0);
    host.cpuset_cpus = parsed.text_or_empty("cpuset-cpus");
    host.cpuset_mems = parsed.text_or_empty("cpuset-mems");
    host.pids_limit = parsed.number("pids-limit")?.filter(|limit: &i64| *limit != 0);
    host.oom_score_adj = parsed.number("oom-score-adj")?.unwrap_or(0);
    host.cgroup_parent = parsed.text_or_empty("cgroup-parent");
    // Docker sorts them by name; the last of a name wins.
    let ulimits = parsed.read_all("ulimit", host::ulimit)?.into_iter();
    let ulimits: BTreeMap<String, _> = ulimits.map(|limit| (limit.name.clone(), limit)).collect();
    host.ulimits = ulimits.into_values().collect();
    if !(-1000..=1000).contains(&host.oom_score_adj) {
        return Err(parsed.wrong(format!(
            "Invalid value {}, range for oom score adj is [-1000, 1000]",
            host.oom_score_adj
        )));
    }
    Ok(())
}

fn namespaces(parsed: &Parsed<'_>, host: &mut HostConfig) -> Result<(), Quit> {
    let mode = |name: &str, known: &[&str], joins: bool| {
        let text = parsed.text_or_empty(name);
        let joined = joins && text.strip_prefix("container:").is_some_and(|name| !name.is_empty());
        if text.is_empty() || known.contains(&text.as_str()) || joined {
            return Ok(text);
        }
        let kind = match name {
            "userns" => "USER",
            "cgroupns" => "CGROUP",
            "uts" => "UTS",
            "pid" => "PID",
            _ => "IPC",
        };
        let mut choices: Vec<&str> = known.to_vec();
        if joins {
            choices.push("container:NAME");
        }
        let quit = parsed.wrong(format!("--{name}: invalid {kind} mode"));
        Err(quit.with_hint(format!("there are: {}", choices.join(", "))))
    };
    host.uts_mode = mode("uts", &["host"], false)?;
    host.pid_mode = mode("pid", &["host"], true)?;
    // `private` is tug's own: a user namespace on request.
    host.userns_mode = mode("userns", &["host", "private"], false)?;
    host.cgroupns_mode = mode("cgroupns", &["private", "host"], false)?;
    host.ipc_mode = mode("ipc", &["private", "shareable", "host", "none"], true)?;
    Ok(())
}

fn security(
    parsed: &Parsed<'_>,
    around: &Surroundings<'_>,
    host: &mut HostConfig,
) -> Result<(), Quit> {
    host.cap_add = some(host::capabilities(parsed.all("cap-add")));
    host.cap_drop = some(host::capabilities(parsed.all("cap-drop")));
    let sysctls = parsed.read_all("sysctl", host::sysctl)?;
    host.sysctls = sysctls.into_iter().collect();
    host.devices = parsed
        .all("device")
        .map(|text| host::device(text).map_err(|why| parsed.wrong(why)))
        .collect::<Result<_, _>>()?;
    host.device_cgroup_rules = some(parsed.read_all("device-cgroup-rule", host::device_rule)?);
    let mut options = Vec::new();
    for text in parsed.all("security-opt") {
        let option = text.split_once('=').or_else(|| text.split_once(':'));
        match option {
            Some(("systempaths", "unconfined")) => {
                (host.masked_paths, host.readonly_paths) = (Some(Vec::new()), Some(Vec::new()));
            }
            Some(("seccomp", profile)) if !matches!(profile, "unconfined" | "builtin") => {
                options.push(format!("seccomp={}", seccomp_profile(parsed, around, profile)?));
            }
            None if text != "no-new-privileges" => {
                return Err(parsed.wrong(format!("Invalid --security-opt: {text:?}")));
            }
            _ => options.push(text.to_owned()),
        }
    }
    host.security_opt = parsed.given("security-opt").then_some(options);
    Ok(())
}

/// The file's JSON without its blanks.
fn seccomp_profile(
    parsed: &Parsed<'_>,
    around: &Surroundings<'_>,
    path: &str,
) -> Result<String, Quit> {
    let bytes = (around.read)(path).map_err(|error| {
        let why = crate::quit::plain(&error);
        parsed.wrong(format!("opening seccomp profile ({path}) failed: open {path}: {why}"))
    })?;
    crate::text::json::compact(&bytes).map_err(|error| {
        parsed.wrong(format!("compacting json for seccomp profile ({path}) failed: {error}"))
    })
}

fn network(parsed: &Parsed<'_>, host: &mut HostConfig) -> Result<(), Quit> {
    host.network_mode = match parsed.list("network").as_slice() {
        [] => "default".to_owned(),
        [one] => network_name(parsed, one)?,
        _ => {
            let quit = parsed.wrong("several --network are not supported by tug yet");
            return Err(quit.with_hint("give one"));
        }
    };
    host.port_bindings = ports::published(parsed)?;
    host.publish_all_ports = parsed.on("publish-all");
    host.dns = parsed.read_all("dns", host::dns)?;
    host.dns_options = parsed.list("dns-option");
    host.dns_search = parsed.list("dns-search");
    host.extra_hosts = some(parsed.read_all("add-host", host::extra_host)?);
    Ok(())
}

/// `NAME`, or `name=NAME` of the long form.
fn network_name(parsed: &Parsed<'_>, text: &str) -> Result<String, Quit> {
    let name = if text.contains('=') {
        let mut name = "";
        for field in text.split(',') {
            match field.split_once('=') {
                Some(("name", value)) => name = value,
                _ => {
                    return Err(
                        parsed.wrong(format!("{field} of --network is not supported by tug yet"))
                    );
                }
            }
        }
        name
    } else {
        text
    };
    match name {
        "" => Err(parsed.wrong("no name set for network")),
        name => Ok(name.to_owned()),
    }
}

fn log(parsed: &Parsed<'_>) -> Result<LogConfig, Quit> {
    let driver = parsed.text_or_empty("log-driver");
    if !matches!(driver.as_str(), "" | "json-file" | "local") {
        let quit = parsed.wrong(format!("--log-driver {driver} is not supported by tug yet"));
        return Err(
            quit.with_hint("tug keeps the log itself: leave it out, or write json-file or local")
        );
    }
    let mut config = BTreeMap::new();
    for option in parsed.all("log-opt") {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let good = match name {
            "max-size" => value == "-1" || size::parse(value).is_ok(),
            "max-file" => value.parse::<u32>().is_ok_and(|count| count > 0),
            _ => {
                let quit = parsed.wrong(format!("unknown log opt '{name}'"));
                return Err(quit.with_hint("there are max-size=SIZE and max-file=COUNT"));
            }
        };
        if !good {
            return Err(parsed.wrong(format!("invalid value {value:?} of log opt '{name}'")));
        }
        config.insert(name.to_owned(), value.to_owned());
    }
    Ok(LogConfig { driver, config })
}

fn mounts(
    parsed: &Parsed<'_>,
    around: &Surroundings<'_>,
    mut config: Config,
    mut host: HostConfig,
) -> Result<(Config, HostConfig), Quit> {
    let mut binds = Vec::new();
    let mut anonymous = BTreeMap::new();
    for text in parsed.all("volume") {
        match mount::volume(text, around).map_err(|why| parsed.wrong(why))? {
            Volume::Bind(bind) => binds.push(bind),
            Volume::Anonymous(path) => {
                anonymous.insert(path, tug_engine::Empty {});
            }
        }
    }
    config.volumes = (!anonymous.is_empty()).then_some(anonymous);
    host.binds = some(binds);
    host.mounts = parsed.read_all("mount", |text| mount::mount(text, around))?;
    host.volumes_from = some(parsed.list("volumes-from"));
    host.volume_driver = parsed.text_or_empty("volume-driver");
    for text in parsed.all("tmpfs") {
        let (path, options) = text.split_once(':').unwrap_or((text, ""));
        host.tmpfs.insert(path.to_owned(), options.to_owned());
    }
    Ok((config, host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands;
    use crate::flags;
    use serde_json::{Map, Value};

    fn variable(name: &str) -> Option<String> {
        (name == "HOST_VALUE").then(|| "from the host".to_owned())
    }

    fn convert(line: &str) -> Result<CreateRequest, Quit> {
        let around = Surroundings {
            variable: &variable,
            read: &|path| std::fs::read(path),
            directory: &|| Ok("/here".into()),
        };
        // A blank inside of a word is written as an underscore; two blanks stand around an empty word.
        let word = |word: &str| match word.starts_with("c_") {
            true => word.replace('_', " "),
            false => word.to_owned(),
        };
        let words = line.split(' ').map(word).collect();
        request(&flags::parse(&commands::create::COMMAND, words)?, &around)
    }

    /// Everything that differs from a request without flags.
    fn differences(request: &CreateRequest) -> Value {
        let plain = convert("image").unwrap();
        let mut config = changed(
            &serde_json::to_value(&request.config).unwrap(),
            &serde_json::to_value(&plain.config).unwrap(),
        );
        config.remove("Image");
        let host = changed(
            &serde_json::to_value(&request.host).unwrap(),
            &serde_json::to_value(&plain.host).unwrap(),
        );
        if !host.is_empty() {
            config.insert("HostConfig".to_owned(), Value::Object(host));
        }
        Value::Object(config)
    }

    fn changed(now: &Value, before: &Value) -> Map<String, Value> {
        let now = now.as_object().unwrap();
        now.iter()
            .filter(|(name, value)| before.get(name.as_str()) != Some(value))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    /// What Docker's client leaves out when it is empty, our records may hold.
    fn without_empties(value: Value) -> Value {
        match value {
            Value::Object(map) => Value::Object(
                map.into_iter()
                    .map(|(name, value)| (name, without_empties(value)))
                    .filter(|(name, value)| {
                        let optional = matches!(
                            name.as_str(),
                            "Source"
                                | "ReadOnly"
                                | "Propagation"
                                | "NonRecursive"
                                | "CreateMountpoint"
                                | "NoCopy"
                                | "Labels"
                                | "DriverConfig"
                                | "SizeBytes"
                                | "Mode"
                        );
                        let empty =
                            [Value::Bool(false), "".into(), 0.into(), serde_json::json!({})];
                        !(optional && empty.contains(value))
                    })
                    .collect(),
            ),
            Value::Array(items) => Value::Array(items.into_iter().map(without_empties).collect()),
            other => other,
        }
    }

    #[test]
    fn every_command_line_asks_for_what_dockers_client_asks_for() {
        let cases = include_str!("../../testdata/create.jsonl");
        let mut count = 0;
        for case in cases.lines() {
            let case: Value = serde_json::from_str(case).unwrap();
            let line = case["line"].as_str().unwrap();
            let result = convert(line);
            match (case["error"].as_str(), result) {
                (Some(message), Err(quit)) => {
                    assert_eq!(
                        (quit.to_string(), quit.exit_code()),
                        (message.to_owned(), 125),
                        "{line}"
                    );
                }
                (Some(message), Ok(_)) => panic!("{line} was accepted, Docker says: {message}"),
                (None, Ok(request)) => {
                    let ours = without_empties(differences(&request));
                    assert_eq!(ours, without_empties(case["sets"].clone()), "{line}");
                    let query = case["query"].as_str().unwrap().replace("%2F", "/");
                    let named = |key: &str, value: Option<&String>| {
                        value.map(|value| format!("{key}={value}"))
                    };
                    let ours = [
                        named("name", request.name.as_ref()),
                        named("platform", request.platform.as_ref()),
                    ];
                    assert_eq!(
                        ours.into_iter().flatten().collect::<Vec<_>>().join("&"),
                        query,
                        "{line}"
                    );
                    assert_eq!(request.config.image, case["image"].as_str().unwrap(), "{line}");
                }
                (None, Err(quit)) => panic!("{line}: {}", quit.report()),
            }
            count += 1;
        }
        assert!(count > 200, "only {count} cases were read");
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_with_the_way_round() {
        for (line, message) in [
            ("--restart always b", "--restart always is not supported by tug yet"),
            ("--restart on-failure:3 b", "--restart on-failure:3 is not supported by tug yet"),
            (
                "--restart foo b",
                "invalid restart policy: unknown policy 'foo'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'",
            ),
            (
                "--rm --restart always b",
                "conflicting options: cannot specify both --restart and --rm",
            ),
            ("--health-cmd true b", "--health-cmd is not supported by tug yet"),
            ("--gpus all b", "--gpus is not supported by tug yet"),
            ("--link a b", "--link is not supported by tug yet"),
            ("--isolation hyperv b", "--isolation hyperv is not supported by tug yet"),
            ("--runtime runsc b", "--runtime runsc is not supported by tug yet"),
            ("--blkio-weight 300 b", "--blkio-weight 300 is not supported by tug yet"),
            ("--ip 172.17.0.9 b", "--ip is not supported by tug yet"),
            ("--network-alias x b", "--network-alias is not supported by tug yet"),
            ("--net-alias x b", "--network-alias is not supported by tug yet"),
            ("--network a --network b c", "several --network are not supported by tug yet"),
            (
                "--network name=a,ip=1.2.3.4 c",
                "ip=1.2.3.4 of --network is not supported by tug yet",
            ),
            ("--log-driver syslog b", "--log-driver syslog is not supported by tug yet"),
            ("--log-opt tag=x b", "unknown log opt 'tag'"),
            ("--log-opt max-size=x b", "invalid value \"x\" of log opt 'max-size'"),
            ("--memory-swappiness 5 b", "--memory-swappiness 5 is not supported by tug yet"),
            ("--oom-kill-disable b", "--oom-kill-disable is not supported by tug yet"),
            ("--annotation a=b b", "--annotation is not supported by tug yet"),
            ("--storage-opt a=b b", "--storage-opt is not supported by tug yet"),
            ("--mac-address 92:d0:c6:0a:29:33 b", "--mac-address is not supported by tug yet"),
            (
                "--mount type=volume,dst=/x,volume-driver=nfs b",
                "invalid argument \"type=volume,dst=/x,volume-driver=nfs\" for \"--mount\" flag: volume-driver=nfs is not supported by tug yet",
            ),
            (
                "--oom-score-adj 2000 b",
                "Invalid value 2000, range for oom score adj is [-1000, 1000]",
            ),
            ("--ipc foo b", "--ipc: invalid IPC mode"),
        ] {
            let quit = convert(line).unwrap_err();
            assert_eq!((quit.to_string().as_str(), quit.exit_code()), (message, 125), "{line}");
            assert!(quit.report().contains("\nhint: "), "{line}");
        }
    }

    #[test]
    fn what_is_the_default_anyway_is_accepted() {
        for flag in [
            "--restart no",
            "--restart=",
            "--no-healthcheck=false",
            "--disable-content-trust",
            "--disable-content-trust=true",
            "--runtime runc",
            "--isolation default",
            "--blkio-weight 0",
            "--memory-swappiness -1",
            "--volume-driver local",
            "--oom-kill-disable=false",
        ] {
            convert(&format!("{flag} b"))
                .unwrap_or_else(|quit| panic!("{flag}: {}", quit.report()));
        }
    }

    #[test]
    fn a_user_namespace_can_be_asked_for() {
        assert_eq!(convert("--userns private b").unwrap().host.userns_mode, "private");
    }
}
