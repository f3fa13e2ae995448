//! What can go wrong between an image reference and its bytes. Each variant names the registry,
//! what was asked of it, and what came back; the registry's own words are kept.

use crate::ask::{Access, Ask};
use crate::credentials::CredentialsError;
use crate::manifest::ManifestError;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tug_types::{Digest, Explain, Kind};

/// An endpoint that was asked in vain before another one.
#[derive(Debug)]
pub struct Tried {
    /// Its URL.
    pub endpoint: String,
    /// What it answered.
    pub error: Error,
}

/// Why a registry's content could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The machine has no more threads or descriptors for a runtime.
    #[error("start the network runtime")]
    Runtime(#[source] std::io::Error),
    /// The HTTP client cannot be made: in practice, no CA certificates.
    #[error("set up TLS for registries")]
    Tls(#[source] reqwest::Error),
    /// The configured CA bundle cannot be used.
    #[error("read CA certificates from {path}")]
    CaFile {
        /// As configured.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A registry's client certificate cannot be used.
    #[error("use the client certificate {path}")]
    ClientCertificate {
        /// Of the certificate or its key.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file of settings cannot be read.
    #[error("read {path}")]
    SettingsFile {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file of settings is not what it should be.
    #[error("{path} cannot be understood")]
    SettingsFormat {
        /// Which.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// A setting that makes no sense.
    #[error("{path}: {reason}")]
    SettingsValue {
        /// Which file.
        path: PathBuf,
        /// Which setting, and why.
        reason: String,
    },
    /// What is to be pushed cannot be read.
    #[error("{ask}: read it here")]
    Source {
        /// What was asked.
        ask: Arc<Ask>,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The registry does not say where to send what it agreed to take.
    #[error("{ask}: the registry names no place to send it to")]
    NoLocation {
        /// What was asked.
        ask: Arc<Ask>,
    },
    /// The registry says that it took something else than what was sent.
    #[error("{ask}: the registry answers with the digest {actual}, sent was {expected}")]
    OtherDigest {
        /// What was asked.
        ask: Arc<Ask>,
        /// As sent.
        expected: Digest,
        /// As answered.
        actual: Digest,
    },
    /// What is kept about a log-in cannot be read or written.
    #[error(transparent)]
    Credentials(CredentialsError),
    /// A policy does not want the image.
    #[error("{reference} is not wanted here: {policy} rejects it")]
    PolicyRejects {
        /// The image.
        reference: String,
        /// The file.
        policy: PathBuf,
    },
    /// A policy demands a signature, and there is none.
    #[error("{reference} is not signed: {policy} demands a signature of {digest}")]
    Unsigned {
        /// The image.
        reference: String,
        /// What was to be signed.
        digest: Digest,
        /// The file.
        policy: PathBuf,
    },
    /// A policy demands a signature, and those there are do not fit.
    #[error(
        "{reference} is not signed as {policy} demands: the signatures of {digest} are {reason}"
    )]
    WrongSignature {
        /// The image.
        reference: String,
        /// What was to be signed.
        digest: Digest,
        /// The file.
        policy: PathBuf,
        /// What is wrong with each.
        reason: String,
    },
    /// User name or password are wrong.
    #[error("{ask}: the registry refuses this user name and password{}", tail(text))]
    LoginRefused {
        /// What was asked.
        ask: Arc<Ask>,
        /// The registry's words.
        text: String,
    },
    /// Neither Docker Hub's search nor a catalogue is offered.
    #[error("{registry} offers neither a search nor a list of its repositories")]
    NoSearch {
        /// Who was asked.
        registry: String,
    },
    /// What was to be read is not what the protocol says.
    #[error("{ask}: the answer cannot be understood")]
    Answer {
        /// What was asked.
        ask: Arc<Ask>,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A configured mirror, or a reference's registry, is no host or URL.
    #[error("{0:?} is not the address of a registry")]
    Address(String),
    /// No connection came about: name resolution, TCP or TLS.
    #[error("{ask}: cannot connect: {reasons}")]
    Unreachable {
        /// What was asked.
        ask: Arc<Ask>,
        /// Every address tried and what became of it.
        reasons: String,
    },
    /// The connection broke, or nothing came for too long, as often as one is ready to try.
    #[error("{ask}: connection lost {tries} times, last after {received} bytes: {reason}")]
    Cut {
        /// What was asked.
        ask: Arc<Ask>,
        /// Attempts made.
        tries: u32,
        /// Bytes that had arrived, all attempts together.
        received: u64,
        /// The last break.
        reason: String,
    },
    /// 401 or 403, after whatever credentials there are.
    #[error(
        "{access} access denied for {name}, repository does not exist or may require authorization{}",
        tail(text)
    )]
    Denied {
        /// What was wanted.
        access: Access,
        /// The repository as the user knows it.
        name: String,
        /// Whom to log in to.
        registry: String,
        /// The registry's words.
        text: String,
        /// Why there were no credentials although some are configured.
        credentials: Option<String>,
    },
    /// The repository is there, the tag or digest is not.
    #[error("manifest for {reference} not found: {text}")]
    ManifestUnknown {
        /// As the user wrote it.
        reference: String,
        /// The registry's words.
        text: String,
    },
    /// A manifest names a blob its registry does not have.
    #[error("{ask}: not found{}", tail(text))]
    BlobUnknown {
        /// What was asked.
        ask: Arc<Ask>,
        /// The registry's words.
        text: String,
    },
    /// 429.
    #[error("{ask}: too many requests (HTTP 429){}", tail(text))]
    RateLimited {
        /// What was asked.
        ask: Arc<Ask>,
        /// What the registry wants waited.
        wait: Option<Duration>,
        /// The registry's words.
        text: String,
    },
    /// Any other answer than success.
    #[error("{ask}: HTTP {status}{}", tail(text))]
    Status {
        /// What was asked.
        ask: Arc<Ask>,
        /// The number alone.
        code: u16,
        /// The status with its reason, `500 Internal Server Error`.
        status: String,
        /// Whether trying again may help.
        transient: bool,
        /// The registry's words.
        text: String,
    },
    /// 401 without a challenge tug can answer.
    #[error("{ask}: the registry wants an authentication tug does not know: {header:?}")]
    Challenge {
        /// What was asked.
        ask: Arc<Ask>,
        /// `WWW-Authenticate`.
        header: String,
    },
    /// The token server refuses or is not well.
    #[error("{ask}: token server {realm}: {reason}")]
    Token {
        /// What was asked.
        ask: Arc<Ask>,
        /// The token server's URL.
        realm: String,
        /// Status and words, or what broke.
        reason: String,
        /// It was the user's credentials that it refused.
        refused: bool,
        /// Whether trying again may help.
        transient: bool,
    },
    /// Credentials would travel in the clear.
    #[error("{ask}: its token server {realm} is plain HTTP, credentials are not sent there")]
    InsecureRealm {
        /// What was asked.
        ask: Arc<Ask>,
        /// The token server's URL.
        realm: String,
    },
    /// A redirect that is not followed.
    #[error("{ask}: redirected to {to:?}: {reason}")]
    Redirect {
        /// What was asked.
        ask: Arc<Ask>,
        /// `Location`.
        to: String,
        /// Why not.
        reason: &'static str,
    },
    /// The bytes are not those the digest names.
    #[error("{ask}: content does not match its digest: expected {expected}, got {actual}")]
    DigestMismatch {
        /// What was asked.
        ask: Arc<Ask>,
        /// As named.
        expected: Digest,
        /// Of what came.
        actual: Digest,
    },
    /// The registry sends or announces another length than the manifest says.
    #[error("{ask}: content has the wrong size: expected {expected} bytes, got {actual}")]
    SizeMismatch {
        /// What was asked.
        ask: Arc<Ask>,
        /// As the manifest says.
        expected: u64,
        /// As announced or arrived.
        actual: u64,
    },
    /// A resumed download goes on elsewhere than asked.
    #[error("{ask}: asked to resume at byte {wanted}, the registry answered {range:?}")]
    Range {
        /// What was asked.
        ask: Arc<Ask>,
        /// Where to go on.
        wanted: u64,
        /// `Content-Range`.
        range: String,
    },
    /// A manifest or config larger than any sane one.
    #[error("{ask}: larger than the {limit} bytes tug accepts")]
    TooLarge {
        /// What was asked.
        ask: Arc<Ask>,
        /// The bound.
        limit: u64,
    },
    /// What the registry holds is no image manifest.
    #[error("{} is not an image", ask.object())]
    Manifest {
        /// What was asked.
        ask: Arc<Ask>,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// The config is not the JSON it should be.
    #[error("read image configuration {digest} of {reference}")]
    Config {
        /// The image.
        reference: String,
        /// The config.
        digest: Digest,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A chart, a signature, a model: something else than an image.
    #[error("{reference} is not a container image but an artifact of type {kind}")]
    Artifact {
        /// The image.
        reference: String,
        /// Artifact or config type.
        kind: String,
    },
    /// A layer that registries may not hand on.
    #[error("{reference}: layer {digest} is foreign ({media_type}): registries do not hold it")]
    ForeignLayer {
        /// The image.
        reference: String,
        /// The layer.
        digest: Digest,
        /// Its type.
        media_type: String,
    },
    /// A layer no file tree comes out of.
    #[error("{reference}: layer {digest} has the unsupported type {media_type:?}")]
    LayerType {
        /// The image.
        reference: String,
        /// The layer.
        digest: Digest,
        /// Its type.
        media_type: String,
    },
    /// Manifest and config do not belong together.
    #[error("{reference}: its manifest has {layers} layers, its configuration {diff_ids}")]
    LayerCount {
        /// The image.
        reference: String,
        /// In the manifest.
        layers: usize,
        /// In the config.
        diff_ids: usize,
    },
    /// An index without the wanted platform.
    #[error(
        "no matching manifest for {wanted} in the manifest list entries of {reference}: it has {}",
        list(available)
    )]
    NoPlatform {
        /// The image.
        reference: String,
        /// What was wanted.
        wanted: String,
        /// What there is.
        available: Vec<String>,
    },
    /// An image for one platform, and not the wanted one.
    #[error(
        "image {reference} does not match the specified platform: wanted {wanted}, actual: {actual}"
    )]
    WrongPlatform {
        /// The image.
        reference: String,
        /// What was wanted.
        wanted: String,
        /// What it is for.
        actual: String,
    },
    /// Indexes within indexes without end.
    #[error("{reference}: its index points to indexes more than {limit} deep")]
    Nesting {
        /// The image.
        reference: String,
        /// The bound.
        limit: usize,
    },
    /// Mirrors and the registry itself all failed.
    #[error("{last}; tried before: {}", earlier.iter().map(Tried::to_string).collect::<Vec<_>>().join("; "))]
    Exhausted {
        /// What the registry itself answered.
        last: Box<Error>,
        /// Its mirrors, in order.
        earlier: Vec<Tried>,
    },
    /// The download was given up by its reader.
    #[error("{ask}: given up")]
    Abandoned {
        /// What was asked.
        ask: Arc<Ask>,
    },
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.endpoint, self.error.failure().message)
    }
}

