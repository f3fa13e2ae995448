//! From an instruction's outer form to what it says.

use std::ops::Range;
use std::time::Duration;

use crate::ast::{
    Add, CommandLine, Copy, Healthcheck, HealthcheckCommand, Heredoc, InlineFile, Instruction,
    KeyValue, MountFlag, Onbuild, Paths, Run, RunNetwork, RunSecurity,
};
use crate::duration;
use crate::fault::Fault;
use crate::flags::{Flags, Given, Known};
use crate::heredoc;
use crate::mount;
use crate::parse::arguments;
use crate::problem::Problem;
use crate::shape::{Body, Pair, Shape};
use crate::span::{Span, Spanned};
use crate::words::Word;

/// Where an instruction stands.
pub(crate) struct Context<'a> {
    pub(crate) line: &'a str,
    pub(crate) comments: &'a [String],
    pub(crate) spans: &'a dyn Fn(&Range<usize>) -> Span,
}

impl Context<'_> {
    fn given(&self, given: Option<&Given>) -> Option<Spanned<String>> {
        given
            .filter(|given| !given.value.is_empty())
            .map(|given| Spanned::new(given.value.clone(), (self.spans)(&given.range)))
    }

    fn word(&self, word: &Word) -> Spanned<String> {
        Spanned::new(word.text.clone(), (self.spans)(&word.range))
    }
}

/// Reads an instruction of a stage. The shape's name is known and not `FROM`.
pub(crate) fn read(
    shape: &Shape,
    heredocs: Vec<Heredoc>,
    context: &Context<'_>,
) -> Result<Instruction, Fault> {
    let name = shape.name.unwrap_or_default();
    let plain = |instruction| Flags::read(&shape.flags, &Known::none(instruction));
    Ok(match name {
        "ADD" => Instruction::Add(add(shape, &heredocs, context)?),
        "COPY" => Instruction::Copy(copy(shape, &heredocs, context)?),
        "ARG" => Instruction::Arg(arguments(at_least_one(words(&shape.body), "ARG")?, context)?),
        "CMD" => {
            plain("CMD")?;
            Instruction::Cmd(command_line(&shape.body))
        }
        "ENTRYPOINT" => {
            plain("ENTRYPOINT")?;
            Instruction::Entrypoint(command_line(&shape.body))
        }
        "ENV" => {
            plain("ENV")?;
            Instruction::Env(pairs(&shape.body, "ENV", context)?)
        }
        "LABEL" => {
            plain("LABEL")?;
            Instruction::Label(pairs(&shape.body, "LABEL", context)?)
        }
        "EXPOSE" => {
            let words = at_least_one(words(&shape.body), "EXPOSE")?;
            plain("EXPOSE")?;
            let mut ports: Vec<_> = words.iter().map(|word| context.word(word)).collect();
            ports.sort_by(|a, b| a.value.cmp(&b.value));
            Instruction::Expose(ports)
        }
        "HEALTHCHECK" => Instruction::Healthcheck(healthcheck(shape)?),
        "MAINTAINER" => {
            let word = exactly_one(&shape.body, "MAINTAINER")?;
            plain("MAINTAINER")?;
            Instruction::Maintainer(word.text.clone())
        }
        "ONBUILD" => Instruction::Onbuild(onbuild(shape, &heredocs, context)?),
        "RUN" => Instruction::Run(run(shape, heredocs, context)?),
        "SHELL" => {
            plain("SHELL")?;
            Instruction::Shell(shell(shape)?)
        }
        // It has no flags, and those given are passed over.
        "STOPSIGNAL" => {
            Instruction::StopSignal(context.word(exactly_one(&shape.body, "STOPSIGNAL")?))
        }
        "USER" => {
            let word = exactly_one(&shape.body, "USER")?;
            plain("USER")?;
            Instruction::User(context.word(word))
        }
        "VOLUME" => Instruction::Volume(volume(shape, context)?),
        _ => {
            let word = exactly_one(&shape.body, "WORKDIR")?;
            plain("WORKDIR")?;
            Instruction::Workdir(context.word(word))
        }
    })
}

