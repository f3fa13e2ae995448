//! `save`.

use crate::context::Context;
use crate::flags::{Arguments, Command, Flag, Parsed};
use crate::quit::Quit;
use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::path::Path;
use tug_engine::{PendingFile, SaveOptions};

pub(crate) static COMMAND: Command = Command {
    names: &["save", "image save"],
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Save one or more images to a tar archive (streamed to STDOUT by default)",
    flags: &[&[
        Flag::value("output", "string", "Write to a file, instead of STDOUT").short('o'),
        Flag::value("platform", "string", "Save only the given platform (os[/arch[/variant]])"),
    ]],
    arguments: Arguments::AtLeast(1),
    verbatim: false,
    run,
};

fn run(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let options = SaveOptions { platform: parsed.text("platform").map(str::to_owned) };
    let output = Destination::choose(parsed.text("output"), "save")?;
    let save = ctx.engine.save(&parsed.arguments, &options)?;
    let saved = output.write(|out| Ok(save.write(out)?))?;
    for (name, digest) in saved.changed {
        ctx.say(format!(
            "{name}: its compressed layers are not kept here; saved with plain layers and the manifest {digest}"
        ));
    }
    Ok(0)
}

/// Where an archive goes.
pub(crate) enum Destination<'a> {
    /// A file that appears when it is whole.
    Whole(&'a Path),
    /// A device or a pipe.
    Stream(&'a Path),
    Stdout,
}

impl<'a> Destination<'a> {
    /// Refuses terminals, and paths nothing can be written to.
    pub(crate) fn choose(path: Option<&'a str>, what: &str) -> Result<Self, Quit> {
        let Some(path) = path.filter(|path| !path.is_empty()) else {
            return if std::io::stdout().is_terminal() {
                Err(Quit::invalid(format!("cowardly refusing to {what} to a terminal"))
                    .with_hint(format!("`tug {what} -o FILE …`, or `tug {what} … > FILE`")))
            } else {
                Ok(Self::Stdout)
            };
        };
        let path = Path::new(path);
        match std::fs::metadata(path) {
            Ok(found) if found.is_dir() => Err(Quit::invalid(format!(
                "invalid output path: {} is a directory",
                path.display()
            ))),
            Ok(found) if !found.is_file() => Ok(Self::Stream(path)),
            _ => {
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                match parent.filter(|parent| !parent.is_dir()) {
                    Some(parent) => Err(Quit::invalid(format!(
                        "invalid output path: directory {} does not exist",
                        parent.display()
                    ))),
                    None => Ok(Self::Whole(path)),
                }
            }
        }
    }

    /// Writes all of it, or leaves no file.
    pub(crate) fn write<T>(
        self,
        write: impl FnOnce(&mut File) -> Result<T, Quit>,
    ) -> Result<T, Quit> {
        match self {
            Self::Stdout => {
                let stdout = std::io::stdout().as_fd().try_clone_to_owned();
                let failed = |error| Quit::io("write to the standard output", &error);
                write(&mut File::from(stdout.map_err(failed)?))
            }
            Self::Stream(path) => {
                let mut file = File::options()
                    .write(true)
                    .open(path)
                    .map_err(|error| Quit::io(format_args!("open {}", path.display()), &error))?;
                write(&mut file)
            }
            Self::Whole(path) => {
                let mut file = PendingFile::create(path)?;
                let done = write(file.file())?;
                file.keep()?;
                Ok(done)
            }
        }
    }
}
