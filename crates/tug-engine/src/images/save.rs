//! `save`: images into one archive that Docker, containerd, Podman and skopeo read: an OCI layout
//! with `manifest.json` and `repositories` for older readers.
//!
//! ```text
//! blobs/sha256/<hex>   configurations, manifests, indexes, layers, each once
//! index.json           what the archive holds, by name
//! manifest.json        the same for readers of Docker's own format
//! oci-layout
//! repositories         the same for readers from before 2016
//! ```
//!
//! Layers are written as the plain tars their skeletons make again; one that came compressed is
//! written compressed if that blob is still there. Where all layers are as the image's manifest has
//! them, that manifest (and its index) is written too, so that its digest survives; otherwise a new
//! manifest says what is there, and the caller is told.

use super::save_built::put;
use super::variants::{Chosen, platform_of};
use crate::{Engine, Error};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read, Write};
use tug_archive::member;
use tug_registry::{Manifest, Parsed, Platform, media};
use tug_store::LayerEntry;
use tug_types::{DiffId, Digest, ImageReference};

/// How to save.
#[derive(Clone, Debug, Default)]
pub struct SaveOptions {
    /// `--platform`: this platform's image alone; `None` is every platform that is here.
    pub platform: Option<String>,
}

/// What was saved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// Images whose manifest could not be kept: name and the new manifest's digest.
    pub changed: Vec<(String, Digest)>,
}

/// Where a blob's bytes are.
pub(super) enum Source {
    Bytes(Vec<u8>),
    /// In the store's blobs.
    Blob(u64),
    /// Made from a layer's files.
    Layer(DiffId, u64),
    /// A file of somebody else's.
    File(std::path::PathBuf, u64),
}

/// One image with the names it is saved under.
struct Wish {
    chosen: Chosen,
    shown: String,
    names: Vec<ImageReference>,
}

/// The archive before its first byte.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) blobs: BTreeMap<Digest, Source>,
    index: Vec<Value>,
    manifests: Vec<Value>,
    repositories: BTreeMap<String, BTreeMap<String, String>>,
    saved: Saved,
}

