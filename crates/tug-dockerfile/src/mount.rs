//! `--mount` and `--device` of a `RUN`: their options.

use std::fmt;

use crate::ast::Device;
use crate::csv::{self, CsvError};
use crate::directive::boolean;
use crate::expand::ExpandError;
use crate::problem::did_you_mean;
use crate::suggest::nearest;

/// A mount of one `RUN`, variables replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// `type=`, `bind` when not given.
    pub kind: MountKind,
    /// `from=`: stage, named context or image; the build context when not given.
    pub from: Option<String>,
    /// `source=`: the path inside `from`; for a secret, its id.
    pub source: String,
    /// `target=`; may be relative to the working directory.
    pub target: String,
    /// `readonly`/`readwrite`, or the kind's default: cache and tmpfs are writable.
    pub read_only: bool,
    /// `size=` of a tmpfs, bytes.
    pub size: Option<u64>,
    /// `id=` of a cache, a secret or an ssh socket.
    pub id: Option<String>,
    /// `sharing=` of a cache.
    pub sharing: Option<Sharing>,
    /// `required` of a secret or an ssh socket.
    pub required: bool,
    /// `env=` of a secret: the variable it goes into; an empty name means the id's.
    pub env: Option<String>,
    /// `mode=`
    pub mode: Option<u32>,
    /// `uid=`
    pub uid: Option<u32>,
    /// `gid=`
    pub gid: Option<u32>,
}

/// `type=` of a mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MountKind {
    /// Files of the context or of another stage.
    #[default]
    Bind,
    /// A directory that lives longer than the build.
    Cache,
    /// A memory file system.
    Tmpfs,
    /// A secret as a file or a variable.
    Secret,
    /// The client's ssh agent.
    Ssh,
}

/// `sharing=` of a cache mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// By several steps at once.
    #[default]
    Shared,
    /// A new one when it is in use.
    Private,
    /// The second user waits.
    Locked,
}

/// A `--mount` or `--device` that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MountError {
    /// The list of options itself is broken.
    #[error("failed to parse csv {what}: {error}")]
    Csv {
        /// `mounts` or `devices`.
        what: &'static str,
        /// What is wrong with it.
        error: CsvError,
    },
    /// A variable in `from=`.
    #[error("'from' doesn't support variable expansion, define alias stage instead")]
    FromVariable,
    /// An option without `=value`.
    #[error("invalid field '{0}' must be a key=value pair")]
    NotAPair(String),
    /// An option the kind does not have.
    #[error("unexpected key '{key}' for mount type '{kind}'")]
    KeyForKind {
        /// The option.
        key: String,
        /// The mount's kind.
        kind: MountKind,
    },
    /// No such option.
    #[error("unexpected key '{key}' in '{field}'{}", did_you_mean(.suggestion))]
    Key {
        /// The option.
        key: String,
        /// All of it.
        field: String,
        /// One that looks like it.
        suggestion: Option<String>,
    },
    /// No such kind.
    #[error("unsupported mount type {value:?}{}", did_you_mean(.suggestion))]
    Kind {
        /// What was given.
        value: String,
        /// One that looks like it.
        suggestion: Option<String>,
    },
    /// No such sharing.
    #[error("unsupported sharing value {value:?}{}", did_you_mean(.suggestion))]
    Sharing {
        /// What was given.
        value: String,
        /// One that looks like it.
        suggestion: Option<String>,
    },
    /// Neither true nor false, or no size.
    #[error("invalid value for {key}: {value}")]
    Value {
        /// The option.
        key: String,
        /// What was given.
        value: String,
    },
    /// No number.
    #[error("invalid value {value} for {key}")]
    Number {
        /// The option.
        key: &'static str,
        /// What was given.
        value: String,
    },
    /// `mode`, `uid` or `gid` of a bind or tmpfs.
    #[error("{key} not allowed for \"{kind}\" type mounts")]
    NotAllowed {
        /// The option.
        key: &'static str,
        /// The mount's kind.
        kind: MountKind,
    },
    /// `from=` of a secret.
    #[error("secret mount should not have a from")]
    SecretFrom,
    /// `sharing=` of a secret.
    #[error("secret mount should not define sharing")]
    SecretSharing,
    /// A secret without a name.
    #[error("invalid secret mount. one of source, target required")]
    SecretUnnamed,
    /// A secret with two names.
    #[error("both source and id can't be set")]
    SecretTwice,
    /// `sharing=` of something that is no cache.
    #[error("invalid cache sharing set for {kind} mount")]
    SharingForKind {
        /// The mount's kind.
        kind: MountKind,
    },
    /// Two names for a device.
    #[error("device name already set to {0}")]
    DeviceTwice(String),
    /// A variable in it cannot be replaced.
    #[error(transparent)]
    Expand(#[from] ExpandError),
}

