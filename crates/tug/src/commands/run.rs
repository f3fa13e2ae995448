//! `run`: create, start, and stay or leave.

use super::create::{self, CidFile, PullPolicy};
use crate::container_flags;
use crate::context::Context;
use crate::flags::{Arguments, Command, Flag, Parsed};
use crate::foreground::{self, Manner, Streams};
use crate::quit::Quit;
use tug_engine::{CreateRequest, Started};
use tug_monitor::log::Begin;

static OWN: &[Flag] = &[
    Flag::switch("detach", "Run in the background and print the container's ID").short('d'),
    Flag::value("detach-keys", "string", "The keys that detach (default \"ctrl-p,ctrl-q\")"),
    Flag::switch("sig-proxy", "Pass signals on to the container (default true)"),
];

pub(crate) static COMMAND: Command = Command {
    names: &["run", "container run"],
    usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    about: "Create and run a new container from an image",
    flags: &[OWN, container_flags::FLAGS],
    arguments: Arguments::AtLeast(1),
    verbatim: true,
    run,
};

fn run(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let mut request = create::request(parsed)?;
    let pull = PullPolicy::of(parsed)?;
    let detach = parsed.on("detach");
    if detach {
        leave_streams(parsed, &mut request)?;
    } else {
        foreground::check_terminal(request.config.attach_stdin, request.config.tty)?;
    }
    let keys = foreground::detach_keys(ctx, parsed, request.config.tty && !detach)?;
    if request.config.tty
        && let Some((rows, columns)) = tug_monitor::size_of(rustix::stdio::stdout())
    {
        request.host.console_size = [rows, columns];
    }
    let streams = Streams {
        stdin: request.config.attach_stdin,
        stdout: request.config.attach_stdout,
        stderr: request.config.attach_stderr,
    };
    let cid_file = CidFile::reserve(parsed)?;
    let started =
        create::with_image(ctx, parsed, pull, &request, || start(ctx, &request, cid_file.as_ref()))
            .map_err(Quit::starting)?;
    ctx.warn(&started.warnings);
    if detach {
        return ctx.print_line(started.id.as_str()).map(|()| 0);
    }
    let manner = Manner {
        streams,
        detach_keys: keys,
        sig_proxy: parsed.switch("sig-proxy").unwrap_or(true),
        begin: Begin::Offset(started.state.log_start),
        redraw: false,
    };
    foreground::attend(ctx, started, manner)
}

/// In one step; in two when the id is to be written before the start.
fn start(
    ctx: &Context,
    request: &CreateRequest,
    cid_file: Option<&CidFile>,
) -> Result<Started, Quit> {
    let Some(cid_file) = cid_file else { return Ok(ctx.engine.run(request)?) };
    let created = ctx.engine.create(request)?;
    ctx.warn(&created.warnings);
    cid_file.write(&created.id)?;
    match ctx.engine.start(created.id.as_str()) {
        Ok(Some(started)) => Ok(started),
        Ok(None) => Ok(ctx.engine.attach(created.id.as_str())?),
        Err(error) => {
            if request.host.auto_remove {
                // The start's failure is what the user must read.
                let _ = ctx.engine.remove(created.id.as_str(), remove_all());
            }
            Err(Quit::from(error))
        }
    }
}

fn remove_all() -> tug_engine::RemoveOptions {
    tug_engine::RemoveOptions { force: true, volumes: true }
}

/// `-d`: nothing is attached.
fn leave_streams(parsed: &Parsed<'_>, request: &mut CreateRequest) -> Result<(), Quit> {
    if parsed.given("attach") {
        let quit = Quit::invalid("conflicting options: cannot specify both --attach and --detach");
        return Err(
            quit.with_hint("`tug logs` and `tug attach` show what a detached container prints")
        );
    }
    let config = &mut request.config;
    (config.attach_stdin, config.attach_stdout, config.attach_stderr) = (false, false, false);
    config.stdin_once = false;
    Ok(())
}
