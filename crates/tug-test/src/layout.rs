//! Images on disk: an OCI layout directory, and the archives made from one.
//!
//! ```text
//! <dir>/oci-layout, index.json, blobs/sha256/<hex>     (OCI image specification, image-layout.md)
//! ```
//!
//! Everything here writes JSON by hand: fixtures must not share tug's idea of an image.

use crate::layer::LayerTar;
use flate2::Compression as Level;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// How a layer blob is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// A bare tar.
    None,
    /// gzip.
    Gzip,
    /// zstd; OCI only.
    Zstd,
}

/// Which family of media types an image uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// OCI image specification.
    Oci,
    /// Docker schema 2.
    Docker,
}

/// One stored layer.
#[derive(Clone, Debug)]
pub struct Layer {
    /// `sha256:…` of the blob.
    pub digest: String,
    /// Bytes of the blob.
    pub size: u64,
    /// `sha256:…` of the bare tar.
    pub diff_id: String,
    /// How the blob is packed.
    pub compression: Compression,
}

/// One stored manifest or index.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Media type.
    pub media_type: String,
    /// `sha256:…`.
    pub digest: String,
    /// Bytes.
    pub size: u64,
    /// `sha256:…` of the config; the image's id. Empty for an index.
    pub config: String,
}

/// An OCI layout being filled.
pub struct Layout {
    dir: PathBuf,
}

