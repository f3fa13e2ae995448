//! `inspect`: whatever has that name, as JSON or as the user's template prints it.

use super::version::BAD_TEMPLATE;
use super::version::FORMAT;
use crate::context::Context;
use crate::flags::{Arguments, Command, Flag, Parsed};
use crate::quit::Quit;
use crate::text::json::{self, AsJson};
use crate::text::template::{self, Flaw, Format};
use serde::Serialize;
use tug_template::Value;
use tug_types::{Failure, Kind};

pub(crate) static COMMAND: Command = Command {
    names: &["inspect"],
    usage: "[OPTIONS] NAME|ID [NAME|ID...]",
    about: "Show everything known of containers, images and volumes",
    flags: &[&[
        FORMAT,
        SIZE,
        Flag::value("type", "string", "Only inspect objects of the given type"),
    ]],
    arguments: Arguments::AtLeast(1),
    verbatim: false,
    run,
};

pub(crate) static CONTAINER: Command = Command {
    names: &["container inspect"],
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Display detailed information on one or more containers",
    flags: &[&[FORMAT, SIZE]],
    arguments: Arguments::AtLeast(1),
    verbatim: false,
    run: |ctx, parsed| {
        let size = parsed.on("size");
        inspect(ctx, parsed, |name, _| container(ctx, name, size))
    },
};

const SIZE: Flag = Flag::switch("size", "Add the sizes of a container's files").short('s');

/// Kinds Docker knows and tug does not have.
const OTHER_KINDS: &[&str] = &["config", "network", "node", "plugin", "secret", "service", "task"];

fn run(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let size = parsed.on("size");
    match parsed.text("type").unwrap_or_default() {
        "" => inspect(ctx, parsed, |name, shape| any(ctx, name, size, shape)),
        "container" => inspect(ctx, parsed, |name, _| container(ctx, name, size)),
        "image" => inspect(ctx, parsed, |name, shape| image(ctx, name, None, shape)),
        "volume" => inspect(ctx, parsed, |name, _| volume(ctx, name)),
        other if OTHER_KINDS.contains(&other) => {
            Err(Quit::invalid(format!("tug has no objects of type {other:?} yet")))
        }
        other => Err(Quit::invalid(format!(
            "unknown type: {other:?}: must be one of \"container\", \"image\", \"volume\""
        ))),
    }
}

/// Containers first, then images, then volumes, as Docker searches.
fn any(ctx: &Context, name: &str, size: bool, shape: Shape) -> Result<Value, Quit> {
    let missing = |quit: &Quit| quit.kind() == Some(Kind::NotFound);
    let tries: [&dyn Fn() -> Result<Value, Quit>; 3] =
        [&|| container(ctx, name, size), &|| image(ctx, name, None, shape), &|| volume(ctx, name)];
    for attempt in tries {
        match attempt() {
            Err(quit) if missing(&quit) => {}
            result => return result,
        }
    }
    Err(Failure::new(Kind::NotFound, format!("No such object: {name}")).into()).map_err(
        |quit: Quit| {
            quit.with_hint("`tug ps -a`, `tug images` and `tug volume ls` list what there is")
                .did_you_mean(ctx.similar_container(name))
        },
    )
}

fn container(ctx: &Context, name: &str, size: bool) -> Result<Value, Quit> {
    to_json(&ctx.engine.inspect(name, size)?)
}

/// Which of an object's shapes is printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// What a daemon would send: printed as it is.
    Sent,
    /// What a client would make of it, for templates.
    Read,
}

pub(super) fn image(
    ctx: &Context,
    name: &str,
    platform: Option<&str>,
    shape: Shape,
) -> Result<Value, Quit> {
    let image = ctx.engine.image_inspect(name, platform)?;
    to_json(&if shape == Shape::Sent { image.as_sent() } else { image })
}

pub(super) fn volume(ctx: &Context, name: &str) -> Result<Value, Quit> {
    to_json(&ctx.engine.volume(name)?)
}

fn to_json<T: Serialize>(value: &T) -> Result<Value, Quit> {
    json::value(value).map_err(|error| Quit::invalid(format!("write the answer as JSON: {error}")))
}

/// Prints what `find` finds for each name; then reports the names it does not find.
pub(super) fn inspect(
    ctx: &Context,
    parsed: &Parsed<'_>,
    find: impl Fn(&str, Shape) -> Result<Value, Quit>,
) -> Result<u8, Quit> {
    let mut found = Vec::new();
    let mut failures = Vec::new();
    let format = parsed.text("format").unwrap_or_default();
    let shape = if matches!(format, "" | "json") { Shape::Sent } else { Shape::Read };
    for name in &parsed.arguments {
        match find(name, shape) {
            Ok(object) => found.push(object),
            Err(quit) => failures.push(quit),
        }
    }
    ctx.print(printed(&found, format)?)?;
    let code = if failures.is_empty() { 0 } else { 1 };
    failures.into_iter().for_each(|quit| ctx.report(quit));
    Ok(code)
}

fn printed(found: &[Value], format: &str) -> Result<String, Quit> {
    let damaged = |error: serde_json::Error| Quit::invalid(error.to_string());
    let objects = || found.iter().map(AsJson).collect::<Vec<_>>();
    match format {
        "" => Ok(json::indented(&objects()).map_err(damaged)? + "\n"),
        "json" => Ok(serde_json::to_string(&objects()).map_err(damaged)? + "\n"),
        template => {
            let format = Format::rows(&template::unescape(template))
                .map_err(|flaw| flaw.quit().with_code(BAD_TEMPLATE))?;
            let mut text = String::new();
            for object in found {
                text.push_str(&format.fill_object(object).map_err(Flaw::quit)?);
                text.push('\n');
            }
            Ok(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Thing {
        name: &'static str,
        cmd: [&'static str; 1],
        nothing: Option<bool>,
        args: [&'static str; 0],
    }

    fn objects() -> Vec<Value> {
        let thing = Thing { name: "/web", cmd: ["a && b > c"], nothing: None, args: [] };
        vec![json::value(&thing).unwrap()]
    }
    #[test]
    fn objects_are_printed_as_dockers_client_prints_them() {
        assert_eq!(
            printed(&objects(), "").unwrap(),
            "[\n    {\n        \"Name\": \"/web\",\n        \"Cmd\": [\n            \"a && b > c\"\n        ],\n        \"Nothing\": null,\n        \"Args\": []\n    }\n]\n"
        );
        assert_eq!(printed(&[], "").unwrap(), "[]\n");
        assert_eq!(printed(&[], "{{.Name}}").unwrap(), "");
        assert_eq!(printed(&objects(), "{{.Name}}").unwrap(), "/web\n");
        assert_eq!(
            printed(&objects(), "json").unwrap(),
            "[{\"Name\":\"/web\",\"Cmd\":[\"a && b > c\"],\"Nothing\":null,\"Args\":[]}]\n"
        );
        assert_eq!(
            printed(&objects(), "{{json .}}").unwrap().trim_end(),
            &printed(&objects(), "json").unwrap()[1..].trim_end()
                [..printed(&objects(), "json").unwrap().trim_end().len() - 2]
        );
    }

    #[test]
    fn a_template_with_a_flaw_is_a_plain_failure() {
        let quit = printed(&objects(), "{{.Foo}}").unwrap_err();
        assert!(quit.to_string().starts_with("template parsing error: "), "{quit}");
        assert_eq!(quit.exit_code(), 1);
        let quit = printed(&objects(), "{{.Foo").unwrap_err();
        assert_eq!(quit.to_string(), "template parsing error: template: :1: unclosed action");
        assert_eq!(quit.exit_code(), 64);
    }
}
