//! From flags to what the builder is asked for.

use super::contexts::Opened;
use super::sources;
use crate::commands::pull;
use crate::container_flags::{self, host};
use crate::flags::Parsed;
use crate::quit::Quit;
use crate::value::size;
use std::io::Read;
use std::path::PathBuf;
use tug_build::{BuildRequest, DockerfileSource};
use tug_engine::HostConfig;
use tug_types::ImageReference;

/// Flags without a meaning here that a script may still give, with the values that change nothing.
const WITHOUT_EFFECT: &[(&str, &[&str])] = &[
    ("attest", &[]),
    ("builder", &["", "default"]),
    ("isolation", &["", "default"]),
    ("policy", &[]),
    ("provenance", &["false"]),
    ("sbom", &["false"]),
    ("security-opt", &[]),
];

/// The request.
///
/// # Errors
/// What cannot be read, and what is not supported.
pub(super) fn request(parsed: &Parsed<'_>, source: &Opened) -> Result<BuildRequest, Quit> {
    refuse(parsed)?;
    let platform = platform(parsed)?;
    let labels = parsed.read_all("label", container_flags::label)?.into_iter().collect();
    let contexts = parsed.read_all("build-context", sources::named_context)?;
    let secrets = parsed.read_all("secret", sources::secret)?;
    let agents = parsed.read_all("ssh", sources::agent)?;
    Ok(BuildRequest {
        context: source.dir.clone(),
        dockerfile: dockerfile(parsed, source)?,
        tags: tags(parsed)?,
        target: parsed.text("target").filter(|name| !name.is_empty()).map(str::to_owned),
        build_args: build_args(parsed),
        contexts: contexts.into_iter().collect(),
        secrets: secrets.into_iter().collect(),
        ssh: agents.into_iter().collect(),
        labels,
        allow: parsed.all("allow").flat_map(|list| list.split(',')).map(str::to_owned).collect(),
        no_cache: parsed.on("no-cache"),
        no_cache_stages: parsed
            .all("no-cache-filter")
            .flat_map(|list| list.split(','))
            .map(str::to_lowercase)
            .collect(),
        pull: parsed.on("pull"),
        platform,
        host: limits(parsed)?,
        explain: parsed.on("explain"),
        debug: parsed.on("debug"),
        outputs: super::outputs::files(parsed)?,
        ..BuildRequest::default()
    })
}

/// `--check`, `--call check`: whether only the checks are wanted.
///
/// # Errors
/// For methods that are not there.
pub(super) fn checks(parsed: &Parsed<'_>) -> Result<bool, Quit> {
    let call = parsed.text("call").unwrap_or_default();
    match call.split(',').next().unwrap_or_default() {
        "check" | "lint" => Ok(true),
        "" | "build" => Ok(parsed.on("check")),
        other => {
            let quit = parsed.wrong(format!("--call {other} is not supported by tug yet"));
            Err(quit.with_hint("tug knows --call check"))
        }
    }
}

/// The caller's `SOURCE_DATE_EPOCH` counts as a build argument.
fn build_args(parsed: &Parsed<'_>) -> std::collections::BTreeMap<String, String> {
    const EPOCH: &str = "SOURCE_DATE_EPOCH";
    let mut args = sources::build_args(parsed.list("build-arg"));
    if !args.contains_key(EPOCH)
        && let Some(epoch) = crate::environment::variable(EPOCH).filter(|text| !text.is_empty())
    {
        args.insert(EPOCH.to_owned(), epoch);
    }
    args
}

fn refuse(parsed: &Parsed<'_>) -> Result<(), Quit> {
    for (name, harmless) in WITHOUT_EFFECT {
        if let Some(value) = parsed.all(name).find(|value| !harmless.contains(value)) {
            let quit = parsed.wrong(format!("--{name} {value} is not supported by tug"));
            return Err(quit.with_hint("leave it out"));
        }
    }
    for name in ["cache-from", "cache-to", "annotation"] {
        if let Some(value) = parsed.text(name) {
            let quit = parsed.wrong(format!("--{name} {value} is not supported by tug yet"));
            return Err(quit.with_hint("leave it out"));
        }
    }
    for name in ["squash", "compress"] {
        if parsed.on(name) {
            let quit = parsed.wrong(format!("--{name} is not supported by tug yet"));
            return Err(quit.with_hint("leave it out"));
        }
    }
    Ok(())
}

