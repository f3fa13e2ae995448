//! `commit`.

use super::pull;
use crate::context::Context;
use crate::flags::{Arguments, Command, Flag, Parsed};
use crate::interrupt;
use crate::quit::Quit;
use tug_engine::CommitOptions;

pub(crate) static COMMAND: Command = Command {
    names: &["commit", "container commit"],
    usage: "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    about: "Create a new image from a container's changes",
    flags: &[&[
        Flag::value(
            "author",
            "string",
            "Author (e.g., \"John Hannibal Smith <hannibal@a-team.com>\")",
        )
        .short('a'),
        Flag::value("change", "list", "Apply Dockerfile instruction to the created image")
            .short('c'),
        Flag::value("message", "string", "Commit message").short('m'),
        Flag::switch("pause", "Pause container during commit (default true)").short('p'),
    ]],
    arguments: Arguments::Between(1, 2),
    verbatim: false,
    run,
};

fn run(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let reference = parsed.arguments.get(1).map(|name| pull::reference(name)).transpose()?;
    let options = CommitOptions {
        reference,
        author: parsed.text("author").unwrap_or_default().to_owned(),
        message: parsed.text("message").unwrap_or_default().to_owned(),
        changes: parsed.list("change"),
        pause: !parsed.given("pause") || parsed.on("pause"),
    };
    let id = interrupt::sweeping_up(ctx, || Ok(ctx.engine.commit(parsed.first(), &options)?))?;
    ctx.print_line(id.to_string()).map(|()| 0)
}
