//! `pull`: resolve, lease, layers side by side, then manifest and config, one
//! transaction. Killed at any moment, the image is either all there or not there.

use super::error::ImageError;
use super::fetch;
use super::intake::{Intake, Whole};
use crate::image_config::ImageConfig;
use crate::view::{LayerState, Progress, PullEvent};
use crate::{Engine, Error};
use std::sync::Arc;
use std::time::Duration;
use tug_registry::{Client, Platform, Resolved};
use tug_store::{ImageRow, LayerEntry};
use tug_types::{Digest, Explain, ImageReference};

/// Half-fetched layers that nobody asked for again so long are given up.
const ABANDONED: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How to pull.
#[derive(Clone, Debug, Default)]
pub struct PullOptions {
    /// `--platform`; `None` is the default platform of the settings, then this machine's.
    pub platform: Option<String>,
}

/// What a pull brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// The image.
    pub id: Digest,
    /// What the reference names in its registry: an index or a manifest.
    pub digest: Digest,
    /// False: all of it was here and named so already.
    pub newer: bool,
}

impl Engine {
    /// Brings an image from its registry, or from a mirror of it.
    ///
    /// # Errors
    /// What the registries answered, what is wrong with the image, or why it cannot be stored.
    /// Nothing of it stays then.
    pub fn pull(
        &self,
        reference: &ImageReference,
        options: PullOptions,
        progress: Arc<dyn Progress>,
    ) -> Result<Pulled, Error> {
        self.pull_with(reference, &options, progress, self.registry_settings()?)
    }

    /// The same with a patience of the caller's choice.
    pub(super) fn pull_with(
        &self,
        reference: &ImageReference,
        options: &PullOptions,
        progress: Arc<dyn Progress>,
        settings: tug_registry::Settings,
    ) -> Result<Pulled, Error> {
        let platform = self.platform(options.platform.as_deref())?;
        let client = Client::new(settings).map_err(failed)?;
        let pulled = self.pull_one(&client, reference, platform.as_ref(), &progress)?;
        progress.event(PullEvent::Done {
            digest: pulled.digest,
            newer: pulled.newer,
            reference: reference.clone(),
        });
        Ok(pulled)
    }

    /// Brings the image of one platform without taking the name from the one it points at: the other
    /// platforms of an index lie beside each other. Where the name points at nothing yet, it points at
    /// this one.
    ///
    /// # Errors
    /// As [`Engine::pull`].
    pub fn pull_beside(
        &self,
        reference: &ImageReference,
        platform: &str,
        progress: Arc<dyn Progress>,
    ) -> Result<Pulled, Error> {
        let platform = self.platform(Some(platform))?;
        let client = Client::new(self.registry_settings()?).map_err(failed)?;
        let named = self.store.image_by_reference(reference)?.is_some();
        let manner = Manner { local: None, beside: named };
        self.bring(&client, reference, platform.as_ref(), manner, &progress)
    }

    /// Brings every tag of a repository, in the registry's order.
    ///
    /// # Errors
    /// As [`Engine::pull`], of the first tag that fails; those before it stay.
    pub fn pull_all(
        &self,
        repository: &ImageReference,
        options: PullOptions,
        progress: Arc<dyn Progress>,
    ) -> Result<Vec<Pulled>, Error> {
        let platform = self.platform(options.platform.as_deref())?;
        let client = Client::new(self.registry_settings()?).map_err(failed)?;
        let mut all = Vec::new();
        for tag in client.tags(repository).map_err(failed)? {
            // cosign keeps signatures and attestations among the tags: those are no images.
            if is_signature(&tag) {
                continue;
            }
            let reference = repository.with_tag(&tag);
            let pulled = self.pull_one(&client, &reference, platform.as_ref(), &progress)?;
            progress.event(PullEvent::TagDone { digest: pulled.digest });
            all.push(pulled);
        }
        let newer = all.iter().any(|pulled| pulled.newer);
        progress.event(PullEvent::AllDone { newer, reference: repository.clone() });
        Ok(all)
    }

    fn pull_one(
        &self,
        client: &Client,
        reference: &ImageReference,
        platform: Option<&Platform>,
        progress: &Arc<dyn Progress>,
    ) -> Result<Pulled, Error> {
        progress.event(PullEvent::Resolving { reference: reference.clone() });
        let demanded = client.demands_signatures(reference).map_err(failed)?;
        let local = self.local_copy(reference, platform)?;
        match self.unchanged(client, reference, local.as_ref())? {
            // What is here came before the policy, perhaps.
            Some(pulled) if !demanded => {
                // Whoever recorded it may have been killed before it gave its lease back.
                let _ = tug_store::sweep_dead(self.store.root());
                Ok(pulled)
            }
            _ => {
                let manner = Manner { local: local.as_ref(), beside: false };
                self.bring(client, reference, platform, manner, progress)
            }
        }
    }

    /// `--platform`, or what stands for it.
    pub(super) fn platform(&self, wanted: Option<&str>) -> Result<Option<Platform>, Error> {
        let text = wanted.or(self.settings.default_platform.as_deref());
        let parsed = text.filter(|text| !text.is_empty()).map(Platform::parse).transpose();
        Ok(parsed.map_err(|source| ImageError::Platform { source })?)
    }

    pub(super) fn registry_settings(&self) -> Result<tug_registry::Settings, Error> {
        let files = &self.settings.registries;
        Ok(tug_registry::Settings {
            mirrors: self.settings.mirrors.clone(),
            registries: tug_registry::Registries::read(&files.settings).map_err(failed)?,
            policies: tug_registry::Policies::read(&files.policies).map_err(failed)?,
            certs_dirs: files.certs_dirs.clone(),
            docker_config_dir: self.settings.docker_config_dir.clone(),
            vault: files.vault.clone(),
            ..tug_registry::Settings::default()
        })
    }

