//! `login`, `logout` and `search`: who the user is to a registry, and what it has.

use super::pull::failed;
use crate::{Engine, Error};
use tug_registry::{Client, Found, Keeper};

/// What a log-in came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedIn {
    /// The registry, `docker.io` for Docker Hub.
    pub registry: String,
    /// Where the log-in is kept now.
    pub kept: Keeper,
}

impl Engine {
    /// Logs in to a registry (a host, or a URL of one; empty for Docker Hub) and keeps what it
    /// takes: with the helper Docker's `config.json` names, else sealed in tug's own file, or in
    /// Docker's file as it is when `plain_text` is asked for.
    ///
    /// # Errors
    /// When the registry refuses or does not answer, or when the log-in cannot be kept.
    pub fn login(
        &self,
        registry: &str,
        user: &str,
        password: &str,
        plain_text: bool,
    ) -> Result<LoggedIn, Error> {
        let registry = tug_registry::registry_name(registry);
        let settings = self.registry_settings()?;
        let client = Client::new(settings.clone()).map_err(failed)?;
        let account = client.login(&registry, user, password).map_err(failed)?;
        let kept = tug_registry::keep(&settings, &registry, &account, plain_text);
        Ok(LoggedIn { kept: kept.map_err(failed)?, registry })
    }

    /// Whether what is kept for a registry is still good there; false when nothing is.
    ///
    /// # Errors
    /// When the registry refuses it or does not answer.
    pub fn login_again(&self, registry: &str) -> Result<bool, Error> {
        let registry = tug_registry::registry_name(registry);
        let client = Client::new(self.registry_settings()?).map_err(failed)?;
        Ok(client.login_again(&registry).map_err(failed)?.is_some())
    }

    /// Forgets the log-in for a registry. Answers with where it was kept.
    ///
    /// # Errors
    /// When it cannot be forgotten.
    pub fn logout(&self, registry: &str) -> Result<Vec<Keeper>, Error> {
        let registry = tug_registry::registry_name(registry);
        tug_registry::forget(&self.registry_settings()?, &registry).map_err(failed)
    }

    /// Repositories that match a term, `[REGISTRY/]TERM`; on Docker Hub without a registry.
    ///
    /// # Errors
    /// When the registry offers no search, or does not answer.
    pub fn search(&self, term: &str, limit: u32) -> Result<Vec<Found>, Error> {
        let (registry, term) = match term.split_once('/') {
            Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (host, rest),
            _ => ("docker.io", term),
        };
        let client = Client::new(self.registry_settings()?).map_err(failed)?;
        let registry = tug_registry::registry_name(registry);
        client.search(&registry, term, limit).map_err(failed)
    }
}
