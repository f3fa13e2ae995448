//! Blobs and manifests on their way to a registry (distribution specification, "Push").
//!
//! ```text
//! HEAD blob ──► there          nothing moves
//!     │ no
//! POST ?mount=&from= ─► 201    taken over from another of its repositories
//!     │ 202
//! POST ─► PATCH piece … ─► PUT ?digest=
//!            │ cut, 5xx, 401 with a token that ran out
//!            └─► GET upload ─► Range: where it stands ─► PATCH the rest
//! ```
//!
//! A piece stays in memory until the registry has it, so a lost connection costs one piece. An
//! upload that the registry has forgotten, or does not want to go on with, starts over, from a source
//! that is opened anew: distribution 2.8 ties an upload's address to its length, keeps the part of a
//! broken piece that it got, and then answers 404 to whoever knows the old length only. It goes on
//! where a line broke between two pieces; where one broke within a piece it cannot be gone on with by
//! anybody. The digest is told at the end, so what is sent may be made while it is sent.

use crate::ask::{Ask, What};
use crate::endpoint::{Endpoint, is_loopback, own_endpoint};
use crate::error::Error;
use crate::transport::{Outgoing, Transport};
use bytes::Bytes;
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RANGE};
use reqwest::{Method, Response, Url};
use sha2::{Digest as _, Sha256};
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tug_types::{Digest, ImageReference};

/// The first piece; those after it grow while they take less than a second.
const FIRST_PIECE: usize = 1 << 20;
/// Smaller pieces than this are made of no line, however bad.
const SMALLEST_PIECE: usize = 256 << 10;

/// Where a push goes: a repository of a registry. Never a mirror.
#[derive(Clone, Debug)]
pub struct Destination {
    endpoint: Arc<Endpoint>,
    repository: String,
}

/// What is told while a blob goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadEvent {
    /// Bytes the registry has.
    Sent(u64),
    /// Number of the attempt to come, and the wait before it.
    Retrying(u32, Duration),
}

/// Opens what is to be sent, from its beginning.
pub type OpenSource<'a> = dyn FnMut() -> io::Result<Box<dyn Read>> + 'a;

/// One blob's way.
pub(crate) struct Uploader<'a> {
    pub(crate) transport: &'a Transport,
    pub(crate) runtime: &'a Handle,
    pub(crate) destination: &'a Destination,
    /// Told from the calling thread.
    pub(crate) observer: &'a (dyn Fn(UploadEvent) + Sync),
    pub(crate) cancelled: &'a AtomicBool,
}

/// An upload the registry knows of.
struct Session<'a> {
    uploader: &'a Uploader<'a>,
    ask: Arc<Ask>,
    location: Url,
    /// Bytes the registry has.
    offset: u64,
    /// Since the last piece that arrived.
    failures: u32,
    /// Whether the line broke since it was last asked.
    broke: bool,
}

/// Why a piece did not arrive.
enum Stopped {
    /// The registry does not know the upload any more, or knows another one.
    Lost(Error),
    Failed(Error),
}

impl Destination {
    pub(crate) fn new(reference: &ImageReference, transport: &Transport) -> Result<Self, Error> {
        let endpoint = own_endpoint(reference.registry(), &transport.settings)?;
        Ok(Self { endpoint, repository: reference.repository().to_owned() })
    }

    fn ask(&self, what: What) -> Arc<Ask> {
        let registry = self.endpoint.registry.clone();
        Arc::new(Ask { registry, repository: self.repository.clone(), what })
    }

