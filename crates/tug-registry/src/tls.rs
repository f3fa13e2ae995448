//! HTTP clients by whom they talk to: whose certificates they trust and what they show.
//!
//! | host | client |
//! |---|---|
//! | anybody | the system's certificates |
//! | this machine | no verification: a certificate proves nothing there that plain HTTP would not |
//! | one with settings or files below `certs.d` | its own, made when it is first asked |

use crate::endpoint::is_loopback;
use crate::error::Error;
use crate::settings::Settings;
use reqwest::{Certificate, Client, ClientBuilder, Identity, Url, redirect};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Bytes a server may send of one blob before it hears that they were taken.
const STREAM_WINDOW: u32 = 4 << 20;

/// The clients made so far.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    /// For the network. Made when first needed: reading the system's certificates takes longer
    /// than a whole pull over loopback.
    verifying: OnceLock<Client>,
    local: OnceLock<Client>,
    /// By host and port; `None`: nothing special.
    special: Mutex<HashMap<String, Option<Client>>>,
}

/// What is special about a host.
#[derive(Debug, Default, PartialEq, Eq)]
struct Special {
    insecure: bool,
    authorities: Vec<PathBuf>,
    /// Certificates, each with its key.
    identities: Vec<(PathBuf, PathBuf)>,
}

impl Clients {
    /// The client for a URL.
    pub(crate) fn of(&self, url: &Url, settings: &Settings) -> Result<Client, Error> {
        if let Some(client) = self.special(url, settings)? {
            return Ok(client);
        }
        let local = is_loopback(url);
        let slot = if local { &self.local } else { &self.verifying };
        if let Some(client) = slot.get() {
            return Ok(client.clone());
        }
        let mut builder = builder(settings);
        if local {
            builder = builder.no_proxy().tls_danger_accept_invalid_certs(true);
        } else if let Some(path) = &settings.ca_file {
            builder = builder.tls_certs_only(certificates(path)?);
        }
        let client = builder.build().map_err(Error::Tls)?;
        Ok(slot.get_or_init(|| client).clone())
    }

    fn special(&self, url: &Url, settings: &Settings) -> Result<Option<Client>, Error> {
        // Looked up for plain HTTP too: it costs two look-ups in a directory that is rarely there.
        let host = host_and_port(url);
        let mut known = self.special.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = known.get(&host) {
            return Ok(client.clone());
        }
        let special = Special::of(&host, settings)?;
        let client = match special == Special::default() {
            true => None,
            false => Some(special.client(url, settings)?),
        };
        known.insert(host, client.clone());
        Ok(client)
    }
}

impl Special {
    fn of(host: &str, settings: &Settings) -> Result<Self, Error> {
        let mut special = Self::default();
        let names = [host, without_default_port(host)];
        if let Some(known) = names.iter().find_map(|name| settings.registries.get(name)) {
            special.insecure = known.insecure;
            special.authorities.extend(known.ca.clone());
            special
                .identities
                .extend(known.client_certificate.clone().zip(known.client_key.clone()));
        }
        for dir in &settings.certs_dirs {
            special.take_directory(&dir.join(names[0]))?;
            if names[0] != names[1] {
                special.take_directory(&dir.join(names[1]))?;
            }
        }
        Ok(special)
    }

