//! `restart`.

use super::{many, stop};
use crate::context::Context;
use crate::flags::{Arguments, Command, Parsed};
use crate::quit::Quit;

pub(crate) static COMMAND: Command = Command {
    names: &["restart", "container restart"],
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Restart one or more containers",
    flags: &[stop::STOP_FLAGS],
    arguments: Arguments::AtLeast(1),
    verbatim: false,
    run,
};

fn run(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let (signal, timeout) = stop::stop_values(parsed)?;
    many::at_once(ctx, &parsed.arguments, |engine, name| {
        engine.restart(name, signal, timeout).map(|_| name.to_owned())
    })
}
