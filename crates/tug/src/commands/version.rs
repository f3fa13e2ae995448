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
    client: Version,
    /// There is none beside the client, but scripts ask for it.
    server: Version,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    version: &'static str,
    os: &'static str,
    arch: &'static str,
    kernel_version: String,
}

fn run(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let version = Version {
        version: env!("CARGO_PKG_VERSION"),
        os: "linux",
        arch: architecture(),
        kernel_version: kernel(),
    };
    if let Some(format) = parsed.text("format").filter(|format| !format.is_empty()) {
        let versions = Versions { client: version.clone(), server: version };
        return print_object(ctx, format, "system.versionInfo", &versions);
    }
    ctx.print(format!(
        "tug:\n Version:           {}\n OS/Arch:           {}/{}\n Kernel version:    {}\n",
        version.version, version.os, version.arch, version.kernel_version
    ))
    .map(|()| 0)
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
