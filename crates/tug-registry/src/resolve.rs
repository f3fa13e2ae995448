//! From a reference to everything but the layers: index, manifest and config, each verified
//! against the digest that names it, from the first endpoint that has them.

use crate::ask::{Ask, What};
use crate::blob::BlobStream;
use crate::config::ConfigHead;
use crate::endpoint::{Endpoint, Source, endpoints};
use crate::error::{Error, Tried};
use crate::manifest::{self, Descriptor, Manifest, Parsed};
use crate::media::{self, LayerKind};
use crate::platform::Platform;
use crate::transport::{OnRetry, Transport, cause};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Response};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use tug_types::{Digest, ImageReference};

/// What the distribution specification asks registries to accept.
const LARGEST_MANIFEST: u64 = 4 << 20;
/// A config lists layers and build steps; the largest seen are tens of KiB.
const LARGEST_CONFIG: u64 = 8 << 20;
/// An index may point to an index; nothing in use goes further.
const DEEPEST: usize = 3;

/// What a reference stands for.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Digest of what the reference names in the registry: an index or the manifest itself.
    pub digest: Digest,
    /// The index's own bytes and type, when there is one.
    pub index: Option<(Vec<u8>, String)>,
    /// Digest of the manifest for the platform.
    pub manifest_digest: Digest,
    /// Its media type.
    pub manifest_type: String,
    /// Its own bytes.
    pub manifest_bytes: Vec<u8>,
    /// What they say.
    pub manifest: Manifest,
    /// The config's own bytes; their digest is the image's id.
    pub config_bytes: Vec<u8>,
    /// What a pull needs of them. As many diff ids as the manifest has layers.
    pub config: ConfigHead,
    /// Where the layers are.
    pub source: Source,
}

/// One reference being resolved.
pub(crate) struct Resolver<'a> {
    transport: &'a Arc<Transport>,
    reference: &'a ImageReference,
    endpoints: Vec<Arc<Endpoint>>,
    on_retry: OnRetry<'a>,
}

/// A manifest or index as it came.
struct Fetched {
    digest: Digest,
    bytes: Vec<u8>,
    media_type: String,
    parsed: Parsed,
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(
        transport: &'a Arc<Transport>,
        reference: &'a ImageReference,
        on_retry: OnRetry<'a>,
    ) -> Result<Self, Error> {
        let endpoints = endpoints(reference.registry(), &transport.settings)?;
        Ok(Self { transport, reference, endpoints, on_retry })
    }

    /// See [`crate::Client::digest_of`].
    pub(crate) async fn digest(self) -> Result<Option<Digest>, Error> {
        let mut earlier = Vec::new();
        for endpoint in &self.endpoints {
            let ask = self.ask(endpoint, self.wanted());
            let answer = self
                .transport
                .request(endpoint, &ask, Method::HEAD, &accept(), self.on_retry)
                .await;
            match answer {
                Ok(response) => return Ok(announced_digest(&response)),
                Err(error) => earlier.push(Tried { endpoint: endpoint.shown(), error }),
            }
        }
        Err(exhausted(self.reference, earlier))
    }

    /// See [`crate::Client::resolve`].
    pub(crate) async fn resolve(self, platform: Option<&Platform>) -> Result<Resolved, Error> {
        let mut earlier = Vec::new();
        for (number, endpoint) in self.endpoints.iter().enumerate() {
            let mut order = self.endpoints.clone();
            order.rotate_left(number);
            let repository = self.reference.repository().to_owned();
            let source = Source { repository, endpoints: order };
            match self.resolve_at(endpoint, platform, source).await {
                Ok(resolved) => return Ok(resolved),
                Err(error) if !error.is_endpoints_fault() => return Err(error),
                Err(error) => earlier.push(Tried { endpoint: endpoint.shown(), error }),
            }
        }
        Err(exhausted(self.reference, earlier))
    }