impl Engine {
    /// Looks everything up that [`Save::write`] needs, so that what is missing is said before the
    /// first byte.
    ///
    /// # Errors
    /// When an image, or its platform, is not here.
    pub fn save(&self, names: &[String], options: &SaveOptions) -> Result<Save<'_>, Error> {
        let platform = self.platform_wanted(options.platform.as_deref())?;
        let mut wishes: Vec<Wish> = Vec::new();
        for name in names {
            for wish in self.wishes(name, platform.as_ref())? {
                match wishes.iter_mut().find(|other| other.chosen.row.id == wish.chosen.row.id) {
                    Some(other) => other.names.extend(wish.names),
                    None => wishes.push(wish),
                }
            }
        }
        let mut contents = Contents::default();
        let mut indexes: HashMap<Digest, bool> = HashMap::new();
        for wish in &mut wishes {
            wish.names.sort_by_key(ToString::to_string);
            wish.names.dedup();
            self.add(wish, &mut contents, &mut indexes, platform.is_some())?;
        }
        Ok(Save { engine: self, contents })
    }

    pub(crate) fn platform_wanted(&self, text: Option<&str>) -> Result<Option<Platform>, Error> {
        let parsed = text.filter(|text| !text.is_empty()).map(Platform::parse).transpose();
        Ok(parsed.map_err(|source| super::error::ImageError::Platform { source })?)
    }

    /// What one word of the command line asks for: a repository without a tag means all its tags.
    fn wishes(&self, name: &str, platform: Option<&Platform>) -> Result<Vec<Wish>, Error> {
        let parsed = ImageReference::parse(name).ok();
        if let Some(reference) = parsed.as_ref().filter(|_| is_bare(name)) {
            let mut tags: Vec<ImageReference> = Vec::new();
            for row in self.store.images()? {
                tags.extend(row.tags.into_iter().filter(|tag| tag.name() == reference.name()));
            }
            if !tags.is_empty() {
                let mut wishes = Vec::new();
                for tag in tags {
                    wishes.extend(self.wishes_of(&tag.to_string(), platform)?);
                }
                return Ok(wishes);
            }
        }
        self.wishes_of(name, platform)
    }

    fn wishes_of(&self, name: &str, platform: Option<&Platform>) -> Result<Vec<Wish>, Error> {
        let all = match platform {
            Some(_) => vec![self.chosen_image(name, platform)?],
            None => self.images_of(name, self.image(name)?)?,
        };
        let reference = ImageReference::parse(name).ok().filter(|reference| {
            let known = |chosen: &Chosen| chosen.row.tags.contains(reference);
            reference.digest().is_none() && (all.iter().any(known) || all.len() > 1)
        });
        let shown = reference.as_ref().map_or_else(|| name.to_owned(), ImageReference::familiar);
        let wish = |chosen| Wish {
            chosen,
            shown: shown.clone(),
            names: reference.iter().cloned().collect(),
        };
        Ok(all.into_iter().map(wish).collect())
    }

    fn add(
        &self,
        wish: &Wish,
        contents: &mut Contents,
        indexes: &mut HashMap<Digest, bool>,
        one_platform: bool,
    ) -> Result<(), Error> {
        let row = &wish.chosen.row;
        let layers = self.store.image_layers(&row.id)?;
        let original = wish.chosen.manifest.and_then(|digest| self.exact(digest, row.id, &layers));
        let blobs = self.store.blobs();
        let (manifest, media_type, paths) = match original {
            Some((bytes, media_type, manifest)) => {
                let mut paths = Vec::new();
                for (descriptor, layer) in manifest.layers.iter().zip(&layers) {
                    let source = if descriptor.digest == layer.diff_id.0 {
                        self.plain(&layer.diff_id)?
                    } else {
                        Source::Blob(descriptor.size)
                    };
                    contents.blobs.insert(descriptor.digest, source);
                    paths.push((descriptor.digest, descriptor.size, descriptor.media_type.clone()));
                }
                (bytes, media_type, paths)
            }
            None => {
                let mut paths = Vec::new();
                for layer in &layers {
                    let source = self.plain(&layer.diff_id)?;
                    let Source::Layer(_, size) = source else { continue };
                    contents.blobs.insert(layer.diff_id.0, source);
                    paths.push((layer.diff_id.0, size, media::OCI_LAYER.to_owned()));
                }
                let bytes = new_manifest(row.id, row.config.len(), &paths)?;
                if wish.chosen.manifest.is_some() {
                    let digest = super::intake::digest_of(&bytes);
                    contents.saved.changed.push((wish.shown.clone(), digest));
                }
                (bytes, media::OCI_MANIFEST.to_owned(), paths)
            }
        };
        let digest = super::intake::digest_of(&manifest);
        let exact = wish.chosen.manifest == Some(digest);
        contents.blobs.insert(row.id, Source::Bytes(row.config.clone()));
        let size = manifest.len();
        contents.blobs.insert(digest, Source::Bytes(manifest));
        // The index as it was, when every image of it that is here could be kept as it was.
        let index = wish.chosen.index.filter(|_| exact && !one_platform);
        let index = index.and_then(|index| Some((index, blobs.read(&index).ok()?)));
        if let Some((index, bytes)) = index
            && self.whole_index_is_exact(index, indexes)?
        {
            let (_, index_type) = tug_registry::parse(&bytes, "").map_err(|source| {
                super::error::ImageError::Manifest { name: format!("index {index}"), source }
            })?;
            let size = bytes.len();
            if contents.blobs.insert(index, Source::Bytes(bytes)).is_none() {
                contents.list(
                    &wish.names,
                    &json!({"mediaType": index_type, "digest": index, "size": size}),
                );
            }
        } else {
            let platform = platform_of(row);
            let mut place = json!({"architecture": platform.architecture, "os": platform.os});
            if !platform.variant.is_empty() {
                place["variant"] = json!(platform.variant);
            }
            contents.list(
                &wish.names,
                &json!({"mediaType": media_type, "digest": digest, "size": size, "platform": place}),
            );
        }
        contents.list_for_docker(wish, &paths);
        Ok(())
    }

    /// A manifest all of whose layers can be written as it has them.
    fn exact(
        &self,
        digest: Digest,
        image: Digest,
        layers: &[LayerEntry],
    ) -> Option<(Vec<u8>, String, Manifest)> {
        let blobs = self.store.blobs();
        let bytes = blobs.read(&digest).ok()?;
        let (Parsed::Manifest(manifest), media_type) = tug_registry::parse(&bytes, "").ok()? else {
            return None;
        };
        if manifest.config.digest != image || manifest.layers.len() != layers.len() {
            return None;
        }
        let is_whole = |descriptor: &tug_registry::Descriptor| {
            let blob = blobs.open(&descriptor.digest).ok().and_then(|file| file.metadata().ok());
            blob.is_some_and(|blob| blob.len() == descriptor.size)
        };
        let has = |(descriptor, layer): (&tug_registry::Descriptor, &LayerEntry)| {
            descriptor.digest == layer.diff_id.0 || is_whole(descriptor)
        };
        manifest.layers.iter().zip(layers).all(has).then_some((bytes, media_type, *manifest))
    }

    fn whole_index_is_exact(
        &self,
        index: Digest,
        known: &mut HashMap<Digest, bool>,
    ) -> Result<bool, Error> {
        if let Some(exact) = known.get(&index) {
            return Ok(*exact);
        }
        let mut exact = true;
        for variant in self.store.variants(&index)? {
            let layers = self.store.image_layers(&variant.image)?;
            exact &= self.exact(variant.manifest, variant.image, &layers).is_some();
        }
        known.insert(index, exact);
        Ok(exact)
    }

    pub(super) fn plain(&self, layer: &DiffId) -> Result<Source, Error> {
        let info = self.store.layers().info(layer).map_err(tug_store::Error::from)?;
        Ok(Source::Layer(*layer, info.tar_size))
    }
}

