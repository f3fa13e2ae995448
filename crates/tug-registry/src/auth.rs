//! Answering a registry's challenge: basic authentication, and bearer tokens fetched from the
//! token server it names (distribution's token and OAuth2 protocols).
//!
//! ```text
//! GET manifest ──► 401 + challenge ──► credentials? ──► GET/POST realm ──► token ──► GET manifest
//! ```
//! What worked is remembered for each repository of an endpoint (and kind of access) until it expires or is refused.

use crate::ask::{Ask, What};
use crate::challenge::Challenge;
use crate::credentials::{self, Credentials, CredentialsError, Secret};
use crate::endpoint::{Endpoint, is_loopback};
use crate::error::Error;
use crate::refusal::Refusal;
use crate::transport::{Outgoing, Transport, read_limited};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, OnceCell};

/// What an endpoint was shown, by what it allows. One lock for all: whoever needs a new token first
/// fetches it, the others wait and take it.
#[derive(Debug, Default)]
pub(crate) struct Authorizations {
    known: Mutex<HashMap<Vec<String>, Authorization>>,
    credentials: OnceCell<Result<Option<Credentials>, CredentialsError>>,
    /// What the token server gave in place of a password, at a log-in.
    identity: OnceLock<Secret>,
}

/// An `Authorization` header and how long it is good for.
#[derive(Clone, Debug)]
struct Authorization {
    header: HeaderValue,
    expires: Option<Instant>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
    refresh_token: Option<String>,
}

/// A token server that names no lifetime means 60 seconds (distribution's specification).
const DEFAULT_LIFETIME: u64 = 60;

/// Longer than any token in use.
const LONGEST_ANSWER: u64 = 1 << 20;

impl Authorizations {
    /// What to send unasked.
    pub(crate) async fn current(&self, ask: &Ask) -> Option<HeaderValue> {
        let known = self.known.lock().await;
        let found = known.get(&ask.scopes())?;
        let fresh = found.expires.is_none_or(|expires| Instant::now() < expires);
        fresh.then(|| found.header.clone())
    }

    /// Uses these and looks nothing up. Before the first question only.
    pub(crate) fn assume(&self, credentials: Credentials) {
        // Asked already: then those it was asked with stay.
        let _ = self.credentials.set(Ok(Some(credentials)));
    }

    /// What is to be kept in place of the password.
    pub(crate) fn identity(&self) -> Option<Secret> {
        self.identity.get().cloned()
    }

    /// Why there are no credentials although some are configured.
    pub(crate) fn credentials_problem(&self) -> Option<String> {
        self.credentials.get()?.as_ref().err().map(CredentialsError::to_string)
    }
}

impl Transport {
    /// What answers the challenge, or `None` when there is nothing (more) to offer. `refused` is
    /// what the registry has just been shown in vain.
    pub(crate) async fn answer(
        &self,
        endpoint: &Endpoint,
        ask: &Arc<Ask>,
        challenge: &Challenge,
        refused: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, Error> {
        let mut known = endpoint.authorizations.known.lock().await;
        if let Some(other) = known.get(&ask.scopes())
            && Some(&other.header) != refused
            && other.expires.is_none_or(|expires| Instant::now() < expires)
        {
            return Ok(Some(other.header.clone()));
        }
        let credentials = self.credentials(endpoint).await;
        let answer = match challenge {
            Challenge::Basic => match credentials {
                Some(Credentials::Password { user, secret }) => {
                    Authorization { header: basic(user, secret.reveal()), expires: None }
                }
                _ => return Ok(None),
            },
            Challenge::Bearer { realm, service, scope } => {
                let request = TokenRequest { endpoint, ask, realm, credentials };
                self.token(&request, service.as_deref(), scope.as_deref()).await?
            }
        };
        if Some(&answer.header) == refused {
            return Ok(None);
        }
        known.insert(ask.scopes(), answer.clone());
        Ok(Some(answer.header))
    }

    async fn credentials<'a>(&self, endpoint: &'a Endpoint) -> Option<&'a Credentials> {
        let settings = &self.settings;
        let registry = endpoint.registry.clone();
        let look_up = || async move {
            let settings = settings.clone();
            let found =
                tokio::task::spawn_blocking(move || credentials::find(&settings, &registry));
            // The task cannot be cancelled, and a panic in it is nothing to go on with.
            found.await.unwrap_or(Ok(None))
        };
        endpoint.authorizations.credentials.get_or_init(look_up).await.as_ref().ok()?.as_ref()
    }

    async fn token(
        &self,
        request: &TokenRequest<'_>,
        service: Option<&str>,
        scope: Option<&str>,
    ) -> Result<Authorization, Error> {
        let mut realm = request.url()?;
        let scopes = scopes(request.ask, scope);
        let mut headers = HeaderMap::new();
        let mut method = Method::GET;
        let mut body = None;
        match request.credentials {
            Some(Credentials::Identity(token)) => {
                method = Method::POST;
                headers.insert(
                    CONTENT_TYPE,
                    HeaderValue::from_static("application/x-www-form-urlencoded"),
                );
                let fields = [
                    ("grant_type", "refresh_token"),
                    ("service", service.unwrap_or("")),
                    ("client_id", "tug"),
                    ("scope", &scopes.join(" ")),
                    ("refresh_token", token.reveal()),
                ];
                body = form(&realm, &fields);
            }
            other => {
                let mut query = realm.query_pairs_mut();
                if let Some(service) = service {
                    query.append_pair("service", service);
                }
                for scope in &scopes {
                    query.append_pair("scope", scope);
                }
                if request.ask.what == What::Login {
                    // A token that outlives this command, in place of the password.
                    query.append_pair("offline_token", "true").append_pair("client_id", "tug");
                }
                if let Some(Credentials::Password { user, secret }) = other {
                    query.append_pair("account", user);
                    headers.insert(AUTHORIZATION, basic(user, secret.reveal()));
                }
            }
        }
        let body = body.map(bytes::Bytes::from);
        let outgoing = Outgoing { method, headers, body, url: None };
        let response = self
            .follow(request.ask, &outgoing, realm)
            .await
            .map_err(|broken| request.failed(broken.reason(), false, broken.is_transient()))?;
        let status = response.status();
        let bytes = read_limited(response, LONGEST_ANSWER).await;
        request.read(status, bytes)
    }
}

