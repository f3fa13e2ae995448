//! `create`, and what it shares with `run`: the request, the image, the id file.

use super::pull;
use crate::container_flags::{self, Surroundings};
use crate::context::Context;
use crate::environment;
use crate::flags::{Arguments, Command, Parsed};
use crate::progress::Target;
use crate::quit::{self, Missing, Quit};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use tug_engine::CreateRequest;
use tug_types::{ContainerId, ImageReference};

pub(crate) static COMMAND: Command = Command {
    names: &["create", "container create"],
    usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    about: "Create a new container",
    flags: &[container_flags::FLAGS],
    arguments: Arguments::AtLeast(1),
    verbatim: true,
    run,
};

fn run(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let request = request(parsed)?;
    let pull = PullPolicy::of(parsed)?;
    let cid_file = CidFile::reserve(parsed)?;
    let created = with_image(ctx, parsed, pull, &request, || Ok(ctx.engine.create(&request)?))?;
    if let Some(file) = &cid_file {
        file.write(&created.id)?;
    }
    ctx.warn(&created.warnings);
    ctx.print_line(created.id.as_str()).map(|()| 0)
}

/// What the flags ask for, files and variables read.
pub(super) fn request(parsed: &Parsed<'_>) -> Result<CreateRequest, Quit> {
    let around = Surroundings {
        variable: &environment::variable,
        read: &|path| std::fs::read(path),
        directory: &|| std::env::current_dir(),
    };
    container_flags::request(parsed, &around)
}

/// `--pull`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PullPolicy {
    Always,
    Missing,
    Never,
}

impl PullPolicy {
    pub(super) fn of(parsed: &Parsed<'_>) -> Result<Self, Quit> {
        match parsed.text("pull").unwrap_or_default() {
            "always" => Ok(Self::Always),
            "" | "missing" => Ok(Self::Missing),
            "never" => Ok(Self::Never),
            other => Err(parsed.wrong(format!(
                "invalid pull option: '{other}': must be one of \"always\", \"missing\" or \"never\""
            ))),
        }
    }
}

/// Does what needs an image, pulling it first where it is missing or the user wants it. An image that
/// is here is not asked for twice: only the failure tells that it is not.
pub(super) fn with_image<T>(
    ctx: &Context,
    parsed: &Parsed<'_>,
    policy: PullPolicy,
    request: &CreateRequest,
    action: impl Fn() -> Result<T, Quit>,
) -> Result<T, Quit> {
    let image = &request.config.image;
    if policy != PullPolicy::Always {
        let result = action();
        let missing =
            result.as_ref().err().is_some_and(|quit| quit.missing() == Some(&Missing::Image));
        if !missing || policy == PullPolicy::Never {
            return result;
        }
    }
    let reference =
        ImageReference::parse(image).map_err(|error| Quit::invalid(error.to_string()))?;
    let quiet = parsed.on("quiet");
    if policy == PullPolicy::Missing && !quiet {
        ctx.say(format!("Unable to find image '{}' locally", reference.familiar()));
    }
    let target = if quiet { Target::Nowhere } else { Target::Stderr };
    pull::fetch(ctx, &reference, request.platform.clone(), target)?;
    action()
}

/// `--cidfile`: reserved before anything is made, removed again if nothing was.
pub(super) struct CidFile {
    path: PathBuf,
    file: File,
    written: std::cell::Cell<bool>,
}

impl CidFile {
    pub(super) fn reserve(parsed: &Parsed<'_>) -> Result<Option<Self>, Quit> {
        let Some(path) = parsed.text("cidfile").filter(|path| !path.is_empty()) else {
            return Ok(None);
        };
        match OpenOptions::new().write(true).create_new(true).open(path) {
            Ok(file) => Ok(Some(Self { path: path.into(), file, written: false.into() })),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(parsed
                .wrong(format!(
                "container ID file found, make sure the other container isn't running or delete {path}"
            ))
                .with_hint(format!("`rm {path}`, or give another --cidfile"))),
            Err(error) => Err(parsed.wrong(format!(
                "failed to create the container ID file {path}: {}",
                quit::plain(&error)
            ))),
        }
    }

    pub(super) fn write(&self, id: &ContainerId) -> Result<(), Quit> {
        self.written.set(true);
        (&self.file).write_all(id.as_str().as_bytes()).map_err(|error| {
            Quit::io(format_args!("write the container's id to {}", self.path.display()), &error)
        })
    }
}

impl Drop for CidFile {
    fn drop(&mut self) {
        if !self.written.get() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags;

    fn parsed(words: &[&str]) -> Parsed<'static> {
        flags::parse(&COMMAND, words.iter().map(|word| (*word).to_owned()).collect()).unwrap()
    }

    #[test]
    fn pull_policies_are_dockers() {
        assert!(matches!(PullPolicy::of(&parsed(&["b"])), Ok(PullPolicy::Missing)));
        assert!(matches!(PullPolicy::of(&parsed(&["--pull=always", "b"])), Ok(PullPolicy::Always)));
        let wrong = PullPolicy::of(&parsed(&["--pull", "foo", "b"])).unwrap_err();
        assert_eq!(
            wrong.to_string(),
            "invalid pull option: 'foo': must be one of \"always\", \"missing\" or \"never\""
        );
    }

    #[test]
    fn an_id_file_is_never_overwritten_and_goes_when_nothing_was_made() {
        let path = std::env::temp_dir().join(format!("tug-cid-{}", std::process::id()));
        let text = path.display().to_string();
        let words = ["--cidfile", text.as_str(), "b"];
        drop(CidFile::reserve(&parsed(&words)).unwrap());
        assert!(!path.exists(), "nothing was created, so no file stays");
        let file = CidFile::reserve(&parsed(&words)).unwrap().unwrap();
        let id = ContainerId::random().unwrap();
        file.write(&id).unwrap();
        drop(file);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), id.as_str());
        let refused = CidFile::reserve(&parsed(&words)).map(|_| ()).unwrap_err();
        assert!(refused.to_string().starts_with("container ID file found"));
        assert_eq!(refused.exit_code(), 125);
        std::fs::remove_file(&path).unwrap();
    }
}