    /// The image of that name that is here, if it is whole and runs on the platform.
    fn local_copy(
        &self,
        reference: &ImageReference,
        platform: Option<&Platform>,
    ) -> Result<Option<ImageRow>, Error> {
        let Some(row) = self.store.image_by_reference(reference)? else { return Ok(None) };
        let host = Platform::host();
        let head: tug_registry::ConfigHead =
            serde_json::from_slice(&row.config).unwrap_or_default();
        let layers = self.store.layers();
        let whole = head.rootfs.diff_ids.iter().all(|layer| layers.contains(layer));
        let runs = platform.unwrap_or(&host).rank(&head.platform()).is_some();
        Ok(Some(row).filter(|_| whole && runs))
    }

    /// Whether the registry still has under that name what is here. Asked with a request that does
    /// not count against a registry's pull quota; a digest needs no asking.
    fn unchanged(
        &self,
        client: &Client,
        reference: &ImageReference,
        local: Option<&ImageRow>,
    ) -> Result<Option<Pulled>, Error> {
        let Some(local) = local else { return Ok(None) };
        let digest = match reference.digest() {
            Some(digest) => Some(*digest),
            None => match client.digest_of(reference) {
                Ok(digest) => digest,
                Err(error @ tug_registry::Error::Unreachable { .. }) => return Err(failed(error)),
                // An answer to HEAD has no body: the full question tells what is wrong.
                Err(_) => None,
            },
        };
        let Some(digest) = digest else { return Ok(None) };
        let named = reference.with_digest(digest);
        let same = local.digests.contains(&named);
        Ok(same.then_some(Pulled { id: local.id, digest, newer: false }))
    }

    fn bring(
        &self,
        client: &Client,
        reference: &ImageReference,
        platform: Option<&Platform>,
        Manner { local, beside }: Manner<'_>,
        progress: &Arc<dyn Progress>,
    ) -> Result<Pulled, Error> {
        let tag = reference.tag().unwrap_or("latest").to_owned();
        let retrying = |attempt, wait: std::time::Duration| {
            let state = LayerState::Retrying(attempt, wait.as_secs());
            progress.event(PullEvent::Layer { layer: tag.clone(), state });
        };
        let resolved = client.resolve(reference, platform, &retrying).map_err(failed)?;
        client.verify(reference, &resolved).map_err(failed)?;
        let mut intake = Intake::begin(self)?;
        let partials = self.store.partials();
        // What nobody came back for must not keep this image out.
        let _ = partials.sweep(ABANDONED);
        let fetched = fetch::layers(&fetch::Fetch {
            store: self.store.layers(),
            partials: partials.clone(),
            blobs: self.store.blobs(),
            claim: intake.claim()?,
            client,
            resolved: &resolved,
            reference,
            progress,
        })?;
        for (blob, size) in &fetched.blobs {
            match client.keeps_blobs() && partials.length(blob) == *size {
                true => partials.keep(intake.claim()?.lease(), blob),
                false => partials.discard(blob),
            }
            .map_err(tug_store::Error::from)?;
        }
        let id = self.keep(&mut intake, reference, &resolved, &fetched.entries, beside)?;
        intake.finish()?;
        let digest = resolved.digest;
        let known = local.is_some_and(|local| {
            local.id == id && local.digests.contains(&reference.with_digest(digest))
        });
        Ok(Pulled { id, digest, newer: !known })
    }

    fn keep(
        &self,
        intake: &mut Intake<'_>,
        reference: &ImageReference,
        resolved: &Resolved,
        layers: &[LayerEntry],
        beside: bool,
    ) -> Result<Digest, Error> {
        let config: ImageConfig = serde_json::from_slice(&resolved.config_bytes)
            .map_err(|source| ImageError::Json { name: "image configuration".into(), source })?;
        // `name:tag@digest` names the digest; Docker keeps no tag for it either.
        let tag = reference.digest().is_none().then(|| reference.clone());
        let mut digests = vec![reference.with_digest(resolved.digest)];
        // An index finds it without a name; a bare manifest is found by its names alone.
        let nameless = beside && resolved.index.is_some();
        let tag = tag.filter(|_| !nameless);
        if nameless {
            digests.clear();
        }
        let whole = Whole {
            config: &resolved.config_bytes,
            manifest: Some(&resolved.manifest_bytes),
            index: resolved.index.as_ref().map(|(bytes, _)| bytes.as_slice()),
            created: config.created.as_deref(),
            tagged: false,
            layers,
            tags: tag.as_slice(),
            digests: &digests,
        };
        let id = intake.put_blobs(&whole)?;
        intake.record(id, &whole)?;
        Ok(id)
    }
}

/// How an image comes in.
struct Manner<'a> {
    /// The one of that name that is here.
    local: Option<&'a ImageRow>,
    /// Names stay where they are.
    beside: bool,
}

/// `sha256-<digest>.sig`, `.att`, `.sbom`.
fn is_signature(tag: &str) -> bool {
    let Some((digits, _)) = tag.strip_prefix("sha256-").and_then(|rest| rest.split_once('.'))
    else {
        return false;
    };
    Digest::from_hex(digits).is_some()
}

/// A registry's failure, with its own words.
pub(super) fn failed(error: tug_registry::Error) -> Error {
    Error::Failed(error.failure())
}
