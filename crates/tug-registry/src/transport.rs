//! One request to a registry, carried through redirects, challenges and transient failures.
//!
//! Layers, inside out: `follow` sends one request and follows its redirects; `attempt` finds the
//! scheme that answers; `authorised` answers one challenge; `request` tries again with back-off.

use crate::ask::{Ask, What};
use crate::auth::denied;
use crate::challenge::Challenge;
use crate::endpoint::{Endpoint, is_loopback};
use crate::error::Error;
use crate::refusal::{Refusal, retry_after};
use crate::settings::Settings;
use crate::tls::Clients;
use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, LOCATION, WWW_AUTHENTICATE};
use reqwest::{Method, Response, StatusCode, Url};
use std::sync::Arc;
use std::time::Duration;

/// As many as browsers allow before it must be a loop; registries use one or two.
const MOST_REDIRECTS: usize = 10;

/// An error answer's text is short.
const LONGEST_REFUSAL: u64 = 64 << 10;

/// The HTTP clients and the bounds they keep to.
#[derive(Debug)]
pub(crate) struct Transport {
    pub(crate) settings: Settings,
    clients: Clients,
}

/// One request, as often as it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    /// Kept until it was taken: a challenge may demand to send it again.
    pub(crate) body: Option<Bytes>,
    /// Where the registry said to send it; otherwise where the question's own path leads.
    pub(crate) url: Option<Url>,
}

impl Outgoing {
    pub(crate) fn new(method: Method) -> Self {
        Self { method, headers: HeaderMap::new(), body: None, url: None }
    }
}

/// Why a request got no answer.
pub(crate) enum Broken {
    /// No connection.
    Connect(String),
    /// A connection that ended or fell silent.
    Cut(String),
    /// Anything that already is an error of its own.
    Other(Error),
}

/// Told before each wait: the number of the attempt to come, and the wait.
pub(crate) type OnRetry<'a> = &'a (dyn Fn(u32, Duration) + Sync);