    /// A directory of Docker's `certs.d`: `*.crt` are CAs, `*.cert` with the `*.key` beside it is
    /// what to show.
    fn take_directory(&mut self, dir: &Path) -> Result<(), Error> {
        let failed = |source| Error::SettingsFile { path: dir.to_owned(), source };
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        let mut paths: Vec<PathBuf> = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<_>>()
            .map_err(failed)?;
        paths.sort();
        for path in paths {
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("crt") if !self.authorities.contains(&path) => self.authorities.push(path),
                Some("cert") if self.identities.iter().all(|(known, _)| *known != path) => {
                    let key = path.with_extension("key");
                    if !key.exists() {
                        let source = io::Error::new(
                            io::ErrorKind::NotFound,
                            format!("the key {} is not there", key.display()),
                        );
                        return Err(Error::ClientCertificate { path, source });
                    }
                    self.identities.push((path, key));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn client(&self, url: &Url, settings: &Settings) -> Result<Client, Error> {
        let mut builder = builder(settings);
        let local = is_loopback(url);
        if local {
            builder = builder.no_proxy();
        }
        // A CA named for this machine is meant to be used.
        if self.insecure || (local && self.authorities.is_empty()) {
            builder = builder.tls_danger_accept_invalid_certs(true);
        }
        let mut trusted = Vec::new();
        for path in &self.authorities {
            trusted.extend(certificates(path)?);
        }
        builder = match &settings.ca_file {
            Some(path) if !local => {
                trusted.extend(certificates(path)?);
                builder.tls_certs_only(trusted)
            }
            _ => builder.tls_certs_merge(trusted),
        };
        // TLS shows one; Docker, too, uses the first that fits.
        if let Some((certificate, key)) = self.identities.first() {
            builder = builder.identity(identity(certificate, key)?);
        }
        builder.build().map_err(Error::Tls)
    }
}

fn builder(settings: &Settings) -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("tug/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        // HTTP/2 lets so much be under way; its own 64 KiB would be 640 KB/s at 100 ms.
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(4 * STREAM_WINDOW)
        .connect_timeout(settings.connect_timeout)
        .read_timeout(settings.read_timeout)
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, Error> {
    let failed = |source| Error::CaFile { path: path.to_owned(), source };
    let pem = std::fs::read(path).map_err(failed)?;
    let found = Certificate::from_pem_bundle(&pem);
    let found = found.map_err(|error| failed(io::Error::other(error)))?;
    match found.is_empty() {
        true => Err(failed(io::Error::other("it holds no certificate"))),
        false => Ok(found),
    }
}

fn identity(certificate: &Path, key: &Path) -> Result<Identity, Error> {
    let read = |path: &Path| {
        let failed = |source| Error::ClientCertificate { path: path.to_owned(), source };
        std::fs::read(path).map_err(failed)
    };
    let mut pem = read(key)?;
    pem.push(b'\n');
    pem.extend(read(certificate)?);
    Identity::from_pem(&pem).map_err(|error| Error::ClientCertificate {
        path: certificate.to_owned(),
        source: io::Error::other(error),
    })
}

/// As a directory of `certs.d` is named.
pub(crate) fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port_or_known_default() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

fn without_default_port(host: &str) -> &str {
    host.strip_suffix(":443").unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certs_d_is_read_as_docker_does() {
        let dir = tempfile::tempdir().unwrap();
        let host = dir.path().join("r.lan:5000");
        std::fs::create_dir(&host).unwrap();
        for name in ["ca.crt", "b.crt", "me.cert", "me.key", "README"] {
            std::fs::write(host.join(name), "").unwrap();
        }
        let settings = Settings { certs_dirs: vec![dir.path().to_owned()], ..Settings::default() };
        let special = Special::of("r.lan:5000", &settings).unwrap();
        assert_eq!(special.authorities, [host.join("b.crt"), host.join("ca.crt")]);
        assert_eq!(special.identities, [(host.join("me.cert"), host.join("me.key"))]);
        assert_eq!(Special::of("r.lan:5001", &settings).unwrap(), Special::default());
        std::fs::remove_file(host.join("me.key")).unwrap();
        let error = Special::of("r.lan:5000", &settings).unwrap_err();
        assert!(tug_types::Explain::failure(&error).message.contains("me.key"), "{error}");

        std::fs::create_dir(dir.path().join("plain.lan")).unwrap();
        std::fs::write(dir.path().join("plain.lan/ca.crt"), "").unwrap();
        assert_eq!(Special::of("plain.lan:443", &settings).unwrap().authorities.len(), 1);
    }
}
