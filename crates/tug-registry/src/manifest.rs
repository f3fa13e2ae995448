//! Manifests and indexes of both families, read from the bytes a registry or an archive holds.
//! Only what a pull needs is parsed; the bytes are kept as they are, since their digest names them.

use crate::media;
use crate::platform::Platform;
use serde::Deserialize;
use std::collections::BTreeMap;
use tug_types::Digest;

/// A pointer to a blob or a manifest (OCI descriptor).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it points to.
    #[serde(default)]
    pub media_type: String,
    /// Its digest as stored.
    pub digest: Digest,
    /// Its length in bytes as stored.
    pub size: u64,
    /// In an index: who can run it.
    #[serde(default)]
    pub platform: Option<Platform>,
    /// Free text by key.
    #[serde(default)]
    pub annotations: Option<BTreeMap<String, String>>,
    /// Set on what is no image.
    #[serde(default)]
    pub artifact_type: Option<String>,
}

/// One platform's image: its config and layers, lowest first.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// The image configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    #[serde(default)]
    pub layers: Vec<Descriptor>,
    /// Set on what is no image.
    #[serde(default)]
    pub artifact_type: Option<String>,
}

/// A list of manifests, one a platform.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Index {
    /// In the order of the index, which breaks ties.
    pub manifests: Vec<Descriptor>,
}

/// Either of the two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// For one platform.
    Manifest(Box<Manifest>),
    /// For several.
    Index(Index),
}

/// Why bytes are no manifest of an image.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not the JSON it should be.
    #[error("it cannot be read")]
    Json(#[source] serde_json::Error),
    /// Docker's first schema.
    #[error("it is a schema 1 manifest, a format Docker stopped writing in 2016")]
    Schema1,
    /// Neither a manifest nor an index.
    #[error("its media type is {0:?}, which is neither an image manifest nor an index")]
    MediaType(String),
    /// Header and content disagree, or the content is both at once: two readers of it would see
    /// two different images.
    #[error("it is ambiguous: declared as {declared:?}, but its content says {found:?}")]
    Ambiguous {
        /// As the registry or the descriptor declares it.
        declared: String,
        /// As its content says.
        found: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    schema_version: Option<u32>,
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
    fs_layers: Option<serde::de::IgnoredAny>,
}

/// Reads a manifest or an index. `declared` is the `Content-Type` or the descriptor's type,
/// parameters allowed; empty or generic types (`application/json`) leave it to the content.
/// Returned with the media type it really has.
///
/// # Errors
/// [`ManifestError`].
pub fn parse(bytes: &[u8], declared: &str) -> Result<(Parsed, String), ManifestError> {
    let declared = declared.split(';').next().unwrap_or("").trim();
    let specific = declared.starts_with("application/vnd.");
    if media::is_schema1(declared) {
        return Err(ManifestError::Schema1);
    }
    if specific && !media::is_manifest(declared) && !media::is_index(declared) {
        return Err(ManifestError::MediaType(declared.to_owned()));
    }
    let head: Head = serde_json::from_slice(bytes).map_err(ManifestError::Json)?;
    if head.schema_version == Some(1) || head.fs_layers.is_some() {
        return Err(ManifestError::Schema1);
    }
    let both = head.manifests.is_some() && head.layers.is_some();
    let explicit = head.media_type.as_deref().filter(|text| !text.is_empty());
    if both || specific && explicit.is_some_and(|found| found != declared) {
        let found = if both { "both manifests and layers" } else { explicit.unwrap_or("") };
        let (declared, found) = (declared.to_owned(), found.to_owned());
        return Err(ManifestError::Ambiguous { declared, found });
    }
    let media_type = match explicit.or_else(|| type_by_shape(&head)) {
        _ if specific => declared.to_owned(),
        Some(found) => found.to_owned(),
        None => return Err(ManifestError::MediaType(declared.to_owned())),
    };
    let parsed = if media::is_index(&media_type) {
        Parsed::Index(serde_json::from_slice(bytes).map_err(ManifestError::Json)?)
    } else if media::is_manifest(&media_type) {
        Parsed::Manifest(serde_json::from_slice(bytes).map_err(ManifestError::Json)?)
    } else {
        return Err(ManifestError::MediaType(media_type));
    };
    Ok((parsed, media_type))
}

/// What the content is where neither header nor content says: OCI made its own field optional.
fn type_by_shape(head: &Head) -> Option<&'static str> {
    match (&head.manifests, &head.layers) {
        (Some(_), None) => Some(media::OCI_INDEX),
        (None, Some(_)) => Some(media::OCI_MANIFEST),
        _ => None,
    }
}

