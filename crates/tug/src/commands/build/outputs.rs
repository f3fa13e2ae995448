//! `--output` and `--push`: where the result goes.

use crate::commands::pull;
use crate::context::Context;
use crate::flags::Parsed;
use crate::progress::{self, Target};
use crate::quit::Quit;
use std::path::PathBuf;
use tug_build::{Built, FilesTo};
use tug_engine::{PushOptions, SaveOptions};

/// The caller's own output, as a file.
const STDOUT: &str = "/dev/stdout";

/// One `--output`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Output {
    /// The store, which every image is in anyway.
    Image {
        push: bool,
    },
    Files(FilesTo),
    /// An archive for `load`; none is the standard output.
    Archive(Option<PathBuf>),
}

/// `type=local,dest=out`, `out`, `-`
fn parse(text: &str) -> Result<Output, String> {
    if text == "-" {
        return Ok(Output::Files(FilesTo::Tar(PathBuf::from(STDOUT))));
    }
    if !text.contains('=') {
        return Ok(Output::Files(FilesTo::Dir(PathBuf::from(text))));
    }
    let (mut kind, mut dest, mut push) = ("", None, false);
    for word in text.split(',') {
        let (name, value) = word.split_once('=').unwrap_or((word, "true"));
        match name {
            "type" => kind = value,
            "dest" | "destination" => dest = Some(PathBuf::from(value)),
            "push" => push = value == "true",
            "name" | "tar" if value == "true" => {}
            other => {
                return Err(format!("the output option {other:?} is not supported by tug yet"));
            }
        }
    }
    let to = dest.filter(|dest| dest.as_os_str() != "-");
    match kind {
        "image" => Ok(Output::Image { push }),
        "registry" => Ok(Output::Image { push: true }),
        "local" => {
            let dir = to.ok_or("dest is required for local output")?;
            Ok(Output::Files(FilesTo::Dir(dir)))
        }
        "tar" => Ok(Output::Files(FilesTo::Tar(to.unwrap_or_else(|| PathBuf::from(STDOUT))))),
        "docker" if to.is_none() => Ok(Output::Image { push: false }),
        "docker" | "oci" => Ok(Output::Archive(to)),
        "" => Err("type is required for output".to_owned()),
        other => Err(format!("outputs of type {other:?} are not supported by tug")),
    }
}

/// Where files go instead of into an image.
///
/// # Errors
/// What cannot be read, or what is not supported.
pub(super) fn files(parsed: &Parsed<'_>) -> Result<Vec<FilesTo>, Quit> {
    let outputs = parsed.read_all("output", parse)?;
    let pushed = parsed.on("push") || outputs.contains(&Output::Image { push: true });
    if pushed && parsed.list("tag").is_empty() {
        return Err(
            Quit::invalid("tag is needed when pushing to registry").with_hint("give -t NAME")
        );
    }
    let files = outputs.into_iter().filter_map(|output| match output {
        Output::Files(files) => Some(files),
        _ => None,
    });
    Ok(files.collect())
}

/// Archives and registries, once the image is there.
///
/// # Errors
/// When it cannot be written or pushed.
pub(super) fn hand_on(ctx: &Context, parsed: &Parsed<'_>, built: &Built) -> Result<(), Quit> {
    let outputs = parsed.read_all("output", parse)?;
    for output in &outputs {
        let Output::Archive(path) = output else { continue };
        let tags = parsed.list("tag");
        let names = if tags.is_empty() { vec![built.image.to_string()] } else { tags };
        let save = ctx.engine.save(&names, &SaveOptions { platform: None })?;
        match path {
            Some(path) => {
                let failed = |error: std::io::Error| {
                    Quit::io(format_args!("write {}", path.display()), &error)
                };
                let file = std::fs::File::create(path).map_err(failed)?;
                save.write(&mut std::io::BufWriter::new(file)).map(drop)?;
            }
            None => save.write(&mut std::io::stdout().lock()).map(drop)?,
        }
    }
    let pushed = parsed.on("push") || outputs.contains(&Output::Image { push: true });
    if pushed {
        let tags = parsed.list("tag");
        let references: Vec<_> =
            tags.iter().map(|tag| pull::reference(tag)).collect::<Result<_, _>>()?;
        let target = if parsed.on("quiet") { Target::Nowhere } else { Target::Stderr };
        let options = PushOptions { platform: None };
        ctx.engine.push(&references, &options, &*progress::of_push(target))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_read_as_buildx_reads_them() {
        let dir = |text: &str| Output::Files(FilesTo::Dir(PathBuf::from(text)));
        assert_eq!(parse("out").unwrap(), dir("out"));
        assert_eq!(parse("type=local,dest=a/b").unwrap(), dir("a/b"));
        assert_eq!(parse("-").unwrap(), Output::Files(FilesTo::Tar(PathBuf::from(STDOUT))));
        assert_eq!(
            parse("type=tar,dest=-").unwrap(),
            Output::Files(FilesTo::Tar(PathBuf::from(STDOUT)))
        );
        assert_eq!(parse("type=image").unwrap(), Output::Image { push: false });
        assert_eq!(parse("type=registry").unwrap(), Output::Image { push: true });
        assert_eq!(parse("type=docker").unwrap(), Output::Image { push: false });
        assert_eq!(parse("type=oci,dest=x").unwrap(), Output::Archive(Some(PathBuf::from("x"))));
        for bad in ["type=local", "dest=x", "type=foo", "type=image,compression=zstd"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
