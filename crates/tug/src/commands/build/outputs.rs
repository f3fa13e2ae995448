//! `--output` and `--push`: where the result goes.

use super::annotations;
use super::attributes::Attributes;
use crate::commands::pull;
use crate::context::Context;
use crate::flags::Parsed;
use crate::progress::{self, Target};
use crate::quit::Quit;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use tug_build::{Annotation, Archive, FilesTo};
use tug_engine::{Compression, PushOptions};
use tug_types::{Digest, ImageReference};

/// The caller's own output, as a file.
const STDOUT: &str = "/dev/stdout";

/// One `--output`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Output {
    /// The store, where images are.
    Image(ImageTo),
    /// An archive, with names that stand there and not in `--tag`.
    Archive(Archive, Vec<String>),
    Files(FilesTo),
    /// Only the cache.
    Nowhere,
}

/// An image in the store, and from there at registries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct ImageTo {
    push: bool,
    names: Vec<String>,
    compression: Compression,
    oci: Option<bool>,
    annotations: Vec<Annotation>,
    /// The option that says how it is pushed, if one does.
    packing: Option<&'static str>,
}

/// All of them.
#[derive(Default)]
pub(super) struct Outputs {
    /// Where the result goes instead of into the store.
    pub files: Vec<FilesTo>,
    /// Into the store although it goes elsewhere too.
    pub keep: bool,
    /// Nowhere.
    pub discard: bool,
    /// What the image in the store is called.
    pub names: Vec<String>,
    /// What is written on it.
    pub annotations: Vec<Annotation>,
    /// To registries, from the store.
    pushes: Vec<ImageTo>,
}

impl Outputs {
    /// Whether there is an image in the end: in the store, or in an archive.
    pub(super) fn has_image(&self) -> bool {
        let archived = self.files.iter().any(|to| matches!(to, FilesTo::Archive(_)));
        self.keep || archived || self.files.is_empty() && !self.discard
    }
}

/// `type=local,dest=out`, `out`, `-`. `epoch`: whether `SOURCE_DATE_EPOCH` is given.
fn parse(text: &str, epoch: bool) -> Result<Output, String> {
    let fields =
        tug_build::csv_fields(text).map_err(|error| format!("invalid value {text}: {error}"))?;
    if let [only] = fields.as_slice()
        && only == text
        && !text.starts_with("type=")
    {
        return match text {
            "-" => Ok(Output::Files(FilesTo::Tar { path: stream("tar", None)?, split: None })),
            dir => Ok(Output::Files(FilesTo::Dir { path: PathBuf::from(dir), split: None })),
        };
    }
    let mut read = Attributes::read("output", &fields)?;
    let kind = read.take("type").filter(|kind| !kind.is_empty());
    let kind = kind.ok_or("type is required for output")?;
    let dest = read.take("dest");
    let output = match kind.as_str() {
        "image" | "registry" => Output::Image(image(&mut read, kind == "registry", epoch, dest)?),
        "docker" if dest.is_none() => {
            if read.flag("tar")?.is_some() {
                return Err("dest is required for docker exporter".to_owned());
            }
            Output::Image(image(&mut read, false, epoch, dest)?)
        }
        "docker" | "oci" => {
            let names = names(&mut read);
            Output::Archive(archive(&mut read, kind == "docker", epoch, dest)?, names)
        }
        "local" | "tar" => Output::Files(files(&mut read, &kind, dest)?),
        "cacheonly" => Output::Nowhere,
        other => return Err(format!("outputs of type {other:?} are not supported by tug")),
    };
    read.end()?;
    Ok(output)
}

