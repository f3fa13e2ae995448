//! `attach`.

use crate::context::Context;
use crate::flags::{Arguments, Command, Flag, Parsed};
use crate::foreground::{self, Manner, Streams};
use crate::quit::Quit;
use tug_monitor::log::Begin;

pub(crate) static COMMAND: Command = Command {
    names: &["attach", "container attach"],
    usage: "[OPTIONS] CONTAINER",
    about: "Attach to a running container's input and output",
    flags: &[&[
        Flag::value("detach-keys", "string", "The keys that detach (default \"ctrl-p,ctrl-q\")"),
        Flag::switch("no-stdin", "Do not attach STDIN"),
        Flag::switch("sig-proxy", "Pass signals on to the container (default true)"),
    ]],
    arguments: Arguments::Exactly(1),
    verbatim: false,
    run,
};

fn run(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let started = ctx.engine.attach(parsed.first())?;
    let stdin = started.open_stdin && !parsed.on("no-stdin");
    foreground::check_terminal(stdin, started.tty)?;
    let manner = Manner {
        streams: Streams { stdin, stdout: true, stderr: true },
        detach_keys: foreground::detach_keys(ctx, parsed, started.tty)?,
        sig_proxy: parsed.switch("sig-proxy").unwrap_or(true) && !started.tty,
        // What was printed before is in the log.
        begin: Begin::Offset(started.client.welcome().log_end),
        redraw: true,
    };
    foreground::attend(ctx, started, manner)
}