    /// Manifests that are taken as they are, whatever they describe, from the first endpoint that has
    /// them: one, or those of an index. None when no endpoint has any.
    pub(crate) async fn bare_manifests(self) -> Result<Option<(Vec<Manifest>, Source)>, Error> {
        let mut earlier = Vec::new();
        for (number, endpoint) in self.endpoints.iter().enumerate() {
            match self.bare_at(endpoint).await {
                Ok(manifests) => {
                    let mut endpoints = self.endpoints.clone();
                    endpoints.rotate_left(number);
                    let repository = self.reference.repository().to_owned();
                    return Ok(Some((manifests, Source { repository, endpoints })));
                }
                Err(Error::ManifestUnknown { .. }) => {}
                Err(error) => earlier.push(Tried { endpoint: endpoint.shown(), error }),
            }
        }
        if earlier.is_empty() { Ok(None) } else { Err(exhausted(self.reference, earlier)) }
    }

    async fn bare_at(&self, endpoint: &Arc<Endpoint>) -> Result<Vec<Manifest>, Error> {
        let top = self.fetch(endpoint, self.wanted(), self.reference.digest().copied()).await?;
        let list = match top.parsed {
            Parsed::Manifest(manifest) => return Ok(vec![*manifest]),
            Parsed::Index(list) => list,
        };
        if let Some(flat) = list.flat() {
            return Ok(vec![flat]);
        }
        let mut manifests = Vec::new();
        for entry in list.manifests.iter().filter(|entry| media::is_manifest(&entry.media_type)) {
            let name = entry.digest.to_string();
            let fetched = self.fetch(endpoint, name, Some(entry.digest)).await?;
            if let Parsed::Manifest(manifest) = fetched.parsed {
                manifests.push(*manifest);
            }
        }
        Ok(manifests)
    }

    async fn resolve_at(
        &self,
        endpoint: &Arc<Endpoint>,
        platform: Option<&Platform>,
        source: Source,
    ) -> Result<Resolved, Error> {
        let host = Platform::host();
        let wanted = platform.unwrap_or(&host);
        let top = self.fetch(endpoint, self.wanted(), self.reference.digest().copied()).await?;
        let digest = top.digest;
        let mut index = None;
        let mut current = top;
        for _ in 0..=DEEPEST {
            let list = match &current.parsed {
                Parsed::Index(list) => list,
                Parsed::Manifest(manifest) => {
                    let manifest = Manifest::clone(manifest);
                    self.check(&manifest)?;
                    let (config_bytes, config) = self.config(&source, &manifest.config).await?;
                    self.check_config(&manifest, &config, wanted)?;
                    return Ok(Resolved {
                        digest,
                        index,
                        manifest_digest: current.digest,
                        manifest_type: current.media_type,
                        manifest_bytes: current.bytes,
                        manifest,
                        config_bytes,
                        config,
                        source,
                    });
                }
            };
            let chosen = list.choose(wanted).ok_or_else(|| Error::NoPlatform {
                reference: self.reference.familiar(),
                wanted: wanted.to_string(),
                available: list.platforms(),
            })?;
            let chosen = chosen.digest;
            let next = self.fetch(endpoint, chosen.to_string(), Some(chosen)).await?;
            index.get_or_insert((current.bytes, current.media_type));
            current = next;
        }
        Err(Error::Nesting { reference: self.reference.familiar(), limit: DEEPEST })
    }

    /// Gets a manifest or an index and proves it.
    async fn fetch(
        &self,
        endpoint: &Endpoint,
        name: String,
        expected: Option<Digest>,
    ) -> Result<Fetched, Error> {
        let ask = self.ask(endpoint, name);
        let mut tries = 0;
        let (bytes, announced, declared) = loop {
            tries += 1;
            let response = self
                .transport
                .request(endpoint, &ask, Method::GET, &accept(), self.on_retry)
                .await?;
            let announced = announced_digest(&response);
            let declared = response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
            let declared = declared.unwrap_or("").to_owned();
            match read_manifest(&ask, response).await {
                Ok(bytes) => break (bytes, announced, declared),
                Err(error) => match self.transport.wait_for(endpoint, &error, tries) {
                    Some(wait) => {
                        (self.on_retry)(tries + 1, wait);
                        tokio::time::sleep(wait).await;
                    }
                    None => return Err(with_tries(error, tries)),
                },
            }
        };
        let actual = Digest::from_sha256(Sha256::digest(&bytes).into());
        if let Some(expected) = expected.or(announced).filter(|expected| *expected != actual) {
            return Err(Error::DigestMismatch { ask, expected, actual });
        }
        let (parsed, media_type) =
            manifest::parse(&bytes, &declared).map_err(|source| Error::Manifest { ask, source })?;
        Ok(Fetched { digest: actual, bytes, media_type, parsed })
    }