/// What the token must allow: what the challenge asks for, and what is going to be done beside it.
fn scopes(ask: &Ask, challenged: Option<&str>) -> Vec<String> {
    let mut all: Vec<String> =
        challenged.unwrap_or("").split_ascii_whitespace().map(str::to_owned).collect();
    for ours in ask.scopes() {
        // `repository:x:` with whatever actions: the registry knows better which it wants to see.
        let resource = ours.rsplit_once(':').map_or("", |(resource, _)| resource).to_owned() + ":";
        match all.iter_mut().find(|scope| scope.starts_with(&resource)) {
            Some(scope) if ours.ends_with("push") && !scope.contains("push") => *scope = ours,
            Some(_) => {}
            None => all.push(ours),
        }
    }
    all
}

struct TokenRequest<'a> {
    endpoint: &'a Endpoint,
    ask: &'a Arc<Ask>,
    realm: &'a str,
    credentials: Option<&'a Credentials>,
}

impl TokenRequest<'_> {
    /// The token server's URL, when what is to be sent may go there.
    fn url(&self) -> Result<Url, Error> {
        let url = Url::parse(self.realm)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some())
            .ok_or_else(|| self.failed("not a URL".to_owned(), false, false))?;
        let private = url.scheme() == "https" || is_loopback(&url) || self.endpoint.is_plain();
        if self.credentials.is_some() && !private {
            return Err(Error::InsecureRealm { ask: self.ask.clone(), realm: self.realm.into() });
        }
        Ok(url)
    }

    fn read(
        &self,
        status: StatusCode,
        bytes: Result<Vec<u8>, String>,
    ) -> Result<Authorization, Error> {
        let bytes = bytes.map_err(|reason| self.failed(reason, false, true))?;
        if !status.is_success() {
            let text = Refusal::read(&bytes).text;
            let refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
            if refused && self.credentials.is_none() {
                return Err(denied(self.endpoint, self.ask, text));
            }
            let separator = if text.is_empty() { "" } else { ": " };
            let transient = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
            return Err(self.failed(format!("HTTP {status}{separator}{text}"), refused, transient));
        }
        let answer: TokenAnswer = serde_json::from_slice(&bytes)
            .map_err(|error| self.failed(format!("unreadable answer: {error}"), false, false))?;
        if let Some(identity) = answer.refresh_token.filter(|token| !token.is_empty())
            && self.ask.what == What::Login
        {
            // The first one stays: all are for the same account.
            let _ = self.endpoint.authorizations.identity.set(Secret::new(identity));
        }
        let token = answer.token.filter(|t| !t.is_empty()).or(answer.access_token);
        let header = token.and_then(|token| HeaderValue::from_str(&format!("Bearer {token}")).ok());
        let mut header =
            header.ok_or_else(|| self.failed("its answer holds no token".into(), false, false))?;
        header.set_sensitive(true);
        // A little early, so that it does not run out on its way.
        let lifetime = answer.expires_in.unwrap_or(DEFAULT_LIFETIME);
        let lifetime = lifetime - (lifetime / 4).min(10);
        let expires = Instant::now().checked_add(Duration::from_secs(lifetime));
        Ok(Authorization { header, expires })
    }

    fn failed(&self, reason: String, refused: bool, transient: bool) -> Error {
        let (ask, realm) = (self.ask.clone(), self.realm.to_owned());
        Error::Token { ask, realm, reason, refused, transient }
    }
}

/// The error for 401 and 403.
pub(crate) fn denied(endpoint: &Endpoint, ask: &Arc<Ask>, text: String) -> Error {
    let registry = endpoint.registry.clone();
    let name = match ask.repository.strip_prefix("library/") {
        Some(official) if registry == "docker.io" => official.to_owned(),
        _ if registry == "docker.io" => ask.repository.clone(),
        _ => format!("{registry}/{}", ask.repository),
    };
    let credentials = endpoint.authorizations.credentials_problem();
    Error::Denied { access: ask.access(), name, registry, text, credentials }
}

fn basic(user: &str, secret: &str) -> HeaderValue {
    let pair = crate::base64::encode(format!("{user}:{secret}").as_bytes());
    let mut header = HeaderValue::from_str(&format!("Basic {pair}"))
        .unwrap_or_else(|_| HeaderValue::from_static("Basic"));
    header.set_sensitive(true);
    header
}

/// `application/x-www-form-urlencoded`, by way of a URL's query, which is written the same.
fn form(any: &Url, fields: &[(&str, &str)]) -> Option<String> {
    let mut url = any.clone();
    url.query_pairs_mut().clear().extend_pairs(fields);
    url.query().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_escapes_what_a_query_would() {
        let url = Url::parse("https://a/t?x=1").unwrap();
        assert_eq!(form(&url, &[("a", "b&c"), ("d", "e f")]).unwrap(), "a=b%26c&d=e+f");
    }
}
