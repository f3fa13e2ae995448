//! What a faultless registry would answer from an OCI layout: the part of a scripted server that a
//! test does not want to spoil.

use crate::layout::Manifest;
use crate::scripted::{Asked, Reply};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Tags over the blobs of a layout. Every repository holds the same.
#[derive(Clone)]
pub struct Shelf {
    blobs: PathBuf,
    tags: BTreeMap<String, String>,
}

impl Shelf {
    /// Serves the layout below `dir`.
    pub fn new(dir: &Path) -> Self {
        Self { blobs: dir.join("blobs/sha256"), tags: BTreeMap::new() }
    }

    /// The same with a tag more.
    #[must_use]
    pub fn tag(mut self, tag: &str, image: &Manifest) -> Self {
        self.tags.insert(tag.to_owned(), image.digest.clone());
        self
    }

    /// The right answer.
    pub fn answer(&self, asked: &Asked) -> Reply {
        if let Some((_, reference)) = asked.target.rsplit_once("/manifests/") {
            let digest = self.tags.get(reference).map_or(reference, String::as_str);
            return match self.read(digest) {
                Some(bytes) => {
                    let value: serde_json::Value =
                        serde_json::from_slice(&bytes).unwrap_or_default();
                    let kind = value["mediaType"].as_str().unwrap_or("application/json");
                    Reply::new(200, bytes)
                        .with("Content-Type", kind)
                        .with("Docker-Content-Digest", digest)
                }
                None => Reply::refusal(404, "MANIFEST_UNKNOWN", "manifest unknown"),
            };
        }
        let blob = asked.target.rsplit_once("/blobs/").and_then(|(_, digest)| self.read(digest));
        match (blob, asked.range_start()) {
            (None, _) => Reply::refusal(404, "BLOB_UNKNOWN", "blob unknown to registry"),
            (Some(bytes), None) => Reply::new(200, bytes),
            (Some(bytes), Some(start)) if start < bytes.len() => {
                let range = format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
                Reply::new(206, &bytes[start..]).with("Content-Range", &range)
            }
            (Some(_), Some(_)) => Reply::new(416, ""),
        }
    }

    fn read(&self, digest: &str) -> Option<Vec<u8>> {
        std::fs::read(self.blobs.join(digest.strip_prefix("sha256:")?)).ok()
    }
}
