//! Who the user is to a registry, from tug's own vault and from Docker's `config.json`: `auths`,
//! `credHelpers` and `credsStore`. Running a helper (`docker-credential-NAME`) is what that protocol
//! consists of, and the one place where tug runs another program; it happens only when a registry
//! demands a log-in, and at `login` and `logout`.

use crate::settings::Settings;
use crate::vault;
use docker_credential::{CredentialRetrievalError as Failed, DockerCredential};
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Key of Docker Hub in `config.json`, since its first version.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// A text that neither `Debug` nor `Display` shows.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

/// What a user has for a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// Sent with basic authentication, to the registry or its token server.
    Password {
        /// User name.
        user: String,
        /// Password or access token.
        secret: Secret,
    },
    /// An OAuth2 refresh token, exchanged at the token server.
    Identity(Secret),
}

/// Why configured credentials cannot be used. Pulls go on without them and say so when denied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// The file is there but unreadable.
    #[error("read {path}: {reason}")]
    Read {
        /// `config.json`.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// It is not what Docker writes.
    #[error("{path} is not a Docker configuration: {reason}")]
    Format {
        /// `config.json`.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file cannot be written.
    #[error("write {path}: {reason}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Without a home directory there is no file to keep anything in.
    #[error("there is no place to keep the log-in in")]
    NoPlace,
    /// A credential helper cannot be run or fails.
    #[error("credential helper named in {path}: {reason}")]
    Helper {
        /// `config.json`.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl Secret {
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Looks a registry up, in the vault first. Blocks while a helper runs.
pub(crate) fn find(
    settings: &Settings,
    registry: &str,
) -> Result<Option<Credentials>, CredentialsError> {
    let sealed = match &settings.vault {
        Some(vault) => vault::find(vault, registry),
        None => Ok(None),
    };
    if let Ok(Some(found)) = sealed {
        return Ok(Some(found));
    }
    let other = match &settings.docker_config_dir {
        Some(dir) => find_in_docker(dir, registry)?,
        None => None,
    };
    // A vault that does not open is told only when nothing else is known.
    if other.is_some() { Ok(other) } else { sealed }
}

/// A registry's key in `config.json`.
pub(crate) fn docker_key(registry: &str) -> &str {
    if registry == "docker.io" { DOCKER_HUB } else { registry }
}

/// Every key it may be found under.
pub(crate) fn keys_of(registry: &str) -> Vec<String> {
    let mut keys = vec![docker_key(registry).to_owned(), registry.to_owned()];
    keys.extend(["https://", "http://"].map(|scheme| format!("{scheme}{registry}")));
    keys
}

/// The helper that `config.json` names for a registry.
pub(crate) fn helper_of(config: &Path, registry: &str) -> Result<Option<String>, CredentialsError> {
    let format = |reason: String| CredentialsError::Format { path: config.to_owned(), reason };
    let bytes = match std::fs::read(config) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let reason = error.to_string();
            return Err(CredentialsError::Read { path: config.to_owned(), reason });
        }
    };
    let value: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|error| format(error.to_string()))?;
    let own = keys_of(registry).into_iter().find_map(|key| value["credHelpers"].get(&key).cloned());
    let name = own.or_else(|| value.get("credsStore").cloned());
    Ok(name.and_then(|name| name.as_str().map(str::to_owned)).filter(|name| !name.is_empty()))
}

/// Gives a helper something to keep.
pub(crate) fn helper_store(
    config: &Path,
    helper: &str,
    key: &str,
    credentials: &Credentials,
) -> Result<(), CredentialsError> {
    let (user, secret) = match credentials {
        Credentials::Password { user, secret } => (user.as_str(), secret),
        Credentials::Identity(token) => ("<token>", token),
    };
    let text = serde_json::json!({"ServerURL": key, "Username": user, "Secret": secret.reveal()});
    run_helper(config, helper, "store", &text.to_string())
}

/// Has a helper forget something.
pub(crate) fn helper_erase(config: &Path, helper: &str, key: &str) -> Result<(), CredentialsError> {
    run_helper(config, helper, "erase", key)
}

#[expect(clippy::disallowed_methods, reason = "the protocol of credential helpers is to run them")]
fn run_helper(
    config: &Path,
    helper: &str,
    verb: &str,
    input: &str,
) -> Result<(), CredentialsError> {
    let program = format!("docker-credential-{helper}");
    let failed = |reason: String| CredentialsError::Helper { path: config.to_owned(), reason };
    let mut command = Command::new(&program);
    command.arg(verb).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| {
        failed(format!("{program} cannot be run ({error}): is it installed and in PATH?"))
    })?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not listen says why by its exit.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let words = if output.stderr.is_empty() { output.stdout } else { output.stderr };
    let words = crate::refusal::clean(&String::from_utf8_lossy(&words));
    Err(failed(format!("{program} {verb} failed: {words}")))
}

