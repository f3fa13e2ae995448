//! `pull`.

use crate::context::Context;
use crate::flags::{Arguments, Command, Flag, Parsed};
use crate::interrupt;
use crate::progress::{self, Target};
use crate::quit::Quit;
use tug_engine::{PullOptions, Pulled};
use tug_types::ImageReference;

pub(crate) static COMMAND: Command = Command {
    names: &["pull", "image pull"],
    usage: "[OPTIONS] NAME[:TAG|@DIGEST]",
    about: "Download an image from a registry",
    flags: &[&[
        Flag::switch("all-tags", "Download all tagged images in the repository").short('a'),
        Flag::switch("disable-content-trust", "Skip image verification (default true)"),
        Flag::value("platform", "string", "Platform of the image, where it has several"),
        Flag::switch("quiet", "Print the reference only").short('q'),
    ]],
    arguments: Arguments::Exactly(1),
    verbatim: false,
    run,
};

fn run(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    if parsed.switch("disable-content-trust") == Some(false) {
        let quit = parsed.wrong("--disable-content-trust=false: Docker's content trust has ended");
        return Err(quit.with_hint(
            "demand signatures by key in /etc/tug/policy.json, or pull by digest: NAME@sha256:...",
        ));
    }
    let reference = reference(parsed.first())?;
    let quiet = parsed.on("quiet");
    let tagged = is_tagged(parsed.first());
    let platform = parsed.text("platform").map(str::to_owned);
    let target = if quiet { Target::Nowhere } else { Target::Stdout };
    if parsed.on("all-tags") {
        if tagged {
            return Err(Quit::invalid("tag can't be used with --all-tags/-a"));
        }
        let options = PullOptions { platform };
        interrupt::sweeping_up(ctx, || {
            Ok(ctx.engine.pull_all(&reference, options, progress::on(target))?)
        })?;
        return ctx.print_line(reference.name()).map(|()| 0);
    }
    if !quiet && !tagged {
        ctx.print_line("Using default tag: latest")?;
    }
    fetch(ctx, &reference, platform, target)?;
    ctx.print_line(reference.to_string()).map(|()| 0)
}

/// Reads an image's name.
pub(super) fn reference(text: &str) -> Result<ImageReference, Quit> {
    ImageReference::parse(text).map_err(|error| Quit::invalid(error.to_string()))
}

/// Whether a name says which version it means.
pub(super) fn is_tagged(text: &str) -> bool {
    text.rsplit('/').next().is_some_and(|name| name.contains([':', '@']))
}

/// Pulls, with its progress on the target.
pub(super) fn fetch(
    ctx: &Context,
    reference: &ImageReference,
    platform: Option<String>,
    target: Target,
) -> Result<Pulled, Quit> {
    interrupt::sweeping_up(ctx, || {
        Ok(ctx.engine.pull(reference, PullOptions { platform }, progress::on(target))?)
    })
}
