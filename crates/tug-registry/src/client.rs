//! The blocking face of the crate: a client that owns its runtime.

use crate::Descriptor;
use crate::blob::{BlobEvent, BlobStream};
use crate::endpoint::Source;
use crate::error::Error;
use crate::platform::Platform;
use crate::reader::BlobReader;
use crate::resolve::{Resolved, Resolver};
use crate::settings::Settings;
use crate::transport::Transport;
use std::sync::Arc;
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

    /// Starts downloading a blob. `observer` is called from the client's own threads.
    ///
    /// # Errors
    /// Only [`Error::Address`], when `source` has no endpoint; everything else comes while reading.
    pub fn open(
        &self,
        source: &Source,
        descriptor: &Descriptor,
        observer: Arc<dyn Fn(BlobEvent) + Send + Sync>,
    ) -> Result<BlobReader, Error> {
        let stream = BlobStream::new(self.transport.clone(), source, descriptor, observer)
            .ok_or_else(|| Error::Address(source.repository.clone()))?;
        Ok(BlobReader::start(self.runtime.handle(), stream))
    }
}
