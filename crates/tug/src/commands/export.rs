//! `export`.

use super::save::Destination;
use crate::context::Context;
use crate::flags::{Arguments, Command, Flag, Parsed};
use crate::quit::Quit;

pub(crate) static COMMAND: Command = Command {
    names: &["export", "container export"],
    usage: "[OPTIONS] CONTAINER",
    about: "Export a container's filesystem as a tar archive",
    flags: &[&[Flag::value("output", "string", "Write to a file, instead of STDOUT").short('o')]],
    arguments: Arguments::Exactly(1),
    verbatim: false,
    run,
};

fn run(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let output = Destination::choose(parsed.text("output"), "export")?;
    let export = ctx.engine.export(parsed.first())?;
    output.write(|out| Ok(export.write(out)?))?;
    Ok(0)
}
