//! Logging in and out: asking the registry whether it knows somebody, and keeping or forgetting
//! what it takes.

use crate::ask::{Ask, What};
use crate::base64;
use crate::client::Client;
use crate::credentials::{self, Credentials, CredentialsError, Secret};
use crate::endpoint::own_endpoint;
use crate::error::Error;
use crate::settings::Settings;
use crate::transport::Outgoing;
use crate::vault;
use reqwest::Method;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a log-in is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// `docker-credential-NAME`, as `config.json` says.
    Helper(String),
    /// tug's own sealed file.
    Vault(PathBuf),
    /// Docker's `config.json`, as good as in the clear.
    PlainText(PathBuf),
}

/// Somebody a registry knows.
#[derive(Debug)]
pub struct Account(Credentials);

impl Client {
    /// Asks a registry whether it knows somebody by this user name and password. What it answers
    /// with is what is to be kept: the password, or a token in place of it.
    ///
    /// # Errors
    /// [`Error::LoginRefused`], or why there is no answer.
    pub fn login(&self, registry: &str, user: &str, password: &str) -> Result<Account, Error> {
        let secret = Secret::new(password.to_owned());
        self.check(registry, Credentials::Password { user: user.to_owned(), secret })
    }

    /// The same with what is kept. `None` when nothing is.
    ///
    /// # Errors
    /// As [`Client::login`]; [`Error::Credentials`] when it cannot be looked up.
    pub fn login_again(&self, registry: &str) -> Result<Option<Account>, Error> {
        let found = credentials::find(self.settings(), registry).map_err(Error::Credentials)?;
        found.map(|credentials| self.check(registry, credentials)).transpose()
    }

    fn check(&self, registry: &str, credentials: Credentials) -> Result<Account, Error> {
        let endpoint = own_endpoint(registry, self.settings())?;
        let ask = Arc::new(Ask {
            registry: registry.to_owned(),
            repository: String::new(),
            what: What::Login,
        });
        endpoint.authorizations.assume(credentials.clone());
        let answer = self.wait_for(self.transport().send(
            &endpoint,
            &ask,
            &Outgoing::new(Method::GET),
            &|_, _| {},
        ));
        match answer {
            Ok(_) => {
                let token = endpoint.authorizations.identity();
                Ok(Account(token.map_or(credentials, Credentials::Identity)))
            }
            Err(Error::Denied { text, .. } | Error::Token { refused: true, reason: text, .. }) => {
                Err(Error::LoginRefused { ask, text })
            }
            Err(error) => Err(error),
        }
    }
}

/// Keeps what a registry knows somebody by: with the helper that `config.json` names; without one
/// in the vault, or in `config.json` itself when that is asked for.
///
/// # Errors
/// When it cannot be kept.
pub fn keep(
    settings: &Settings,
    registry: &str,
    account: &Account,
    plain_text: bool,
) -> Result<Keeper, Error> {
    keep_in(settings, registry, &account.0, plain_text).map_err(Error::Credentials)
}

fn keep_in(
    settings: &Settings,
    registry: &str,
    credentials: &Credentials,
    plain_text: bool,
) -> Result<Keeper, CredentialsError> {
    let key = credentials::docker_key(registry);
    let config = settings.docker_config_dir.as_ref().map(|dir| dir.join("config.json"));
    if let Some(config) = &config
        && let Some(helper) = credentials::helper_of(config, registry)?
    {
        credentials::helper_store(config, &helper, key, credentials)?;
        return Ok(Keeper::Helper(helper));
    }
    if plain_text {
        let config = config.ok_or(CredentialsError::NoPlace)?;
        edit_config(&config, |value| {
            value["auths"][key] = match credentials {
                Credentials::Password { user, secret } => {
                    let pair = format!("{user}:{}", secret.reveal());
                    json!({"auth": base64::encode(pair.as_bytes())})
                }
                Credentials::Identity(token) => {
                    json!({"auth": base64::encode(b"<token>:"), "identitytoken": token.reveal()})
                }
            };
            true
        })?;
        // One place each: the vault is looked into first.
        if let Some(vault) = &settings.vault {
            vault::erase(vault, registry)?;
        }
        return Ok(Keeper::PlainText(config));
    }
    let vault = settings.vault.as_ref().ok_or(CredentialsError::NoPlace)?;
    vault::store(vault, registry, credentials)?;
    Ok(Keeper::Vault(vault.file.clone()))
}

/// Forgets a log-in wherever it is kept. Answers with where it was.
///
/// # Errors
/// When it cannot be forgotten somewhere.
pub fn forget(settings: &Settings, registry: &str) -> Result<Vec<Keeper>, Error> {
    forget_in(settings, registry).map_err(Error::Credentials)
}

