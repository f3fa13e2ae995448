//! `build`.

mod annotations;
mod attestations;
mod attributes;
mod caches;
mod contexts;
mod failure;
mod outputs;
mod request;
mod sources;

use crate::build_view::{self, Kind};
use crate::context::Context;
use crate::flags::{Arguments, Command, Flag, Parsed};
use crate::interrupt;
use crate::quit::Quit;
use outputs::Outputs;
use request::Method;
use serde_json::json;
use tug_build::{Build, BuildError, BuildRequest, Built};
use tug_types::{Digest, Explain};

pub(crate) static COMMAND: Command = Command {
    names: &["build", "image build", "builder build", "buildx build", "buildx b"],
    usage: "[OPTIONS] PATH | URL | -",
    about: "Build an image from a Dockerfile",
    flags: &[FLAGS],
    arguments: Arguments::Exactly(1),
    verbatim: false,
    run,
};

static FLAGS: &[Flag] = &[
    Flag::value("add-host", "strings", "Add a custom host-to-IP mapping (format: \"host:ip\")"),
    Flag::value(
        "allow",
        "stringArray",
        "Allow extra privileges (\"network.host\", \"security.insecure\")",
    ),
    Flag::value("annotation", "stringArray", "Add annotation to the image"),
    Flag::value("attest", "stringArray", "Attestations can only be turned off (\"disabled=true\")"),
    Flag::value("build-arg", "stringArray", "Set build-time variables"),
    Flag::value(
        "build-context",
        "stringArray",
        "Additional build contexts (e.g., name=path, name=docker-image://image)",
    ),
    Flag::value("builder", "string", ""),
    Flag::value("cache-from", "stringArray", "External cache sources"),
    Flag::value("cache-to", "stringArray", "Cache export destinations"),
    Flag::value(
        "call",
        "string",
        "Set method for evaluating build (\"check\", \"outline\", \"targets\")",
    ),
    Flag::value("cgroup-parent", "string", "Set the parent cgroup for the RUN instructions"),
    Flag::switch("check", "Shorthand for \"--call=check\""),
    // What it makes smaller is sent nowhere here.
    Flag::switch("compress", ""),
    Flag::value("cpu-period", "int", "Limit the CPU CFS (Completely Fair Scheduler) period"),
    Flag::value("cpu-quota", "int", "Limit the CPU CFS (Completely Fair Scheduler) quota"),
    Flag::value("cpu-shares", "int", "CPU shares (relative weight)").short('c'),
    Flag::value("cpus", "decimal", "Number of CPUs for each RUN instruction"),
    Flag::value("cpuset-cpus", "string", "CPUs in which to allow execution (0-3, 0,1)"),
    Flag::value("cpuset-mems", "string", "MEMs in which to allow execution (0-3, 0,1)"),
    Flag::switch("debug", "Open a shell in the state of a failed RUN instruction").short('D'),
    Flag::switch("disable-content-trust", ""),
    Flag::switch("explain", "Say for each step that ran which input changed"),
    Flag::value("file", "string", "Name of the Dockerfile (default: \"PATH/Dockerfile\")")
        .short('f'),
    Flag::switch("force-rm", ""),
    Flag::value("iidfile", "string", "Write the image ID to a file"),
    Flag::value("isolation", "string", ""),
    Flag::value("label", "stringArray", "Set metadata for an image"),
    Flag::switch("load", "Accepted for compatibility: every image is loaded"),
    Flag::value("memory", "bytes", "Memory limit of each RUN instruction").short('m'),
    Flag::value(
        "memory-swap",
        "bytes",
        "Swap limit equal to memory plus swap: '-1' to enable unlimited swap",
    ),
    Flag::value("metadata-file", "string", "Write build result metadata to a file"),
    Flag::value(
        "network",
        "string",
        "Set the networking mode for the RUN instructions during build (default \"default\")",
    ),
    Flag::switch("no-cache", "Do not use cache when building the image"),
    Flag::value("no-cache-filter", "stringArray", "Do not cache specified stages"),
    Flag::value("output", "stringArray", "Output destination (format: \"type=local,dest=path\")")
        .short('o'),
    Flag::value("platform", "stringArray", "Set target platform for build"),
    Flag::value("policy", "stringArray", ""),
    Flag::value(
        "progress",
        "string",
        "Set type of progress output (\"auto\", \"none\", \"plain\", \"quiet\", \"rawjson\", \"tty\")",
    ),
    Flag::value("provenance", "string", "Only \"false\": tug writes no attestations"),
    Flag::switch("pull", "Always attempt to pull all referenced images"),
    Flag::switch("push", "Shorthand for \"--output=type=registry\""),
    Flag::switch("quiet", "Suppress the build output and print image ID on success").short('q'),
    Flag::switch("rm", ""),
    Flag::value("sbom", "string", "Only \"false\": tug writes no attestations"),
    Flag::value(
        "secret",
        "stringArray",
        "Secret to expose to the build (format: \"id=mysecret[,src=/local/secret]\")",
    ),
    Flag::value("security-opt", "strings", ""),
    Flag::value("shm-size", "bytes", "Shared memory size for build containers"),
    Flag::switch("squash", ""),
    Flag::value(
        "ssh",
        "stringArray",
        "SSH agent socket to expose to the build (format: \"default|<id>[=<socket>]\")",
    ),
    Flag::value("tag", "stringArray", "Name and optionally a tag (format: \"name:tag\")")
        .short('t'),
    Flag::value("target", "string", "Set the target build stage to build"),
    Flag::value("ulimit", "ulimit", "Ulimit options"),
];

