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
            ("nosuid", "") => flags.insert(MountAttrFlags::MOUNT_ATTR_NOSUID),
            ("nodev", "") => flags.insert(MountAttrFlags::MOUNT_ATTR_NODEV),
            ("noexec", "") => flags.insert(MountAttrFlags::MOUNT_ATTR_NOEXEC),
            // What a tmpfs does anyway.
            ("defaults" | "async" | "relatime" | "atime" | "diratime" | "nostrictatime", "") => {}
            ("noatime", "") => flags.insert(MountAttrFlags::MOUNT_ATTR_NOATIME),
            ("strictatime" | "norelatime", "") => {
                flags.insert(MountAttrFlags::MOUNT_ATTR_STRICTATIME);
            }
            ("nodiratime", "") => flags.insert(MountAttrFlags::MOUNT_ATTR_NODIRATIME),
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

/// The filesystem, detached. Unless one is written, its root has the mode of the directory it covers; the
/// kernel's default, 1777, where there was none.
pub(crate) fn make(
    text: &str,
    covered: Option<u32>,
    destination: &ContainerPath,
) -> Result<OwnedFd, Error> {
    let mut options = parse(text, destination)?;
    if let Some(mode) = covered
        && !options.filesystem.iter().any(|(name, _)| name == "mode")
    {
        options.filesystem.push(("mode".to_owned(), format!("{:o}", mode & 0o7777)));
    }
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
        let last = parse("exec,noexec", &at).unwrap();
        assert!(last.flags.contains(MountAttrFlags::MOUNT_ATTR_NOEXEC), "the last one counts");
        assert!(parse("size=", &at).is_err() && parse("sync=1", &at).is_err());
    }
}
