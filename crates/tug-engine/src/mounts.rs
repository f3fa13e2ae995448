//! What a container is given to mount: `-v`, `--mount`, `--tmpfs`, `--volumes-from` and the image's
//! VOLUMEs, read into one list. Pure: nothing is created here.

use crate::Error;
use crate::model::{Config, HostConfig, MountRequest};
use crate::view::MountPoint;
use std::path::PathBuf;
use tug_types::ContainerPath;

/// One mount as wished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub destination: ContainerPath,
    pub source: Source,
    pub readonly: bool,
    /// As the user wrote it, `ro,rslave`.
    pub mode: String,
    pub propagation: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// `create`: a missing directory is made (`-v`), or refused (`--mount`).
    Bind {
        path: PathBuf,
        create: bool,
    },
    /// `copy`: the image's content goes in when the volume is empty.
    Volume {
        name: String,
        copy: bool,
        labels: std::collections::BTreeMap<String, String>,
    },
    Anonymous {
        copy: bool,
    },
    Tmpfs {
        options: String,
    },
}

/// Everything wished for, the user's wishes before the image's, each destination once, parents
/// before children. `from` are the mounts of the containers in `--volumes-from`.
pub(crate) fn wishes(
    config: &Config,
    host: &HostConfig,
    from: &[(MountPoint, bool)],
) -> Result<Vec<Wish>, Error> {
    let mut wishes: Vec<Wish> = Vec::new();
    let mut own = Vec::new();
    for bind in host.binds.iter().flatten() {
        own.push(parse_bind(bind)?);
    }
    for mount in &host.mounts {
        own.push(parse_mount(mount)?);
    }
    for (destination, options) in &host.tmpfs {
        own.push(Wish {
            destination: path(destination)?,
            source: Source::Tmpfs { options: options.clone() },
            readonly: false,
            mode: options.clone(),
            propagation: String::new(),
        });
    }
    for wish in own {
        if wishes.iter().any(|other| other.destination == wish.destination) {
            return Err(Error::DuplicateMount { destination: wish.destination.to_string() });
        }
        wishes.push(wish);
    }
    let inherited = from.iter().map(|(mount, readonly)| of_other(mount, *readonly));
    let anonymous = config.volumes.iter().flatten().map(|(destination, _)| {
        Ok(Wish {
            destination: path(destination)?,
            source: Source::Anonymous { copy: true },
            readonly: false,
            mode: String::new(),
            propagation: String::new(),
        })
    });
    for wish in inherited.chain(anonymous) {
        let wish = wish?;
        if !wishes.iter().any(|other| other.destination == wish.destination) {
            wishes.push(wish);
        }
    }
    wishes.sort_by_key(|wish| wish.destination.as_str().matches('/').count());
    Ok(wishes)
}

fn path(text: &str) -> Result<ContainerPath, Error> {
    let path = ContainerPath::parse(text).map_err(|error| Error::BadMount {
        destination: text.to_owned(),
        why: error.to_string(),
    })?;
    if path.is_root() {
        return Err(Error::BadMount {
            destination: text.to_owned(),
            why: "destination can't be '/'".to_owned(),
        });
    }
    Ok(path)
}

/// `SOURCE:DESTINATION[:OPTIONS]`
fn parse_bind(text: &str) -> Result<Wish, Error> {
    let bad = |why: &str| Error::BadValue {
        what: "volume specification",
        value: text.to_owned(),
        why: why.to_owned(),
    };
    let mut parts = text.split(':');
    let (source, destination, mode) = (parts.next(), parts.next(), parts.next().unwrap_or(""));
    let (Some(source), Some(destination), None) = (source, destination, parts.next()) else {
        return Err(bad("expected SOURCE:DESTINATION[:OPTIONS]"));
    };
    if source.is_empty() || destination.is_empty() {
        return Err(bad("empty section between colons"));
    }
    let (mut readonly, mut copy, mut propagation) = (false, true, String::new());
    for option in mode.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" | "readonly" => readonly = true,
            "nocopy" => copy = false,
            "private" | "rprivate" | "slave" | "rslave" | "shared" | "rshared" => {
                option.clone_into(&mut propagation);
            }
            // No SELinux here to label for; consistency is a matter of Docker Desktop's.
            "rw" | "z" | "Z" | "cached" | "delegated" | "consistent" => {}
            _ => return Err(bad(&format!("unknown option {option:?}"))),
        }
    }
    let source = if source.starts_with('/') {
        Source::Bind { path: PathBuf::from(source), create: true }
    } else {
        check_volume_name(source)?;
        Source::Volume { name: source.to_owned(), copy, labels: Default::default() }
    };
    Ok(Wish {
        destination: path(destination)?,
        source,
        readonly,
        mode: mode.to_owned(),
        propagation,
    })
}