impl Contents {
    /// Adds some bytes.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Digest {
        let digest = super::intake::digest_of(bytes);
        self.blobs.insert(digest, Source::Bytes(bytes.to_vec()));
        digest
    }

    /// A line of `index.json` for each name, or one without.
    fn list(&mut self, names: &[ImageReference], descriptor: &Value) {
        self.list_with(names, descriptor, &BTreeMap::new());
    }

    /// The same with annotations of the line's own.
    pub(super) fn list_with(
        &mut self,
        names: &[ImageReference],
        descriptor: &Value,
        annotations: &BTreeMap<String, String>,
    ) {
        let mut bare = descriptor.clone();
        if !annotations.is_empty() {
            bare["annotations"] = json!(annotations);
        }
        for name in names {
            let mut line = bare.clone();
            line["annotations"]["io.containerd.image.name"] = json!(name.to_string());
            line["annotations"]["org.opencontainers.image.ref.name"] =
                json!(name.tag().unwrap_or("latest"));
            self.index.push(line);
        }
        if names.is_empty() {
            self.index.push(bare);
        }
    }

    fn list_for_docker(&mut self, wish: &Wish, layers: &[(Digest, u64, String)]) {
        self.list_image_for_docker(wish.chosen.row.id, &wish.names, layers);
    }

    pub(super) fn list_image_for_docker(
        &mut self,
        config: Digest,
        names: &[ImageReference],
        layers: &[(Digest, u64, String)],
    ) {
        let sources: serde_json::Map<String, Value> = layers
            .iter()
            .map(|(digest, size, kind)| {
                let source = json!({"mediaType": kind, "size": size, "digest": digest});
                (digest.to_string(), source)
            })
            .collect();
        let tags: Vec<String> = names.iter().map(ImageReference::familiar).collect();
        self.manifests.push(json!({
            "Config": path_of(&config),
            "RepoTags": (!tags.is_empty()).then_some(tags),
            "Layers": layers.iter().map(|(digest, ..)| path_of(digest)).collect::<Vec<_>>(),
            "LayerSources": sources,
        }));
        for name in names {
            let top = layers.last().map_or_else(String::new, |(digest, ..)| digest.hex());
            self.repositories
                .entry(name.familiar_name())
                .or_default()
                .insert(name.tag().unwrap_or("latest").to_owned(), top);
        }
    }
}

