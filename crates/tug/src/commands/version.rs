//! `version`.

use crate::context::Context;
use crate::flags::{Arguments, Command, Flag, Parsed};
use crate::quit::Quit;
use crate::text::json;
use crate::text::template::{self, Flaw, Format};
use serde::Serialize;

/// What `--version` prints.
pub(crate) const LINE: &str = concat!("tug version ", env!("CARGO_PKG_VERSION"));

pub(crate) static COMMAND: Command = Command {
    names: &["version"],
    usage: "[OPTIONS]",
    about: "Show the version",
    flags: &[&[FORMAT]],
    arguments: Arguments::Exactly(0),
    verbatim: false,
    run,
};

/// `-f` of commands that print one object.
pub(super) const FORMAT: Flag =
    Flag::value("format", "string", "Print 'json', or fill in a Go template").short('f');

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Versions {
    client: Client,
    /// There is none beside the client, but scripts ask for it.
    server: Server,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Client {
    version: &'static str,
    api_version: &'static str,
    #[serde(rename = "DefaultAPIVersion")]
    default_api_version: &'static str,
    git_commit: &'static str,
    go_version: &'static str,
    os: &'static str,
    arch: &'static str,
    build_time: &'static str,
    context: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Server {
    platform: Platform,
    components: Vec<Component>,
    version: &'static str,
    api_version: &'static str,
    #[serde(rename = "MinAPIVersion")]
    min_api_version: &'static str,
    git_commit: &'static str,
    go_version: &'static str,
    os: &'static str,
    arch: &'static str,
    kernel_version: String,
    build_time: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Platform {
    name: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Component {
    name: &'static str,
    version: &'static str,
}

/// Docker's API as far as the shapes that are printed here follow it.
const API_VERSION: &str = "1.50";

fn run(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let versions = versions();
    if let Some(format) = parsed.text("format").filter(|format| !format.is_empty()) {
        return print_object(ctx, format, "system.versionInfo", &versions);
    }
    let server = versions.server;
    ctx.print(format!(
        "tug:\n Version:           {}\n OS/Arch:           {}/{}\n Kernel version:    {}\n",
        server.version, server.os, server.arch, server.kernel_version
    ))
    .map(|()| 0)
}

fn versions() -> Versions {
    let (version, os, arch) = (env!("CARGO_PKG_VERSION"), "linux", architecture());
    Versions {
        client: Client {
            version,
            api_version: API_VERSION,
            default_api_version: API_VERSION,
            git_commit: "",
            go_version: "",
            os,
            arch,
            build_time: "",
            context: "default",
        },
        server: Server {
            platform: Platform { name: "tug" },
            components: vec![Component { name: "Engine", version }],
            version,
            api_version: API_VERSION,
            min_api_version: API_VERSION,
            git_commit: "",
            go_version: "",
            os,
            arch,
            kernel_version: kernel(),
            build_time: "",
        },
    }
}

/// Go's name for this machine.
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

pub(super) fn kernel() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Docker's exit code for a template that cannot be read, where one object is printed.
pub(super) const BAD_TEMPLATE: u8 = 64;

/// An object of Go's type `type_name` by a format of the user's.
pub(super) fn print_object<T: Serialize>(
    ctx: &Context,
    format: &str,
    type_name: &str,
    value: &T,
) -> Result<u8, Quit> {
    let damaged = |error: serde_json::Error| Quit::invalid(error.to_string());
    if format == "json" {
        return ctx.print_line(serde_json::to_string(value).map_err(damaged)?).map(|()| 0);
    }
    let value = json::named(type_name, value).map_err(damaged)?;
    let format = Format::rows(&template::unescape(format))
        .map_err(|flaw| flaw.quit().with_code(BAD_TEMPLATE))?;
    ctx.print_line(format.fill(&value).map_err(Flaw::bare)?).map(|()| 0)
}