fn parse_mount(mount: &MountRequest) -> Result<Wish, Error> {
    let bad =
        |why: &str| Error::BadMount { destination: mount.target.clone(), why: why.to_owned() };
    let mut propagation = String::new();
    let source = match mount.kind.as_str() {
        "bind" => {
            if !mount.source.starts_with('/') {
                return Err(bad("mount path must be absolute"));
            }
            let options = mount.bind_options.clone().unwrap_or_default();
            propagation = options.propagation;
            Source::Bind { path: PathBuf::from(&mount.source), create: options.create_mountpoint }
        }
        "volume" => {
            let options = mount.volume_options.clone().unwrap_or_default();
            if mount.source.is_empty() {
                Source::Anonymous { copy: !options.no_copy }
            } else {
                check_volume_name(&mount.source)?;
                Source::Volume {
                    name: mount.source.clone(),
                    copy: !options.no_copy,
                    labels: options.labels,
                }
            }
        }
        "tmpfs" => {
            let options = mount.tmpfs_options.clone().unwrap_or_default();
            let mut words = Vec::new();
            if options.size_bytes > 0 {
                words.push(format!("size={}", options.size_bytes));
            }
            if options.mode > 0 {
                words.push(format!("mode={:o}", options.mode));
            }
            Source::Tmpfs { options: words.join(",") }
        }
        other => return Err(bad(&format!("mount type {other:?} is not supported by tug"))),
    };
    Ok(Wish {
        destination: path(&mount.target)?,
        source,
        readonly: mount.read_only,
        mode: String::new(),
        propagation,
    })
}

/// A mount of another container, for `--volumes-from`.
fn of_other(mount: &MountPoint, readonly: bool) -> Result<Wish, Error> {
    let source = match (mount.kind.as_str(), &mount.name) {
        ("volume", Some(name)) => {
            Source::Volume { name: name.clone(), copy: false, labels: Default::default() }
        }
        _ => Source::Bind { path: PathBuf::from(&mount.source), create: false },
    };
    Ok(Wish {
        destination: path(&mount.destination)?,
        source,
        readonly: readonly || !mount.rw,
        mode: mount.mode.clone(),
        propagation: mount.propagation.clone(),
    })
}

/// Docker's rule for names of local volumes.
pub(crate) fn check_volume_name(name: &str) -> Result<(), Error> {
    let word = |b: u8| b.is_ascii_alphanumeric();
    let mut bytes = name.bytes();
    let good = bytes.next().is_some_and(word)
        && name.len() >= 2
        && name.len() <= 255
        && bytes.all(|b| word(b) || matches!(b, b'_' | b'.' | b'-'));
    if good { Ok(()) } else { Err(Error::BadVolumeName { name: name.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(binds: &[&str]) -> HostConfig {
        HostConfig {
            binds: Some(binds.iter().map(|bind| (*bind).to_owned()).collect()),
            ..HostConfig::default()
        }
    }

    #[test]
    fn a_slash_makes_a_bind_and_a_word_a_volume() {
        let list = wishes(&Config::default(), &host(&["/h:/b/c:ro", "data:/a"]), &[]).unwrap();
        assert_eq!(list[0].destination.as_str(), "/a", "parents come first");
        assert!(
            matches!(&list[0].source, Source::Volume { name, copy: true, .. } if name == "data")
        );
        assert!(list[1].readonly);
        assert!(matches!(&list[1].source, Source::Bind { create: true, .. }));
    }

    #[test]
    fn the_user_wins_over_the_image_and_two_wishes_for_one_place_are_refused() {
        let config = Config {
            volumes: Some([("/a".to_owned(), Default::default())].into()),
            ..Config::default()
        };
        assert_eq!(wishes(&config, &host(&["x1:/a"]), &[]).unwrap().len(), 1);
        let twice = wishes(&config, &host(&["x1:/a", "y1:/a/"]), &[]);
        assert!(matches!(twice, Err(Error::DuplicateMount { destination }) if destination == "/a"));
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for text in ["a", "a:b", ":/a", "a:", "a:/b:zz", "a:/b:ro:x", "x1:/", "x/y:/b", "a\0:/b"] {
            assert!(wishes(&Config::default(), &host(&[text]), &[]).is_err(), "{text:?}");
        }
    }
}