impl Layout {
    /// Opens `dir`, making it when missing.
    ///
    /// # Errors
    /// A directory or file could not be made.
    pub fn create(dir: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(dir.join("blobs/sha256"))?;
        std::fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        let index = dir.join("index.json");
        if !index.exists() {
            let empty = json!({"schemaVersion": 2, "manifests": []});
            std::fs::write(index, empty.to_string())?;
        }
        Ok(Self { dir: dir.to_owned() })
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where a blob is.
    pub fn blob(&self, digest: &str) -> PathBuf {
        self.dir.join("blobs").join(digest.replace(':', "/"))
    }

    /// Stores bytes under their digest.
    ///
    /// # Errors
    /// Writing failed.
    pub fn put(&self, bytes: &[u8]) -> io::Result<String> {
        let digest = digest_of(bytes);
        std::fs::write(self.blob(&digest), bytes)?;
        Ok(digest)
    }

    /// Stores the layer `fill` writes.
    ///
    /// # Errors
    /// `fill` failed, or writing did.
    pub fn layer(
        &self,
        compression: Compression,
        fill: impl FnOnce(&mut LayerTar<&mut dyn Write>) -> io::Result<()>,
    ) -> io::Result<Layer> {
        let partial = self.dir.join(format!("partial-{}", crate::unique()));
        let mut blob = Tee::new(BufWriter::new(File::create(&partial)?));
        let diff_id = match compression {
            Compression::None => tar_into(&mut blob, fill)?,
            Compression::Gzip => {
                let mut packed = GzEncoder::new(&mut blob, Level::new(6));
                let diff_id = tar_into(&mut packed, fill)?;
                packed.finish()?;
                diff_id
            }
            Compression::Zstd => {
                let mut packed = zstd::Encoder::new(&mut blob, 3)?;
                let diff_id = tar_into(&mut packed, fill)?;
                packed.finish()?;
                diff_id
            }
        };
        let (digest, size) = blob.finish()?;
        std::fs::rename(&partial, self.blob(&digest))?;
        Ok(Layer { digest, size, diff_id, compression })
    }

    /// Stores an image: `config` is the `config` object of its configuration (Cmd, Env, …).
    ///
    /// # Errors
    /// Writing failed.
    pub fn image(&self, family: Family, config: &Value, layers: &[Layer]) -> io::Result<Manifest> {
        let diff_ids: Vec<_> = layers.iter().map(|layer| layer.diff_id.clone()).collect();
        let history: Vec<_> = layers
            .iter()
            .map(|_| json!({"created": CREATED, "created_by": "tug fixture"}))
            .collect();
        let configuration = json!({
            "architecture": "amd64", "os": "linux", "created": CREATED, "config": config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": history,
        });
        self.image_of(family, configuration.to_string().as_bytes(), layers)
    }

    /// Stores an image whose configuration is any bytes.
    ///
    /// # Errors
    /// Writing failed.
    pub fn image_of(
        &self,
        family: Family,
        configuration: &[u8],
        layers: &[Layer],
    ) -> io::Result<Manifest> {
        let config = self.put(configuration)?;
        let layers: Vec<_> = layers
            .iter()
            .map(|layer| {
                json!({"mediaType": layer_type(family, layer.compression),
                       "digest": layer.digest, "size": layer.size})
            })
            .collect();
        let (media_type, config_type) = match family {
            Family::Oci => (OCI_MANIFEST, "application/vnd.oci.image.config.v1+json"),
            Family::Docker => (DOCKER_MANIFEST, "application/vnd.docker.container.image.v1+json"),
        };
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media_type,
            "config": {"mediaType": config_type, "digest": config, "size": configuration.len()},
            "layers": layers,
        });
        self.manifest(media_type, &manifest, config)
    }

    /// Stores an index over images, each with its platform (`linux/arm64/v8`).
    ///
    /// # Errors
    /// Writing failed.
    pub fn index(&self, family: Family, images: &[(&Manifest, &str)]) -> io::Result<Manifest> {
        let manifests: Vec<_> = images
            .iter()
            .map(|(image, platform)| {
                let mut parts = platform.split('/');
                let mut platform =
                    json!({"os": parts.next(), "architecture": parts.next().unwrap_or_default()});
                if let Some(variant) = parts.next() {
                    platform["variant"] = json!(variant);
                }
                json!({"mediaType": image.media_type, "digest": image.digest,
                       "size": image.size, "platform": platform})
            })
            .collect();
        let media_type = match family {
            Family::Oci => OCI_INDEX,
            Family::Docker => DOCKER_INDEX,
        };
        let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests});
        self.manifest(media_type, &index, String::new())
    }

    fn manifest(&self, media_type: &str, value: &Value, config: String) -> io::Result<Manifest> {
        let bytes = value.to_string();
        let digest = self.put(bytes.as_bytes())?;
        let size = bytes.len() as u64;
        Ok(Manifest { media_type: media_type.to_owned(), digest, size, config })
    }

    /// Lists `image` in `index.json` as `name` (`busybox:latest`), replacing an earlier one.
    ///
    /// # Errors
    /// Reading or writing `index.json` failed.
    pub fn name(&self, image: &Manifest, name: &str) -> io::Result<()> {
        let path = self.dir.join("index.json");
        let mut index: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
        let list = index["manifests"].as_array_mut().ok_or(io::ErrorKind::InvalidData)?;
        list.retain(|old| old["annotations"]["io.containerd.image.name"] != name);
        list.push(entry(image, name));
        std::fs::write(path, index.to_string())
    }

    /// The image named `name`.
    ///
    /// # Errors
    /// It is not there, or not readable.
    pub fn find(&self, name: &str) -> io::Result<Manifest> {
        let index: Value = serde_json::from_slice(&std::fs::read(self.dir.join("index.json"))?)?;
        let entry = index["manifests"]
            .as_array()
            .and_then(|list| {
                list.iter().find(|e| e["annotations"]["io.containerd.image.name"] == name)
            })
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no image {name}")))?;
        let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        let manifest: Value = serde_json::from_slice(&std::fs::read(self.blob(&text("digest")))?)?;
        Ok(Manifest {
            media_type: text("mediaType"),
            digest: text("digest"),
            size: entry["size"].as_u64().unwrap_or_default(),
            config: manifest["config"]["digest"].as_str().unwrap_or_default().to_owned(),
        })
    }

    /// The layers of an image, lowest first, as found in its manifest and configuration.
    ///
    /// # Errors
    /// A blob could not be read.
    pub fn layers_of(&self, image: &Manifest) -> io::Result<Vec<Layer>> {
        let manifest: Value = serde_json::from_slice(&std::fs::read(self.blob(&image.digest))?)?;
        let config: Value = serde_json::from_slice(&std::fs::read(self.blob(&image.config))?)?;
        let diff_ids = config["rootfs"]["diff_ids"].as_array().cloned().unwrap_or_default();
        let layers = manifest["layers"].as_array().cloned().unwrap_or_default();
        Ok(layers
            .iter()
            .zip(&diff_ids)
            .map(|(layer, diff_id)| Layer {
                digest: layer["digest"].as_str().unwrap_or_default().to_owned(),
                size: layer["size"].as_u64().unwrap_or_default(),
                diff_id: diff_id.as_str().unwrap_or_default().to_owned(),
                compression: match layer["mediaType"].as_str().unwrap_or_default() {
                    kind if kind.ends_with("gzip") => Compression::Gzip,
                    kind if kind.ends_with("zstd") => Compression::Zstd,
                    _ => Compression::None,
                },
            })
            .collect())
    }

    /// These images as one tar, as `skopeo copy … oci-archive:` makes it; what else the layout holds
    /// stays out.
    ///
    /// # Errors
    /// Reading or writing failed.
    pub fn oci_archive(&self, out: impl Write, images: &[(&Manifest, &str)]) -> io::Result<()> {
        let mut tar = LayerTar::new(out);
        let (file, dir) = (crate::layer::Meta::mode(0o644), crate::layer::Meta::mode(0o755));
        tar.file("oci-layout", file, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        let entries: Vec<_> = images.iter().map(|(image, name)| entry(image, name)).collect();
        let index = json!({"schemaVersion": 2, "manifests": entries}).to_string();
        tar.file("index.json", file, index.as_bytes())?;
        tar.dir("blobs", dir)?;
        tar.dir("blobs/sha256", dir)?;
        let mut blobs = std::collections::BTreeSet::new();
        for (image, _) in images {
            self.blobs_of(&image.digest, &mut blobs)?;
        }
        for digest in blobs {
            tar.copy(&format!("blobs/{}", digest.replace(':', "/")), &self.blob(&digest))?;
        }
        tar.finish().map(drop)
    }

    /// The digests an image or index consists of, its own included.
    fn blobs_of(
        &self,
        digest: &str,
        found: &mut std::collections::BTreeSet<String>,
    ) -> io::Result<()> {
        found.insert(digest.to_owned());
        let manifest: Value = serde_json::from_slice(&std::fs::read(self.blob(digest))?)?;
        let list = |key: &str| manifest[key].as_array().cloned().unwrap_or_default();
        for child in list("manifests") {
            self.blobs_of(child["digest"].as_str().unwrap_or_default(), found)?;
        }
        let blobs = list("layers").into_iter().chain([manifest["config"].clone()]);
        found.extend(blobs.filter_map(|blob| blob["digest"].as_str().map(str::to_owned)));
        Ok(())
    }

    /// One image as `docker save` of old wrote it: `manifest.json`, `<id>.json`, `<n>/layer.tar`.
    ///
    /// # Errors
    /// Reading or writing failed, or a layer is not a bare tar.
    pub fn docker_archive(
        &self,
        out: impl Write,
        image: &Manifest,
        names: &[&str],
    ) -> io::Result<()> {
        let mut tar = LayerTar::new(out);
        let meta = crate::layer::Meta::mode(0o644);
        let id = image.config.trim_start_matches("sha256:");
        tar.file(&format!("{id}.json"), meta, &std::fs::read(self.blob(&image.config))?)?;
        let mut paths = Vec::new();
        for (number, layer) in self.layers_of(image)?.iter().enumerate() {
            let path = format!("{number}/layer.tar");
            let packed = std::fs::read(self.blob(&layer.digest))?;
            tar.file(&path, meta, &unpack(layer.compression, packed)?)?;
            paths.push(path);
        }
        let manifest =
            json!([{"Config": format!("{id}.json"), "RepoTags": names, "Layers": paths}]);
        tar.file("manifest.json", meta, manifest.to_string().as_bytes())?;
        tar.finish().map(drop)
    }
}

