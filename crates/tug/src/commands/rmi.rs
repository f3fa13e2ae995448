//! `rmi`.

use crate::context::Context;
use crate::flags::{Arguments, Command, Flag, Parsed};
use crate::quit::Quit;
use tug_engine::{Error, ImageRemoval};

pub(crate) static COMMAND: Command = Command {
    names: &["rmi", "image rm", "image remove"],
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Remove one or more images",
    flags: &[&[
        Flag::switch("force", "Remove it although stopped containers or other names use it")
            .short('f'),
        Flag::switch("no-prune", "Do not delete untagged parents (there are none)"),
        Flag::value("platform", "strings", "Remove only the image of this platform"),
    ]],
    arguments: Arguments::AtLeast(1),
    verbatim: false,
    run,
};

fn run(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let force = parsed.on("force");
    let platforms: Vec<&str> = parsed.all("platform").flat_map(|text| text.split(',')).collect();
    let mut code = 0;
    for name in &parsed.arguments {
        match remove(ctx, name, force, &platforms) {
            Ok(removals) => ctx.print(removals.iter().map(line).collect::<String>())?,
            Err(error) => {
                // With -f one that is not there is what was wanted; Docker says so all the same.
                let wanted = force && matches!(error, Error::NoImage { .. });
                ctx.report(Quit::from(error));
                code = if wanted { code } else { 1 };
            }
        }
    }
    Ok(code)
}

fn remove(
    ctx: &Context,
    name: &str,
    force: bool,
    platforms: &[&str],
) -> Result<Vec<ImageRemoval>, Error> {
    let mut removals = Vec::new();
    for platform in platforms {
        removals.extend(ctx.engine.remove_image(name, force, Some(platform))?);
    }
    match platforms {
        [] => ctx.engine.remove_image(name, force, None),
        _ => Ok(removals),
    }
}

fn line(removal: &ImageRemoval) -> String {
    match removal {
        ImageRemoval::Untagged(name) => format!("Untagged: {name}\n"),
        ImageRemoval::Deleted(id) => format!("Deleted: {id}\n"),
    }
}
