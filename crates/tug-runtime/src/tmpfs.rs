//! `--tmpfs` options, as mount(8) writes them, into a filesystem and its flags.

use crate::Error;
use crate::mounts::filesystem;
use rustix::mount::MountAttrFlags;
use std::os::fd::OwnedFd;
use tug_types::ContainerPath;

/// Flags and filesystem options of one tmpfs.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    flags: MountAttrFlags,
    filesystem: Vec<(String, String)>,
}

/// Docker's defaults, noexec, nosuid and nodev, hold unless their opposite is written.
fn parse(text: &str, destination: &ContainerPath) -> Result<Options, Error> {
    let mut flags = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mut filesystem = Vec::new();
    for option in text.split(',').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match (name, value) {
            ("rw", "") => flags.remove(MountAttrFlags::MOUNT_ATTR_RDONLY),
            ("ro", "") => flags.insert(MountAttrFlags::MOUNT_ATTR_RDONLY),
            ("suid", "") => flags.remove(MountAttrFlags::MOUNT_ATTR_NOSUID),
            ("dev", "") => flags.remove(MountAttrFlags::MOUNT_ATTR_NODEV),
            ("exec", "") => flags.remove(MountAttrFlags::MOUNT_ATTR_NOEXEC),
            ("nosuid" | "nodev" | "noexec" | "defaults" | "relatime", "") => {}
            ("noatime", "") => flags.insert(MountAttrFlags::MOUNT_ATTR_NOATIME),
            (
                "size" | "mode" | "uid" | "gid" | "nr_inodes" | "nr_blocks" | "mpol" | "huge",
                value,
            ) if !value.is_empty() => {
                filesystem.push((name.to_owned(), value.to_owned()));
            }
            _ => {
                return Err(Error::TmpfsOption {
                    option: option.to_owned(),
                    destination: destination.to_string(),
                });
            }
        }
    }
    Ok(Options { flags, filesystem })
}

/// The filesystem, detached.
pub(crate) fn make(text: &str, destination: &ContainerPath) -> Result<OwnedFd, Error> {
    let options = parse(text, destination)?;
    let pairs: Vec<(&str, &str)> =
        options.filesystem.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    filesystem("tmpfs", &pairs, options.flags).map_err(|errno| Error::Mount {
        what: format!("tmpfs ({text})"),
        destination: destination.to_string(),
        source: errno.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_defaults_hold_unless_said_otherwise() {
        let at = ContainerPath::parse("/t").unwrap();
        let plain = parse("", &at).unwrap();
        assert!(plain.flags.contains(MountAttrFlags::MOUNT_ATTR_NOEXEC));
        let own = parse("rw,exec,size=64m,mode=1777", &at).unwrap();
        assert!(!own.flags.contains(MountAttrFlags::MOUNT_ATTR_NOEXEC));
        assert_eq!(own.filesystem.len(), 2);
        assert!(parse("size=", &at).is_err() && parse("sync=1", &at).is_err());
    }
}
