//! The same for each of several names: what went well is printed, what failed is reported, and the
//! exit code says whether anything did.

use crate::context::Context;
use crate::quit::Quit;
use tug_engine::{Engine, Error};

/// One after the other.
///
/// # Errors
/// Only when stdout is closed.
pub(crate) fn each(
    ctx: &Context,
    names: &[String],
    mut action: impl FnMut(&Engine, &str) -> Result<String, Error>,
) -> Result<u8, Quit> {
    let mut code = 0;
    for name in names {
        code = code.max(tell(ctx, action(&ctx.engine, name).map_err(Quit::from))?);
    }
    Ok(code)
}

/// All at once, answers in the order of the names: for what waits.
///
/// # Errors
/// Only when stdout is closed.
pub(crate) fn at_once(
    ctx: &Context,
    names: &[String],
    action: impl Fn(&Engine, &str) -> Result<String, Error> + Sync,
) -> Result<u8, Quit> {
    if let [name] = names {
        return tell(ctx, action(&ctx.engine, name).map_err(Quit::from));
    }
    let mut code = 0;
    std::thread::scope(|scope| {
        let action = &action;
        let waiting: Vec<_> = names
            .iter()
            .map(|name| {
                let engine = ctx.another_engine();
                scope.spawn(move || action(&engine, name))
            })
            .collect();
        for thread in waiting {
            let result = match thread.join() {
                Ok(result) => result.map_err(Quit::from),
                Err(_) => Err(Quit::code(1)),
            };
            code = code.max(tell(ctx, result)?);
        }
        Ok(code)
    })
}

fn tell(ctx: &Context, result: Result<String, Quit>) -> Result<u8, Quit> {
    match result {
        Ok(text) => {
            ctx.print_line(text)?;
            Ok(0)
        }
        Err(quit) => {
            ctx.report(quit);
            Ok(1)
        }
    }
}
