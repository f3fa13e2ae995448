//! `start`.

use super::many;
use crate::context::Context;
use crate::flags::{Arguments, Command, Flag, Parsed};
use crate::foreground::{self, Manner, Streams};
use crate::quit::Quit;
use tug_monitor::log::Begin;

pub(crate) static COMMAND: Command = Command {
    names: &["start", "container start"],
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Start one or more stopped containers",
    flags: &[&[
        Flag::switch("attach", "Attach STDOUT and STDERR, and pass signals on").short('a'),
        Flag::value("checkpoint", "string", ""),
        Flag::value("checkpoint-dir", "string", ""),
        Flag::value("detach-keys", "string", "The keys that detach (default \"ctrl-p,ctrl-q\")"),
        Flag::switch("interactive", "Attach STDIN").short('i'),
        // Not flags of `start`, but often tried: they get an answer of their own.
        Flag::value("publish", "list", "").short('p'),
        Flag::value("env", "list", "").short('e'),
        Flag::value("volume", "list", "").short('v'),
        Flag::switch("detach", "").short('d'),
    ]],
    arguments: Arguments::AtLeast(1),
    verbatim: false,
    run,
};

fn run(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    refuse_flags_of_run(parsed)?;
    let attach = parsed.on("attach") || parsed.on("interactive");
    if !attach {
        return many::each(ctx, &parsed.arguments, |engine, name| {
            let started = engine.start(name)?;
            ctx.warn(&started.map(|started| started.warnings).unwrap_or_default());
            Ok(name.to_owned())
        });
    }
    let [name] = parsed.arguments.as_slice() else {
        return Err(Quit::invalid("you cannot start and attach multiple containers at once"));
    };
    attached(ctx, parsed, name)
}

fn attached(ctx: &Context, parsed: &Parsed<'_>, name: &str) -> Result<u8, Quit> {
    let config = ctx.engine.inspect(name, false)?.config;
    let wants_stdin = parsed.on("interactive") && config.open_stdin;
    foreground::check_terminal(wants_stdin, config.tty)?;
    let detach_keys = foreground::detach_keys(ctx, parsed, config.tty)?;
    // One that runs already is attached to, as Docker does it.
    let (started, fresh) =
        match ctx.engine.start(name).map_err(|error| Quit::from(error).executing())? {
            Some(started) => (started, true),
            None => (ctx.engine.attach(name)?, false),
        };
    ctx.warn(&started.warnings);
    let begin = match fresh {
        true => started.state.log_start,
        false => started.client.welcome().log_end,
    };
    let manner = Manner {
        streams: Streams { stdin: wants_stdin, stdout: true, stderr: true },
        detach_keys,
        sig_proxy: !started.tty,
        begin: Begin::Offset(begin),
        redraw: !fresh,
    };
    foreground::attend(ctx, started, manner)
}

fn refuse_flags_of_run(parsed: &Parsed<'_>) -> Result<(), Quit> {
    for (name, letter, example) in [
        ("publish", 'p', "-p 8080:80"),
        ("env", 'e', "-e NAME=value"),
        ("volume", 'v', "-v data:/data"),
    ] {
        if parsed.given(name) {
            let quit = parsed.wrong(format!("unknown shorthand flag: '{letter}' in -{letter}"));
            return Err(quit.with_hint(format!(
                "`start` starts a container as it was created; give `{example}` to `tug run` or `tug create`"
            )));
        }
    }
    if parsed.given("detach") {
        let quit = parsed.wrong("unknown shorthand flag: 'd' in -d");
        return Err(
            quit.with_hint("leave it out: `start` stays in the background unless -a is given")
        );
    }
    for name in ["checkpoint", "checkpoint-dir"] {
        if parsed.given(name) {
            return Err(parsed.wrong(format!("--{name} is not supported by tug yet")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags;

    #[test]
    fn ports_for_start_are_refused_with_the_way_to_give_them() {
        let words = ["-p", "8000:80", "-a", "web"].map(str::to_owned).to_vec();
        let quit = refuse_flags_of_run(&flags::parse(&COMMAND, words).unwrap()).unwrap_err();
        assert_eq!(quit.exit_code(), 125);
        assert!(quit.report().starts_with("tug: unknown shorthand flag: 'p' in -p\nhint: "));
        assert!(quit.report().contains("`tug run`"));
        assert!(!flags::help(&COMMAND).contains("publish"), "the flag is not advertised");
    }
}