    /// Refuses what is no image before anything of it is downloaded.
    fn check(&self, manifest: &Manifest) -> Result<(), Error> {
        let reference = || self.reference.familiar();
        if !media::is_image_config(&manifest.config.media_type) {
            let kind = manifest.artifact_type.clone();
            let kind = kind.unwrap_or_else(|| manifest.config.media_type.clone());
            return Err(Error::Artifact { reference: reference(), kind });
        }
        for layer in &manifest.layers {
            let (reference, digest) = (reference(), layer.digest);
            let media_type = layer.media_type.clone();
            match media::layer_kind(&media_type) {
                LayerKind::Tar => {}
                LayerKind::Foreign => {
                    return Err(Error::ForeignLayer { reference, digest, media_type });
                }
                LayerKind::Unknown => {
                    return Err(Error::LayerType { reference, digest, media_type });
                }
            }
        }
        Ok(())
    }

    async fn config(
        &self,
        source: &Source,
        descriptor: &Descriptor,
    ) -> Result<(Vec<u8>, ConfigHead), Error> {
        let stream = BlobStream::new(self.transport.clone(), source, descriptor, Arc::new(|_| {}));
        let mut stream = stream.ok_or_else(|| Error::Address(source.repository.clone()))?;
        if descriptor.size > LARGEST_CONFIG {
            return Err(Error::TooLarge { ask: stream.ask().clone(), limit: LARGEST_CONFIG });
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.next().await? {
            bytes.extend_from_slice(&chunk);
        }
        let head = serde_json::from_slice(&bytes).map_err(|source| Error::Config {
            reference: self.reference.familiar(),
            digest: descriptor.digest,
            source,
        })?;
        Ok((bytes, head))
    }

    fn check_config(
        &self,
        manifest: &Manifest,
        config: &ConfigHead,
        wanted: &Platform,
    ) -> Result<(), Error> {
        let reference = self.reference.familiar();
        let (layers, diff_ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
        if layers != diff_ids {
            return Err(Error::LayerCount { reference, layers, diff_ids });
        }
        let actual = config.platform();
        if wanted.rank(&actual).is_none() {
            let (wanted, actual) = (wanted.to_string(), actual.to_string());
            return Err(Error::WrongPlatform { reference, wanted, actual });
        }
        Ok(())
    }

    /// What the reference names: its digest, which a tag beside it does not change, or its tag.
    fn wanted(&self) -> String {
        match self.reference.digest() {
            Some(digest) => digest.to_string(),
            None => self.reference.tag().unwrap_or("latest").to_owned(),
        }
    }

    fn ask(&self, endpoint: &Endpoint, name: String) -> Arc<Ask> {
        Arc::new(Ask {
            registry: endpoint.registry.clone(),
            repository: self.reference.repository().to_owned(),
            what: What::Manifest(name),
        })
    }
}

fn accept() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static(media::ACCEPT));
    headers
}

fn announced_digest(response: &Response) -> Option<Digest> {
    let header = response.headers().get("docker-content-digest")?;
    Digest::parse(header.to_str().ok()?).ok()
}

async fn read_manifest(ask: &Arc<Ask>, mut response: Response) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    loop {
        let chunk = response.chunk().await.map_err(|error| Error::Cut {
            ask: ask.clone(),
            tries: 1,
            received: bytes.len() as u64,
            reason: cause(&error),
        })?;
        let Some(chunk) = chunk else { return Ok(bytes) };
        if (bytes.len() + chunk.len()) as u64 > LARGEST_MANIFEST {
            return Err(Error::TooLarge { ask: ask.clone(), limit: LARGEST_MANIFEST });
        }
        bytes.extend_from_slice(&chunk);
    }
}

fn with_tries(error: Error, made: u32) -> Error {
    match error {
        Error::Cut { ask, received, reason, .. } => {
            Error::Cut { ask, tries: made, received, reason }
        }
        other => other,
    }
}

/// The last endpoint's error, with what the mirrors before it said.
fn exhausted(reference: &ImageReference, mut tried: Vec<Tried>) -> Error {
    match tried.pop() {
        Some(last) if tried.is_empty() => last.error,
        Some(last) => Error::Exhausted { last: Box::new(last.error), earlier: tried },
        None => Error::Address(reference.registry().to_owned()),
    }
}
