//! `exec`: a process in a running container, and its streams here.

use crate::container_flags::{self, Surroundings};
use crate::context::Context;
use crate::environment;
use crate::flags::{Arguments, Command, Flag, Parsed};
use crate::foreground;
use crate::quit::Quit;
use crate::session;
use tug_engine::ExecRequest;

pub(crate) static COMMAND: Command = Command {
    names: &["exec", "container exec"],
    usage: "[OPTIONS] CONTAINER COMMAND [ARG...]",
    about: "Execute a command in a running container",
    flags: &[&[
        Flag::switch("detach", "Run the command in the background").short('d'),
        Flag::value("detach-keys", "string", "The keys that detach (default \"ctrl-p,ctrl-q\")"),
        Flag::value("env", "list", "Set environment variables").short('e'),
        Flag::value("env-file", "list", "Read environment variables from a file"),
        Flag::switch("interactive", "Keep STDIN open even if not attached").short('i'),
        Flag::switch("privileged", "Give the command all the powers of the host's root"),
        Flag::switch("tty", "Allocate a pseudo-TTY").short('t'),
        Flag::value("user", "string", "Username or UID (format: <name|uid>[:<group|gid>])")
            .short('u'),
        Flag::value("workdir", "string", "Working directory inside the container").short('w'),
    ]],
    arguments: Arguments::AtLeast(2),
    verbatim: true,
    run,
};

fn run(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let around = Surroundings {
        variable: &environment::variable,
        read: &|path| std::fs::read(path),
        directory: &|| std::env::current_dir(),
    };
    let request = request(parsed, &around)?;
    if !request.detach {
        foreground::check_terminal(request.interactive, request.tty)?;
    }
    let keys = foreground::detach_keys(ctx, parsed, request.tty && !request.detach)?;
    let started =
        ctx.engine.exec(parsed.first(), &request).map_err(|error| Quit::from(error).executing())?;
    ctx.warn(&started.warnings);
    if request.detach {
        return Ok(0);
    }
    session::attend(started, request.interactive, keys)
}

fn request(parsed: &Parsed<'_>, around: &Surroundings<'_>) -> Result<ExecRequest, Quit> {
    let given = |name| parsed.text(name).filter(|text| !text.is_empty()).map(str::to_owned);
    let detach = parsed.on("detach");
    let tty = parsed.on("tty");
    let terminal_size =
        if tty && !detach { tug_monitor::size_of(rustix::stdio::stdout()) } else { None };
    Ok(ExecRequest {
        command: parsed.arguments[1..].to_vec(),
        env: container_flags::variables(parsed, around)?,
        user: given("user"),
        working_dir: given("workdir"),
        privileged: parsed.on("privileged"),
        tty,
        interactive: parsed.on("interactive"),
        detach,
        terminal_size,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags;

    #[test]
    fn everything_after_the_container_is_the_command() {
        let words = ["-itu", "www", "-eA=1", "-w/srv", "web", "ls", "-l", "--", "-e"];
        let parsed = flags::parse(&COMMAND, words.map(str::to_owned).to_vec()).unwrap();
        let around = Surroundings {
            variable: &|_| None,
            read: &|_| Ok(Vec::new()),
            directory: &|| Ok("/".into()),
        };
        let request = request(&parsed, &around).unwrap();
        assert_eq!(request.command, ["ls", "-l", "--", "-e"]);
        assert_eq!(request.env, ["A=1"]);
        assert_eq!(
            (request.user.as_deref(), request.working_dir.as_deref()),
            (Some("www"), Some("/srv"))
        );
        assert!(request.tty && request.interactive && !request.detach && !request.privileged);
    }
}
