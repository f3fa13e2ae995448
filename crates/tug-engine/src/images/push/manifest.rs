//! Which manifest a push ends with: the one the image came with, or a new one.

use super::layer::{Arrived, Job};
use super::lineage::Ancestor;
use crate::Error;
use crate::images::compress::Method;
use crate::images::error::ImageError;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use tug_registry::{Descriptor, Manifest, Parsed, media};
use tug_store::{BlobRecord, Blobs, ImageRow, LayerEntry};
use tug_types::{DiffId, Digest, ImageReference};

/// What is known before the first layer moves.
pub(super) struct Plan {
    /// The manifest the image came with.
    original: Option<Original>,
    /// Whether it is, or will be, one of Docker's family.
    docker: bool,
}

struct Original {
    bytes: Vec<u8>,
    media_type: String,
    manifest: Manifest,
    digest: Digest,
    /// It was written here, over plain tars: no registry has seen it.
    draft: bool,
}

/// A manifest to be published.
pub(super) struct Made {
    pub(super) bytes: Vec<u8>,
    pub(super) media_type: String,
    pub(super) instead_of: Option<Digest>,
}

impl Plan {
    /// Reads what the image came with. A manifest that is gone, or of other layers, is none.
    pub(super) fn of(
        blobs: &Blobs,
        row: &ImageRow,
        manifest: Option<Digest>,
        entries: &[LayerEntry],
        oci: Option<bool>,
    ) -> Self {
        let read = |digest: Digest| {
            let bytes = blobs.read(&digest).ok()?;
            let (Parsed::Manifest(manifest), media_type) = tug_registry::parse(&bytes, "").ok()?
            else {
                return None;
            };
            let fits = manifest.layers.len() == entries.len() && manifest.config.digest == row.id;
            let draft = entries.iter().all(|entry| entry.blob.is_none());
            fits.then_some(Original { bytes, media_type, manifest: *manifest, digest, draft })
        };
        let original = manifest.and_then(read);
        // Docker's own family where nothing says otherwise: every registry takes it.
        let own =
            original.as_ref().is_none_or(|original| original.media_type == media::DOCKER_MANIFEST);
        let is_made_here = original.as_ref().is_none_or(|original: &Original| original.draft);
        let docker = oci.filter(|_| is_made_here).map_or(own, |oci| !oci);
        Self { original, docker }
    }

    /// Whether the manifest it came with says what each layer was.
    pub(super) fn knows_its_blobs(&self) -> bool {
        self.original.as_ref().is_some_and(|original| !original.draft)
    }

    /// One job for each layer, the uppermost first, each once.
    pub(super) fn jobs(
        &self,
        diff_ids: &[DiffId],
        known: impl Fn(DiffId) -> (Vec<String>, Option<BlobRecord>),
        origins: &[ImageReference],
        mut lineage: HashMap<DiffId, Ancestor>,
        method: Method,
    ) -> Vec<Job> {
        let mut seen = HashSet::new();
        let wanted = |position: usize| {
            let original = self.original.as_ref().filter(|original| !original.draft);
            original.and_then(|o| o.manifest.layers.get(position)).cloned()
        };
        let job = |(position, diff_id): (usize, &DiffId)| {
            let (relatives, known) = known(*diff_id);
            let (wanted, origins) = match lineage.remove(diff_id) {
                Some(ancestor) => (Some(self.in_family(ancestor.blob)), ancestor.origins),
                None => (wanted(position), origins.to_vec()),
            };
            let media_type = method.media_type(self.docker);
            Job { diff_id: *diff_id, wanted, relatives, origins, known, media_type }
        };
        let pairs = diff_ids.iter().enumerate().rev();
        pairs.filter(|(_, diff_id)| seen.insert(**diff_id)).map(job).collect()
    }

    /// A layer of another image as a manifest of this family names it.
    fn in_family(&self, mut blob: Descriptor) -> Descriptor {
        blob.media_type = Method::of(&blob.media_type).media_type(self.docker).to_owned();
        blob.annotations = None;
        blob
    }

