//! Values of flags that name files: secrets, agents, contexts, archives.

use crate::environment;
use crate::quit::Quit;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use tug_build::{NamedContext, Secret};

/// Unpacks a context.
///
/// # Errors
/// When it is no archive.
pub(super) fn unpack(input: impl Read, into: &Path) -> Result<(), Quit> {
    tug_build::unpack_context(input, into).map_err(|error| Quit::failed(&error))
}

/// `a=b,c` as pairs; a word without `=` has no value.
fn pairs(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    text.split(',').map(|word| match word.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (word, None),
    })
}

/// `id=NAME[,src=FILE|,env=VARIABLE][,type=file|env]`
///
/// # Errors
/// What is wrong with it.
pub(super) fn secret(text: &str) -> Result<(String, Secret), String> {
    let (mut id, mut source, mut variable, mut kind) = (None, None, None, None);
    for (name, value) in pairs(text) {
        let value =
            value.ok_or_else(|| format!("invalid field '{name}' must be a key=value pair"))?;
        match name {
            "id" => id = Some(value.to_owned()),
            "src" | "source" => source = Some(value.to_owned()),
            "env" => variable = Some(value.to_owned()),
            "type" if matches!(value, "file" | "env") => kind = Some(value.to_owned()),
            "type" => return Err(format!("unsupported secret type {value:?}")),
            other => return Err(format!("unexpected key '{other}' in '{other}={value}'")),
        }
    }
    let id = id.or_else(|| source.clone()).ok_or("secret has no id")?;
    if kind.as_deref() == Some("env") && variable.is_none() {
        variable = source.take();
    }
    let bytes = match (variable, source) {
        (Some(name), _) => environment::variable(&name)
            .ok_or_else(|| format!("secret {id}: the variable {name} is not set"))?
            .into_bytes(),
        (None, Some(path)) => read(&id, Path::new(&path))?,
        // As buildx has it: a variable of that name, else a file.
        (None, None) => match environment::variable(&id) {
            Some(value) => value.into_bytes(),
            None => read(&id, Path::new(&id))?,
        },
    };
    Ok((id, Secret::new(bytes)))
}

fn read(id: &str, path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| {
        format!("secret {id}: read {}: {}", path.display(), crate::quit::plain(&error))
    })
}

/// `default`, `ID`, `ID=SOCKET`
///
/// # Errors
/// When there is no agent.
pub(super) fn agent(text: &str) -> Result<(String, PathBuf), String> {
    use std::os::unix::fs::FileTypeExt;
    let (id, socket) = match text.split_once('=') {
        Some((id, socket)) => (id, Some(socket.to_owned())),
        None => (text, None),
    };
    let id = if id.is_empty() { "default" } else { id };
    let socket = match socket {
        Some(socket) => socket,
        None => environment::variable("SSH_AUTH_SOCK")
            .ok_or("invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set")?,
    };
    let is_socket =
        std::fs::metadata(&socket).is_ok_and(|metadata| metadata.file_type().is_socket());
    if !is_socket {
        return Err(format!(
            "{socket} is no socket of an ssh agent; keys in files are not supported by tug"
        ));
    }
    Ok((id.to_owned(), PathBuf::from(socket)))
}

/// `NAME=PATH`, `NAME=docker-image://IMAGE`
///
/// # Errors
/// What is not supported.
pub(super) fn named_context(text: &str) -> Result<(String, NamedContext), String> {
    let (name, value) = text
        .split_once('=')
        .filter(|(name, value)| !name.is_empty() && !value.is_empty())
        .ok_or_else(|| format!("invalid context value: {text}, expected key=value"))?;
    let context = match value.split_once("://") {
        Some(("docker-image", image)) => NamedContext::Image(image.to_owned()),
        Some((scheme, _)) => {
            return Err(format!("contexts of the kind {scheme}:// are not supported by tug yet"));
        }
        None => NamedContext::Dir(PathBuf::from(value)),
    };
    if let NamedContext::Dir(dir) = &context
        && !dir.is_dir()
    {
        return Err(format!("failed to get build context path {value}: no such directory"));
    }
    Ok((name.to_owned(), context))
}

/// `NAME=value`, or `NAME` with the caller's value; a name that is not set there is left out.
pub(super) fn build_args(list: Vec<String>) -> BTreeMap<String, String> {
    list.into_iter()
        .filter_map(|text| match text.split_once('=') {
            Some((name, value)) => Some((name.to_owned(), value.to_owned())),
            None => environment::variable(&text).map(|value| (text, value)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_contexts_are_read_or_refused() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("s");
        std::fs::write(&file, "x").unwrap();
        let (id, _) = secret(&format!("id=a,src={}", file.display())).unwrap();
        assert_eq!(id, "a");
        for bad in ["a", "src=/nonexistent", "id=a,type=x", "id=a,foo=b"] {
            assert!(secret(bad).is_err(), "{bad}");
        }
        assert_eq!(
            named_context("b=docker-image://busybox").unwrap(),
            ("b".to_owned(), NamedContext::Image("busybox".to_owned()))
        );
        for bad in ["a", "a=", "a=https://x", "a=/nonexistent"] {
            assert!(named_context(bad).is_err(), "{bad}");
        }
    }
}
