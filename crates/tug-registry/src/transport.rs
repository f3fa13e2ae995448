//! One request to a registry, carried through redirects, challenges and transient failures.
//!
//! Layers, inside out: `follow` sends one request and follows its redirects; `attempt` finds the
//! scheme that answers; `authorised` answers one challenge; `request` tries again with back-off.

use crate::auth::denied;
use crate::challenge::Challenge;
use crate::endpoint::{Endpoint, is_loopback};
use crate::error::{Ask, Error, What};
use crate::refusal::{Refusal, retry_after};
use crate::settings::Settings;
use reqwest::header::{AUTHORIZATION, HeaderMap, LOCATION, WWW_AUTHENTICATE};
use reqwest::{Method, Response, StatusCode, Url, redirect};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// As many as browsers allow before it must be a loop; registries use one or two.
const MOST_REDIRECTS: usize = 10;

/// An error answer's text is short.
const LONGEST_REFUSAL: u64 = 64 << 10;

/// The HTTP clients and the bounds they keep to.
#[derive(Debug)]
pub(crate) struct Transport {
    pub(crate) settings: Settings,
    /// For the network. Made when first needed: reading the system's certificates takes longer
    /// than a whole pull over loopback.
    verifying: OnceLock<reqwest::Client>,
    /// For this machine, where a certificate proves nothing that plain HTTP would not: no
    /// verification, no proxy.
    local: OnceLock<reqwest::Client>,
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
        Self { settings, verifying: OnceLock::new(), local: OnceLock::new() }
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
        let mut tries = 0;
        loop {
            tries += 1;
            let error = match self.authorised(endpoint, ask, &method, headers).await {
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

    async fn authorised(
        &self,
        endpoint: &Endpoint,
        ask: &Arc<Ask>,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<Response, Error> {
        let mut headers = headers.clone();
        let shown = endpoint.authorizations.current(&ask.repository).await;
        if let Some(header) = &shown {
            headers.insert(AUTHORIZATION, header.clone());
        }
        let response = self.attempt(endpoint, ask, method, &headers).await?;
        if response.status() != StatusCode::UNAUTHORIZED || !endpoint.owns(response.url()) {
            return into_success(endpoint, ask, response).await;
        }
        let challenge = read_challenge(ask, response.headers())?;
        let refusal = read_refusal(response).await;
        let answer = self.answer(endpoint, ask, &challenge, shown.as_ref()).await?;
        let Some(answer) = answer else {
            return Err(denied(endpoint, ask, refusal.text));
        };
        headers.insert(AUTHORIZATION, answer);
        let response = self.attempt(endpoint, ask, method, &headers).await?;
        into_success(endpoint, ask, response).await
    }

    /// Sends to the endpoint by the scheme that is known to work, or finds out which does.
    async fn attempt(
        &self,
        endpoint: &Endpoint,
        ask: &Arc<Ask>,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<Response, Error> {
        let mut reasons = Vec::new();
        for (number, base) in endpoint.candidates() {
            let url = ask.url(base).ok_or_else(|| Error::Address(base.to_string()))?;
            match self.follow(ask, method.clone(), url, headers.clone(), None).await {
                Ok(response) => {
                    endpoint.settle(number);
                    return Ok(response);
                }
                Err(Broken::Connect(reason)) => reasons.push(reason),
                Err(Broken::Cut(reason)) => {
                    endpoint.settle(number);
                    return Err(Error::Cut { ask: ask.clone(), tries: 1, received: 0, reason });
                }
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
        method: Method,
        mut url: Url,
        mut headers: HeaderMap,
        body: Option<String>,
    ) -> Result<Response, Broken> {
        for _ in 0..=MOST_REDIRECTS {
            let client = self.client_for(&url).map_err(Broken::Other)?;
            let mut request = client.request(method.clone(), url.clone()).headers(headers.clone());
            if let Some(body) = &body {
                request = request.body(body.clone());
            }
            let response = request.send().await.map_err(|error| broken(&url, &error))?;
            let Some(next) = redirected(ask, &method, &url, &response).map_err(Broken::Other)?
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

    fn client_for(&self, url: &Url) -> Result<&reqwest::Client, Error> {
        let local = is_loopback(url);
        let slot = if local { &self.local } else { &self.verifying };
        if let Some(client) = slot.get() {
            return Ok(client);
        }
        let client = self.build(local)?;
        Ok(slot.get_or_init(|| client))
    }

    fn build(&self, local: bool) -> Result<reqwest::Client, Error> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("tug/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .connect_timeout(self.settings.connect_timeout)
            .read_timeout(self.settings.read_timeout);
        if local {
            builder = builder.no_proxy().tls_danger_accept_invalid_certs(true);
        } else if let Some(path) = &self.settings.ca_file {
            let failed = |source| Error::CaFile { path: path.clone(), source };
            let pem = std::fs::read(path).map_err(failed)?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem)
                .map_err(|error| failed(std::io::Error::other(error)))?;
            builder = builder.tls_certs_only(certificates);
        }
        builder.build().map_err(Error::Tls)
    }
}

impl Ask {
    fn url(&self, base: &Url) -> Option<Url> {
        let path = match &self.what {
            What::Manifest(reference) => format!("v2/{}/manifests/{reference}", self.repository),
            What::Blob(digest) => format!("v2/{}/blobs/{digest}", self.repository),
        };
        base.join(&path).ok()
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
    if method == Method::POST {
        return refuse("a log-in is not redirected");
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
            Error::Status { ask, status: status.to_string(), transient, text: refusal.text }
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