/// Looks a registry up in `config.json` below `dir`. Blocks while a helper runs.
pub(crate) fn find_in_docker(
    dir: &Path,
    registry: &str,
) -> Result<Option<Credentials>, CredentialsError> {
    let path = dir.join("config.json");
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(CredentialsError::Read { path, reason: error.to_string() }),
    };
    // `docker login docker.io` and hand-written files use the short name.
    let keys: &[&str] =
        if registry == "docker.io" { &[DOCKER_HUB, "docker.io"] } else { &[registry] };
    for key in keys {
        match docker_credential::get_credential_from_reader(text.as_slice(), key) {
            Ok(found) => return Ok(usable(found)),
            Err(Failed::NoCredentialConfigured) => {}
            Err(Failed::HelperFailure { stdout, .. }) if is_not_found(&stdout) => {}
            Err(error) => return Err(classify(path, error)),
        }
    }
    Ok(None)
}

fn usable(found: DockerCredential) -> Option<Credentials> {
    match found {
        DockerCredential::IdentityToken(token) if token.is_empty() => None,
        DockerCredential::IdentityToken(token) => Some(Credentials::Identity(Secret(token))),
        DockerCredential::UsernamePassword(user, secret)
            if user.is_empty() && secret.is_empty() =>
        {
            None
        }
        DockerCredential::UsernamePassword(user, secret) => {
            // Old clients padded the decoded pair with NULs.
            let secret = Secret(secret.trim_matches('\0').to_owned());
            Some(Credentials::Password { user, secret })
        }
    }
}

/// The helpers' protocol has no code for "nothing stored", only this sentence.
fn is_not_found(stdout: &str) -> bool {
    stdout.trim() == "credentials not found in native keychain"
}

fn classify(path: PathBuf, error: Failed) -> CredentialsError {
    match error {
        Failed::HelperFailure { helper, stdout, stderr } => {
            let words = if stderr.trim().is_empty() { stdout } else { stderr };
            let reason = format!("{helper} failed: {}", crate::refusal::clean(&words));
            CredentialsError::Helper { path, reason }
        }
        Failed::HelperCommunicationError => {
            let reason = "the program cannot be run: is it installed and in PATH?".to_owned();
            CredentialsError::Helper { path, reason }
        }
        Failed::MalformedHelperResponse => {
            let reason = "its answer is not the JSON it should be".to_owned();
            CredentialsError::Helper { path, reason }
        }
        other => CredentialsError::Format { path, reason: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find_in(config: &str, registry: &str) -> Result<Option<Credentials>, CredentialsError> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.json"), config).unwrap();
        find_in_docker(dir.path(), registry)
    }

    fn password(user: &str, secret: &str) -> Option<Credentials> {
        Some(Credentials::Password { user: user.into(), secret: Secret(secret.into()) })
    }

    // "me:pass" in base64.
    const PAIR: &str = "bWU6cGFzcw==";

    #[test]
    fn registries_are_found_by_the_keys_docker_writes() {
        for (key, registry) in [
            ("localhost:5000", "localhost:5000"),
            ("https://r.io", "r.io"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("docker.io", "docker.io"),
        ] {
            let config = format!(r#"{{"auths":{{"{key}":{{"auth":"{PAIR}"}}}}}}"#);
            assert_eq!(find_in(&config, registry), Ok(password("me", "pass")), "{key}");
        }
    }

    #[test]
    fn identity_tokens_come_before_the_pair_they_are_stored_with() {
        let config = r#"{"auths":{"r.io":{"auth":"bWU6","identitytoken":"refresh"}}}"#;
        assert_eq!(
            find_in(config, "r.io"),
            Ok(Some(Credentials::Identity(Secret("refresh".into()))))
        );
    }

    #[test]
    fn nothing_configured_is_no_error_but_a_broken_file_is() {
        assert_eq!(find_in_docker(Path::new("/nonexistent"), "r.io"), Ok(None));
        assert_eq!(find_in("{}", "r.io"), Ok(None));
        assert_eq!(find_in(r#"{"auths":{"r.io":{}}}"#, "r.io"), Ok(None));
        let error = find_in("{", "r.io").unwrap_err();
        assert!(error.to_string().contains("is not a Docker configuration"), "{error}");
        let error = find_in(r#"{"auths":{"r.io":{"auth":"%%"}}}"#, "r.io").unwrap_err();
        assert!(matches!(error, CredentialsError::Format { .. }), "{error}");
    }

    #[test]
    fn a_missing_helper_is_named() {
        let error = find_in(r#"{"credHelpers":{"r.io":"tug-nonexistent"}}"#, "r.io").unwrap_err();
        assert!(error.to_string().contains("cannot be run"), "{error}");
    }

    #[test]
    fn secrets_do_not_show() {
        let shown = format!("{:?}", password("me", "hunter2").unwrap());
        assert!(shown.contains("me") && !shown.contains("hunter2"), "{shown}");
    }
}
