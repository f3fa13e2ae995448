//! `push`.

use super::pull;
use crate::context::Context;
use crate::flags::{Arguments, Command, Flag, Parsed};
use crate::progress::{self, Target};
use crate::quit::Quit;
use tug_engine::{PushOptions, Pushed};

pub(crate) static COMMAND: Command = Command {
    names: &["push", "image push"],
    usage: "[OPTIONS] NAME[:TAG]",
    about: "Upload an image to a registry",
    flags: &[&[
        Flag::switch("all-tags", "Push all tags of an image to the repository").short('a'),
        Flag::switch("disable-content-trust", "Skip image signing (default true)"),
        Flag::value("platform", "string", "Push only if the image is for this platform"),
        Flag::switch("quiet", "Print the reference only").short('q'),
    ]],
    arguments: Arguments::Exactly(1),
    verbatim: false,
    run,
};

fn run(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    if parsed.switch("disable-content-trust") == Some(false) {
        let quit = parsed.wrong("--disable-content-trust=false: tug does not sign images");
        return Err(quit.with_hint("sign it with `cosign sign` after the push"));
    }
    let (reference, tagged) = (pull::reference(parsed.first())?, pull::is_tagged(parsed.first()));
    if reference.digest().is_some() {
        return Err(Quit::invalid("cannot push a digest reference")
            .with_hint("give the image a name first: `tug tag IMAGE NAME:TAG`"));
    }
    let quiet = parsed.on("quiet");
    let references = match parsed.on("all-tags") {
        true if tagged => {
            return Err(Quit::invalid("tag can't be used with --all-tags/-a"));
        }
        true => match ctx.engine.tags_of(&reference)? {
            none if none.is_empty() => vec![reference.clone()],
            tags => tags,
        },
        false => {
            if !quiet && !tagged {
                ctx.print_line("Using default tag: latest")?;
            }
            vec![reference.clone()]
        }
    };
    let options = PushOptions {
        platform: parsed.text("platform").map(str::to_owned),
        ..PushOptions::default()
    };
    let target = if quiet { Target::Nowhere } else { Target::Stdout };
    let pushed = ctx.engine.push(&references, &options, &*progress::of_push(target))?;
    for pushed in &pushed {
        warn(ctx, pushed);
    }
    match quiet {
        true if parsed.on("all-tags") => ctx.print_line(reference.name()).map(|()| 0),
        true => ctx.print_line(reference.to_string()).map(|()| 0),
        false => Ok(0),
    }
}

/// That it is the same image, but not the same manifest.
fn warn(ctx: &Context, pushed: &Pushed) {
    let Some(pulled) = pushed.instead_of else { return };
    ctx.warn(&[format!(
        "{} has another manifest than it was pulled with ({pulled}): the compressed form of some of \
         its layers was to be had nowhere any more, so they were compressed anew. Files and \
         configuration are the same.",
        pushed.reference.familiar()
    )]);
}