fn words(body: &Body) -> &[Word] {
    match body {
        Body::Words(words) => words,
        _ => &[],
    }
}

fn at_least_one<'a>(words: &'a [Word], instruction: &'static str) -> Result<&'a [Word], Fault> {
    if words.is_empty() {
        Err(Problem::AtLeastOneArgument { instruction }.into())
    } else {
        Ok(words)
    }
}

fn exactly_one<'a>(body: &'a Body, instruction: &'static str) -> Result<&'a Word, Fault> {
    match body {
        Body::Text(word) if !word.text.is_empty() => Ok(word),
        _ => Err(Problem::ExactlyOneArgument { instruction }.into()),
    }
}

fn command_line(body: &Body) -> CommandLine {
    match body {
        Body::Json(words) => CommandLine::Exec(words.clone()),
        Body::Text(word) => CommandLine::Shell(word.text.clone()),
        _ => CommandLine::Shell(String::new()),
    }
}

fn pairs(
    body: &Body,
    instruction: &'static str,
    context: &Context<'_>,
) -> Result<Vec<KeyValue>, Fault> {
    let pairs: &[Pair] = match body {
        Body::Pairs(pairs) => pairs,
        _ => &[],
    };
    if pairs.is_empty() {
        return Err(Problem::AtLeastOneArgument { instruction }.into());
    }
    pairs
        .iter()
        .map(|pair| {
            if pair.key.is_empty() {
                return Err(Fault::at(Problem::BlankName { instruction }, pair.range.clone()));
            }
            Ok(KeyValue {
                key: pair.key.clone(),
                value: pair.value.clone(),
                legacy: pair.legacy,
                span: (context.spans)(&pair.range),
            })
        })
        .collect()
}

fn shell(shape: &Shape) -> Result<Vec<String>, Fault> {
    match &shape.body {
        Body::Json(words) if !words.is_empty() => Ok(words.clone()),
        Body::Text(word) if !word.text.is_empty() => {
            Err(Fault::at(Problem::JsonRequired { instruction: "SHELL" }, word.range.clone()))
        }
        _ => Err(Problem::AtLeastOneArgument { instruction: "SHELL" }.into()),
    }
}

/// The words of `ADD`, `COPY` and `VOLUME`, either form.
fn list(shape: &Shape, context: &Context<'_>) -> Vec<Spanned<String>> {
    match &shape.body {
        Body::Json(strings) => {
            let span = (context.spans)(&shape.rest);
            strings.iter().map(|text| Spanned::new(text.clone(), span)).collect()
        }
        body => words(body).iter().map(|word| context.word(word)).collect(),
    }
}

fn volume(shape: &Shape, context: &Context<'_>) -> Result<Vec<Spanned<String>>, Fault> {
    let mut volumes = list(shape, context);
    if volumes.is_empty() {
        return Err(Problem::AtLeastOneArgument { instruction: "VOLUME" }.into());
    }
    Flags::read(&shape.flags, &Known::none("VOLUME"))?;
    for volume in &mut volumes {
        volume.value = volume.value.trim().to_owned();
        if volume.value.is_empty() {
            return Err(Fault::at(Problem::EmptyVolume, shape.rest.clone()));
        }
    }
    Ok(volumes)
}

fn paths(
    words: Vec<Spanned<String>>,
    heredocs: &[Heredoc],
    instruction: &'static str,
) -> Result<Paths, Fault> {
    let mut words = words;
    let Some(destination) = words.pop().filter(|_| !words.is_empty()) else {
        return Err(Problem::NoDestination { instruction }.into());
    };
    if heredoc::is_mark(&destination.value) {
        return Err(Problem::HeredocDestination { instruction }.into());
    }
    let mut paths = Paths { sources: Vec::new(), inline: Vec::new(), destination };
    for word in words {
        match heredoc::mark(&word.value) {
            Ok(Some(mark)) => {
                // Of several with one name the last one's content is meant.
                let found = heredocs.iter().rev().find(|heredoc| heredoc.name == mark.name);
                let content = found.map(|found| found.content.clone()).unwrap_or_default();
                let (name, expand) = (mark.name.clone(), mark.expand);
                let data = Heredoc { content, ..mark }.text();
                paths.inline.push(InlineFile { name, data, expand });
            }
            _ => paths.sources.push(word),
        }
    }
    Ok(paths)
}

