//! What a front end decides about talking to registries. Nothing here is read from the
//! environment: values come in.

use crate::policy::Policies;
use crate::registries::Registries;
use std::path::PathBuf;
use std::time::Duration;

/// How registries are reached.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Mirrors of `docker.io`, asked in this order before `docker.io` itself: URLs, or bare hosts.
    pub mirrors: Vec<String>,
    /// Mirrors, fallbacks, certificates and exceptions by registry.
    pub registries: Registries,
    /// Which images must bear whose signature.
    pub policies: Policies,
    /// Directories laid out as Docker's `/etc/docker/certs.d`, in the order they are looked into.
    pub certs_dirs: Vec<PathBuf>,
    /// The directory that holds Docker's `config.json`; `None`: no credentials from there.
    pub docker_config_dir: Option<PathBuf>,
    /// Where tug's own sealed credentials are.
    pub vault: Option<Vault>,
    /// A PEM bundle to trust instead of the system's (`SSL_CERT_FILE`).
    pub ca_file: Option<PathBuf>,
    /// How often and how patiently.
    pub retry: Retry,
    /// For one connection to be set up, TLS included.
    pub connect_timeout: Duration,
    /// For the next byte to arrive.
    pub read_timeout: Duration,
    /// Bytes of one piece of an upload; what a lost connection may cost.
    pub upload_piece: usize,
}

/// Where tug keeps credentials itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vault {
    /// The sealed credentials, `~/.config/tug/credentials.json`.
    pub file: PathBuf,
    /// The key they are sealed with, somewhere else: `~/.local/state/tug/credentials.key`.
    pub key: PathBuf,
}

/// Bounds of patience with a faulty registry.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// Attempts altogether, the first included; at least 1.
    pub tries: u32,
    /// Before the second attempt; doubled before each further one.
    pub first_wait: Duration,
    /// A registry asking for a longer wait than this (`Retry-After`) ends the attempt instead.
    pub longest_wait: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mirrors: Vec::new(),
            registries: Registries::default(),
            policies: Policies::default(),
            certs_dirs: Vec::new(),
            docker_config_dir: None,
            vault: None,
            ca_file: None,
            retry: Retry::default(),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(60),
            upload_piece: 8 << 20,
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            tries: 5,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(60),
        }
    }
}

impl Retry {
    /// What to wait after the `failed`th attempt (from 1).
    pub(crate) fn wait_after(&self, failed: u32) -> Duration {
        let doubled = 1u32 << failed.saturating_sub(1).min(16);
        (self.first_wait * doubled).min(self.longest_wait)
    }
}
