//! Where a registry answers: which hosts, by which scheme, in which order.

use crate::auth::Authorizations;
use crate::error::Error;
use crate::settings::Settings;
use crate::tls::host_and_port;
use reqwest::Url;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

/// One host that speaks the distribution protocol.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// As shown in errors and looked up in `config.json`: `docker.io`, `localhost:5000`.
    pub(crate) registry: String,
    /// Candidates, best first; all but one are ruled out by the first connection.
    bases: Vec<Url>,
    working: OnceLock<usize>,
    /// What it has been shown so far.
    pub(crate) authorizations: Authorizations,
}

/// Where the parts of a resolved image are fetched from: the endpoint that held its manifest, then
/// the others in order.
#[derive(Clone, Debug)]
pub struct Source {
    pub(crate) repository: String,
    pub(crate) endpoints: Vec<Arc<Endpoint>>,
}

impl Source {
    /// The same without its first endpoint, for content that the first delivered wrong. `None` when
    /// it was the only one.
    pub fn next(&self) -> Option<Self> {
        let rest = self.endpoints.get(1..).filter(|rest| !rest.is_empty())?;
        Some(Self { repository: self.repository.clone(), endpoints: rest.to_vec() })
    }
}

impl Endpoint {
    fn new(registry: &str, bases: Vec<Url>) -> Arc<Self> {
        Arc::new(Self {
            registry: registry.to_owned(),
            bases,
            working: OnceLock::new(),
            authorizations: Authorizations::default(),
        })
    }

    /// The base URLs still in question, each with its number for [`Endpoint::settle`].
    pub(crate) fn candidates(&self) -> impl Iterator<Item = (usize, &Url)> {
        let settled = self.working.get().copied();
        self.bases.iter().enumerate().filter(move |(n, _)| settled.is_none_or(|s| s == *n))
    }

    /// Remembers that a candidate answered.
    pub(crate) fn settle(&self, number: usize) {
        // Losing to another download that settled on the same one changes nothing.
        let _ = self.working.set(number);
    }

    /// Whether anything ever answered here: from then on a failing connection is worth retrying.
    pub(crate) fn has_answered(&self) -> bool {
        self.working.get().is_some()
    }

    /// Whether what is sent here may be read on the way anyway.
    pub(crate) fn is_plain(&self) -> bool {
        self.working.get().is_some_and(|n| self.bases[*n].scheme() == "http")
    }

    /// The base URL that answered, or the one to be tried first.
    pub(crate) fn base(&self) -> Option<&Url> {
        self.candidates().next().map(|(_, url)| url)
    }

    /// Whether a URL is one of this host's own.
    pub(crate) fn owns(&self, url: &Url) -> bool {
        self.bases.iter().any(|base| base.origin() == url.origin())
    }

    /// For messages.
    pub(crate) fn shown(&self) -> String {
        let base = self.candidates().next().map(|(_, url)| url.as_str().trim_end_matches('/'));
        base.unwrap_or(&self.registry).to_owned()
    }
}

/// The endpoints to read from a registry as named in a reference, in order: its mirrors, itself,
/// its fallbacks.
///
/// # Errors
/// [`Error::Address`] when a configured mirror is no URL.
pub(crate) fn endpoints(registry: &str, settings: &Settings) -> Result<Vec<Arc<Endpoint>>, Error> {
    let own = own_endpoint(registry, settings)?;
    let known = settings.registries.get(registry);
    let hubs = settings.mirrors.iter().filter(|_| registry == "docker.io");
    let before = hubs.chain(known.iter().flat_map(|known| &known.mirrors));
    let after = known.iter().flat_map(|known| &known.fallbacks);
    let other =
        |text: &String| mirror_endpoint(text, settings).ok_or_else(|| Error::Address(text.clone()));
    let mut all = before.map(other).collect::<Result<Vec<_>, _>>()?;
    all.push(own);
    for text in after {
        all.push(other(text)?);
    }
    Ok(all)
}

/// The registry itself: where pushes and log-ins go.
///
/// # Errors
/// [`Error::Address`].
pub(crate) fn own_endpoint(registry: &str, settings: &Settings) -> Result<Arc<Endpoint>, Error> {
    let host = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
    let bases = bases_of_host(host, settings);
    Ok(Endpoint::new(registry, bases.ok_or_else(|| Error::Address(registry.to_owned()))?))
}