impl Transport {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings, clients: Clients::default() }
    }

    /// Asks until there is a successful answer or patience ends.
    pub(crate) async fn request(
        &self,
        endpoint: &Endpoint,
        ask: &Arc<Ask>,
        method: Method,
        headers: &HeaderMap,
        on_retry: OnRetry<'_>,
    ) -> Result<Response, Error> {
        let outgoing = Outgoing { headers: headers.clone(), ..Outgoing::new(method) };
        self.send(endpoint, ask, &outgoing, on_retry).await
    }

    /// The same for any request that may be sent twice.
    pub(crate) async fn send(
        &self,
        endpoint: &Endpoint,
        ask: &Arc<Ask>,
        outgoing: &Outgoing,
        on_retry: OnRetry<'_>,
    ) -> Result<Response, Error> {
        let mut tries = 0;
        loop {
            tries += 1;
            let error = match self.authorised(endpoint, ask, outgoing).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            match self.wait_for(endpoint, &error, tries) {
                Some(wait) => {
                    on_retry(tries + 1, wait);
                    tokio::time::sleep(wait).await;
                }
                None => return Err(with_tries(error, tries)),
            }
        }
    }

    /// How long to wait before trying again after the given error, if at all.
    pub(crate) fn wait_for(
        &self,
        endpoint: &Endpoint,
        error: &Error,
        tries: u32,
    ) -> Option<Duration> {
        let retry = &self.settings.retry;
        // A host that never answered is down or misspelt: saying so at once beats hoping.
        let reconnect = matches!(error, Error::Unreachable { .. }) && endpoint.has_answered();
        if tries >= retry.tries || !(error.is_transient() || reconnect) {
            return None;
        }
        let wait = match error {
            Error::RateLimited { wait: Some(wanted), .. } => *wanted,
            _ => retry.wait_after(tries),
        };
        (wait <= retry.longest_wait).then_some(wait)
    }

    /// Asks once, with whatever authentication that takes.
    pub(crate) async fn authorised(
        &self,
        endpoint: &Endpoint,
        ask: &Arc<Ask>,
        outgoing: &Outgoing,
    ) -> Result<Response, Error> {
        let mut outgoing = outgoing.clone();
        // An upload may go elsewhere: what is meant for the registry stays with it.
        let own = outgoing.url.as_ref().is_none_or(|url| endpoint.owns(url));
        let shown = if own { endpoint.authorizations.current(ask).await } else { None };
        if let Some(header) = &shown {
            outgoing.headers.insert(AUTHORIZATION, header.clone());
        }
        let response = self.attempt(endpoint, ask, &outgoing).await?;
        if response.status() != StatusCode::UNAUTHORIZED || !endpoint.owns(response.url()) {
            return into_success(endpoint, ask, response).await;
        }
        let challenge = read_challenge(ask, response.headers())?;
        let refusal = read_refusal(response).await;
        let answer = self.answer(endpoint, ask, &challenge, shown.as_ref()).await?;
        let Some(answer) = answer else {
            return Err(denied(endpoint, ask, refusal.text));
        };
        outgoing.headers.insert(AUTHORIZATION, answer);
        let response = self.attempt(endpoint, ask, &outgoing).await?;
        into_success(endpoint, ask, response).await
    }

    /// Sends to the endpoint by the scheme that is known to work, or finds out which does.
    async fn attempt(
        &self,
        endpoint: &Endpoint,
        ask: &Arc<Ask>,
        outgoing: &Outgoing,
    ) -> Result<Response, Error> {
        let mut reasons = Vec::new();
        let cut = |reason| Error::Cut { ask: ask.clone(), tries: 1, received: 0, reason };
        if let Some(url) = &outgoing.url {
            return self.follow(ask, outgoing, url.clone()).await.map_err(|broken| match broken {
                Broken::Connect(reason) | Broken::Cut(reason) => cut(reason),
                Broken::Other(error) => error,
            });
        }
        for (number, base) in endpoint.candidates() {
            let url = ask.url(base).ok_or_else(|| Error::Address(base.to_string()))?;
            match self.follow(ask, outgoing, url).await {
                Ok(response) => {
                    endpoint.settle(number);
                    return Ok(response);
                }
                Err(Broken::Connect(reason)) => reasons.push(reason),
                // Not settled on: a handshake that fell silent says nothing about the scheme.
                Err(Broken::Cut(reason)) => return Err(cut(reason)),
                Err(Broken::Other(error)) => return Err(error),
            }
        }
        Err(Error::Unreachable { ask: ask.clone(), reasons: reasons.join("; ") })
    }

    /// Sends one request and follows its redirects. Credentials stay with the host they were
    /// meant for, and what began with HTTPS does not end in the clear.
    pub(crate) async fn follow(
        &self,
        ask: &Arc<Ask>,
        outgoing: &Outgoing,
        mut url: Url,
    ) -> Result<Response, Broken> {
        let method = &outgoing.method;
        let mut headers = outgoing.headers.clone();
        for _ in 0..=MOST_REDIRECTS {
            let client = self.clients.of(&url, &self.settings).map_err(Broken::Other)?;
            let mut request = client.request(method.clone(), url.clone()).headers(headers.clone());
            if let Some(body) = &outgoing.body {
                request = request.body(body.clone());
            }
            let response = request.send().await.map_err(|error| broken(&url, &error))?;
            let Some(next) = redirected(ask, method, &url, &response).map_err(Broken::Other)?
            else {
                return Ok(response);
            };
            if next.origin() != url.origin() {
                headers.remove(AUTHORIZATION);
            }
            url = next;
        }
        let reason = "too many redirects";
        Err(Broken::Other(Error::Redirect { ask: ask.clone(), to: url.to_string(), reason }))
    }
}

impl Ask {
    fn url(&self, base: &Url) -> Option<Url> {
        let repository = &self.repository;
        let mut query: Vec<(&str, String)> = Vec::new();
        let path = match &self.what {
            What::Manifest(reference) | What::Publish(reference) => {
                format!("v2/{repository}/manifests/{reference}")
            }
            What::Blob(digest) | What::Probe(digest) => format!("v2/{repository}/blobs/{digest}"),
            What::Mount { digest, from } => {
                query = vec![("mount", digest.to_string()), ("from", from.clone())];
                format!("v2/{repository}/blobs/uploads/")
            }
            What::Upload(_) => format!("v2/{repository}/blobs/uploads/"),
            What::Tags => format!("v2/{repository}/tags/list"),
            What::Catalog => "v2/_catalog".to_owned(),
            What::Search { term, limit } => {
                query = vec![("q", term.clone()), ("n", limit.to_string())];
                "v1/search".to_owned()
            }
            What::Login => "v2/".to_owned(),
        };
        let mut url = base.join(&path).ok()?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Some(url)
    }
}

impl Broken {
    /// One line.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Connect(reason) | Self::Cut(reason) => reason.clone(),
            Self::Other(error) => error.to_string(),
        }
    }

    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Cut(_))
    }
}