    /// The manifest of what the layers became.
    pub(super) fn manifest(
        &self,
        row: &ImageRow,
        diff_ids: &[DiffId],
        layers: &HashMap<DiffId, Arrived>,
    ) -> Result<Made, Error> {
        let missing = |diff_id: &DiffId| ImageError::Missing {
            by: format!("image {}", row.id),
            name: diff_id.0.to_string(),
        };
        let descriptors: Vec<&Descriptor> = diff_ids
            .iter()
            .map(|diff_id| {
                let arrived = layers.get(diff_id).ok_or_else(|| missing(diff_id))?;
                Ok::<_, Error>(&arrived.descriptor)
            })
            .collect::<Result<_, _>>()?;
        let Some(original) = &self.original else {
            return Ok(Made {
                bytes: written(&self.fresh(row, &descriptors))?,
                media_type: self.media_type().to_owned(),
                instead_of: None,
            });
        };
        let same = |(old, new): (&Descriptor, &&Descriptor)| old.digest == new.digest;
        let as_it_is = !original.draft || original.media_type == self.media_type();
        if as_it_is && original.manifest.layers.iter().zip(&descriptors).all(same) {
            let (bytes, media_type) = (original.bytes.clone(), original.media_type.clone());
            return Ok(Made { bytes, media_type, instead_of: None });
        }
        // Whatever else it says stays: annotations, fields of later versions.
        let mut value: Value = serde_json::from_slice(&original.bytes)
            .map_err(|source| ImageError::Json { name: original.digest.to_string(), source })?;
        value["layers"] = descriptors.iter().map(|d| descriptor(d)).collect();
        let mut media_type = original.media_type.clone();
        if original.draft {
            self.media_type().clone_into(&mut media_type);
            value["mediaType"] = json!(media_type);
            value["config"]["mediaType"] = json!(self.config_type());
        }
        Ok(Made {
            bytes: written(&value)?,
            media_type,
            instead_of: (!original.draft).then_some(original.digest),
        })
    }

    fn media_type(&self) -> &'static str {
        if self.docker { media::DOCKER_MANIFEST } else { media::OCI_MANIFEST }
    }

    fn config_type(&self) -> &'static str {
        if self.docker { media::DOCKER_CONFIG } else { media::OCI_CONFIG }
    }

    fn fresh(&self, row: &ImageRow, layers: &[&Descriptor]) -> Value {
        let config = self.config_type();
        json!({
            "schemaVersion": 2,
            "mediaType": self.media_type(),
            "config": {"mediaType": config, "size": row.config.len(), "digest": row.id.to_string()},
            "layers": layers.iter().map(|d| descriptor(d)).collect::<Value>(),
        })
    }
}

/// An index' media type, in OCI's family or Docker's.
pub(super) fn index_type(oci: bool) -> &'static str {
    if oci { media::OCI_INDEX } else { media::DOCKER_LIST }
}

/// An index whose entries are those that were pushed instead: old digest, new digest, new size. `oci` is the family
/// that was asked for.
pub(super) fn replace_in_index(
    bytes: &[u8],
    replaced: &[(Digest, Digest, u64)],
    oci: Option<bool>,
) -> Result<Vec<u8>, Error> {
    if replaced.is_empty() && oci.is_none() {
        return Ok(bytes.to_vec());
    }
    let mut value: Value = serde_json::from_slice(bytes)
        .map_err(|source| ImageError::Json { name: "the index".to_owned(), source })?;
    for entry in value["manifests"].as_array_mut().into_iter().flatten() {
        let found = replaced.iter().find(|(old, _, _)| entry["digest"] == old.to_string());
        if let Some((_, new, size)) = found {
            entry["digest"] = json!(new.to_string());
            entry["size"] = json!(size);
        }
        if let Some(oci) = oci {
            let own = if oci { media::OCI_MANIFEST } else { media::DOCKER_MANIFEST };
            entry["mediaType"] = json!(own);
        }
    }
    if let Some(oci) = oci {
        value["mediaType"] = json!(index_type(oci));
    }
    written(&value)
}

fn descriptor(descriptor: &Descriptor) -> Value {
    let mut value = json!({
        "mediaType": descriptor.media_type,
        "size": descriptor.size,
        "digest": descriptor.digest.to_string(),
    });
    if let Some(annotations) = &descriptor.annotations {
        value["annotations"] = json!(annotations);
    }
    value
}

fn written(value: &Value) -> Result<Vec<u8>, Error> {
    Ok(serde_json::to_vec(value).map_err(|source| ImageError::Write { source })?)
}
