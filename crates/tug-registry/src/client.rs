//! The blocking face of the crate: a client that owns its runtime.

use crate::ask::{Ask, What};
use crate::blob::{BlobEvent, BlobStream};
use crate::endpoint::{Source, endpoints};
use crate::error::Error;
use crate::platform::Platform;
use crate::reader::BlobReader;
use crate::resolve::{Resolved, Resolver};
use crate::settings::Settings;
use crate::spool::OpenSpool;
use crate::transport::Transport;
use crate::upload::{Destination, OpenSource, UploadEvent, Uploader, pages};
use crate::{Descriptor, Manifest};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::runtime::Runtime;
use tug_types::{Digest, ImageReference};

/// Threads that drive sockets, TLS and the hash of what is sent: one saturates 8 Gbit/s, two keep
/// a slow handshake from holding up the downloads beside it.
const NETWORK_THREADS: usize = 2;

/// Talks to registries. Makes its threads when it is made: only commands that need a registry
/// should make one. Must not be used or dropped on a thread of another async runtime.
pub struct Client {
    runtime: Runtime,
    transport: Arc<Transport>,
}

impl Client {
    /// A client; nothing is connected yet.
    ///
    /// # Errors
    /// [`Error::Runtime`] when the machine has no threads left.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(NETWORK_THREADS)
            .thread_name("tug-network")
            .enable_all()
            .build()
            .map_err(Error::Runtime)?;
        Ok(Self { runtime, transport: Arc::new(Transport::new(settings)) })
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.transport.settings
    }

    pub(crate) fn transport(&self) -> &Arc<Transport> {
        &self.transport
    }

    pub(crate) fn wait_for<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Whether compressed layers are to be kept: yes, unless the settings say otherwise.
    pub fn keeps_blobs(&self) -> bool {
        self.transport.settings.registries.keep_blobs.unwrap_or(true)
    }

    /// The digest a tag points at now, from a request that costs nothing against a pull quota.
    /// `None` when the registry does not say.
    ///
    /// # Errors
    /// As [`Client::resolve`].
    pub fn digest_of(&self, reference: &ImageReference) -> Result<Option<Digest>, Error> {
        self.runtime.block_on(Resolver::new(&self.transport, reference, &|_, _| {})?.digest())
    }

    /// What a reference stands for on a platform: manifest, config, and where the layers are.
    /// `platform` is `None` for this machine's. `on_retry` is told the number of each further
    /// attempt and the wait before it.
    ///
    /// # Errors
    /// What the registry (after its mirrors) answered, or why what it holds cannot be used.
    pub fn resolve(
        &self,
        reference: &ImageReference,
        platform: Option<&Platform>,
        on_retry: &(dyn Fn(u32, Duration) + Sync),
    ) -> Result<Resolved, Error> {
        let resolver = Resolver::new(&self.transport, reference, on_retry)?;
        self.runtime.block_on(resolver.resolve(platform))
    }

    /// A manifest that is taken as it is, whatever it describes, or all those of an index; none when no endpoint
    /// has it.
    ///
    /// # Errors
    /// As [`Client::resolve`].
    pub fn bare_manifests(
        &self,
        reference: &ImageReference,
    ) -> Result<Option<(Vec<Manifest>, Source)>, Error> {
        let resolver = Resolver::new(&self.transport, reference, &|_, _| {})?;
        self.runtime.block_on(resolver.bare_manifests())
    }

    /// A blob, whose download begins with the first read. `observer` is called from the client's own threads.
    ///
    /// # Errors
    /// Only [`Error::Address`], when `source` has no endpoint; everything else comes while reading.
    pub fn open(
        &self,
        source: &Source,
        descriptor: &Descriptor,
        observer: Arc<dyn Fn(BlobEvent) + Send + Sync>,
    ) -> Result<BlobReader, Error> {
        self.open_with(source, descriptor, observer, None)
    }

    /// The same, going on from what an earlier download left and leaving something to the next.
    ///
    /// # Errors
    /// As [`Client::open`].
    pub fn resume(
        &self,
        source: &Source,
        descriptor: &Descriptor,
        observer: Arc<dyn Fn(BlobEvent) + Send + Sync>,
        open: OpenSpool,
    ) -> Result<BlobReader, Error> {
        self.open_with(source, descriptor, observer, Some(open))
    }

    fn open_with(
        &self,
        source: &Source,
        descriptor: &Descriptor,
        observer: Arc<dyn Fn(BlobEvent) + Send + Sync>,
        open: Option<OpenSpool>,
    ) -> Result<BlobReader, Error> {
        let stream = BlobStream::new(self.transport.clone(), source, descriptor, observer)
            .ok_or_else(|| Error::Address(source.repository.clone()))?;
        Ok(BlobReader::new(self.runtime.handle(), stream, open))
    }

    /// Where the blobs of a repository are to be had. Nothing is connected yet.
    ///
    /// # Errors
    /// [`Error::Address`] when a configured mirror is no URL.
    pub fn source(&self, reference: &ImageReference) -> Result<Source, Error> {
        let endpoints = endpoints(reference.registry(), &self.transport.settings)?;
        Ok(Source { repository: reference.repository().to_owned(), endpoints })
    }

    /// Where a push of this name goes. Nothing is connected yet.
    ///
    /// # Errors
    /// [`Error::Address`] when the registry is no host.
    pub fn destination(&self, reference: &ImageReference) -> Result<Destination, Error> {
        Destination::new(reference, &self.transport)
    }

    /// The size of a blob that the destination has; `None` when it has not.
    ///
    /// # Errors
    /// When the registry does not answer or refuses.
    pub fn probe(&self, to: &Destination, digest: Digest) -> Result<Option<u64>, Error> {
        self.runtime.block_on(to.probe(&self.transport, digest))
    }

    /// Has the registry take a blob over from another of its repositories. False when it cannot.
    ///
    /// # Errors
    /// When the registry does not answer.
    pub fn mount(&self, to: &Destination, digest: Digest, from: &str) -> Result<bool, Error> {
        self.runtime.block_on(to.mount(&self.transport, digest, from))
    }

    /// Sends a blob in pieces and answers with its digest and size. `name` is what errors call it,
    /// `open` is called again when the registry has forgotten what it got.
    ///
    /// # Errors
    /// What the registry answered as often as one is ready to try, or [`Error::Source`];
    /// [`Error::Abandoned`] once `cancelled` is set.
    pub fn upload(
        &self,
        to: &Destination,
        name: Digest,
        open: &mut OpenSource<'_>,
        observer: &(dyn Fn(UploadEvent) + Sync),
        cancelled: &AtomicBool,
    ) -> Result<(Digest, u64), Error> {
        let (transport, runtime) = (&*self.transport, self.runtime.handle());
        Uploader { transport, runtime, destination: to, observer, cancelled }.upload(name, open)
    }

    /// Gives the destination a manifest under a tag or its digest.
    ///
    /// # Errors
    /// What the registry answered; [`Error::OtherDigest`] when it took it for something else.
    pub fn publish(
        &self,
        to: &Destination,
        name: &str,
        media_type: &str,
        bytes: &[u8],
        on_retry: &(dyn Fn(u32, Duration) + Sync),
    ) -> Result<Digest, Error> {
        self.runtime.block_on(to.publish(&self.transport, name, media_type, bytes, on_retry))
    }

    /// The tags of a repository, in the registry's order, from the first endpoint that has it.
    ///
    /// # Errors
    /// As [`Client::resolve`].
    pub fn tags(&self, reference: &ImageReference) -> Result<Vec<String>, Error> {
        #[derive(serde::Deserialize)]
        struct Page {
            tags: Option<Vec<String>>,
        }
        let read = |bytes: &[u8]| {
            serde_json::from_slice::<Page>(bytes).map(|page| page.tags.unwrap_or_default())
        };
        let mut failure = None;
        for endpoint in endpoints(reference.registry(), &self.transport.settings)? {
            let ask = Arc::new(Ask {
                registry: endpoint.registry.clone(),
                repository: reference.repository().to_owned(),
                what: What::Tags,
            });
            match self.runtime.block_on(pages(&self.transport, &endpoint, &ask, read)) {
                Ok(tags) => return Ok(tags),
                Err(error) if !error.is_endpoints_fault() => return Err(error),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| Error::Address(reference.registry().to_owned())))
    }
}
