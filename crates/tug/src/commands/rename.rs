//! `rename`.

use crate::context::Context;
use crate::flags::{Arguments, Command, Parsed};
use crate::quit::Quit;

pub(crate) static COMMAND: Command = Command {
    names: &["rename", "container rename"],
    usage: "CONTAINER NEW_NAME",
    about: "Rename a container",
    flags: &[],
    arguments: Arguments::Exactly(2),
    verbatim: false,
    run,
};

fn run(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let [name, new_name] = parsed.arguments.as_slice() else { return Ok(1) };
    if name.is_empty() || new_name.is_empty() {
        return Err(Quit::invalid("Neither old nor new names may be empty"));
    }
    ctx.engine.rename(name, new_name)?;
    Ok(0)
}