/// Where a redirect leads, if the answer is one.
fn redirected(
    ask: &Arc<Ask>,
    method: &Method,
    from: &Url,
    response: &Response,
) -> Result<Option<Url>, Error> {
    let status = response.status();
    if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let to = location.unwrap_or("").to_owned();
    let refuse = |reason| Err(Error::Redirect { ask: ask.clone(), to: to.clone(), reason });
    let next = match from.join(&to) {
        Ok(next) if !to.is_empty() && matches!(next.scheme(), "http" | "https") => next,
        _ => return refuse("that is no web address"),
    };
    // What carries something, a log-in or a layer, goes where it was meant to go.
    let carries = !matches!(*method, Method::GET | Method::HEAD);
    if carries && (next.origin() != from.origin() || !matches!(status.as_u16(), 307 | 308)) {
        return refuse("what is sent there is not redirected");
    }
    if from.scheme() == "https" && next.scheme() == "http" && !is_loopback(&next) {
        return refuse("from HTTPS to plain HTTP");
    }
    Ok(Some(next))
}

fn read_challenge(ask: &Arc<Ask>, headers: &HeaderMap) -> Result<Challenge, Error> {
    let values = || headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|v| v.to_str().ok());
    Challenge::choose(values()).ok_or_else(|| {
        let header = crate::refusal::clean(&values().collect::<Vec<_>>().join(", "));
        Error::Challenge { ask: ask.clone(), header }
    })
}

/// A successful response as it is, any other as its error.
async fn into_success(
    endpoint: &Endpoint,
    ask: &Arc<Ask>,
    response: Response,
) -> Result<Response, Error> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let own = endpoint.owns(response.url());
    let wait = retry_after(response.headers(), jiff::Timestamp::now());
    let refusal = read_refusal(response).await;
    let ask = ask.clone();
    Err(match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if own => {
            denied(endpoint, &ask, refusal.text)
        }
        StatusCode::NOT_FOUND if own => not_found(endpoint, ask, refusal),
        StatusCode::TOO_MANY_REQUESTS => Error::RateLimited { ask, wait, text: refusal.text },
        _ => {
            // A signed address elsewhere may have run out: asking the registry again gives another.
            let transient = status.is_server_error()
                || status == StatusCode::REQUEST_TIMEOUT
                || !own && status.is_client_error();
            let (code, status) = (status.as_u16(), status.to_string());
            Error::Status { ask, code, status, transient, text: refusal.text }
        }
    })
}

fn not_found(endpoint: &Endpoint, ask: Arc<Ask>, refusal: Refusal) -> Error {
    match &ask.what {
        What::Manifest(_) if refusal.code == "NAME_UNKNOWN" => denied(endpoint, &ask, refusal.text),
        What::Manifest(reference) => {
            let separator = if reference.contains(':') { '@' } else { ':' };
            let Error::Denied { name, .. } = denied(endpoint, &ask, String::new()) else {
                return Error::BlobUnknown { ask, text: refusal.text };
            };
            let text =
                if refusal.text.is_empty() { "manifest unknown".to_owned() } else { refusal.text };
            Error::ManifestUnknown { reference: format!("{name}{separator}{reference}"), text }
        }
        What::Blob(_) => Error::BlobUnknown { ask, text: refusal.text },
        // Without the repository there is no list of its tags.
        What::Tags => denied(endpoint, &ask, refusal.text),
        _ if refusal.code == "NAME_UNKNOWN" => denied(endpoint, &ask, refusal.text),
        _ => {
            let (code, status) = (404, StatusCode::NOT_FOUND.to_string());
            Error::Status { ask, code, status, transient: false, text: refusal.text }
        }
    }
}

async fn read_refusal(response: Response) -> Refusal {
    // An error text that cannot be read leaves the status, which says enough.
    Refusal::read(&read_limited(response, LONGEST_REFUSAL).await.unwrap_or_default())
}

/// A whole body of bounded length.
pub(crate) async fn read_limited(mut response: Response, limit: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| cause(&error))? {
        if bytes.len() as u64 + chunk.len() as u64 > limit {
            return Err(format!("answer of more than {limit} bytes"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn broken(url: &Url, error: &reqwest::Error) -> Broken {
    if error.is_connect() {
        let host = url.origin().ascii_serialization();
        Broken::Connect(format!("{host}: {}", cause(error)))
    } else {
        Broken::Cut(cause(error))
    }
}

/// What is at the bottom of an error, without the wrappers of the HTTP stack around it.
pub(crate) fn cause(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    let mut path = Vec::new();
    while let Some(next) = innermost.source() {
        innermost = next;
        path.push(innermost.to_string());
    }
    if error.is_timeout() {
        return "timed out".to_owned();
    }
    let dns = path.iter().any(|text| text.contains("dns error"));
    let text = path.pop().unwrap_or_else(|| error.to_string());
    if dns { format!("name lookup failed: {text}") } else { text }
}

fn with_tries(error: Error, made: u32) -> Error {
    match error {
        Error::Cut { ask, received, reason, .. } => {
            Error::Cut { ask, tries: made, received, reason }
        }
        other => other,
    }
}
