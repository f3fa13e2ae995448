//! `system check`.

use crate::context::Context;
use crate::flags::{Arguments, Command, Flag, Parsed};
use crate::interrupt;
use crate::progress::{self, Target};
use crate::quit::Quit;
use std::fmt::Write;
use tug_engine::{Broken, Damage};

pub(crate) static COMMAND: Command = Command {
    names: &["system check"],
    usage: "[OPTIONS]",
    about: "Prove images and layers against their digests",
    flags: &[&[
        Flag::switch("quiet", "Print only what is damaged").short('q'),
        Flag::switch("repair", "Fetch again what is damaged"),
    ]],
    arguments: Arguments::Exactly(0),
    verbatim: false,
    run,
};

fn run(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let checked = interrupt::sweeping_up(ctx, || {
        let mut checked = ctx.engine.check()?;
        if parsed.on("repair") {
            ctx.engine.repair(&mut checked, &progress::on(Target::Nowhere))?;
        }
        Ok(checked)
    })?;
    let mut text: String = checked.damages.iter().map(line).collect();
    let left = checked.damages.iter().filter(|damage| !damage.repaired).count();
    if !parsed.on("quiet") {
        let _ = writeln!(
            text,
            "{} images and {} layers checked: {}",
            checked.images,
            checked.layers,
            match (checked.damages.len(), left) {
                (0, _) => "all whole".to_owned(),
                (all, 0) => format!("{all} repaired"),
                (all, left) => format!("{left} damaged, {} repaired", all - left),
            }
        );
    }
    ctx.print(text)?;
    if left > 0 && !parsed.on("repair") {
        ctx.say("hint: `tug system check --repair` fetches again what is damaged");
    }
    Ok(u8::from(left > 0))
}

fn line(damage: &Damage) -> String {
    let what = match damage.what {
        Broken::Layer(layer) => format!("layer {layer}"),
        Broken::Manifest(digest) => format!("manifest {digest}"),
        Broken::Config(digest) => format!("image {digest}"),
    };
    let of = if damage.images.is_empty() {
        String::new()
    } else {
        format!(" of {}", damage.images.join(", "))
    };
    let state = if damage.repaired { "repaired" } else { "damaged" };
    format!("{what}{of}: {state}: {}\n", damage.why)
}
