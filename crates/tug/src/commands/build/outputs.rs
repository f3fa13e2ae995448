//! `--output` and `--push`: where the result goes.

use crate::commands::pull;
use crate::context::Context;
use crate::flags::Parsed;
use crate::progress::{self, Target};
use crate::quit::Quit;
use std::collections::BTreeMap;
use std::path::PathBuf;
use tug_build::FilesTo;
use tug_engine::PushOptions;
use tug_types::ImageReference;

/// The caller's own output, as a file.
const STDOUT: &str = "/dev/stdout";

/// One `--output`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Output {
    /// The store, where images are.
    Image {
        push: bool,
        names: Vec<String>,
    },
    Files(FilesTo),
}

/// All of them.
pub(super) struct Outputs {
    /// Where the result goes instead of into the store.
    pub files: Vec<FilesTo>,
    /// Into the store although it goes elsewhere too.
    pub keep: bool,
    /// To registries, from the store.
    pub push: bool,
    /// Names that stand there and not in `--tag`.
    pub names: Vec<String>,
}

/// `type=local,dest=out`, `out`, `-`
fn parse(text: &str) -> Result<Output, String> {
    if text == "-" {
        return Ok(Output::Files(FilesTo::Tar(PathBuf::from(STDOUT))));
    }
    if !text.contains('=') {
        return Ok(Output::Files(FilesTo::Dir(PathBuf::from(text))));
    }
    let (mut kind, mut dest, mut push) = (String::new(), None, false);
    let mut names = Vec::new();
    for word in
        tug_build::csv_fields(text).map_err(|error| format!("invalid value {text}: {error}"))?
    {
        let (name, value) = word.split_once('=').unwrap_or((&word, "true"));
        match (name, value) {
            ("type", _) => kind = value.to_owned(),
            ("dest" | "destination", _) => dest = Some(PathBuf::from(value)),
            ("push", _) => push = value == "true",
            ("name", _) => names.extend(value.split(',').map(str::to_owned)),
            // What is done anyway.
            ("tar" | "store" | "unpack", "true") => {}
            ("push-by-digest" | "unpack" | "rewrite-timestamp" | "force-compression", "false") => {}
            (other, _) => {
                return Err(format!("the output option {other}={value} is not supported by tug"));
            }
        }
    }
    let to = dest.filter(|dest| dest.as_os_str() != "-");
    let archive = |path: Option<PathBuf>, docker| {
        let path = path.unwrap_or_else(|| PathBuf::from(STDOUT));
        Output::Files(FilesTo::Archive { path, docker })
    };
    match kind.as_str() {
        "image" => Ok(Output::Image { push, names }),
        "registry" => Ok(Output::Image { push: true, names }),
        "local" => {
            let dir = to.ok_or("dest is required for local output")?;
            Ok(Output::Files(FilesTo::Dir(dir)))
        }
        "tar" => Ok(Output::Files(FilesTo::Tar(to.unwrap_or_else(|| PathBuf::from(STDOUT))))),
        "docker" if to.is_none() => Ok(Output::Image { push: false, names }),
        "docker" => Ok(archive(to, true)),
        "oci" => Ok(archive(to, false)),
        "" => Err("type is required for output".to_owned()),
        other => Err(format!("outputs of type {other:?} are not supported by tug")),
    }
}

/// Where the result goes.
///
/// # Errors
/// What cannot be read, or what is not supported.
pub(super) fn read(parsed: &Parsed<'_>) -> Result<Outputs, Quit> {
    let mut outputs = Outputs {
        files: Vec::new(),
        keep: parsed.on("push") || parsed.on("load"),
        push: parsed.on("push"),
        names: Vec::new(),
    };
    for output in parsed.read_all("output", parse)? {
        match output {
            Output::Image { push, names } => {
                outputs.keep = true;
                outputs.push |= push;
                outputs.names.extend(names);
            }
            Output::Files(files) => outputs.files.push(files),
        }
    }
    if outputs.push && parsed.list("tag").is_empty() && outputs.names.is_empty() {
        return Err(
            Quit::invalid("tag is needed when pushing to registry").with_hint("give -t NAME")
        );
    }
    Ok(outputs)
}

/// To registries, once the image is there.
///
/// # Errors
/// When it cannot be pushed.
pub(super) fn hand_on(ctx: &Context, parsed: &Parsed<'_>) -> Result<(), Quit> {
    let outputs = read(parsed)?;
    if !outputs.push {
        return Ok(());
    }
    let names = parsed.list("tag").into_iter().chain(outputs.names);
    let references: Vec<_> = names.map(|name| pull::reference(&name)).collect::<Result<_, _>>()?;
    let target = if parsed.on("quiet") { Target::Nowhere } else { Target::Stderr };
    // One repository at a time: that is what one push can share.
    let mut by_repository: BTreeMap<String, Vec<ImageReference>> = BTreeMap::new();
    for reference in references {
        by_repository.entry(reference.name()).or_default().push(reference);
    }
    for references in by_repository.values() {
        let options = PushOptions { platform: None };
        ctx.engine.push(references, &options, &*progress::of_push(target))?;
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
        let image = |push, names: &[&str]| Output::Image {
            push,
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        };
        assert_eq!(parse("type=image").unwrap(), image(false, &[]));
        assert_eq!(parse("type=registry,name=r/a").unwrap(), image(true, &["r/a"]));
        assert_eq!(
            parse("type=image,\"name=r/a,r/b\",push=true").unwrap(),
            image(true, &["r/a", "r/b"])
        );
        assert_eq!(parse("type=docker").unwrap(), image(false, &[]));
        let archive = |docker| Output::Files(FilesTo::Archive { path: PathBuf::from("x"), docker });
        assert_eq!(parse("type=oci,dest=x").unwrap(), archive(false));
        assert_eq!(parse("type=docker,dest=x").unwrap(), archive(true));
        for bad in ["type=local", "dest=x", "type=foo", "type=image,compression=zstd"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