fn run(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let quiet = parsed.on("quiet");
    if let (true, Some(progress @ ("plain" | "tty" | "rawjson"))) = (quiet, parsed.text("progress"))
    {
        let message = format!("progress={progress} and quiet cannot be used together");
        return Err(request::refused(parsed.wrong(message)));
    }
    let kind = match quiet {
        true => Kind::Quiet,
        false => {
            let asked = parsed.read("progress", Kind::parse).map_err(request::refused)?;
            asked.unwrap_or(Kind::Auto)
        }
    };
    let call = request::call(parsed)?;
    let source = contexts::open(ctx, parsed)?;
    let outputs = outputs::read(parsed, request::has_epoch(parsed)?).map_err(request::refused)?;
    let contexts = contexts::named(ctx, parsed)?;
    let cache_budget = request::cache_budget(ctx)?;
    let request = request::request(parsed, &source, &contexts, &outputs)?;
    let request = BuildRequest { cache_budget, ..request };
    let view = build_view::open(kind).map_err(Quit::invalid)?;
    struct Shared(std::sync::Arc<dyn build_view::View>);
    impl tug_build::Progress for Shared {
        fn event(&self, event: tug_build::Event) {
            self.0.event(event);
        }
    }
    let settings = ctx.engine.settings().clone();
    let build = Build::new(settings, request, std::sync::Arc::new(Shared(view.clone())));
    if let Some(call) = call {
        return answer(ctx, call, &*view, &build);
    }
    let cancel = build.cancel();
    let result = interrupt::cancelling(ctx, || cancel.cancel(), || Ok(build.run()))?;
    view.close(result.is_err());
    let built = match result {
        Ok(built) => built,
        Err(error) => {
            let quit = failure::report(ctx, kind, &error, build.report().as_ref());
            failure::debug(ctx, &build)?;
            return Err(quit);
        }
    };
    if kind != Kind::Quiet
        && let Some(report) = build.report()
    {
        failure::warnings(ctx, &report);
    }
    say(ctx, parsed, &built);
    let pushed = outputs::hand_on(ctx, parsed, &outputs)?;
    finish(parsed, &built, &outputs, pushed)?;
    if kind == Kind::Quiet {
        let id = if outputs.has_image() { built.image.to_string() } else { String::new() };
        ctx.print_line(id)?;
    }
    Ok(0)
}

