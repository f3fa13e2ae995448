//! `kill`.

use super::many;
use crate::context::Context;
use crate::flags::{Arguments, Command, Flag, Parsed};
use crate::quit::Quit;

pub(crate) static COMMAND: Command = Command {
    names: &["kill", "container kill"],
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Kill one or more running containers",
    flags: &[&[Flag::value(
        "signal",
        "string",
        "Signal to send to the container (default \"KILL\")",
    )
    .short('s')]],
    arguments: Arguments::AtLeast(1),
    verbatim: false,
    run,
};

fn run(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let signal = parsed.text("signal").filter(|signal| !signal.is_empty()).unwrap_or("KILL");
    many::each(ctx, &parsed.arguments, |engine, name| {
        engine.kill(name, signal).map(|()| name.to_owned())
    })
}