impl fmt::Display for MountKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bind => "bind",
            Self::Cache => "cache",
            Self::Tmpfs => "tmpfs",
            Self::Secret => "secret",
            Self::Ssh => "ssh",
        })
    }
}

/// The value of `from=` in a mount flag that is not expanded yet.
pub(crate) fn unexpanded_from(raw: &str) -> Result<Option<String>, MountError> {
    let mut from = None;
    for field in fields(raw, "mounts")? {
        let Some((key, value)) = field.split_once('=') else { continue };
        if key.eq_ignore_ascii_case("from") {
            if value.find('$').is_some_and(|at| at + 1 != value.len()) {
                return Err(MountError::FromVariable);
            }
            from = Some(value.to_owned()).filter(|from| !from.is_empty());
        }
    }
    Ok(from)
}

impl Mount {
    /// Reads what follows `--mount=`, each value through `expand`.
    pub(crate) fn parse(
        raw: &str,
        expand: &mut dyn FnMut(&str) -> Result<String, ExpandError>,
    ) -> Result<Self, MountError> {
        let mut mount = Self {
            kind: MountKind::Bind,
            from: None,
            source: String::new(),
            target: String::new(),
            read_only: false,
            size: None,
            id: None,
            sharing: None,
            required: false,
            env: None,
            mode: None,
            uid: None,
            gid: None,
        };
        let mut read_only = None;
        for field in fields(raw, "mounts")? {
            match field.split_once('=') {
                None => mount.switch(&field, &mut read_only)?,
                Some((key, value)) => {
                    let value = expand(value)?;
                    mount.option(&field, &key.to_lowercase(), value, &mut read_only)?;
                }
            }
        }
        mount.read_only =
            read_only.unwrap_or(!matches!(mount.kind, MountKind::Cache | MountKind::Tmpfs));
        mount.check()?;
        Ok(mount)
    }

    /// An option without a value.
    fn switch(&mut self, field: &str, read_only: &mut Option<bool>) -> Result<(), MountError> {
        match field.to_lowercase().as_str() {
            "readonly" | "ro" => *read_only = Some(true),
            "readwrite" | "rw" => *read_only = Some(false),
            "required" => {
                self.only_for("required", &[MountKind::Secret, MountKind::Ssh])?;
                self.required = true;
            }
            _ => return Err(MountError::NotAPair(field.to_owned())),
        }
        Ok(())
    }

    fn option(
        &mut self,
        field: &str,
        key: &str,
        value: String,
        read_only: &mut Option<bool>,
    ) -> Result<(), MountError> {
        let truth = |value: &str| {
            boolean(value)
                .ok_or_else(|| MountError::Value { key: key.to_owned(), value: value.to_owned() })
        };
        match key {
            "type" => self.kind = kind(value)?,
            "from" => self.from = Some(value).filter(|from| !from.is_empty()),
            "source" | "src" => self.source = value,
            "target" | "dst" | "destination" => self.target = value,
            "readonly" | "ro" => *read_only = Some(truth(&value)?),
            "readwrite" | "rw" => *read_only = Some(!truth(&value)?),
            "required" => {
                self.only_for(key, &[MountKind::Secret, MountKind::Ssh])?;
                self.required = truth(&value)?;
            }
            "size" => {
                self.only_for(key, &[MountKind::Tmpfs])?;
                let size = bytes(&value).ok_or(MountError::Value { key: key.to_owned(), value })?;
                self.size = Some(size);
            }
            "id" => self.id = Some(value).filter(|id| !id.is_empty()),
            "sharing" => self.sharing = Some(sharing(value)?),
            "mode" => self.mode = Some(number("mode", value, 8)?),
            "uid" => self.uid = Some(number("uid", value, 10)?),
            "gid" => self.gid = Some(number("gid", value, 10)?),
            "env" => self.env = Some(value),
            _ => {
                let suggestion = nearest(key, KEYS.iter().copied(), true);
                return Err(MountError::Key {
                    key: key.to_owned(),
                    field: field.to_owned(),
                    suggestion,
                });
            }
        }
        Ok(())
    }