fn forget_in(settings: &Settings, registry: &str) -> Result<Vec<Keeper>, CredentialsError> {
    let mut forgotten = Vec::new();
    if let Some(vault) = &settings.vault
        && vault::erase(vault, registry)?
    {
        forgotten.push(Keeper::Vault(vault.file.clone()));
    }
    let Some(dir) = &settings.docker_config_dir else { return Ok(forgotten) };
    let config = dir.join("config.json");
    if let Some(helper) = credentials::helper_of(&config, registry)? {
        let known = credentials::find_in_docker(dir, registry)?.is_some();
        if known {
            let key = credentials::docker_key(registry);
            credentials::helper_erase(&config, &helper, key)?;
            forgotten.push(Keeper::Helper(helper));
        }
    }
    let names = credentials::keys_of(registry);
    let mut removed = false;
    edit_config(&config, |value| {
        let Some(auths) = value.get_mut("auths").and_then(Value::as_object_mut) else {
            return false;
        };
        for name in &names {
            removed |= auths.remove(name).is_some();
        }
        removed
    })?;
    if removed {
        forgotten.push(Keeper::PlainText(config));
    }
    Ok(forgotten)
}

/// Changes Docker's `config.json`, leaving whatever else it says. Nothing is written when the edit
/// says that it changed nothing.
fn edit_config(path: &Path, edit: impl FnOnce(&mut Value) -> bool) -> Result<(), CredentialsError> {
    let format = |reason: String| CredentialsError::Format { path: path.to_owned(), reason };
    let mut value = match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| format(error.to_string()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => json!({}),
        Err(error) => {
            let reason = error.to_string();
            return Err(CredentialsError::Read { path: path.to_owned(), reason });
        }
    };
    if !value.is_object() {
        return Err(format("it is no JSON object".to_owned()));
    }
    if !edit(&mut value) {
        return Ok(());
    }
    let bytes = serde_json::to_vec_pretty(&value).map_err(|error| format(error.to_string()))?;
    vault::write_private(path, &bytes).map_err(|error| CredentialsError::Write {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

/// A registry as users write it in `login`: without scheme and path; Docker Hub by any of its names.
pub fn registry_name(text: &str) -> String {
    let bare = text.split_once("://").map_or(text, |(_, rest)| rest);
    let host = bare.split('/').next().unwrap_or(bare);
    match host {
        "" | "docker.io" | "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        host => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Vault;

    fn settings(dir: &Path) -> Settings {
        let vault = Vault { file: dir.join("c.json"), key: dir.join("k") };
        Settings {
            docker_config_dir: Some(dir.to_owned()),
            vault: Some(vault),
            ..Settings::default()
        }
    }

    fn me(secret: &str) -> Credentials {
        Credentials::Password { user: "me".into(), secret: Secret::new(secret.into()) }
    }

    #[test]
    fn without_a_helper_it_is_sealed_and_docker_s_file_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        let config = dir.path().join("config.json");
        std::fs::write(&config, r#"{"psFormat":"x"}"#).unwrap();
        let kept = keep_in(&settings, "r.io", &me("hunter2"), false).unwrap();
        assert_eq!(kept, Keeper::Vault(dir.path().join("c.json")));
        assert_eq!(std::fs::read_to_string(&config).unwrap(), r#"{"psFormat":"x"}"#);
        assert_eq!(credentials::find(&settings, "r.io"), Ok(Some(me("hunter2"))));
        assert_eq!(forget_in(&settings, "r.io").unwrap(), [kept]);
        assert_eq!(credentials::find(&settings, "r.io"), Ok(None));
        assert_eq!(forget_in(&settings, "r.io").unwrap(), []);
    }

    #[test]
    fn plain_text_is_what_docker_writes_and_only_when_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        let config = dir.path().join("config.json");
        std::fs::write(&config, r#"{"psFormat":"x"}"#).unwrap();
        let kept = keep_in(&settings, "docker.io", &me("pass"), true).unwrap();
        assert_eq!(kept, Keeper::PlainText(config.clone()));
        let value: Value = serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
        assert_eq!(value["auths"]["https://index.docker.io/v1/"]["auth"], "bWU6cGFzcw==");
        assert_eq!(value["psFormat"], "x");
        assert_eq!(credentials::find(&settings, "docker.io"), Ok(Some(me("pass"))));
        assert_eq!(forget_in(&settings, "docker.io").unwrap(), [kept]);
        assert_eq!(credentials::find(&settings, "docker.io"), Ok(None));
    }

    #[test]
    fn registries_are_named_without_scheme_and_path() {
        for (text, name) in [
            ("", "docker.io"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("registry.lan:5000", "registry.lan:5000"),
            ("http://registry.lan:5000/v2/", "registry.lan:5000"),
        ] {
            assert_eq!(registry_name(text), name);
        }
    }
}