fn platform(parsed: &Parsed<'_>) -> Result<Option<tug_build::Platform>, Quit> {
    let given: Vec<&str> = parsed.all("platform").flat_map(|list| list.split(',')).collect();
    match given.as_slice() {
        [] => Ok(None),
        [_] => parsed.read("platform", |text: &str| text.parse::<tug_build::Platform>()),
        _ => {
            let quit = parsed.wrong("several platforms in one build are not supported by tug yet");
            Err(quit.with_hint("build them one by one"))
        }
    }
}

fn tags(parsed: &Parsed<'_>) -> Result<Vec<ImageReference>, Quit> {
    let read = |text: &str| {
        let reference = pull::reference(text)?;
        match reference.digest() {
            Some(_) => Err(Quit::invalid(format!(
                "invalid tag {text:?}: refusing to create a tag with a digest reference"
            ))),
            None => Ok(reference),
        }
    };
    let list: Vec<&str> = parsed.all("tag").filter(|text| !text.is_empty()).collect();
    list.into_iter().map(read).collect()
}

/// A name as metadata shows it.
pub(super) fn shown(name: &str) -> String {
    ImageReference::parse(name).map_or_else(|_| name.to_owned(), |reference| reference.to_string())
}

fn dockerfile(parsed: &Parsed<'_>, source: &Opened) -> Result<DockerfileSource, Quit> {
    if let Some(bytes) = &source.dockerfile {
        return Ok(DockerfileSource::Bytes(bytes.clone()));
    }
    match parsed.text("file") {
        None | Some("") => Ok(DockerfileSource::Default),
        Some("-") => {
            let mut bytes = Vec::new();
            std::io::stdin()
                .read_to_end(&mut bytes)
                .map_err(|error| Quit::io("read the Dockerfile from the standard input", &error))?;
            Ok(DockerfileSource::Bytes(bytes))
        }
        // In a context that came through a pipe, names are those of the context.
        Some(path) if source._temporary.is_some() => {
            let dir = source.dir.clone().unwrap_or_default();
            Ok(DockerfileSource::Path(dir.join(path)))
        }
        Some(path) => Ok(DockerfileSource::Path(PathBuf::from(path))),
    }
}

/// What the commands of a build may take, and where they are.
fn limits(parsed: &Parsed<'_>) -> Result<HostConfig, Quit> {
    let number = |name: &str| -> Result<i64, Quit> {
        let read = |text: &str| text.parse::<i64>().map_err(|_| "expected a number");
        Ok(parsed.read(name, read)?.unwrap_or(0))
    };
    let bytes =
        |name: &str| -> Result<i64, Quit> { Ok(parsed.read(name, size::parse)?.unwrap_or(0)) };
    let swap = match parsed.text("memory-swap") {
        Some("-1") => -1,
        _ => bytes("memory-swap")?,
    };
    let network = parsed.read("network", |text: &str| match text {
        "" | "default" | "bridge" => Ok(String::new()),
        "none" | "host" => Ok(text.to_owned()),
        other => {
            Err(format!("network mode {other:?} not supported by a build: default, none or host"))
        }
    })?;
    Ok(HostConfig {
        network_mode: network.unwrap_or_default(),
        extra_hosts: Some(parsed.read_all("add-host", host::extra_host)?).filter(|l| !l.is_empty()),
        shm_size: bytes("shm-size")?,
        ulimits: parsed.read_all("ulimit", host::ulimit)?,
        memory: bytes("memory")?,
        memory_swap: swap,
        cpu_shares: number("cpu-shares")?,
        cpu_period: number("cpu-period")?,
        cpu_quota: number("cpu-quota")?,
        nano_cpus: parsed.read("cpus", host::nano_cpus)?.unwrap_or(0),
        cpuset_cpus: parsed.text_or_empty("cpuset-cpus"),
        cpuset_mems: parsed.text_or_empty("cpuset-mems"),
        cgroup_parent: parsed.text_or_empty("cgroup-parent"),
        ..HostConfig::default()
    })
}