fn names(read: &mut Attributes) -> Vec<String> {
    let list = read.take("name").unwrap_or_default();
    list.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// What the image exporter of BuildKit knows, whatever writes it.
fn common(read: &mut Attributes, epoch: bool) -> Result<Vec<Annotation>, String> {
    match read.flag("rewrite-timestamp")? {
        Some(true) if !epoch => {
            return Err(
                "rewrite-timestamp=true: there is no SOURCE_DATE_EPOCH to rewrite times to"
                    .to_owned(),
            );
        }
        Some(false) if epoch => {
            let why = "with SOURCE_DATE_EPOCH no file of a new layer is younger";
            return Err(read.refused("rewrite-timestamp", "false", why));
        }
        _ => {}
    }
    let mut all = Vec::new();
    for (rest, value) in read.take_all("annotation") {
        all.push(annotations::attribute(&rest, &value)?);
    }
    Ok(all)
}

fn image(
    read: &mut Attributes,
    registry: bool,
    epoch: bool,
    dest: Option<String>,
) -> Result<ImageTo, String> {
    if let Some(dest) = dest {
        return Err(read.refused("dest", &dest, "an image goes into the store"));
    }
    read.only("store", true, "type=oci writes an image without keeping it")?;
    read.only("unpack", true, "images are always unpacked")?;
    read.only("push-by-digest", false, "images are pushed by name")?;
    read.only("name-canonical", false, "images are named as they are pushed")?;
    if let Some(prefix) = read.take("dangling-name-prefix") {
        return Err(read.refused(
            "dangling-name-prefix",
            &prefix,
            "an image without a name has none",
        ));
    }
    let annotations = common(read, epoch)?;
    let push = read.flag("push")?.unwrap_or(registry);
    let names = names(read);
    let compression = read.compression()?;
    let oci = read.oci(compression.as_ref())?;
    let is_default = |how: &Compression| *how == Compression::default();
    let packing = match (&compression, oci) {
        (Some(how), _) if !is_default(how) => Some("compression"),
        (_, Some(_)) => Some("oci-mediatypes"),
        _ => None,
    };
    if oci == Some(false) && !annotations.is_empty() {
        return Err("cannot export annotations with \"oci-mediatypes=false\"".to_owned());
    }
    let compression = compression.unwrap_or_default();
    Ok(ImageTo { push, names, compression, oci, annotations, packing })
}

fn archive(
    read: &mut Attributes,
    docker: bool,
    epoch: bool,
    dest: Option<String>,
) -> Result<Archive, String> {
    let unpacked = read.flag("tar")? == Some(false);
    let kind = if docker { "docker" } else { "oci" };
    let dest = dest.filter(|dest| !dest.is_empty());
    let path = match dest {
        Some(dest) if unpacked && dest != "-" => PathBuf::from(dest),
        _ if unpacked => {
            return Err(format!("dest is required for {kind} exporter with tar=false"));
        }
        dest => stream(kind, dest)?,
    };
    let annotations = common(read, epoch)?;
    let compression = read.compression()?;
    let docker_types = read.oci(compression.as_ref())? == Some(false);
    // Without the tar's own index nothing reads a directory by Docker's list.
    let docker = docker && !unpacked;
    let names = Vec::new();
    Ok(Archive { path, docker, unpacked, names, compression, docker_types, annotations })
}

fn files(read: &mut Attributes, kind: &str, dest: Option<String>) -> Result<FilesTo, String> {
    let split = read.flag("platform-split")?;
    if kind == "tar" {
        return Ok(FilesTo::Tar { path: stream("tar", dest)?, split });
    }
    match read.take("mode").as_deref() {
        None | Some("copy") => {}
        Some(other) => return Err(read.refused("mode", other, "what lies in the directory stays")),
    }
    match dest.as_deref() {
        None | Some("") => Err("dest is required for local exporter".to_owned()),
        Some("-") => Err("dest cannot be stdout for local exporter".to_owned()),
        Some(dest) => Ok(FilesTo::Dir { path: PathBuf::from(dest), split }),
    }
}

/// A file, or the standard output.
fn stream(kind: &str, dest: Option<String>) -> Result<PathBuf, String> {
    match dest.as_deref() {
        None | Some("" | "-") if std::io::stdout().is_terminal() => {
            Err(format!("dest file is required for {kind} exporter. refusing to write to console"))
        }
        None | Some("" | "-") => Ok(PathBuf::from(STDOUT)),
        Some(dest) if Path::new(dest).is_dir() => {
            Err(format!("destination file {dest} is a directory"))
        }
        Some(dest) => Ok(PathBuf::from(dest)),
    }
}

/// Where the result goes. `epoch`: whether `SOURCE_DATE_EPOCH` is given.
///
/// # Errors
/// What cannot be read, or what is not supported.
pub(super) fn read(parsed: &Parsed<'_>, epoch: bool) -> Result<Outputs, Quit> {
    let tags: Vec<String> = parsed.list("tag").into_iter().filter(|tag| !tag.is_empty()).collect();
    let mut outputs =
        Outputs { keep: parsed.on("load"), names: tags.clone(), ..Outputs::default() };
    let mut images = Vec::new();
    for output in parsed.read_all("output", |text| match text {
        "" => Ok(None),
        text => parse(text, epoch).map(Some),
    })? {
        match output {
            None => {}
            Some(Output::Image(image)) => images.push(image),
            Some(Output::Files(files)) => outputs.files.push(files),
            Some(Output::Archive(mut archive, names)) => {
                let names = if tags.is_empty() { names } else { tags.clone() };
                archive.names =
                    names.iter().map(|name| pull::reference(name)).collect::<Result<_, _>>()?;
                outputs.files.push(FilesTo::Archive(archive));
            }
            Some(Output::Nowhere) => outputs.discard = true,
        }
    }
    if parsed.on("push") {
        match images.is_empty() {
            true => images.push(ImageTo { push: true, ..ImageTo::default() }),
            false => images.iter_mut().for_each(|image| image.push = true),
        }
    }
    outputs.keep |= !images.is_empty();
    outputs.discard &= !outputs.keep;
    let handed_out = |to: &FilesTo| !matches!(to, FilesTo::Archive(_));
    if parsed.text("iidfile").is_some() && outputs.files.iter().any(handed_out) {
        return Err(Quit::invalid("local and tar exporters are incompatible with image ID file"));
    }
    for mut image in images {
        // As with buildx, names of the command line are those of every output.
        if !tags.is_empty() {
            image.names.clone_from(&tags);
        }
        if let (Some(option), false) = (image.packing, image.push) {
            let message = format!("the output option {option} says how an image is pushed");
            return Err(Quit::invalid(message).with_hint("give push=true, or an archive: type=oci"));
        }
        if image.push && image.names.is_empty() {
            return Err(
                Quit::invalid("tag is needed when pushing to registry").with_hint("give -t NAME")
            );
        }
        if image.oci == Some(false) && !parsed.list("annotation").is_empty() {
            return Err(Quit::invalid("cannot export annotations with \"oci-mediatypes=false\""));
        }
        outputs.annotations.append(&mut image.annotations);
        let new = image.names.iter().filter(|name| !outputs.names.contains(name));
        let new: Vec<String> = new.cloned().collect();
        outputs.names.extend(new);
        if image.push {
            outputs.pushes.push(image);
        }
    }
    Ok(outputs)
}

/// To registries, once the image is there. What the first of them knows it by.
///
/// # Errors
/// When it cannot be pushed.
pub(super) fn hand_on(
    ctx: &Context,
    parsed: &Parsed<'_>,
    outputs: &Outputs,
) -> Result<Option<Digest>, Quit> {
    let mut first = None;
    let target = if parsed.on("quiet") { Target::Nowhere } else { Target::Stderr };
    for image in &outputs.pushes {
        // One repository at a time: that is what one push can share.
        let mut by_repository: BTreeMap<String, Vec<ImageReference>> = BTreeMap::new();
        for name in &image.names {
            let reference = pull::reference(name)?;
            by_repository.entry(reference.name()).or_default().push(reference);
        }
        for references in by_repository.values() {
            let ImageTo { compression, oci, .. } = *image;
            let options = PushOptions { platform: None, compression, oci };
            let pushed = ctx.engine.push(references, &options, &*progress::of_push(target))?;
            first = first.or(pushed.first().map(|pushed| pushed.digest));
        }
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tug_engine::Method;

    fn read(text: &str) -> Output {
        parse(text, false).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn outputs_are_read_as_buildx_reads_them() {
        let dir = |path: &str, split| Output::Files(FilesTo::Dir { path: path.into(), split });
        assert_eq!(read("out"), dir("out", None));
        assert_eq!(read("dest=x"), dir("dest=x", None));
        assert_eq!(read("type=local,dest=a/b,platform-split=false"), dir("a/b", Some(false)));
        let tar = |path: &str| Output::Files(FilesTo::Tar { path: path.into(), split: None });
        assert_eq!(read("type=tar,dest=x.tar"), tar("x.tar"));
        let image = |push, names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            Output::Image(ImageTo { push, names, ..ImageTo::default() })
        };
        assert_eq!(read("type=image"), image(false, &[]));
        assert_eq!(read("type=registry,name=r/a"), image(true, &["r/a"]));
        assert_eq!(read("type=image,\"name=r/a,r/b\",push=true"), image(true, &["r/a", "r/b"]));
        assert_eq!(read("type=docker"), image(false, &[]));
        assert_eq!(read("type=cacheonly"), Output::Nowhere);
        let Output::Image(zstd) = read("type=image,push=true,compression=zstd,compression-level=2")
        else {
            panic!("no image")
        };
        assert_eq!((zstd.compression.method, zstd.oci), (Method::Zstd, Some(true)));
        let archive = |docker, unpacked| {
            let path = PathBuf::from("x");
            Output::Archive(Archive { path, docker, unpacked, ..Archive::default() }, Vec::new())
        };
        assert_eq!(read("type=oci,dest=x"), archive(false, false));
        assert_eq!(read("type=oci,dest=x,tar=false"), archive(false, true));
        assert_eq!(read("type=docker,dest=x"), archive(true, false));
        let Output::Archive(noted, _) = read("type=oci,dest=x,annotation-index[linux/arm64].k=v")
        else {
            panic!("no archive")
        };
        assert_eq!(
            (noted.annotations[0].key.as_str(), noted.annotations[0].platform.is_some()),
            ("k", true)
        );
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        for (text, why) in [
            ("type=local", "dest is required for local exporter"),
            ("type=local,dest=-", "dest cannot be stdout for local exporter"),
            ("type=local,dest=x,mode=delete", "mode=delete is not supported by tug"),
            ("type=foo", "type \"foo\" are not supported"),
            ("type=image,push", "invalid value push"),
            ("type=image,push=x", "non-bool value specified for push"),
            ("type=image,foo=bar", "foo=bar is not supported by tug"),
            ("type=image,dest=x", "dest=x is not supported by tug"),
            ("type=image,store=false", "store=false is not supported by tug"),
            ("type=image,unpack=false", "unpack=false is not supported by tug"),
            ("type=image,push-by-digest=true", "push-by-digest=true is not supported by tug"),
            ("type=image,name-canonical=true", "name-canonical=true is not supported by tug"),
            ("type=image,dangling-name-prefix=x", "dangling-name-prefix=x is not supported"),
            ("type=image,rewrite-timestamp=true", "no SOURCE_DATE_EPOCH"),
            ("type=image,compression=estargz", "compression=estargz is not supported by tug"),
            ("type=oci,dest=x,compression=zstd,oci-mediatypes=false", "conflicts with"),
            ("type=docker,tar=false", "dest is required for docker exporter"),
            ("type=oci,tar=false", "dest is required for oci exporter"),
            ("type=oci,dest=x,annotation-what.k=v", "unknown annotation type \"what\""),
        ] {
            let error = parse(text, false).map(drop).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(parse("type=image,rewrite-timestamp=true", true).is_ok());
        assert!(parse("type=image,rewrite-timestamp=false", true).is_err());
    }
}
