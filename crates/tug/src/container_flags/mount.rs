//! `-v` and `--mount`. Only their form is read here; what they mean on this host is the engine's.

use super::Surroundings;
use crate::value::size;
use std::path::{Component, Path, PathBuf};
use tug_engine::{BindOptions, MountRequest, TmpfsOptions, VolumeOptions};

/// What a `-v` asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Volume {
    /// `SOURCE:DESTINATION[:OPTIONS]`
    Bind(String),
    /// `-v /path`: a volume without a name.
    Anonymous(String),
}

/// Reads one `-v`. A source that begins with `.` or `~` is a path of the caller's.
///
/// # Errors
/// Docker's words.
pub(crate) fn volume(text: &str, around: &Surroundings<'_>) -> Result<Volume, String> {
    if text.is_empty() {
        return Err("invalid empty volume spec".to_owned());
    }
    let Some((source, rest)) = text.split_once(':') else {
        return Ok(Volume::Anonymous(text.to_owned()));
    };
    if source.is_empty() || rest.split(':').any(str::is_empty) {
        return Err(format!("invalid spec: {text}: empty section between colons"));
    }
    if rest.matches(':').count() > 1 {
        return Err(format!("invalid spec: {text}: too many colons"));
    }
    if source.starts_with('.') {
        let directory = (around.directory)().map_err(|error| {
            format!("invalid spec: {text}: the working directory is not known: {error}")
        })?;
        let source = clean(&directory.join(source));
        return Ok(Volume::Bind(format!("{}:{rest}", source.display())));
    }
    Ok(Volume::Bind(text.to_owned()))
}

/// Resolves `.` and `..` by their text, as Go's `filepath.Clean`.
fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            other => clean.push(other),
        }
    }
    clean
}

/// Reads one `--mount`.
///
/// # Errors
/// Docker's words.
pub(crate) fn mount(text: &str, around: &Surroundings<'_>) -> Result<MountRequest, String> {
    let mut mount = MountRequest { kind: "volume".to_owned(), ..MountRequest::default() };
    let (mut bind, mut volume, mut tmpfs) = (None, None, None);
    for field in fields(text) {
        let (name, value) = match field.split_once('=') {
            Some((name, value)) => (name.to_lowercase(), Some(value.to_owned())),
            None => (field.to_lowercase(), None),
        };
        // A few names stand for `=true` when they stand alone.
        let alone = matches!(
            name.as_str(),
            "readonly" | "ro" | "volume-nocopy" | "bind-nonrecursive" | "bind-create-src"
        );
        let value = match value {
            Some(value) => value,
            None if alone => "true".to_owned(),
            None => return Err(format!("invalid field '{field}' must be a key=value pair")),
        };
        let truth = || truth(&value).ok_or_else(|| format!("invalid value for {name}: {value}"));
        let bad = || format!("invalid value for {name}: {value}");
        match name.as_str() {
            "type" => mount.kind = value.to_lowercase(),
            "source" | "src" => mount.source = value,
            "target" | "dst" | "destination" => mount.target = value,
            "readonly" | "ro" => mount.read_only = truth()?,
            "consistency" => {}
            "bind-propagation" => {
                bind.get_or_insert_with(BindOptions::default).propagation = value.to_lowercase();
            }
            "bind-nonrecursive" => {
                bind.get_or_insert_with(BindOptions::default).non_recursive = truth()?;
            }
            "bind-recursive" => {
                let options = bind.get_or_insert_with(BindOptions::default);
                options.non_recursive = match value.as_str() {
                    "enabled" | "writable" => false,
                    "disabled" => true,
                    "readonly" => {
                        return Err(
                            "bind-recursive=readonly is not supported by tug yet".to_owned()
                        );
                    }
                    _ => return Err(bad()),
                };
            }
            "bind-create-src" => {
                bind.get_or_insert_with(BindOptions::default).create_mountpoint = truth()?;
            }
            "volume-nocopy" => {
                volume.get_or_insert_with(VolumeOptions::default).no_copy = truth()?;
            }
            "volume-label" => {
                let (label, value) = value.split_once('=').unwrap_or((&value, ""));
                let options = volume.get_or_insert_with(VolumeOptions::default);
                options.labels.insert(label.to_owned(), value.to_owned());
            }
            "volume-driver" if value == "local" => {}
            "volume-driver" | "volume-opt" | "volume-subpath" => {
                return Err(format!("{name}={value} is not supported by tug yet"));
            }
            "tmpfs-size" => {
                let bytes = size::parse(&value).map_err(|_| bad())?;
                tmpfs.get_or_insert_with(TmpfsOptions::default).size_bytes = bytes;
            }
            "tmpfs-mode" => {
                let mode = u32::from_str_radix(&value, 8).map_err(|_| bad())?;
                tmpfs.get_or_insert_with(TmpfsOptions::default).mode = mode;
            }
            _ => return Err(format!("unexpected key '{name}' in '{field}'")),
        }
    }
    if mount.target.is_empty() {
        return Err("target is required".to_owned());
    }
    for (given, kind) in
        [(bind.is_some(), "bind"), (volume.is_some(), "volume"), (tmpfs.is_some(), "tmpfs")]
    {
        if given && mount.kind != kind {
            return Err(format!("cannot mix '{kind}-*' options with mount type '{}'", mount.kind));
        }
    }
    if mount.kind == "bind" && mount.source.starts_with('.') {
        let directory = (around.directory)().map_err(|error| error.to_string())?;
        mount.source = clean(&directory.join(&mount.source)).display().to_string();
    }
    (mount.bind_options, mount.volume_options, mount.tmpfs_options) = (bind, volume, tmpfs);
    Ok(mount)
}

/// Fields separated by commas, quoted as in CSV where they hold one.
fn fields(text: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        match (c, fields.last_mut()) {
            ('"', _) => quoted = !quoted,
            (',', _) if !quoted => fields.push(String::new()),
            (c, Some(field)) => field.push(c),
            (_, None) => {}
        }
    }
    fields
}

fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_callers_are_made_whole() {
        let around = Surroundings {
            variable: &|_| None,
            read: &|_| Ok(Vec::new()),
            directory: &|| Ok(PathBuf::from("/home/me/work")),
        };
        for (text, whole) in [
            (".:/src", "/home/me/work:/src"),
            ("./a/../b:/src:ro", "/home/me/work/b:/src:ro"),
            ("../x:/src", "/home/me/x:/src"),
            ("name:/src", "name:/src"),
        ] {
            assert_eq!(volume(text, &around), Ok(Volume::Bind(whole.to_owned())));
        }
        let mount = mount("type=bind,src=./a,dst=/b", &around).unwrap();
        assert_eq!(mount.source, "/home/me/work/a");
    }

    #[test]
    fn a_quoted_field_may_hold_a_comma() {
        assert_eq!(fields("type=bind,\"src=/a,b\",dst=/c"), ["type=bind", "src=/a,b", "dst=/c"]);
    }
}
