//! From flags to what the builder is asked for.

use super::contexts::{Contexts, Opened};
use super::outputs::Outputs;
use super::{annotations, attestations, caches, sources};
use crate::container_flags::{self, host};
use crate::context::Context;
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
    ("builder", &["", "default"]),
    ("isolation", &["", "default"]),
    ("policy", &[]),
    ("security-opt", &[]),
];

/// What is asked instead of a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub method: Method,
    pub json: bool,
    pub ignore_status: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Check,
    Outline,
    Targets,
}

/// The request.
///
/// # Errors
/// What cannot be read, and what is not supported.
pub(super) fn request(
    parsed: &Parsed<'_>,
    source: &Opened,
    contexts: &Contexts,
    outputs: &Outputs,
) -> Result<BuildRequest, Quit> {
    let host = limits(parsed)?;
    let contexts = contexts.named.clone();
    let rest = BuildRequest { host, contexts, ..BuildRequest::default() };
    values(parsed, source, outputs, rest).map_err(refused)
}

/// Docker's flags are read in two passes. What the second finds wrong with a value ends with 1.
pub(super) fn refused(quit: Quit) -> Quit {
    quit.with_code(1)
}

/// What the second pass reads.
fn values(
    parsed: &Parsed<'_>,
    source: &Opened,
    outputs: &Outputs,
    rest: BuildRequest,
) -> Result<BuildRequest, Quit> {
    refuse(parsed)?;
    let platforms = platforms(parsed)?;
    let labels = parsed.read_all("label", container_flags::label)?.into_iter().collect();
    let secrets = parsed.read_all("secret", sources::secret)?;
    Ok(BuildRequest {
        context: source.dir.clone(),
        dockerfile: dockerfile(parsed, source)?,
        tags: tags(parsed, &outputs.names)?,
        target: parsed.text("target").filter(|name| !name.is_empty()).map(str::to_owned),
        build_args: build_args(parsed)?,
        secrets: secrets.into_iter().collect(),
        ssh: sources::ssh(parsed)?,
        labels,
        allow: parsed.all("allow").flat_map(|list| list.split(',')).map(str::to_owned).collect(),
        no_cache: parsed.on("no-cache"),
        no_cache_stages: parsed
            .all("no-cache-filter")
            .flat_map(|list| list.split(','))
            .map(str::to_lowercase)
            .collect(),
        pull: parsed.on("pull"),
        platforms,
        cache_from: parsed.read_all("cache-from", caches::from)?.concat(),
        cache_to: parsed.read_all("cache-to", caches::to)?.concat(),
        annotations: parsed.read_all("annotation", annotations::parse)?.concat(),
        explain: parsed.on("explain"),
        debug: parsed.on("debug"),
        outputs: outputs.files.clone(),
        keep: outputs.keep,
        discard: outputs.discard,
        own_annotations: outputs.annotations.clone(),
        cache_budget: None,
        ..rest
    })
}

/// `--check`, `--call METHOD[,format=json][,ignorestatus]`; none is a build.
///
/// # Errors
/// For methods that are not there.
pub(super) fn call(parsed: &Parsed<'_>) -> Result<Option<Call>, Quit> {
    let call = parsed.text("call").unwrap_or_default();
    let mut words = call.split(',');
    let method = match words.next().unwrap_or_default() {
        "check" | "lint" => Some(Method::Check),
        "outline" => Some(Method::Outline),
        "targets" => Some(Method::Targets),
        "" | "build" => parsed.on("check").then_some(Method::Check),
        other => {
            let quit = parsed.wrong(format!("--call {other} is not supported by tug"));
            let hint = "tug knows --call build, check, outline and targets";
            return Err(refused(quit).with_hint(hint));
        }
    };
    let (mut json, mut ignore_status) = (false, false);
    for word in words {
        match word {
            "format=json" => json = true,
            "format=text" => json = false,
            "ignorestatus" | "ignorestatus=true" => ignore_status = true,
            "ignorestatus=false" => ignore_status = false,
            other => {
                return Err(refused(
                    parsed.wrong(format!("invalid print function option {other:?}")),
                ));
            }
        }
    }
    Ok(method.map(|method| Call { method, json, ignore_status }))
}

