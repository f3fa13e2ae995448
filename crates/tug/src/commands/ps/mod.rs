//! `ps`: which containers, and what is said of each.

mod choice;
mod line;
mod ports;
#[cfg(test)]
mod tests;

use crate::context::Context;
use crate::flags::{Arguments, Command, Flag, Parsed};
use crate::quit::Quit;
use crate::text::template::Flaw;
use choice::Choice;
pub(super) use line::joined;
use line::shown_id;
pub(super) use line::{Line, listing};

pub(crate) static COMMAND: Command = Command {
    names: &["ps", "container ls", "container list", "container ps"],
    usage: "[OPTIONS]",
    about: "List containers",
    flags: &[&[
        Flag::switch("all", "Show all containers (default shows just running)").short('a'),
        Flag::value("filter", "filter", "Show only what matches (e.g. \"status=exited\")")
            .short('f'),
        Flag::value("format", "string", "'table', 'json', 'table TEMPLATE' or a Go template"),
        Flag::value(
            "last",
            "int",
            "Show n last created containers, whatever their state (default -1)",
        )
        .short('n'),
        Flag::switch("latest", "Show the latest created container, whatever its state").short('l'),
        Flag::switch("no-trunc", "Don't truncate output"),
        Flag::switch("quiet", "Only display container IDs").short('q'),
        Flag::switch("size", "Display total file sizes").short('s'),
    ]],
    arguments: Arguments::Exactly(0),
    verbatim: false,
    run,
};

fn run(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let choice = Choice::of(parsed)?;
    let quiet = parsed.on("quiet");
    let format = match (parsed.text("format"), quiet) {
        (Some(format), _) => format.to_owned(),
        (None, true) => String::new(),
        (None, false) => ctx.docker_setting("psFormat").unwrap_or_default(),
    };
    let listing = listing(parsed.on("size"));
    let with_size = !quiet && (parsed.on("size") || listing.uses(&format, "Size"));
    let containers = choice.choose(&ctx.engine, ctx.engine.containers(with_size)?)?;
    let whole = parsed.on("no-trunc");
    if quiet {
        let ids: String =
            containers.iter().map(|container| shown_id(container, whole) + "\n").collect();
        return ctx.print(ids).map(|()| 0);
    }
    let now = jiff::Timestamp::now().as_second();
    let rows = containers.into_iter().map(|container| Line { container, whole, now });
    ctx.print(listing.print(&format, rows).map_err(Flaw::quit)?).map(|()| 0)
}
