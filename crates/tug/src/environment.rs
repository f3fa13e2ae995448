//! The one place that reads the process' environment. Everything below gets values.
//!
//! | variable | meaning |
//! |---|---|
//! | `TUG_DATA_ROOT`, `TUG_EXEC_ROOT` | as `--data-root`, `--exec-root` |
//! | `TUG_MIRROR` | mirrors of docker.io, URLs separated by commas or blanks |
//! | `DOCKER_CONFIG` | folder of Docker's `config.json`, as `--config` |
//! | `DOCKER_DEFAULT_PLATFORM` | as `--platform`, where none is given |
//! | `TUG_REGISTRIES`, `TUG_POLICY` | instead of `registries.json` and `policy.json` in `/etc/tug` and `~/.config/tug` |
//! | `XDG_CONFIG_HOME`, `XDG_STATE_HOME` | instead of `~/.config` and `~/.local/state` |
//! | `TUG_BUILD_CACHE` | bytes that builds may keep and write, such as `20g` |
//! | `NO_COLOR` | no colours in the progress of a pull |

use std::path::PathBuf;

/// A variable of the caller's, when it is set and is text.
#[expect(clippy::disallowed_methods, reason = "the binary's one door to the environment")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The same; set to nothing counts as not set.
fn set(name: &str) -> Option<String> {
    variable(name).filter(|text| !text.is_empty())
}

/// `TUG_DATA_ROOT`
pub(crate) fn data_root() -> Option<PathBuf> {
    set("TUG_DATA_ROOT").map(PathBuf::from)
}

/// `TUG_EXEC_ROOT`
pub(crate) fn exec_root() -> Option<PathBuf> {
    set("TUG_EXEC_ROOT").map(PathBuf::from)
}

/// `TUG_MIRROR`
pub(crate) fn mirrors() -> Vec<String> {
    let text = set("TUG_MIRROR").unwrap_or_default();
    let separated = text.split(|c: char| c == ',' || c.is_whitespace());
    separated.filter(|url| !url.is_empty()).map(str::to_owned).collect()
}

/// `DOCKER_CONFIG`, or `~/.docker`.
pub(crate) fn docker_config_dir() -> Option<PathBuf> {
    set("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".docker")))
}

/// Settings of registries: the machine's in `/etc/tug`, the user's in `~/.config/tug`, and the
/// certificates where Docker has them. `TUG_REGISTRIES` and `TUG_POLICY` replace the files.
pub(crate) fn registry_files() -> tug_engine::RegistryFiles {
    let home = set("HOME").map(PathBuf::from);
    let below = |name: &str, rest: &str| {
        set(name).map(PathBuf::from).or_else(|| home.as_ref().map(|home| home.join(rest)))
    };
    let config = below("XDG_CONFIG_HOME", ".config").map(|dir| dir.join("tug"));
    let state = below("XDG_STATE_HOME", ".local/state").map(|dir| dir.join("tug"));
    let files = |variable: &str, name: &str| match set(variable) {
        Some(path) => vec![PathBuf::from(path)],
        None => {
            let dirs = std::iter::once(PathBuf::from("/etc/tug")).chain(config.clone());
            dirs.map(|dir| dir.join(name)).collect()
        }
    };
    let mut certs_dirs = vec![PathBuf::from("/etc/docker/certs.d")];
    certs_dirs.extend(home.as_ref().map(|home| home.join(".config/docker/certs.d")));
    let vault = config.as_ref().zip(state).map(|(config, state)| tug_engine::Vault {
        file: config.join("credentials.json"),
        key: state.join("credentials.key"),
    });
    tug_engine::RegistryFiles {
        settings: files("TUG_REGISTRIES", "registries.json"),
        policies: files("TUG_POLICY", "policy.json"),
        certs_dirs,
        vault,
    }
}

/// `DOCKER_DEFAULT_PLATFORM`
pub(crate) fn default_platform() -> Option<String> {
    set("DOCKER_DEFAULT_PLATFORM")
}

/// `TUG_BUILD_CACHE`
pub(crate) fn build_cache() -> Option<String> {
    set("TUG_BUILD_CACHE")
}

/// Whether colours are unwelcome.
pub(crate) fn no_color() -> bool {
    set("NO_COLOR").is_some()
}