impl Index {
    /// The older form of a build cache as a manifest: an index that lists blobs, the cache's configuration last.
    pub(crate) fn flat(&self) -> Option<Manifest> {
        let is_config = |d: &&Descriptor| d.media_type == media::CACHE_CONFIG;
        let config = self.manifests.iter().find(is_config)?.clone();
        let layers = self.manifests.iter().filter(|d| !is_config(d)).cloned().collect();
        Some(Manifest { config, layers, artifact_type: None })
    }

    /// The manifest that runs best on `wanted`. An index with a single entry of no platform is
    /// taken as it is: its config will tell.
    pub fn choose(&self, wanted: &Platform) -> Option<&Descriptor> {
        let ranked = |d: &Descriptor| d.platform.as_ref().and_then(|p| wanted.rank(p));
        let best = self.images().filter_map(|d| ranked(d).map(|rank| (rank, d)));
        if let Some((_, descriptor)) = best.min_by_key(|(rank, _)| *rank) {
            return Some(descriptor);
        }
        let mut unnamed = self.images().filter(|d| d.platform.is_none());
        unnamed.next().filter(|_| unnamed.next().is_none())
    }

    /// The platforms on offer, in order, each once.
    pub fn platforms(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for platform in self.images().filter_map(|d| d.platform.as_ref()) {
            let name = Platform::new(&platform.os, &platform.architecture, &platform.variant);
            if !names.contains(&name.to_string()) {
                names.push(name.to_string());
            }
        }
        names
    }

    /// The entries that can be images: build attestations say `unknown/unknown`.
    fn images(&self) -> impl Iterator<Item = &Descriptor> {
        self.manifests.iter().filter(|d| {
            let known = d.platform.as_ref().is_none_or(|p| p.os != "unknown");
            let manifest = media::is_manifest(&d.media_type) || media::is_index(&d.media_type);
            known && (manifest || d.media_type.is_empty())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn descriptor(media_type: &str, more: &str) -> String {
        format!(r#"{{"mediaType":"{media_type}","digest":"{DIGEST}","size":1{more}}}"#)
    }

    #[test]
    fn the_type_comes_from_the_header_or_from_the_content() {
        let manifest = format!(
            r#"{{"schemaVersion":2,"config":{},"layers":[]}}"#,
            descriptor(media::OCI_CONFIG, "")
        );
        for declared in ["", "application/json", media::OCI_MANIFEST] {
            let (parsed, media_type) = parse(manifest.as_bytes(), declared).unwrap();
            assert!(matches!(parsed, Parsed::Manifest(_)));
            assert_eq!(media_type, media::OCI_MANIFEST);
        }
        let named = manifest.replace("2,", &format!(r#"2,"mediaType":"{}","#, media::OCI_MANIFEST));
        let docker = format!("{}; charset=utf-8", media::DOCKER_MANIFEST);
        let error = parse(named.as_bytes(), &docker).unwrap_err();
        assert!(matches!(error, ManifestError::Ambiguous { .. }), "{error}");
    }

    #[test]
    fn what_is_no_image_manifest_is_refused_by_name() {
        let schema1 = br#"{"schemaVersion":1,"name":"x","fsLayers":[]}"#;
        assert!(matches!(parse(schema1, "application/json"), Err(ManifestError::Schema1)));
        assert!(matches!(parse(b"<html>", "text/html"), Err(ManifestError::Json(_))));
        assert!(matches!(parse(b"{}", ""), Err(ManifestError::MediaType(_))));
        let both = format!(
            r#"{{"schemaVersion":2,"config":{},"layers":[],"manifests":[]}}"#,
            descriptor(media::OCI_CONFIG, "")
        );
        let error = parse(both.as_bytes(), media::OCI_MANIFEST).unwrap_err();
        assert!(error.to_string().contains("both manifests and layers"), "{error}");
    }

    #[test]
    fn an_index_offers_its_platforms_without_attestations() {
        let entry = |os: &str, architecture: &str| {
            let platform =
                format!(r#","platform":{{"os":"{os}","architecture":"{architecture}"}}"#);
            descriptor(media::OCI_MANIFEST, &platform)
        };
        let text = format!(
            r#"{{"schemaVersion":2,"manifests":[{},{},{}]}}"#,
            entry("linux", "s390x"),
            entry("linux", "arm64"),
            entry("unknown", "unknown")
        );
        let (Parsed::Index(index), _) = parse(text.as_bytes(), media::OCI_INDEX).unwrap() else {
            panic!("no index");
        };
        assert_eq!(index.platforms(), ["linux/s390x", "linux/arm64"]);
        assert!(index.choose(&Platform::parse("linux/arm64/v8").unwrap()).is_some());
        assert!(index.choose(&Platform::parse("linux/riscv64").unwrap()).is_none());
    }
}