const COPY_FLAGS: Known = Known {
    instruction: "COPY",
    names: &["from", "chown", "chmod", "link", "parents", "exclude"],
    switches: &["link", "parents"],
    lists: &["exclude"],
};

fn copy(shape: &Shape, heredocs: &[Heredoc], context: &Context<'_>) -> Result<Copy, Fault> {
    let words = list(shape, context);
    if words.len() < 2 {
        return Err(Problem::NoDestination { instruction: "COPY" }.into());
    }
    let flags = Flags::read(&shape.flags, &COPY_FLAGS)?;
    Ok(Copy {
        paths: paths(words, heredocs, "COPY")?,
        from: context.given(flags.get("from")),
        chown: context.given(flags.get("chown")),
        chmod: context.given(flags.get("chmod")),
        link: flags.switch("link").unwrap_or(false),
        parents: flags.switch("parents").unwrap_or(false),
        excludes: flags.all("exclude").map(|given| given.value.clone()).collect(),
    })
}

const ADD_FLAGS: Known = Known {
    instruction: "ADD",
    names: &["chown", "chmod", "link", "keep-git-dir", "checksum", "unpack", "exclude"],
    switches: &["link", "keep-git-dir", "unpack"],
    lists: &["exclude"],
};

fn add(shape: &Shape, heredocs: &[Heredoc], context: &Context<'_>) -> Result<Add, Fault> {
    let words = list(shape, context);
    if words.len() < 2 {
        return Err(Problem::NoDestination { instruction: "ADD" }.into());
    }
    let flags = Flags::read(&shape.flags, &ADD_FLAGS)?;
    Ok(Add {
        paths: paths(words, heredocs, "ADD")?,
        chown: context.given(flags.get("chown")),
        chmod: context.given(flags.get("chmod")),
        link: flags.switch("link").unwrap_or(false),
        keep_git_dir: flags.switch("keep-git-dir"),
        checksum: context.given(flags.get("checksum")),
        unpack: flags.switch("unpack"),
        excludes: flags.all("exclude").map(|given| given.value.clone()).collect(),
    })
}

const RUN_FLAGS: Known = Known {
    instruction: "RUN",
    names: &["mount", "network", "security", "device"],
    switches: &[],
    lists: &["mount", "device"],
};

fn run(shape: &Shape, heredocs: Vec<Heredoc>, context: &Context<'_>) -> Result<Run, Fault> {
    let flags = Flags::read(&shape.flags, &RUN_FLAGS)?;
    let mut mounts = Vec::new();
    for given in flags.all("mount") {
        let from = mount::unexpanded_from(&given.value)
            .map_err(|error| Fault::at(error, given.range.clone()))?;
        mounts.push(MountFlag {
            raw: given.value.clone(),
            span: (context.spans)(&given.range),
            from,
        });
    }
    let devices = flags
        .all("device")
        .map(|given| {
            mount::device(&given.value).map_err(|error| Fault::at(error, given.range.clone()))
        })
        .collect::<Result<_, _>>()?;
    Ok(Run {
        command: command_line(&shape.body),
        heredocs,
        mounts,
        network: flags.get("network").map_or(Ok(RunNetwork::Default), network)?,
        security: flags.get("security").map_or(Ok(RunSecurity::Sandbox), security)?,
        devices,
    })
}

fn network(given: &Given) -> Result<RunNetwork, Fault> {
    match given.value.as_str() {
        "default" => Ok(RunNetwork::Default),
        "none" => Ok(RunNetwork::None),
        "host" => Ok(RunNetwork::Host),
        other => {
            Err(Fault::at(Problem::NetworkMode { value: other.to_owned() }, given.range.clone()))
        }
    }
}

