//! One blob as a stream of verified bytes: hashed on the way, resumed after a cut by `Range`, and
//! taken from the next endpoint when one cannot deliver.
//!
//! The end of the stream is reported only after size and digest were found right, so a consumer
//! that commits at the end commits nothing false. Bytes before that are unverified.

use crate::Descriptor;
use crate::ask::{Ask, What};
use crate::endpoint::{Endpoint, Source};
use crate::error::Error;
use crate::spool::Spool;
use crate::transport::{Transport, cause};
use bytes::Bytes;
use reqwest::header::{CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use std::time::Duration;
use tug_types::Digest;

/// Having got this much further since the last cut means the line is worth another full round
/// of tries.
const PROGRESS: u64 = 1 << 20;

/// Kept bytes are read in pieces of this size.
const RESTORED: usize = 256 << 10;

/// What is told while a blob comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobEvent {
    /// Bytes so far.
    Received(u64),
    /// Number of the attempt to come, and the wait before it.
    Retrying(u32, Duration),
    /// All of it is here and verified.
    Verified,
}

/// A download under way.
pub(crate) struct BlobStream {
    transport: Arc<Transport>,
    endpoints: std::vec::IntoIter<Arc<Endpoint>>,
    endpoint: Arc<Endpoint>,
    ask: Arc<Ask>,
    digest: Digest,
    size: u64,
    hasher: Sha256,
    received: u64,
    /// To be dropped from the response: an endpoint that does not know `Range` starts over.
    surplus: u64,
    response: Option<Response>,
    /// Keeps what arrives.
    spool: Option<Box<dyn Spool>>,
    /// So many bytes come from there and not from the network.
    restored: u64,
    failures: u32,
    mark: u64,
    observer: Arc<dyn Fn(BlobEvent) + Send + Sync>,
}

impl BlobStream {
    /// `None` when the source has no endpoint, which resolving never returns.
    pub(crate) fn new(
        transport: Arc<Transport>,
        source: &Source,
        descriptor: &Descriptor,
        observer: Arc<dyn Fn(BlobEvent) + Send + Sync>,
    ) -> Option<Self> {
        let mut endpoints = source.endpoints.clone().into_iter();
        let endpoint = endpoints.next()?;
        let ask = Arc::new(Ask {
            registry: endpoint.registry.clone(),
            repository: source.repository.clone(),
            what: What::Blob(descriptor.digest),
        });
        Some(Self {
            transport,
            endpoints,
            endpoint,
            ask,
            digest: descriptor.digest,
            size: descriptor.size,
            hasher: Sha256::new(),
            received: 0,
            surplus: 0,
            response: None,
            spool: None,
            restored: 0,
            failures: 0,
            mark: 0,
            observer,
        })
    }

    /// Goes on from what an earlier download left.
    pub(crate) fn keep_in(&mut self, mut spool: Box<dyn Spool>) {
        if spool.length() > self.size {
            spool.clear();
        }
        self.restored = spool.length();
        self.mark = self.restored;
        self.spool = Some(spool);
    }

    /// What is being fetched, from whom.
    pub(crate) fn ask(&self) -> &Arc<Ask> {
        &self.ask
    }

