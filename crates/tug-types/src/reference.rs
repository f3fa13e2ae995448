//! Image references as Docker reads them: `[REGISTRY/]NAME[:TAG][@DIGEST]`, with `docker.io` and
//! `library/` filled in. Grammar: distribution's `reference` package.
//!
//! The parser is written out rather than taken from a library: those at hand compile a regular
//! expression first, which costs more than all the rest of finding a local image.

use crate::{Digest, DigestError};
use serde::{Deserialize, Serialize};
use std::fmt;

const DEFAULT_REGISTRY: &str = "docker.io";

/// A fully qualified image name. Two ways of writing one name compare equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageReference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is no image reference.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// Docker refuses capital letters in a repository, and so does every registry.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    UpperCase(String),
    /// The text does not follow the grammar.
    #[error("invalid reference format: {text:?}")]
    Grammar {
        /// What was to be read.
        text: String,
    },
    /// The repository is longer than 255 characters.
    #[error("invalid reference format: repository name must not be more than 255 characters")]
    TooLong,
    /// The part after `@` is no digest that tug knows.
    #[error("invalid reference format: {text:?}")]
    Digest {
        /// What was to be read.
        text: String,
        /// Why.
        #[source]
        source: DigestError,
    },
    /// 64 hexadecimal digits name an image id, never a repository.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    LooksLikeId(String),
}

impl ImageReference {
    /// Reads a reference and fills in registry, `library/` and, without tag and digest, `latest`.
    ///
    /// # Errors
    /// [`ReferenceError`] naming what Docker's own grammar refuses.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let grammar = || ReferenceError::Grammar { text: text.to_owned() };
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => {
                let digest = Digest::parse(digest)
                    .map_err(|source| ReferenceError::Digest { text: text.to_owned(), source })?;
                (name, Some(digest))
            }
            None => (text, None),
        };
        let (registry, rest) = split_registry(name);
        let (repository, tag) = match rest.rsplit_once(':') {
            Some((repository, tag)) if is_tag(tag) => (repository, Some(tag)),
            Some(_) => return Err(grammar()),
            None => (rest, None),
        };
        if repository.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(ReferenceError::UpperCase(repository.to_owned()));
        }
        if registry.is_none() && Digest::from_hex(repository).is_some() {
            return Err(ReferenceError::LooksLikeId(repository.to_owned()));
        }
        if !repository.split('/').all(is_path_component) || !registry.is_none_or(is_domain) {
            return Err(grammar());
        }
        let registry = match registry {
            None | Some("index.docker.io" | "registry-1.docker.io") => DEFAULT_REGISTRY,
            Some(other) => other,
        };
        let official = registry == DEFAULT_REGISTRY && !repository.contains('/');
        let repository = format!("{}{repository}", if official { "library/" } else { "" });
        if repository.len() > 255 {
            return Err(ReferenceError::TooLong);
        }
        let tag = tag.or(if digest.is_none() { Some("latest") } else { None });
        Ok(Self { registry: registry.to_owned(), repository, tag: tag.map(str::to_owned), digest })
    }

    /// The registry's host and optional port; `docker.io` when none was written.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository within the registry, `library/busybox` for `busybox`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, `latest` when neither tag nor digest was written.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest of a manifest or an index, when one was written.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Registry and repository as Docker shows them: without `docker.io/` and `library/`.
    pub fn familiar_name(&self) -> String {
        if self.registry != DEFAULT_REGISTRY {
            return format!("{}/{}", self.registry, self.repository);
        }
        let bare = self.repository.strip_prefix("library/");
        bare.filter(|name| !name.contains('/')).unwrap_or(&self.repository).to_owned()
    }

    /// The whole reference as Docker shows it, `busybox:latest`.
    pub fn familiar(&self) -> String {
        self.with_suffix(self.familiar_name())
    }

    /// Registry and repository in full, `docker.io/library/busybox`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The same repository under another tag and without a digest.
    #[must_use]
    pub fn with_tag(&self, tag: &str) -> Self {
        Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() }
    }

    /// The same repository named by digest alone.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    fn with_suffix(&self, mut text: String) -> String {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(&digest.to_string());
        }
        text
    }
}

/// Splits off the registry: the part before the first `/` when it has a dot, a port or a capital
/// letter, or is `localhost`.
fn split_registry(name: &str) -> (Option<&str>, &str) {
    match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (Some(first), rest)
        }
        _ => (None, name),
    }
}

/// `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`
fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let mut bytes = text.bytes();
    bytes.next().is_some_and(word)
        && text.len() <= 128
        && bytes.all(|b| word(b) || b == b'.' || b == b'-')
}

/// Lower-case words joined by one dot, one or two underscores, or any number of dashes.
fn is_path_component(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let edges = |text: &str| {
        text.bytes().next().is_some_and(word) && text.bytes().next_back().is_some_and(word)
    };
    edges(text)
        && text
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .all(|gap| matches!(gap, "" | "." | "_" | "__") || gap.bytes().all(|b| b == b'-'))
}

/// Host names joined by dots, or an IPv6 address in brackets, and an optional port.
fn is_domain(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host_ok = match bracketed {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(label),
    };
    host_ok && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

impl TryFrom<String> for ImageReference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, ReferenceError> {
        Self::parse(&text)
    }
}

impl From<ImageReference> for String {
    fn from(reference: ImageReference) -> Self {
        reference.to_string()
    }
}

/// The full form, `docker.io/library/busybox:latest`.
impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_suffix(self.name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn names_are_filled_in_and_shown_short() {
        for (text, full, familiar) in [
            ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
            ("docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            (
                "index.docker.io/library/busybox",
                "docker.io/library/busybox:latest",
                "busybox:latest",
            ),
            ("me/app", "docker.io/me/app:latest", "me/app:latest"),
            ("localhost:5000/a/b:t", "localhost:5000/a/b:t", "localhost:5000/a/b:t"),
            ("localhost/a", "localhost/a:latest", "localhost/a:latest"),
            ("ghcr.io/x/y", "ghcr.io/x/y:latest", "ghcr.io/x/y:latest"),
        ] {
            let reference = ImageReference::parse(text).unwrap();
            assert_eq!(reference.to_string(), full, "{text}");
            assert_eq!(reference.familiar(), familiar, "{text}");
        }
    }

    #[test]
    fn a_digest_stands_alone_or_beside_a_tag() {
        let bare = ImageReference::parse(&format!("busybox@{DIGEST}")).unwrap();
        assert_eq!(bare.tag(), None);
        assert_eq!(bare.to_string(), format!("docker.io/library/busybox@{DIGEST}"));
        let both = ImageReference::parse(&format!("r.io:1/b:2@{DIGEST}")).unwrap();
        assert_eq!(both.tag(), Some("2"));
        assert_eq!(both.digest().unwrap().to_string(), DIGEST);
    }

    #[test]
    fn what_docker_refuses_is_refused() {
        let id = &DIGEST[7..];
        for text in [
            "",
            ":",
            "a:",
            "Busybox",
            "x/UPPER",
            "a//b",
            "/a",
            "a/",
            "a b",
            "a@sha256:12",
            id,
            "-a",
            "a:b:c",
        ] {
            assert!(ImageReference::parse(text).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn the_length_counts_with_what_is_left_out() {
        // `library/` is part of the path; a fuzzer found one that did not read back.
        assert!(ImageReference::parse(&"a".repeat(255 - "library/".len())).is_ok());
        let long = ImageReference::parse(&"a".repeat(256 - "library/".len()));
        assert!(matches!(long, Err(ReferenceError::TooLong)), "{long:?}");
    }
}