    /// See [`crate::Client::probe`].
    pub(crate) async fn probe(
        &self,
        transport: &Transport,
        digest: Digest,
    ) -> Result<Option<u64>, Error> {
        let ask = self.ask(What::Probe(digest));
        let answer =
            transport.send(&self.endpoint, &ask, &Outgoing::new(Method::HEAD), &|_, _| {}).await;
        match answer {
            // To HEAD the length is in the header only.
            Ok(response) => Ok(Some(header(&response, "content-length").unwrap_or(0))),
            Err(Error::Status { code: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// See [`crate::Client::mount`].
    pub(crate) async fn mount(
        &self,
        transport: &Transport,
        digest: Digest,
        from: &str,
    ) -> Result<bool, Error> {
        let ask = self.ask(What::Mount { digest, from: from.to_owned() });
        let answer = transport.authorised(&self.endpoint, &ask, &Outgoing::new(Method::POST)).await;
        let response = match answer {
            Ok(response) => response,
            // Not allowed to read the other, or a registry that does not know how: not a failure.
            Err(Error::Status { .. } | Error::Denied { .. } | Error::Token { .. }) => {
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        if response.status().as_u16() == 201 {
            return Ok(true);
        }
        // It began an upload instead; left alone it would time out there by itself.
        if let Ok(url) = locate(&self.endpoint, &ask, &response) {
            let cancel = Outgoing { url: Some(url), ..Outgoing::new(Method::DELETE) };
            let _ = transport.authorised(&self.endpoint, &ask, &cancel).await;
        }
        Ok(false)
    }

    /// See [`crate::Client::publish`].
    pub(crate) async fn publish(
        &self,
        transport: &Transport,
        name: &str,
        media_type: &str,
        bytes: &[u8],
        on_retry: &(dyn Fn(u32, Duration) + Sync),
    ) -> Result<Digest, Error> {
        let ask = self.ask(What::Publish(name.to_owned()));
        let mut outgoing = Outgoing::new(Method::PUT);
        if let Ok(value) = HeaderValue::from_str(media_type) {
            outgoing.headers.insert(CONTENT_TYPE, value);
        }
        outgoing.body = Some(Bytes::copy_from_slice(bytes));
        let response = transport.send(&self.endpoint, &ask, &outgoing, on_retry).await?;
        let expected = Digest::from_sha256(Sha256::digest(bytes).into());
        let announced = response.headers().get("docker-content-digest");
        let announced = announced.and_then(|value| Digest::parse(value.to_str().ok()?).ok());
        match announced {
            Some(actual) if actual != expected => Err(Error::OtherDigest { ask, expected, actual }),
            _ => Ok(expected),
        }
    }
}

impl Uploader<'_> {
    /// Sends all of a source. Answers with digest and size of what was sent.
    pub(crate) fn upload(
        &self,
        name: Digest,
        open: &mut OpenSource<'_>,
    ) -> Result<(Digest, u64), Error> {
        let ask = self.destination.ask(What::Upload(name));
        let mut restarts = 0;
        loop {
            match self.attempt(&ask, open) {
                Ok(done) => return Ok(done),
                Err(Stopped::Failed(error)) => return Err(error),
                Err(Stopped::Lost(error)) => {
                    restarts += 1;
                    if restarts >= self.transport.settings.retry.tries {
                        return Err(error);
                    }
                    let wait = self.transport.settings.retry.wait_after(restarts);
                    (self.observer)(UploadEvent::Retrying(restarts + 1, wait));
                    // Made inside: a timer belongs to the runtime it is made on.
                    self.runtime.block_on(async { tokio::time::sleep(wait).await });
                }
            }
        }
    }

    fn attempt(&self, ask: &Arc<Ask>, open: &mut OpenSource<'_>) -> Result<(Digest, u64), Stopped> {
        let unreadable = |source| Stopped::Failed(Error::Source { ask: ask.clone(), source });
        let mut source = open().map_err(unreadable)?;
        let mut session = self.runtime.block_on(self.begin(ask))?;
        let mut hash = Sha256::new();
        let mut size = FIRST_PIECE.min(self.transport.settings.upload_piece);
        loop {
            if self.cancelled.load(Ordering::SeqCst) {
                return Err(Stopped::Failed(Error::Abandoned { ask: ask.clone() }));
            }
            let piece = read_piece(&mut source, size).map_err(unreadable)?;
            hash.update(&piece);
            let last = piece.len() < size;
            if last && session.offset == 0 {
                let digest = Digest::from_sha256(hash.finalize().into());
                let length = piece.len() as u64;
                self.runtime.block_on(session.finish(digest, piece))?;
                (self.observer)(UploadEvent::Sent(length));
                return Ok((digest, length));
            }
            let begun = Instant::now();
            self.runtime.block_on(session.send(piece))?;
            (self.observer)(UploadEvent::Sent(session.offset));
            size = self.next_size(size, std::mem::take(&mut session.broke), begun.elapsed());
            if last {
                let digest = Digest::from_sha256(hash.finalize().into());
                let length = session.offset;
                self.runtime.block_on(session.finish(digest, Bytes::new()))?;
                return Ok((digest, length));
            }
        }
    }

    /// A fast line takes more at once, a bad one less.
    fn next_size(&self, size: usize, failed: bool, took: Duration) -> usize {
        let largest = self.transport.settings.upload_piece;
        match took {
            _ if failed => (size / 2).max(SMALLEST_PIECE.min(largest)),
            took if took < Duration::from_secs(1) => (size * 2).min(largest),
            took if took > Duration::from_secs(5) => (size / 2).max(SMALLEST_PIECE.min(largest)),
            _ => size,
        }
    }

    async fn begin(&self, ask: &Arc<Ask>) -> Result<Session<'_>, Stopped> {
        let observer = self.observer;
        let on_retry = |attempt, wait| observer(UploadEvent::Retrying(attempt, wait));
        let endpoint = &self.destination.endpoint;
        let post = Outgoing::new(Method::POST);
        let response = self.transport.send(endpoint, ask, &post, &on_retry).await;
        let location = response.and_then(|response| locate(endpoint, ask, &response));
        let location = location.map_err(Stopped::Failed)?;
        let ask = ask.clone();
        Ok(Session { uploader: self, ask, location, offset: 0, failures: 0, broke: false })
    }
}

impl Session<'_> {
    fn endpoint(&self) -> &Endpoint {
        &self.uploader.destination.endpoint
    }

    /// Brings one piece over, in as many attempts as it takes.
    async fn send(&mut self, piece: Bytes) -> Result<(), Stopped> {
        let (start, end) = (self.offset, self.offset + piece.len() as u64);
        while self.offset < end {
            let rest = piece.slice(usize::try_from(self.offset - start).unwrap_or(0)..);
            match self.patch(rest, end).await {
                Ok(offset) => {
                    self.offset = offset.clamp(start, end);
                    // A piece that arrived is worth another full round of tries.
                    self.failures = 0;
                }
                Err(error) => self.offset = self.recover(error, start, end).await?,
            }
        }
        Ok(())
    }

    async fn patch(&mut self, rest: Bytes, end: u64) -> Result<u64, Error> {
        let range = format!("{}-{}", self.offset, end - 1);
        let mut outgoing = self.outgoing(Method::PATCH);
        if let Ok(value) = HeaderValue::from_str(&range) {
            outgoing.headers.insert(CONTENT_RANGE, value);
        }
        outgoing.body = Some(rest);
        let response = self.ask_once(&outgoing).await?;
        self.location = locate(self.endpoint(), &self.ask, &response)?;
        Ok(committed(&response).unwrap_or(end))
    }

    /// Waits, and asks where the upload stands.
    async fn recover(&mut self, error: Error, start: u64, end: u64) -> Result<u64, Stopped> {
        self.failures += 1;
        self.broke = true;
        let mut error = error;
        loop {
            if self.uploader.cancelled.load(Ordering::SeqCst) {
                return Err(Stopped::Failed(Error::Abandoned { ask: self.ask.clone() }));
            }
            match &error {
                // Forgotten, or not as far as we think.
                Error::Status { code: 404 | 400, .. } => return Err(Stopped::Lost(error)),
                Error::Status { code: 416, .. } => {}
                _ => error = self.pause(error).await?,
            }
            let answer = self.ask_once(&self.outgoing(Method::GET)).await;
            match answer {
                Ok(response) => {
                    if let Ok(location) = locate(self.endpoint(), &self.ask, &response) {
                        self.location = location;
                    }
                    return match committed(&response).unwrap_or(0) {
                        offset if (start..=end).contains(&offset) => Ok(offset),
                        _ => Err(Stopped::Lost(error)),
                    };
                }
                Err(Error::Status { code: 400..=499, .. }) => return Err(Stopped::Lost(error)),
                Err(next) => {
                    self.failures += 1;
                    error = next;
                }
            }
        }
    }

    /// The wait before another attempt; an error that allows none ends the upload.
    async fn pause(&self, error: Error) -> Result<Error, Stopped> {
        let transport = self.uploader.transport;
        match transport.wait_for(self.endpoint(), &error, self.failures) {
            Some(wait) => {
                (self.uploader.observer)(UploadEvent::Retrying(self.failures + 1, wait));
                tokio::time::sleep(wait).await;
                Ok(error)
            }
            None => Err(Stopped::Failed(match error {
                Error::Cut { ask, reason, .. } => {
                    Error::Cut { ask, tries: self.failures, received: self.offset, reason }
                }
                other => other,
            })),
        }
    }

    /// Names the digest, which makes it a blob.
    async fn finish(&mut self, digest: Digest, piece: Bytes) -> Result<(), Stopped> {
        let mut outgoing = self.outgoing(Method::PUT);
        if let Some(url) = &mut outgoing.url {
            url.query_pairs_mut().append_pair("digest", &digest.to_string());
        }
        outgoing.body = Some(piece);
        let error = match self.ask_once(&outgoing).await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        // The answer may be all that was lost.
        let transport = self.uploader.transport;
        if error.is_transient()
            && let Ok(Some(_)) = self.uploader.destination.probe(transport, digest).await
        {
            return Ok(());
        }
        match error {
            Error::Status { code: 404 | 416, .. } => Err(Stopped::Lost(error)),
            error if error.is_transient() => Err(Stopped::Lost(error)),
            error => Err(Stopped::Failed(error)),
        }
    }

    fn outgoing(&self, method: Method) -> Outgoing {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        Outgoing { headers, url: Some(self.location.clone()), ..Outgoing::new(method) }
    }

    async fn ask_once(&self, outgoing: &Outgoing) -> Result<Response, Error> {
        self.uploader.transport.authorised(self.endpoint(), &self.ask, outgoing).await
    }
}

/// Where the registry wants what comes next.
fn locate(endpoint: &Endpoint, ask: &Arc<Ask>, response: &Response) -> Result<Url, Error> {
    let text = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let text = text.ok_or_else(|| Error::NoLocation { ask: ask.clone() })?;
    let mut url = response.url().join(text).map_err(|_| Error::NoLocation { ask: ask.clone() })?;
    let secure = endpoint.base().filter(|base| base.scheme() == "https");
    if url.scheme() == "http"
        && let Some(base) = secure
    {
        // Behind a proxy a registry may not know that it is reached by HTTPS.
        let same = url.host_str() == base.host_str();
        if same && url.set_scheme("https").is_ok() && url.set_port(base.port()).is_ok() {
            return Ok(url);
        }
        if !is_loopback(&url) {
            let reason = "from HTTPS to plain HTTP";
            return Err(Error::Redirect { ask: ask.clone(), to: text.to_owned(), reason });
        }
    }
    Ok(url)
}

/// How much of an upload the registry says it has. `0-0` is its way of saying none: no piece is a
/// single byte.
fn committed(response: &Response) -> Option<u64> {
    let text = response.headers().get(RANGE)?.to_str().ok()?;
    let last: u64 = text.trim_start_matches("bytes=").split_once('-')?.1.trim().parse().ok()?;
    Some(if last == 0 { 0 } else { last + 1 })
}

fn header(response: &Response, name: &str) -> Option<u64> {
    response.headers().get(name)?.to_str().ok()?.parse().ok()
}

/// As much as there is, up to the size asked for.
fn read_piece(source: &mut dyn Read, size: usize) -> io::Result<Bytes> {
    let mut piece = Vec::new();
    // Grows with what comes: the last piece is often a small one.
    source.take(size as u64).read_to_end(&mut piece)?;
    Ok(Bytes::from(piece))
}

/// All of a list that comes in pages (`Link: <…>; rel="next"`).
pub(crate) async fn pages<T>(
    transport: &Transport,
    endpoint: &Endpoint,
    ask: &Arc<Ask>,
    mut read: impl FnMut(&[u8]) -> Result<Vec<T>, serde_json::Error>,
) -> Result<Vec<T>, Error> {
    /// A list of tags of a repository that was never cleaned up is some hundred KiB.
    const LARGEST_PAGE: u64 = 16 << 20;
    const MOST: usize = 1_000_000;
    let mut all = Vec::new();
    let mut outgoing = Outgoing::new(Method::GET);
    loop {
        let response = transport.send(endpoint, ask, &outgoing, &|_, _| {}).await?;
        let next = next_page(&response);
        let bytes = crate::transport::read_limited(response, LARGEST_PAGE).await;
        let bytes = bytes.map_err(|reason| Error::Cut {
            ask: ask.clone(),
            tries: 1,
            received: 0,
            reason,
        })?;
        let page = read(&bytes).map_err(|source| Error::Answer { ask: ask.clone(), source })?;
        let empty = page.is_empty();
        all.extend(page);
        match next {
            Some(url) if !empty && all.len() < MOST && endpoint.owns(&url) => {
                outgoing.url = Some(url);
            }
            _ => return Ok(all),
        }
    }
}

fn next_page(response: &Response) -> Option<Url> {
    let link = response.headers().get("link")?.to_str().ok()?;
    let (target, rest) = link.strip_prefix('<')?.split_once('>')?;
    rest.contains("next").then(|| response.url().join(target).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_what_there_is() {
        let mut source = io::Cursor::new(vec![7u8; 10]);
        assert_eq!(read_piece(&mut source, 8).unwrap().len(), 8);
        assert_eq!(read_piece(&mut source, 8).unwrap().len(), 2);
        assert_eq!(read_piece(&mut source, 8).unwrap().len(), 0);
    }
}