    /// How long it is, as the manifest says.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The next bytes; `None` after the last, once all were verified.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if self.received == self.size {
                self.verify()?;
                return Ok(None);
            }
            if self.received < self.restored
                && let Some(chunk) = self.restore()
            {
                return Ok(Some(chunk));
            }
            match self.advance().await {
                Ok(chunk) if chunk.is_empty() => {}
                Ok(chunk) => return Ok(Some(chunk)),
                Err(error) => self.recover(error).await?,
            }
        }
    }

    async fn advance(&mut self) -> Result<Bytes, Error> {
        if self.response.is_none() {
            self.response = Some(self.connect().await?);
        }
        let Some(response) = &mut self.response else { return Ok(Bytes::new()) };
        let chunk = match response.chunk().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return Err(self.cut("it ended early".to_owned())),
            Err(error) => return Err(self.cut(cause(&error))),
        };
        self.accept(chunk)
    }

    /// The next of the bytes an earlier download left; `None`: the rest comes from the network.
    fn restore(&mut self) -> Option<Bytes> {
        let length = usize::try_from(self.restored - self.received).unwrap_or(RESTORED);
        let mut piece = vec![0; length.min(RESTORED)];
        let read = self.spool.as_ref().map(|spool| spool.read_at(self.received, &mut piece));
        match read {
            Some(Ok(count)) if count > 0 => {
                piece.truncate(count);
                self.hasher.update(&piece);
                self.received += count as u64;
                (self.observer)(BlobEvent::Received(self.received));
                Some(Bytes::from(piece))
            }
            // Unreadable: of no use to anybody, and what follows would not fit to it.
            _ => {
                self.restored = self.received;
                self.forget();
                None
            }
        }
    }

    /// Gives up keeping what arrives.
    fn forget(&mut self) {
        if let Some(mut spool) = self.spool.take() {
            spool.clear();
        }
    }

    /// Counts and hashes what arrived.
    fn accept(&mut self, mut chunk: Bytes) -> Result<Bytes, Error> {
        let known = self.surplus.min(chunk.len() as u64);
        self.surplus -= known;
        let chunk = chunk.split_off(usize::try_from(known).unwrap_or(chunk.len()));
        let received = self.received + chunk.len() as u64;
        if received > self.size {
            return Err(self.wrong_size(received));
        }
        self.hasher.update(&chunk);
        if let Some(spool) = &mut self.spool
            && spool.append(&chunk).is_err()
        {
            // A full disk: the layer itself may still fit.
            self.forget();
        }
        self.received = received;
        (self.observer)(BlobEvent::Received(received));
        Ok(chunk)
    }

    /// Opens a response that goes on where the last one ended.
    async fn connect(&mut self) -> Result<Response, Error> {
        let mut headers = HeaderMap::new();
        if self.received > 0
            && let Ok(value) = HeaderValue::from_str(&format!("bytes={}-", self.received))
        {
            headers.insert(RANGE, value);
        }
        let observer = &self.observer;
        let on_retry = |attempt, wait| observer(BlobEvent::Retrying(attempt, wait));
        let response = self
            .transport
            .request(&self.endpoint, &self.ask, Method::GET, &headers, &on_retry)
            .await?;
        let partial = response.status() == StatusCode::PARTIAL_CONTENT;
        let start = if partial { self.range_start(&response)? } else { 0 };
        self.surplus = self.received - start;
        if let Some(length) = response.content_length()
            && start + length != self.size
        {
            return Err(self.wrong_size(start + length));
        }
        self.mark = self.received;
        Ok(response)
    }

    /// Where a partial answer begins. One that begins earlier than asked can be used, a later one
    /// leaves a hole.
    fn range_start(&self, response: &Response) -> Result<u64, Error> {
        let header = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
        let range = header.unwrap_or("");
        let start = range
            .strip_prefix("bytes ")
            .and_then(|rest| rest.split('-').next())
            .and_then(|start| start.trim().parse().ok())
            .filter(|start| *start <= self.received);
        start.ok_or_else(|| Error::Range {
            ask: self.ask.clone(),
            wanted: self.received,
            range: crate::refusal::clean(range),
        })
    }

    /// After an error: waits and leaves the stream ready to go on, or gives the error back.
    async fn recover(&mut self, error: Error) -> Result<(), Error> {
        self.response = None;
        if let Error::Cut { reason, .. } = &error {
            if self.received >= self.mark + PROGRESS {
                self.failures = 0;
            }
            self.failures += 1;
            if let Some(wait) = self.transport.wait_for(&self.endpoint, &error, self.failures) {
                (self.observer)(BlobEvent::Retrying(self.failures + 1, wait));
                tokio::time::sleep(wait).await;
                return Ok(());
            }
            let (ask, reason) = (self.ask.clone(), reason.clone());
            let (tries, received) = (self.failures, self.received);
            return self.next_endpoint(Error::Cut { ask, tries, received, reason });
        }
        self.next_endpoint(error)
    }

    fn next_endpoint(&mut self, error: Error) -> Result<(), Error> {
        if !error.is_endpoints_fault() {
            return Err(error);
        }
        let Some(next) = self.endpoints.next() else { return Err(error) };
        Arc::make_mut(&mut self.ask).registry = next.registry.clone();
        self.endpoint = next;
        self.failures = 0;
        Ok(())
    }

    fn verify(&mut self) -> Result<(), Error> {
        let actual = Digest::from_sha256(self.hasher.clone().finalize().into());
        if actual != self.digest {
            self.forget();
            let (ask, expected) = (self.ask.clone(), self.digest);
            return Err(Error::DigestMismatch { ask, expected, actual });
        }
        (self.observer)(BlobEvent::Verified);
        Ok(())
    }

    fn cut(&self, reason: String) -> Error {
        Error::Cut { ask: self.ask.clone(), tries: self.failures, received: self.received, reason }
    }

    fn wrong_size(&self, actual: u64) -> Error {
        Error::SizeMismatch { ask: self.ask.clone(), expected: self.size, actual }
    }
}