/// `TUG_BUILD_CACHE`, else `build-cache` of the settings files: what the build cache may take.
///
/// # Errors
/// When it is no size, or a file cannot be read.
pub(super) fn cache_budget(ctx: &Context) -> Result<Option<u64>, Quit> {
    let (name, text) = match crate::environment::build_cache() {
        Some(text) => ("TUG_BUILD_CACHE", text),
        None => match ctx.engine.build_cache_setting()? {
            Some(text) => ("build-cache in registries.json", text),
            None => return Ok(None),
        },
    };
    let bytes =
        crate::value::size::parse(&text).map_err(|why| Quit::invalid(format!("{name}: {why}")))?;
    Ok(u64::try_from(bytes).ok())
}

/// Whether there is a time that nothing in the image may be younger than.
///
/// # Errors
/// When build arguments cannot be read.
pub(super) fn has_epoch(parsed: &Parsed<'_>) -> Result<bool, Quit> {
    let args = build_args(parsed).map_err(refused)?;
    Ok(args.get("SOURCE_DATE_EPOCH").is_some_and(|text| !text.is_empty()))
}

/// The caller's `SOURCE_DATE_EPOCH` counts as a build argument.
fn build_args(parsed: &Parsed<'_>) -> Result<std::collections::BTreeMap<String, String>, Quit> {
    const EPOCH: &str = "SOURCE_DATE_EPOCH";
    let list = parsed.list("build-arg");
    if let Some(text) = list.iter().find(|text| text.is_empty() || text.starts_with('=')) {
        return Err(parsed.wrong(format!("invalid key-value pair {text:?}: empty key")));
    }
    let mut args = sources::build_args(list);
    if !args.contains_key(EPOCH)
        && let Some(epoch) = crate::environment::variable(EPOCH).filter(|text| !text.is_empty())
    {
        args.insert(EPOCH.to_owned(), epoch);
    }
    Ok(args)
}

fn refuse(parsed: &Parsed<'_>) -> Result<(), Quit> {
    for (name, harmless) in WITHOUT_EFFECT {
        if let Some(value) = parsed.all(name).find(|value| !harmless.contains(value)) {
            let quit = parsed.wrong(format!("--{name} {value} is not supported by tug"));
            return Err(quit.with_hint("leave it out"));
        }
    }
    attestations::refuse(parsed)?;
    if parsed.on("squash") {
        let quit = parsed.wrong("--squash is not supported by tug");
        return Err(quit.with_hint("copy the result of one stage into another: COPY --from"));
    }
    Ok(())
}

/// Each once, in the order they are given.
fn platforms(parsed: &Parsed<'_>) -> Result<Vec<tug_build::Platform>, Quit> {
    let mut platforms = Vec::new();
    for text in parsed.all("platform").flat_map(|list| list.split(',')) {
        let platform = match text.trim() {
            "" => continue,
            "local" => tug_build::Platform::host(),
            text => text
                .parse::<tug_build::Platform>()
                .map_err(|error| parsed.wrong(format!("--platform {text}: {error}")))?,
        };
        if !platforms.contains(&platform) {
            platforms.push(platform);
        }
    }
    Ok(platforms)
}

/// `--tag`, and the names that outputs have.
fn tags(parsed: &Parsed<'_>, more: &[String]) -> Result<Vec<ImageReference>, Quit> {
    let read = |text: &str| {
        let reference = ImageReference::parse(text)
            .map_err(|error| Quit::invalid(format!("invalid tag {text:?}: {error}")))?;
        match reference.digest() {
            Some(_) => Err(Quit::invalid(format!(
                "invalid tag {text:?}: refusing to create a tag with a digest reference"
            ))),
            None => Ok(reference),
        }
    };
    let given = parsed.all("tag");
    let more =
        more.iter().map(String::as_str).filter(|name| !parsed.all("tag").any(|tag| tag == *name));
    let list = given.chain(more);
    list.filter(|text| !text.is_empty()).map(read).collect()
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
    let network = |text: &str| match text {
        "" | "default" | "bridge" => Ok(String::new()),
        "none" | "host" => Ok(text.to_owned()),
        other => {
            Err(format!("network mode {other:?} not supported by a build: default, none or host"))
        }
    };
    let network = parsed.read("network", network).map_err(refused)?;
    let extra_hosts = parsed.read_all("add-host", host::extra_host).map_err(refused)?;
    Ok(HostConfig {
        network_mode: network.unwrap_or_default(),
        extra_hosts: Some(extra_hosts).filter(|list| !list.is_empty()),
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