/// A mirror is written as a URL, whose scheme then is the user's decision, or as a bare host.
fn mirror_endpoint(text: &str, settings: &Settings) -> Option<Arc<Endpoint>> {
    if !text.contains("://") {
        return Some(Endpoint::new(text, bases_of_host(text.trim_end_matches('/'), settings)?));
    }
    let mut url = Url::parse(text).ok()?;
    if !matches!(url.scheme(), "http" | "https") || url.query().is_some() {
        return None;
    }
    let registry = match url.port() {
        Some(port) => format!("{}:{port}", url.host_str()?),
        None => url.host_str()?.to_owned(),
    };
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Some(Endpoint::new(&registry, vec![url]))
}

/// HTTPS; plain HTTP too on this very machine, where nobody can listen in, and where the user said
/// so.
fn bases_of_host(host: &str, settings: &Settings) -> Option<Vec<Url>> {
    let https = Url::parse(&format!("https://{host}/")).ok()?;
    if https.host_str().is_none() || https.path() != "/" {
        return None;
    }
    let names = [host.to_owned(), host_and_port(&https)];
    let insecure = names.iter().find_map(|name| settings.registries.get(name));
    let may_be_plain = is_loopback(&https) || insecure.is_some_and(|known| known.insecure);
    let plain = may_be_plain.then(|| Url::parse(&format!("http://{host}/")).ok()).flatten();
    Some(std::iter::once(https).chain(plain).collect())
}

/// Whether a URL's host is this machine: `localhost`, 127.0.0.0/8, `[::1]`.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or("");
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(registry: &str, mirrors: &[&str]) -> Vec<String> {
        let mirrors: Vec<String> = mirrors.iter().map(|m| (*m).to_owned()).collect();
        let all = endpoints(registry, &Settings { mirrors, ..Settings::default() }).unwrap();
        all.iter().flat_map(|e| e.bases.iter().map(Url::to_string)).collect()
    }

    #[test]
    fn only_loopback_hosts_may_be_plain() {
        assert_eq!(urls("ghcr.io", &[]), ["https://ghcr.io/"]);
        assert_eq!(urls("10.0.0.1:5000", &[]), ["https://10.0.0.1:5000/"]);
        for host in ["localhost:5000", "127.3.2.1", "[::1]:5000"] {
            let wanted = [format!("https://{host}/"), format!("http://{host}/")];
            assert_eq!(urls(host, &[]), wanted);
        }
    }

    #[test]
    fn mirrors_come_first_and_only_for_docker_hub() {
        let mirrors = ["http://m.lan", "m2.io", "https://m3.io/proxy"];
        assert_eq!(
            urls("docker.io", &mirrors),
            [
                "http://m.lan/",
                "https://m2.io/",
                "https://m3.io/proxy/",
                "https://registry-1.docker.io/"
            ]
        );
        assert_eq!(urls("quay.io", &mirrors), ["https://quay.io/"]);
        for wrong in ["ftp://x", "http://", "", "a/b"] {
            let settings = Settings { mirrors: vec![wrong.to_owned()], ..Settings::default() };
            let error = endpoints("docker.io", &settings).unwrap_err();
            assert!(matches!(error, Error::Address(_)), "{wrong}: {error}");
        }
    }

    #[test]
    fn any_registry_has_mirrors_fallbacks_and_exceptions() {
        let file = br#"{"registries": {
            "quay.io": {"mirrors": ["cache.lan:5000"], "fallbacks": ["https://f.io/quay"]},
            "cache.lan:5000": {"insecure": true}}}"#;
        let registries = crate::Registries::parse(file).unwrap();
        let settings = Settings { registries, ..Settings::default() };
        let all = endpoints("quay.io", &settings).unwrap();
        let urls: Vec<String> =
            all.iter().flat_map(|e| e.bases.iter().map(Url::to_string)).collect();
        assert_eq!(
            urls,
            [
                "https://cache.lan:5000/",
                "http://cache.lan:5000/",
                "https://quay.io/",
                "https://f.io/quay/"
            ]
        );
    }
}