/// An archive about to be written.
pub struct Save<'a> {
    engine: &'a Engine,
    contents: Contents,
}

impl<'a> Save<'a> {
    pub(super) fn of(engine: &'a Engine, contents: Contents) -> Self {
        Self { engine, contents }
    }

    /// Writes the archive.
    ///
    /// # Errors
    /// When a layer's files cannot be read, or the output does not take it.
    pub fn write(self, out: &mut impl Write) -> Result<Saved, Error> {
        let Self { engine, contents } = self;
        let mut archive = Output { out, buffer: vec![0; 256 << 10] };
        archive.directory("blobs/")?;
        archive.directory("blobs/sha256/")?;
        for (digest, source) in &contents.blobs {
            let path = path_of(digest);
            match source {
                Source::Bytes(bytes) => archive.file(&path, bytes)?,
                Source::Blob(size) => {
                    let blob = engine.store.blobs().open(digest).map_err(tug_store::Error::from)?;
                    archive.stream(&path, *size, blob)?;
                }
                Source::File(from, size) => {
                    let file = File::open(from).map_err(Error::files("open", from))?;
                    archive.stream(&path, *size, file)?;
                }
                Source::Layer(layer, size) => {
                    let tar = engine.store.layers().tar(layer).map_err(tug_store::Error::from)?;
                    archive.stream(&path, *size, tar)?;
                }
            }
        }
        let index = json!({
            "schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": contents.index,
        });
        archive.file("index.json", index.to_string().as_bytes())?;
        if !contents.manifests.is_empty() {
            let manifests = Value::Array(contents.manifests).to_string();
            archive.file("manifest.json", manifests.as_bytes())?;
        }
        archive.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        if !contents.repositories.is_empty() {
            let repositories = json!(contents.repositories).to_string();
            archive.file("repositories", repositories.as_bytes())?;
        }
        archive.write(&member::END)?;
        archive.out.flush().map_err(unwritable)?;
        Ok(contents.saved)
    }
}

impl Save<'_> {
    /// Writes the same as files into a directory, beside the images that are in its list already. Each file appears
    /// whole, and the list last.
    ///
    /// # Errors
    /// When a layer's files cannot be read, or the directory does not take them.
    pub fn write_into(self, dir: &std::path::Path) -> Result<(), Error> {
        let Self { engine, contents } = self;
        let blobs = dir.join("blobs").join("sha256");
        std::fs::create_dir_all(&blobs).map_err(Error::files("create", &blobs))?;
        for (digest, source) in &contents.blobs {
            let place = blobs.join(digest.hex());
            match source {
                Source::Bytes(bytes) => put(&place, &mut bytes.as_slice())?,
                Source::Blob(_) => {
                    let mut blob =
                        engine.store.blobs().open(digest).map_err(tug_store::Error::from)?;
                    put(&place, &mut blob)?;
                }
                Source::File(from, _) => {
                    put(&place, &mut File::open(from).map_err(Error::files("open", from))?)?;
                }
                Source::Layer(layer, _) => {
                    let mut tar =
                        engine.store.layers().tar(layer).map_err(tug_store::Error::from)?;
                    put(&place, &mut tar)?;
                }
            }
        }
        if !contents.manifests.is_empty() {
            let manifests = Value::Array(contents.manifests).to_string();
            put(&dir.join("manifest.json"), &mut manifests.as_bytes())?;
        }
        list_in(dir, contents.index)
    }
}

