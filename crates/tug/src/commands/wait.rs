//! `wait`.

use super::many;
use crate::context::Context;
use crate::flags::{Arguments, Command, Parsed};
use crate::quit::Quit;

pub(crate) static COMMAND: Command = Command {
    names: &["wait", "container wait"],
    usage: "CONTAINER [CONTAINER...]",
    about: "Wait until containers stop, then print their exit codes",
    flags: &[],
    arguments: Arguments::AtLeast(1),
    verbatim: false,
    run,
};

fn run(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    many::at_once(ctx, &parsed.arguments, |engine, name| {
        engine.wait(name).map(|code| code.to_string())
    })
}
