//! `rm`.

use crate::context::Context;
use crate::flags::{Arguments, Command, Flag, Parsed};
use crate::quit::Quit;
use tug_engine::{Error, RemoveOptions};

pub(crate) static COMMAND: Command = Command {
    names: &["rm", "container rm", "container remove"],
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Remove one or more containers",
    flags: &[&[
        Flag::switch("force", "Kill a running container first").short('f'),
        Flag::switch("link", "").short('l'),
        Flag::switch("volumes", "Remove the container's anonymous volumes too").short('v'),
    ]],
    arguments: Arguments::AtLeast(1),
    verbatim: false,
    run,
};

fn run(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    if parsed.on("link") {
        return Err(parsed.wrong("--link is not supported by tug"));
    }
    let force = parsed.on("force");
    let options = RemoveOptions { force, volumes: parsed.on("volumes") };
    let mut code = 0;
    for name in &parsed.arguments {
        match ctx.engine.remove(name, options) {
            Ok(()) => ctx.print_line(name)?,
            Err(error) => {
                // With -f one that is not there is what was wanted; Docker says so all the same.
                let wanted = force && matches!(error, Error::NoContainer { .. });
                ctx.report(Quit::from(error));
                code = if wanted { code } else { 1 };
            }
        }
    }
    Ok(code)
}
