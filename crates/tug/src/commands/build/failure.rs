//! A failed build's report: the step, the last it printed, the lines of the Dockerfile, what to do.

use crate::build_view::Kind;
use crate::context::Context;
use crate::quit::Quit;
use tug_build::BuildError;
use tug_types::Explain;

/// Says it all but the last line, which ends the command.
pub(super) fn report(ctx: &Context, kind: Kind, error: &BuildError) -> Quit {
    let failure = error.root().failure();
    if matches!(error.root(), BuildError::Cancelled) {
        return Quit::from(failure);
    }
    if kind != Kind::RawJson {
        if let Some((title, output)) = error.step()
            && !output.is_empty()
        {
            ctx.say("------");
            ctx.say(format!(" > {title}:"));
            ctx.say(String::from_utf8_lossy(output).trim_end());
            ctx.say("------");
        }
        if let Some(excerpt) = error.excerpt() {
            ctx.say(excerpt.trim_end());
        }
    }
    let mut failure = failure;
    failure.message = format!("failed to solve: {}", failure.message);
    Quit::from(failure)
}
