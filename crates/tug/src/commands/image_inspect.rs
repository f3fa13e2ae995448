//! `image inspect`.

use super::inspect;
use super::version::FORMAT;
use crate::flags::{Arguments, Command, Flag};

pub(crate) static COMMAND: Command = Command {
    names: &["image inspect"],
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Display detailed information on one or more images",
    flags: &[&[FORMAT, Flag::value("platform", "string", "")]],
    arguments: Arguments::AtLeast(1),
    verbatim: false,
    run: |ctx, parsed| {
        if parsed.given("platform") {
            return Err(parsed.wrong("--platform is not supported by tug image inspect yet"));
        }
        inspect::inspect(ctx, parsed, |name| inspect::image(ctx, name))
    },
};
