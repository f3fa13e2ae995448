//! `import`.

use super::pull;
use crate::context::Context;
use crate::flags::{Arguments, Command, Flag, Parsed};
use crate::interrupt;
use crate::quit::Quit;
use std::fs::File;
use std::io::Read;
use tug_engine::ImportOptions;

pub(crate) static COMMAND: Command = Command {
    names: &["import", "image import"],
    usage: "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    about: "Make an image of a root filesystem's tar archive",
    flags: &[&[
        Flag::value("change", "list", "Apply a Dockerfile instruction to the image").short('c'),
        Flag::value("message", "string", "Message of the imported image").short('m'),
        Flag::value("platform", "string", "Platform the files are for"),
    ]],
    arguments: Arguments::Between(1, 2),
    verbatim: false,
    run,
};

fn run(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let source = parsed.first();
    let reference = parsed.arguments.get(1).map(|name| pull::reference(name)).transpose()?;
    let input: Box<dyn Read + Send> = match source {
        "-" => Box::new(std::io::stdin()),
        url if is_address(url) => Box::new(ctx.engine.fetch(url)?),
        path => match File::open(path) {
            Ok(file) => Box::new(file),
            Err(error) => return Err(Quit::io(format_args!("open {path}"), &error)),
        },
    };
    let options = ImportOptions {
        reference,
        source: if is_address(source) { source.to_owned() } else { "-".to_owned() },
        changes: parsed.list("change"),
        message: parsed.text("message").map(str::to_owned),
        platform: parsed.text("platform").map(str::to_owned),
    };
    let id = interrupt::sweeping_up(ctx, || Ok(ctx.engine.import(input, options)?))?;
    ctx.print_line(id.to_string()).map(|()| 0)
}

fn is_address(source: &str) -> bool {
    source.starts_with("http://") || source.starts_with("https://")
}