/// `--call`, `--check`: what the Dockerfile says of itself, and nothing is built.
fn answer(
    ctx: &Context,
    call: request::Call,
    view: &dyn build_view::View,
    build: &Build,
) -> Result<u8, Quit> {
    let json = call.json;
    let both = |text: String, json_text: String| match json {
        true => format!("{json_text}\n"),
        false => text,
    };
    let answer = match call.method {
        Method::Check => return check(ctx, call, view, build),
        Method::Outline => {
            build.outline().map(|outline| (both(outline.to_text(), outline.to_json()), 0))
        }
        Method::Targets => {
            build.targets().map(|targets| (both(targets.to_text(), targets.to_json()), 0))
        }
    };
    view.close(answer.is_err());
    let (text, code) = answer.map_err(|error| failure::report(ctx, Kind::Plain, &error, None))?;
    ctx.print(text)?;
    Ok(if call.ignore_status { 0 } else { code })
}

/// `--check`: the warnings are the answer, on stdout; what a build would fail with is told as always.
fn check(
    ctx: &Context,
    call: request::Call,
    view: &dyn build_view::View,
    build: &Build,
) -> Result<u8, Quit> {
    let checked = build.check();
    view.close(checked.is_err());
    let checked = checked.map_err(|error| failure::report(ctx, Kind::Plain, &error, None))?;
    let (report, error) = (&checked.report, checked.error.as_ref());
    let message = error.map(|error| error.root().failure().message);
    let place = error.and_then(BuildError::place).unwrap_or_default();
    match call.json {
        true => ctx.print_line(report.to_json(message.as_deref().map(|text| (text, place))))?,
        false => ctx.print(report.to_text(error.is_some()))?,
    }
    match error {
        _ if call.ignore_status => Ok(0),
        Some(error) => Err(failure::report(ctx, Kind::Plain, error, None)),
        None => Ok(u8::from(!checked.is_clean())),
    }
}

/// What was noticed on the way.
fn say(ctx: &Context, parsed: &Parsed<'_>, built: &Built) {
    if parsed.on("explain") {
        if built.explanations.is_empty() {
            ctx.say("every step was cached");
        }
        for explanation in &built.explanations {
            ctx.say(&explanation.title);
            explanation.reasons.iter().for_each(|reason| ctx.say(format!("  {reason}")));
        }
    }
}

/// What is written beside the image. `pushed`: the manifest's digest at a registry.
fn finish(
    parsed: &Parsed<'_>,
    built: &Built,
    outputs: &Outputs,
    pushed: Option<Digest>,
) -> Result<(), Quit> {
    let write = |path: &str, text: String| {
        std::fs::write(path, text).map_err(|error| Quit::io(format_args!("write {path}"), &error))
    };
    if let Some(path) = parsed.text("iidfile") {
        let id = if outputs.has_image() { built.image.to_string() } else { String::new() };
        write(path, id)?;
    }
    let Some(path) = parsed.text("metadata-file") else { return Ok(()) };
    let mut metadata = serde_json::Map::new();
    if outputs.has_image() {
        let digest = pushed.or(built.digest).unwrap_or(built.image);
        metadata.insert("containerimage.config.digest".into(), json!(built.image.to_string()));
        if let (None, Some(described)) = (pushed, &built.descriptor) {
            metadata.insert("containerimage.descriptor".into(), described.clone());
        }
        metadata.insert("containerimage.digest".into(), json!(digest.to_string()));
        let names: Vec<String> = outputs.names.iter().map(|name| request::shown(name)).collect();
        if !names.is_empty() {
            metadata.insert("image.name".into(), json!(names.join(",")));
        }
    }
    write(path, serde_json::to_string_pretty(&metadata).unwrap_or_default())
}
