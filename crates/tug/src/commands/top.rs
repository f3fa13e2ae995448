//! `top`.

use crate::context::Context;
use crate::flags::{Arguments, Command, Parsed};
use crate::quit::Quit;
use crate::text::table;

pub(crate) static COMMAND: Command = Command {
    names: &["top", "container top"],
    usage: "CONTAINER [ps OPTIONS]",
    about: "Display the running processes of a container",
    flags: &[],
    arguments: Arguments::AtLeast(1),
    verbatim: true,
    run,
};

/// Docker's columns are wider here than in its lists.
const WIDTH: usize = 20;

fn run(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let top = ctx.engine.top(parsed.first(), &parsed.arguments[1..])?;
    let rows = std::iter::once(&top.titles).chain(&top.processes);
    let lines: String = rows.map(|row| row.join("\t") + "\n").collect();
    ctx.print(table::align(&lines, WIDTH)).map(|()| 0)
}