/// An image's line in `index.json`.
fn entry(image: &Manifest, name: &str) -> Value {
    let tag = name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
    json!({
        "mediaType": image.media_type, "digest": image.digest, "size": image.size,
        "annotations": {"io.containerd.image.name": name,
                        "org.opencontainers.image.ref.name": tag},
    })
}

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const CREATED: &str = "2024-01-01T00:00:00Z";

fn layer_type(family: Family, compression: Compression) -> &'static str {
    match (family, compression) {
        (Family::Oci, Compression::None) => "application/vnd.oci.image.layer.v1.tar",
        (Family::Oci, Compression::Gzip) => "application/vnd.oci.image.layer.v1.tar+gzip",
        (Family::Oci, Compression::Zstd) => "application/vnd.oci.image.layer.v1.tar+zstd",
        (Family::Docker, Compression::None) => "application/vnd.docker.image.rootfs.diff.tar",
        (Family::Docker, _) => "application/vnd.docker.image.rootfs.diff.tar.gzip",
    }
}

fn unpack(compression: Compression, packed: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut bare = Vec::new();
    match compression {
        Compression::None => return Ok(packed),
        Compression::Gzip => {
            io::copy(&mut flate2::read::GzDecoder::new(packed.as_slice()), &mut bare)?;
        }
        Compression::Zstd => zstd::stream::copy_decode(packed.as_slice(), &mut bare)?,
    }
    Ok(bare)
}

/// `sha256:…` of some bytes.
pub fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn tar_into(
    out: &mut dyn Write,
    fill: impl FnOnce(&mut LayerTar<&mut dyn Write>) -> io::Result<()>,
) -> io::Result<String> {
    let mut bare = Tee::new(out);
    let sink: &mut dyn Write = &mut bare;
    let mut tar = LayerTar::new(sink);
    fill(&mut tar)?;
    tar.finish()?;
    bare.finish().map(|(digest, _)| digest)
}

/// Counts and hashes what passes.
struct Tee<W: Write> {
    out: W,
    hash: Sha256,
    size: u64,
}

impl<W: Write> Tee<W> {
    fn new(out: W) -> Self {
        Self { out, hash: Sha256::new(), size: 0 }
    }

    fn finish(mut self) -> io::Result<(String, u64)> {
        self.out.flush()?;
        Ok((format!("sha256:{}", hex(&self.hash.finalize())), self.size))
    }
}

impl<W: Write> Write for Tee<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