/// Adds lines to the list of an OCI layout, in the place of those of the same name.
///
/// # Errors
/// When the directory does not take it, or its list cannot be read.
pub fn list_in(dir: &std::path::Path, lines: Vec<Value>) -> Result<(), Error> {
    let opened = File::open(dir).map_err(Error::files("open", dir))?;
    // Two that write at once: the second sees what the first has listed.
    rustix::fs::flock(&opened, rustix::fs::FlockOperation::LockExclusive)
        .map_err(|errno| Error::files("lock", dir)(errno.into()))?;
    let name = |line: &Value| {
        let text = |key: &str| line["annotations"][key].as_str().map(str::to_owned);
        (text("io.containerd.image.name"), text("org.opencontainers.image.ref.name"))
    };
    let place = dir.join("index.json");
    let mut known: Vec<Value> = match std::fs::read(&place) {
        Ok(bytes) => {
            let value: Value = serde_json::from_slice(&bytes).map_err(|source| {
                super::error::ImageError::Json { name: place.display().to_string(), source }
            })?;
            value["manifests"].as_array().cloned().unwrap_or_default()
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(Error::files("read", &place)(error)),
    };
    known.retain(|line| !lines.iter().any(|new| name(new) == name(line)));
    known.extend(lines);
    let index = json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": known});
    put(&dir.join("oci-layout"), &mut &br#"{"imageLayoutVersion":"1.0.0"}"#[..])?;
    put(&place, &mut index.to_string().as_bytes())
}

struct Output<'o, W: Write> {
    out: &'o mut W,
    buffer: Vec<u8>,
}

impl<W: Write> Output<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.out.write_all(bytes).map_err(unwritable)
    }

    fn directory(&mut self, name: &str) -> Result<(), Error> {
        self.write(&member::directory_header(name))
    }

    fn file(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let size = bytes.len() as u64;
        self.write(&[&member::file_header(name, size), bytes, member::padding(size)].concat())
    }

    /// A member of so many bytes, of which `from` has neither more nor less.
    fn stream(&mut self, name: &str, size: u64, mut from: impl Read) -> Result<(), Error> {
        self.write(&member::file_header(name, size))?;
        let mut left = size;
        while left > 0 {
            let wanted =
                usize::try_from(left).map_or(self.buffer.len(), |left| left.min(self.buffer.len()));
            // Whole buffers: the parts of a tar are small.
            let filled = fill(&mut from, &mut self.buffer[..wanted])
                .map_err(|source| unreadable(name, source))?;
            if filled == 0 {
                return Err(unreadable(name, io::ErrorKind::UnexpectedEof.into()));
            }
            self.out.write_all(&self.buffer[..filled]).map_err(unwritable)?;
            left -= filled as u64;
        }
        self.write(member::padding(size))
    }
}

fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn unwritable(source: io::Error) -> Error {
    Error::System { what: "write the archive", source }
}

fn unreadable(name: &str, source: io::Error) -> Error {
    super::error::ImageError::Unreadable { name: name.to_owned(), source }.into()
}

fn path_of(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// A name with neither tag nor digest.
fn is_bare(name: &str) -> bool {
    !name.contains('@') && !name.rsplit('/').next().unwrap_or(name).contains(':')
}

/// A manifest of plain layers.
fn new_manifest(
    config: Digest,
    config_size: usize,
    layers: &[(Digest, u64, String)],
) -> Result<Vec<u8>, Error> {
    let layers: Vec<Value> = layers
        .iter()
        .map(|(digest, size, kind)| json!({"mediaType": kind, "digest": digest, "size": size}))
        .collect();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media::OCI_MANIFEST,
        "config": {"mediaType": media::OCI_CONFIG, "digest": config, "size": config_size},
        "layers": layers,
    });
    Ok(serde_json::to_vec(&manifest)
        .map_err(|source| super::error::ImageError::Write { source })?)
}

/// A file that appears under its name only when it is whole.
pub struct PendingFile {
    file: File,
    partial: std::path::PathBuf,
    place: std::path::PathBuf,
    kept: bool,
}

impl PendingFile {
    /// Starts one beside its place.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(place: &std::path::Path) -> Result<Self, Error> {
        let name = place.file_name().unwrap_or_default().to_string_lossy();
        let partial = place.with_file_name(format!(".{name}.tug-{}", std::process::id()));
        let file = File::create(&partial).map_err(Error::files("create", &partial))?;
        Ok(Self { file, partial, place: place.to_owned(), kept: false })
    }

    /// Where to write.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Puts it in its place.
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub fn keep(mut self) -> Result<(), Error> {
        std::fs::rename(&self.partial, &self.place).map_err(Error::files("write", &self.place))?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for PendingFile {
    fn drop(&mut self) {
        if !self.kept {
            // The failure that led here is the one to report.
            let _ = std::fs::remove_file(&self.partial);
        }
    }
}
