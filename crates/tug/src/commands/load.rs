//! `load`.

use crate::context::Context;
use crate::flags::{Arguments, Command, Flag, Parsed};
use crate::interrupt;
use crate::progress::{self, Target};
use crate::quit::Quit;
use std::fs::File;
use std::io::{IsTerminal, Read};
use tug_engine::{LoadOptions, Loaded};

pub(crate) static COMMAND: Command = Command {
    names: &["load", "image load"],
    usage: "[OPTIONS]",
    about: "Load an image from a tar archive or STDIN",
    flags: &[&[
        Flag::value("input", "string", "Read from this file instead of STDIN").short('i'),
        Flag::value("platform", "string", "Load this platform only (os[/arch[/variant]])"),
        Flag::switch("quiet", "Suppress the load output").short('q'),
    ]],
    arguments: Arguments::Exactly(0),
    verbatim: false,
    run,
};

fn run(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let input = input(parsed.text("input").filter(|path| !path.is_empty()))?;
    let options = LoadOptions { platform: parsed.text("platform").map(str::to_owned) };
    let loaded = interrupt::sweeping_up(ctx, || {
        Ok(ctx.engine.load(input, options, progress::on(Target::Nowhere))?)
    })?;
    ctx.print(loaded.iter().map(lines).collect::<String>()).map(|()| 0)
}

/// A file, or stdin unless somebody sits there.
fn input(path: Option<&str>) -> Result<Box<dyn Read + Send>, Quit> {
    match path {
        Some(path) => match File::open(path) {
            Ok(file) => Ok(Box::new(file)),
            Err(error) => Err(Quit::io(format_args!("open {path}"), &error)),
        },
        None if std::io::stdin().is_terminal() => {
            Err(Quit::invalid("requested load from stdin, but stdin is empty")
                .with_hint("`tug load -i FILE`, or `tug load < FILE`"))
        }
        None => Ok(Box::new(std::io::stdin())),
    }
}

fn lines(loaded: &Loaded) -> String {
    let mut text = String::new();
    if let (Some(reference), Some(replaced)) = (&loaded.reference, &loaded.replaced) {
        text = format!(
            "The image {} already exists, renaming the old one with ID {replaced} to empty string\n",
            reference.familiar()
        );
    }
    text + &match &loaded.reference {
        Some(reference) => format!("Loaded image: {}\n", reference.familiar()),
        None => format!("Loaded image ID: {}\n", loaded.id),
    }
}
