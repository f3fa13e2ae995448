//! `stop`.

use super::many;
use crate::context::Context;
use crate::flags::{Arguments, Command, Flag, Parsed};
use crate::quit::Quit;

pub(crate) static COMMAND: Command = Command {
    names: &["stop", "container stop"],
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Stop one or more running containers",
    flags: &[STOP_FLAGS],
    arguments: Arguments::AtLeast(1),
    verbatim: false,
    run,
};

/// Shared with `restart`.
pub(super) const STOP_FLAGS: &[Flag] = &[
    Flag::value("signal", "string", "Signal to send to the container").short('s'),
    Flag::value("timeout", "int", "Seconds to wait before killing the container").short('t'),
    Flag::alias("time", "timeout"),
];

/// The values of both.
pub(super) fn stop_values<'a>(
    parsed: &'a Parsed<'_>,
) -> Result<(Option<&'a str>, Option<i64>), Quit> {
    Ok((parsed.text("signal").filter(|signal| !signal.is_empty()), parsed.number("timeout")?))
}

fn run(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let (signal, timeout) = stop_values(parsed)?;
    many::at_once(ctx, &parsed.arguments, |engine, name| {
        engine.stop(name, signal, timeout).map(|()| name.to_owned())
    })
}
