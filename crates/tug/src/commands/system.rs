//! `system reset`.

use crate::context::Context;
use crate::flags::{Arguments, Command, Flag, Parsed};
use crate::quit::Quit;
use std::io::{BufRead, IsTerminal};

pub(crate) static RESET: Command = Command {
    names: &["system reset"],
    usage: "[OPTIONS]",
    about: "Stop and remove everything: containers, images, volumes, the network",
    flags: &[&[Flag::switch("force", "Do not ask").short('f')]],
    arguments: Arguments::Exactly(0),
    verbatim: false,
    run: reset,
};

fn reset(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    if !parsed.on("force") && !confirmed(ctx)? {
        return Ok(1);
    }
    ctx.another_engine().reset()?;
    Ok(0)
}

fn confirmed(ctx: &Context) -> Result<bool, Quit> {
    if !std::io::stdin().is_terminal() {
        return Err(Quit::invalid("refusing to remove everything without being asked by a person")
            .with_hint("`tug system reset -f`"));
    }
    let settings = ctx.engine.settings();
    ctx.say(format!(
        "This stops all containers and deletes everything below {} and {}.\nAre you sure? [y/N]",
        settings.data_root.display(),
        settings.exec_root.display()
    ));
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.map_err(|error| Quit::io("read the answer", &error))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
