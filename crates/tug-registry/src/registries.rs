//! The settings file of registries, `registries.json`: where else to ask, whom to trust.
//!
//! ```json
//! {
//!   "registries": {
//!     "docker.io": {"mirrors": ["https://mirror.lan/hub"], "fallbacks": ["mirror.gcr.io"]},
//!     "mirror.lan": {"ca": "/etc/tug/lan-ca.pem"},
//!     "build.lan:5000": {"insecure": true},
//!     "vault.lan": {"client-certificate": "/etc/tug/me.pem", "client-key": "/etc/tug/me.key"}
//!   },
//!   "keep-blobs": true,
//!   "build-cache": "20g"
//! }
//! ```
//!
//! Mirrors are asked before the registry itself, fallbacks after it; both only for reading. Each is
//! a URL or a host, and a path in front of the repository is kept. Certificates and exceptions hold
//! for a host and port wherever it is asked, as a registry or as somebody's mirror. JSON, as all of
//! Docker's own settings are: one format less to know, one parser less to carry.

use crate::error::Error;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// All of the files together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Registries {
    /// By host and port, as in an image's name; `docker.io` for Docker Hub.
    pub registries: BTreeMap<String, Registry>,
    /// Whether the compressed layers of pulled images are kept for a later push or save.
    pub keep_blobs: Option<bool>,
    /// What builds may keep, as the command line reads sizes.
    pub build_cache: Option<String>,
}

/// What is known about one registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Registry {
    /// Asked before it, in order.
    pub mirrors: Vec<String>,
    /// Asked after it, in order.
    pub fallbacks: Vec<String>,
    /// Certificates are not verified, and plain HTTP is tried.
    pub insecure: bool,
    /// A PEM file of CAs to trust beside the system's.
    pub ca: Option<PathBuf>,
    /// A PEM file of the certificate to show.
    pub client_certificate: Option<PathBuf>,
    /// A PEM file of its key.
    pub client_key: Option<PathBuf>,
}

impl Registries {
    /// Reads one file's content.
    ///
    /// # Errors
    /// When it is not the JSON described above; unknown names are errors, since a misspelt
    /// `insecure` or `mirrors` would otherwise be noticed by nobody.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// Reads the files that are there; what a later one says about a registry replaces what an
    /// earlier one says about it.
    ///
    /// # Errors
    /// When one is there but cannot be read or understood.
    pub fn read(paths: &[PathBuf]) -> Result<Self, Error> {
        let mut all = Self::default();
        for path in paths {
            let Some(bytes) = read_if_there(path)? else { continue };
            let read = Self::parse(&bytes)
                .map_err(|source| Error::SettingsFormat { path: path.clone(), source })?;
            read.check(path)?;
            all.registries.extend(read.registries);
            all.keep_blobs = read.keep_blobs.or(all.keep_blobs);
            all.build_cache = read.build_cache.or(all.build_cache);
        }
        Ok(all)
    }

    fn check(&self, path: &Path) -> Result<(), Error> {
        for (name, registry) in &self.registries {
            let wrong = |reason: &str| {
                let reason = format!("registries: {name:?}: {reason}");
                Err(Error::SettingsValue { path: path.to_owned(), reason })
            };
            if name.is_empty() || name.contains('/') {
                return wrong("expected a host, such as registry.lan:5000");
            }
            if registry.client_certificate.is_some() != registry.client_key.is_some() {
                return wrong("client-certificate and client-key belong together");
            }
        }
        Ok(())
    }

    /// What is known about a host and port.
    pub fn get(&self, host: &str) -> Option<&Registry> {
        self.registries.get(host)
    }
}

/// A file's content; `None` when it is not there.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::SettingsFile { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_file_replaces_a_registry_of_an_earlier_one() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("a.json"), dir.path().join("b.json"));
        std::fs::write(
            &first,
            r#"{"registries":{"a.io":{"mirrors":["m"]},"b.io":{"insecure":true}},"keep-blobs":false,"build-cache":"20g"}"#,
        )
        .unwrap();
        std::fs::write(&second, r#"{"registries":{"a.io":{"fallbacks":["f"]}}}"#).unwrap();
        let all = Registries::read(&[first, second, dir.path().join("missing")]).unwrap();
        assert_eq!(all.get("a.io").unwrap().fallbacks, ["f"]);
        assert!(all.get("a.io").unwrap().mirrors.is_empty());
        assert!(all.get("b.io").unwrap().insecure);
        assert_eq!(all.keep_blobs, Some(false));
        assert_eq!(all.build_cache.as_deref(), Some("20g"));
        assert_eq!(all.get("c.io"), None);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("registries.json");
        for (text, part) in [
            (r#"{"registries":{"a.io":{"mirors":[]}}}"#, "unknown field `mirors`"),
            (r#"{"registries":{"a.io/x":{}}}"#, "expected a host"),
            (r#"{"registries":{"a.io":{"client-key":"k"}}}"#, "belong together"),
            ("{", "EOF"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Registries::read(std::slice::from_ref(&path)).unwrap_err();
            let message = tug_types::Explain::failure(&error).message;
            assert!(message.contains("registries.json") && message.contains(part), "{message}");
        }
    }
}
