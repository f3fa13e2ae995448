//! `login` and `logout`.

use crate::context::Context;
use crate::flags::{Arguments, Command, Flag, Parsed};
use crate::quit::Quit;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use std::io::{BufRead, IsTerminal, Read};
use tug_engine::Keeper;

/// What Docker calls Docker Hub here.
const HUB: &str = "https://index.docker.io/v1/";

pub(crate) static LOGIN: Command = Command {
    names: &["login"],
    usage: "[OPTIONS] [SERVER]",
    about: "Authenticate to a registry",
    flags: &[&[
        Flag::value("password", "string", "Password or Personal Access Token (PAT)").short('p'),
        Flag::switch("password-stdin", "Take the Password or Personal Access Token from stdin"),
        Flag::switch("plain-text", "Keep the password as Docker does, in the clear"),
        Flag::value("username", "string", "Username").short('u'),
    ]],
    arguments: Arguments::Between(0, 1),
    verbatim: false,
    run: login,
};

pub(crate) static LOGOUT: Command = Command {
    names: &["logout"],
    usage: "[SERVER]",
    about: "Log out from a registry",
    flags: &[],
    arguments: Arguments::Between(0, 1),
    verbatim: false,
    run: logout,
};

fn server<'a>(parsed: &'a Parsed<'_>) -> &'a str {
    parsed.arguments.first().map_or("", String::as_str)
}

fn login(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let server = server(parsed);
    let user = parsed.text("username").filter(|user| !user.is_empty());
    let password = password(ctx, parsed, user)?;
    if user.is_none() && password.is_none() {
        match ctx.engine.login_again(server) {
            Ok(true) => {
                ctx.print_line("Authenticating with existing credentials...")?;
                return ctx.print_line("Login Succeeded").map(|()| 0);
            }
            Ok(false) => {}
            // What is kept is not good any more: asked for anew, where there is somebody to ask.
            Err(error) if !std::io::stdin().is_terminal() => return Err(error.into()),
            Err(error) => ctx.warn(&[format!("the log-in that was kept does not work: {error}")]),
        }
    }
    let user = match user {
        Some(user) => user.to_owned(),
        None => ask(ctx, "Username: ", true)?,
    };
    if user.is_empty() {
        return Err(Quit::invalid("username is required"));
    }
    let password = match password {
        Some(password) => password,
        None => ask(ctx, "Password: ", false)?,
    };
    if password.is_empty() {
        return Err(Quit::invalid("password is required"));
    }
    let done = ctx.engine.login(server, &user, &password, parsed.on("plain-text"))?;
    match &done.kept {
        Keeper::Helper(name) => ctx.say(format!("The log-in is kept by docker-credential-{name}.")),
        Keeper::Vault(path) => ctx.say(format!(
            "The log-in is sealed in {}; it opens for this user on this machine only.",
            path.display()
        )),
        Keeper::PlainText(path) => ctx.warn(&[format!(
            "the password is kept unencrypted in {}: whoever reads the file has it",
            path.display()
        )]),
    }
    ctx.print_line("Login Succeeded").map(|()| 0)
}

/// The password, where it is given.
fn password(
    ctx: &Context,
    parsed: &Parsed<'_>,
    user: Option<&str>,
) -> Result<Option<String>, Quit> {
    let given = parsed.text("password");
    if parsed.on("password-stdin") {
        if given.is_some() {
            return Err(Quit::invalid("--password and --password-stdin are mutually exclusive"));
        }
        if user.is_none() {
            return Err(Quit::invalid("Must provide --username with --password-stdin"));
        }
        let mut text = String::new();
        let read = std::io::stdin().lock().take(1 << 20).read_to_string(&mut text);
        read.map_err(|error| Quit::io("read the password", &error))?;
        return Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()));
    }
    if given.is_some() {
        ctx.warn(&[
            "a password on the command line is seen by other users and kept in the shell's \
             history: use --password-stdin"
                .to_owned(),
        ]);
    }
    Ok(given.map(str::to_owned))
}

/// Asks at the terminal; a password is not shown.
fn ask(ctx: &Context, question: &str, shown: bool) -> Result<String, Quit> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Quit::invalid("Cannot perform an interactive login from a non TTY device")
            .with_hint("`tug login -u USER --password-stdin < FILE`"));
    }
    ctx.print(question)?;
    let before = tcgetattr(&stdin).ok().filter(|_| !shown);
    if let Some(before) = &before {
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        let set = tcsetattr(&stdin, OptionalActions::Flush, &hidden);
        set.map_err(|errno| Quit::io("hide the password", &errno.into()))?;
    }
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line);
    if let Some(before) = &before {
        let _ = tcsetattr(&stdin, OptionalActions::Flush, before);
        ctx.print("\n")?;
    }
    read.map_err(|error| Quit::io("read the answer", &error))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn logout(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let server = server(parsed);
    let shown = if server.is_empty() { HUB } else { server };
    let line = match ctx.engine.logout(server)?.is_empty() {
        true => format!("Not logged in to {shown}"),
        false => format!("Removing login credentials for {shown}"),
    };
    ctx.print_line(line).map(|()| 0)
}
