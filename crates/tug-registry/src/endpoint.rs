//! Where a registry answers: which hosts, by which scheme, in which order.

use crate::auth::Authorizations;
use crate::error::Error;
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

/// The endpoints for a registry as named in a reference, in order.
///
/// # Errors
/// [`Error::Address`] when a configured mirror is no URL.
pub(crate) fn endpoints(registry: &str, mirrors: &[String]) -> Result<Vec<Arc<Endpoint>>, Error> {
    if registry != "docker.io" {
        let bases = bases_of_host(registry).ok_or_else(|| Error::Address(registry.to_owned()))?;
        return Ok(vec![Endpoint::new(registry, bases)]);
    }
    let mut all = Vec::new();
    for mirror in mirrors {
        all.push(mirror_endpoint(mirror).ok_or_else(|| Error::Address(mirror.clone()))?);
    }
    let hub = bases_of_host("registry-1.docker.io").unwrap_or_default();
    all.push(Endpoint::new("docker.io", hub));
    Ok(all)
}

/// A mirror is written as a URL, whose scheme then is the user's decision, or as a bare host.
fn mirror_endpoint(text: &str) -> Option<Arc<Endpoint>> {
    if !text.contains("://") {
        return Some(Endpoint::new(text, bases_of_host(text.trim_end_matches('/'))?));
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

/// HTTPS; on this very machine plain HTTP too, where nobody can listen in.
fn bases_of_host(host: &str) -> Option<Vec<Url>> {
    let https = Url::parse(&format!("https://{host}/")).ok()?;
    if https.host_str().is_none() || https.path() != "/" {
        return None;
    }
    let plain = is_loopback(&https).then(|| Url::parse(&format!("http://{host}/")).ok()).flatten();
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
        let all = endpoints(registry, &mirrors).unwrap();
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
            let error = endpoints("docker.io", &[wrong.to_owned()]).unwrap_err();
            assert!(matches!(error, Error::Address(_)), "{wrong}: {error}");
        }
    }
}
