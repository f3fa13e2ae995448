//! Values of flags that name files: secrets, agents, contexts, archives.

use crate::environment;
use crate::flags::Parsed;
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

/// `default`, `ID`, `ID=SOCKET`, `ID=KEY[,KEY…]`
///
/// # Errors
/// When there is no agent, and for keys that cannot be used.
pub(super) fn agent(text: &str) -> Result<(String, tug_build::Agent), Quit> {
    use std::os::unix::fs::FileTypeExt;
    let (id, paths) = text.split_once('=').unwrap_or((text, ""));
    let id = if id.is_empty() { "default" } else { id }.to_owned();
    let paths = match paths {
        "" => vec![environment::variable("SSH_AUTH_SOCK").ok_or_else(|| {
            Quit::invalid("invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set")
                .with_hint("`eval $(ssh-agent)` and `ssh-add`, or --ssh default=KEYFILE")
        })?],
        paths => paths.split(',').map(str::to_owned).collect(),
    };
    let is_socket = |path: &String| {
        std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
    };
    let files: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
    let agent = match paths.iter().filter(|path| is_socket(path)).count() {
        0 => tug_build::Agent::of_keys(&files).map_err(|error| Quit::failed(&error))?,
        1 if paths.len() == 1 => tug_build::Agent::socket_at(files[0].clone()),
        1 => return Err(Quit::invalid("invalid combination of keys and sockets")),
        _ => return Err(Quit::invalid("only single socket allowed")),
    };
    Ok((id, agent))
}

/// Who the caller is where ssh is spoken.
///
/// # Errors
/// As [`agent`].
pub(super) fn ssh(parsed: &Parsed<'_>) -> Result<tug_build::Ssh, Quit> {
    let mut agents = BTreeMap::new();
    for text in parsed.list("ssh") {
        let (id, agent) = agent(&text)?;
        if agents.contains_key(&id) {
            return Err(Quit::invalid(format!("duplicate agent ID {id:?}")));
        }
        agents.insert(id, agent);
    }
    let home = environment::variable("HOME").map(PathBuf::from);
    let mut known_hosts: Vec<PathBuf> =
        home.into_iter().map(|home| home.join(".ssh/known_hosts")).collect();
    known_hosts.push(PathBuf::from("/etc/ssh/ssh_known_hosts"));
    let user = environment::variable("USER").or_else(|| environment::variable("LOGNAME"));
    Ok(tug_build::Ssh { agents, known_hosts, user })
}

/// What `--build-context` names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// It is here, or an image.
    Here(NamedContext),
    /// A repository, or a file.
    Address(String),
}

/// `NAME=PATH`, `NAME=docker-image://IMAGE`, `NAME=ADDRESS`
///
/// # Errors
/// What is not supported.
pub(super) fn named_context(text: &str) -> Result<(String, Named), String> {
    let (name, value) = text
        .split_once('=')
        .filter(|(name, value)| !name.is_empty() && !value.is_empty())
        .ok_or_else(|| format!("invalid context value: {text}, expected key=value"))?;
    let context = match value.split_once("://") {
        Some(("docker-image", image)) => Named::Here(NamedContext::Image(image.to_owned())),
        _ if Path::new(value).is_dir() => Named::Here(NamedContext::Dir(PathBuf::from(value))),
        Some(("http" | "https", _)) => Named::Address(value.to_owned()),
        _ if tug_build::is_git(value) => Named::Address(value.to_owned()),
        Some(("oci-layout", _)) => {
            return Err(format!(
                "{name}: contexts of the kind oci-layout:// are not supported by tug: `tug load` the image (`tar -c` of the directory is its archive), then docker-image://IMAGE"
            ));
        }
        Some((scheme, _)) => {
            return Err(format!("unsupported context source {scheme} for {name}"));
        }
        None => {
            return Err(format!("failed to get build context path {value}: no such directory"));
        }
    };
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
            ("b".to_owned(), Named::Here(NamedContext::Image("busybox".to_owned())))
        );
        for address in ["https://h.lan/x.tar", "git@h.lan:x.git", "https://h.lan/x.git#v1:dir"] {
            let (_, named) = named_context(&format!("a={address}")).unwrap();
            assert_eq!(named, Named::Address(address.to_owned()));
        }
        for bad in ["a", "a=", "a=oci-layout:///x", "a=target:x", "a=foo://x", "a=/nonexistent"] {
            assert!(named_context(bad).is_err(), "{bad}");
        }
    }
}