fn security(given: &Given) -> Result<RunSecurity, Fault> {
    match given.value.as_str() {
        "sandbox" => Ok(RunSecurity::Sandbox),
        "insecure" => Ok(RunSecurity::Insecure),
        other => Err(Fault::at(Problem::Security { value: other.to_owned() }, given.range.clone())),
    }
}

const HEALTHCHECK_FLAGS: Known = Known {
    instruction: "HEALTHCHECK",
    names: &["interval", "timeout", "start-period", "start-interval", "retries"],
    switches: &[],
    lists: &[],
};

fn healthcheck(shape: &Shape) -> Result<Healthcheck, Fault> {
    let (kind, body) = match &shape.body {
        Body::Typed(kind, body) if !kind.text.is_empty() => (kind, body.as_ref()),
        _ => return Err(Problem::AtLeastOneArgument { instruction: "HEALTHCHECK" }.into()),
    };
    let command = command_line(body);
    let upper = kind.text.to_uppercase();
    let missing = matches!(&command, CommandLine::Shell(text) if text.is_empty())
        || matches!(&command, CommandLine::Exec(words) if words.is_empty());
    if upper == "NONE" {
        if missing {
            return Ok(Healthcheck::None);
        }
        return Err(Fault::at(Problem::HealthcheckNone, kind.range.end..shape.rest.end));
    }
    let flags = Flags::read(&shape.flags, &HEALTHCHECK_FLAGS)?;
    if upper != "CMD" {
        return Err(Fault::at(Problem::HealthcheckType { kind: upper }, kind.range.clone()));
    }
    if missing {
        return Err(Problem::HealthcheckCommand.into());
    }
    Ok(Healthcheck::Command(HealthcheckCommand {
        command,
        interval: interval(&flags, "interval")?,
        timeout: interval(&flags, "timeout")?,
        start_period: interval(&flags, "start-period")?,
        start_interval: interval(&flags, "start-interval")?,
        retries: flags.get("retries").map_or(Ok(0), retries)?,
    }))
}

/// A duration; zero when it is not given.
fn interval(flags: &Flags, flag: &'static str) -> Result<Duration, Fault> {
    let Some(given) = flags.get(flag).filter(|given| !given.value.is_empty()) else {
        return Ok(Duration::ZERO);
    };
    let nanoseconds =
        duration::parse(&given.value).map_err(|error| Fault::at(error, given.range.clone()))?;
    match u64::try_from(nanoseconds) {
        Ok(0) => Ok(Duration::ZERO),
        Ok(nanoseconds) if nanoseconds >= 1_000_000 => Ok(Duration::from_nanos(nanoseconds)),
        _ => Err(Fault::at(Problem::DurationTooShort { flag }, given.range.clone())),
    }
}

fn retries(given: &Given) -> Result<u32, Fault> {
    if given.value.is_empty() {
        return Ok(0);
    }
    let at = |problem| Fault::at(problem, given.range.clone());
    let value: i32 =
        given.value.parse().map_err(|_| at(Problem::Retries { value: given.value.clone() }))?;
    u32::try_from(value).map_err(|_| at(Problem::NegativeRetries { value: i64::from(value) }))
}

fn onbuild(shape: &Shape, heredocs: &[Heredoc], context: &Context<'_>) -> Result<Onbuild, Fault> {
    let Body::Trigger(Some(trigger)) = &shape.body else {
        return Err(Problem::AtLeastOneArgument { instruction: "ONBUILD" }.into());
    };
    Flags::read(&shape.flags, &Known::none("ONBUILD"))?;
    let at = trigger.keyword.range.clone();
    match trigger.name {
        Some("ONBUILD") => return Err(Fault::at(Problem::OnbuildChain, at)),
        Some(name @ ("FROM" | "MAINTAINER")) => {
            return Err(Fault::at(Problem::OnbuildTrigger { name: name.to_owned() }, at));
        }
        _ => {}
    }
    let mut expression = context.line[at.start..].trim_end().to_owned();
    for heredoc in heredocs {
        expression.push('\n');
        expression.push_str(&heredoc.content);
        expression.push_str(&heredoc.name);
    }
    Ok(Onbuild { expression })
}
