//! `tag`.

use super::pull;
use crate::context::Context;
use crate::flags::{Arguments, Command, Parsed};
use crate::quit::Quit;

pub(crate) static COMMAND: Command = Command {
    names: &["tag", "image tag"],
    usage: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    about: "Give an image another name",
    flags: &[],
    arguments: Arguments::Exactly(2),
    verbatim: false,
    run,
};

fn run(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let [source, target] = parsed.arguments.as_slice() else { return Ok(1) };
    ctx.engine.tag(source, &pull::reference(target)?)?;
    Ok(0)
}
