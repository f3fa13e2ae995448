//! `image inspect`.

use super::inspect;
use super::version::FORMAT;
use crate::flags::{Arguments, Command, Flag};

pub(crate) static COMMAND: Command = Command {
    names: &["image inspect"],
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Display detailed information on one or more images",
    flags: &[&[FORMAT, PLATFORM]],
    arguments: Arguments::AtLeast(1),
    verbatim: false,
    run: |ctx, parsed| {
        let platform = parsed.text("platform");
        inspect::inspect(ctx, parsed, |name, shape| inspect::image(ctx, name, platform, shape))
    },
};

const PLATFORM: Flag =
    Flag::value("platform", "string", "Inspect the image of this platform, as os[/arch[/variant]]");