impl Error {
    /// Whether the same question may get a better answer later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Cut { .. } | Self::RateLimited { .. } => true,
            Self::Status { transient, .. } | Self::Token { transient, .. } => *transient,
            _ => false,
        }
    }

    /// Whether another endpoint may hold what this one does not: false for what is wrong with the
    /// image itself, or with this machine.
    pub(crate) fn is_endpoints_fault(&self) -> bool {
        !matches!(
            self,
            Self::Artifact { .. }
                | Self::ForeignLayer { .. }
                | Self::LayerType { .. }
                | Self::LayerCount { .. }
                | Self::NoPlatform { .. }
                | Self::WrongPlatform { .. }
                | Self::Nesting { .. }
                | Self::Abandoned { .. }
                | Self::Runtime(_)
                | Self::Tls(_)
                | Self::CaFile { .. }
                | Self::ClientCertificate { .. }
                | Self::SettingsFile { .. }
                | Self::SettingsFormat { .. }
                | Self::SettingsValue { .. }
                | Self::Source { .. }
        )
    }
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Runtime(_) | Self::Abandoned { .. } => Kind::Internal,
            Self::CaFile { .. }
            | Self::ClientCertificate { .. }
            | Self::SettingsFile { .. }
            | Self::SettingsFormat { .. }
            | Self::SettingsValue { .. }
            | Self::Address(_) => Kind::Invalid,
            Self::Source { .. } => Kind::Internal,
            Self::Credentials(_) => Kind::Invalid,
            Self::NoSearch { .. } => Kind::NotFound,
            Self::LoginRefused { .. }
            | Self::PolicyRejects { .. }
            | Self::Unsigned { .. }
            | Self::WrongSignature { .. } => Kind::Denied,
            Self::ManifestUnknown { .. }
            | Self::BlobUnknown { .. }
            | Self::NoPlatform { .. }
            | Self::WrongPlatform { .. } => Kind::NotFound,
            Self::Denied { .. } | Self::Challenge { .. } | Self::InsecureRealm { .. } => {
                Kind::Denied
            }
            Self::Token { refused: true, .. } => Kind::Denied,
            Self::Artifact { .. }
            | Self::ForeignLayer { .. }
            | Self::LayerType { .. }
            | Self::LayerCount { .. }
            | Self::Manifest { .. }
            | Self::Nesting { .. }
            | Self::Config { .. } => Kind::Invalid,
            Self::Exhausted { last, .. } => last.kind(),
            _ => Kind::Unavailable,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Denied { credentials: Some(reason), .. } => {
                format!("the configured credentials could not be read: {reason}")
            }
            Self::Denied { registry, .. } => {
                format!("check the name, or log in with `tug login{}`", login_argument(registry))
            }
            Self::Token { refused: true, ask, .. } => {
                format!("log in again with `tug login{}`", login_argument(&ask.registry))
            }
            Self::ManifestUnknown { .. } => "check the tag: the registry answers, but has no such \
                 image"
                .to_owned(),
            Self::RateLimited { wait: Some(wait), .. } => retry_hint(*wait, jiff::Timestamp::now()),
            Self::RateLimited { wait: None, .. } => "retry later".to_owned(),
            Self::Unreachable { reasons, ask } => unreachable_hint(reasons, &ask.registry)?,
            Self::Tls(_) => {
                "install the package ca-certificates, or set SSL_CERT_FILE to a PEM bundle".to_owned()
            }
            Self::Cut { .. } => "check the network and try again".to_owned(),
            Self::Status { transient: true, .. } | Self::Token { transient: true, .. } => {
                "the registry is not well: try again later".to_owned()
            }
            Self::DigestMismatch { .. } | Self::SizeMismatch { .. } | Self::Range { .. } => {
                "something between here and the registry changes content: a proxy, a mirror, or the \
                 registry's own storage"
                    .to_owned()
            }
            Self::Manifest { source: ManifestError::Schema1, .. } => {
                "push the image again with Docker 1.10 or newer, or use a newer tag".to_owned()
            }
            Self::LoginRefused { .. } => "check user name and password; where two factors are \
                 needed, use an access token as the password"
                .to_owned(),
            Self::Credentials(CredentialsError::NoPlace) => {
                "set HOME, or name a credential helper in Docker's config.json".to_owned()
            }
            Self::PolicyRejects { policy, .. } => {
                format!("change {} if it is to be accepted", policy.display())
            }
            Self::Unsigned { reference, .. } => {
                format!("sign it with `cosign sign --key KEY {reference}`, or pull another")
            }
            Self::WrongSignature { policy, .. } => {
                format!("do not run it unless you know why; the keys are named in {}", policy.display())
            }
            Self::NoSearch { .. } => "look at the registry's own pages".to_owned(),
            Self::NoPlatform { available, .. } => {
                format!("choose one with --platform {}", available.first()?)
            }
            Self::WrongPlatform { actual, .. } => {
                format!("--platform {actual} takes it as it is")
            }
            Self::Exhausted { last, .. } => last.hint()?,
            _ => return None,
        })
    }
}

fn unreachable_hint(reasons: &str, registry: &str) -> Option<String> {
    if reasons.contains("certificate") {
        return Some(format!(
            "the certificate of {registry} is not trusted here: put its CA into \
             /etc/docker/certs.d/{registry}/ca.crt, name it in /etc/tug/registries.json, or set \
             SSL_CERT_FILE"
        ));
    }
    (registry == "docker.io")
        .then(|| "check the network, or name a mirror of docker.io in the settings".to_owned())
}

/// When the registry lets one in again, by the clock and in seconds.
fn retry_hint(wait: Duration, now: jiff::Timestamp) -> String {
    let seconds = wait.as_secs().max(1);
    let at = jiff::SignedDuration::try_from(wait).ok().and_then(|wait| now.checked_add(wait).ok());
    match at {
        Some(at) => format!("retry after {seconds} s, at {}", at.strftime("%H:%M:%S UTC")),
        None => format!("retry after {seconds} s"),
    }
}

/// Docker Hub is what `login` means without an argument.
fn login_argument(registry: &str) -> String {
    if registry == "docker.io" { String::new() } else { format!(" {registry}") }
}

fn tail(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