    fn only_for(&self, key: &str, kinds: &[MountKind]) -> Result<(), MountError> {
        if kinds.contains(&self.kind) {
            return Ok(());
        }
        Err(MountError::KeyForKind { key: key.to_owned(), kind: self.kind })
    }

    fn check(&self) -> Result<(), MountError> {
        let kind = self.kind;
        if matches!(kind, MountKind::Bind | MountKind::Tmpfs) {
            for (key, given) in [
                ("mode", self.mode.is_some()),
                ("uid", self.uid.is_some()),
                ("gid", self.gid.is_some()),
            ] {
                if given {
                    return Err(MountError::NotAllowed { key, kind });
                }
            }
        }
        if kind == MountKind::Secret {
            if self.from.is_some() {
                return Err(MountError::SecretFrom);
            }
            if self.sharing.is_some() {
                return Err(MountError::SecretSharing);
            }
            if self.source.is_empty() && self.target.is_empty() && self.id.is_none() {
                return Err(MountError::SecretUnnamed);
            }
            if !self.source.is_empty() && self.id.is_some() {
                return Err(MountError::SecretTwice);
            }
        }
        if self.sharing.is_some() && kind != MountKind::Cache {
            return Err(MountError::SharingForKind { kind });
        }
        Ok(())
    }
}

const KEYS: &[&str] = &[
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "src",
    "dst",
    "destination",
    "ro",
    "rw",
    "readwrite",
    "env",
];

fn kind(value: String) -> Result<MountKind, MountError> {
    use MountKind::{Bind, Cache, Secret, Ssh, Tmpfs};
    let kinds = [Bind, Cache, Tmpfs, Secret, Ssh];
    if let Some(kind) = kinds.into_iter().find(|kind| kind.to_string() == value.to_lowercase()) {
        return Ok(kind);
    }
    let suggestion = nearest(&value, ["bind", "cache", "tmpfs", "secret", "ssh"], true);
    Err(MountError::Kind { value, suggestion })
}

fn sharing(value: String) -> Result<Sharing, MountError> {
    Ok(match value.to_lowercase().as_str() {
        "shared" => Sharing::Shared,
        "private" => Sharing::Private,
        "locked" => Sharing::Locked,
        _ => {
            let suggestion = nearest(&value, ["shared", "private", "locked"], true);
            return Err(MountError::Sharing { value, suggestion });
        }
    })
}

fn number(key: &'static str, value: String, radix: u32) -> Result<u32, MountError> {
    u32::from_str_radix(&value, radix).map_err(|_| MountError::Number { key, value })
}

/// A size as Docker writes it, `64m`, `1.5GiB`: powers of 1024.
fn bytes(text: &str) -> Option<u64> {
    let end = text.rfind(|c: char| c.is_ascii_digit() || c == '.')? + 1;
    let (number, unit) = (&text[..end], text[end..].trim_start().to_lowercase());
    let number: f64 = number.parse().ok().filter(|number: &f64| *number >= 0.0)?;
    let power = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" if unit.len() < 2 => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    Some((number * 1024_f64.powi(power)) as u64)
}

/// Reads what follows `--device=`: `vendor/class=name[,required]`.
pub(crate) fn device(raw: &str) -> Result<Device, MountError> {
    let mut device = Device { name: String::new(), required: false };
    for field in fields(raw, "devices")? {
        match field.split_once('=').map(|(key, value)| (key.to_lowercase(), value)) {
            None if field.eq_ignore_ascii_case("required") => device.required = true,
            None if device.name.is_empty() => device.name = field,
            None => return Err(MountError::NotAPair(field)),
            Some((key, value)) if key == "name" => {
                if !device.name.is_empty() {
                    return Err(MountError::DeviceTwice(device.name));
                }
                device.name = value.to_owned();
            }
            Some((key, value)) if key == "required" => {
                let value = value.to_owned();
                device.required = boolean(&value).ok_or(MountError::Value { key, value })?;
            }
            Some(_) if device.name.is_empty() => device.name = field,
            Some((key, _)) => {
                let suggestion = nearest(&key, ["name", "required"], true);
                return Err(MountError::Key { key, field, suggestion });
            }
        }
    }
    Ok(device)
}

/// The options of a flag.
fn fields(line: &str, what: &'static str) -> Result<Vec<String>, MountError> {
    csv::fields(line).map_err(|error| MountError::Csv { what, error })
}
