//! Whether a bind's source can propagate mounts as asked: `:shared` on a mount that is private on the
//! host would be a promise nobody keeps.

use crate::Error;
use rustix::fs::{AtFlags, CWD, StatxFlags};
use std::path::Path;

/// Refuses a propagation that the mount under `source` does not offer: `shared` and `rshared` need a
/// shared one, `slave` and `rslave` a shared or slave one (mount_namespaces(7)).
pub(crate) fn check(source: &Path, wanted: &str) -> Result<(), Error> {
    let (needs_shared, kind) = match wanted {
        "shared" | "rshared" => (true, "a shared"),
        "slave" | "rslave" => (false, "a shared or slave"),
        _ => return Ok(()),
    };
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")
        .map_err(Error::files("read", Path::new("/proc/self/mountinfo")))?;
    let id = rustix::fs::statx(CWD, source, AtFlags::empty(), StatxFlags::MNT_ID)
        .map_err(|errno| Error::files("look at", source)(errno.into()))?
        .stx_mnt_id;
    let Some(mount) = find(&mounts, id) else { return Ok(()) };
    if mount.shared || (!needs_shared && mount.slave) {
        return Ok(());
    }
    Err(Error::NotPropagating {
        source_path: source.to_owned(),
        mount_point: mount.point.to_owned(),
        kind,
    })
}

struct Mount<'a> {
    point: &'a str,
    shared: bool,
    slave: bool,
}

/// The line of a mount id: `36 35 98:0 /root /point options shared:1 master:2 - type source …`
/// (proc_pid_mountinfo(5)).
fn find(mounts: &str, id: u64) -> Option<Mount<'_>> {
    let id = id.to_string();
    let line = mounts.lines().find(|line| line.split(' ').next() == Some(&id))?;
    let mut fields = line.split(' ').skip(4);
    let point = fields.next()?;
    let optional: Vec<&str> = fields.skip(1).take_while(|field| *field != "-").collect();
    let has = |prefix: &str| optional.iter().any(|field| field.starts_with(prefix));
    Some(Mount { point, shared: has("shared:"), slave: has("master:") })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
21 1 254:0 / / rw,relatime - ext4 /dev/vda rw
36 21 0:30 / /mnt/both rw shared:7 master:2 - tmpfs tmpfs rw
37 21 0:31 / /mnt/follower rw master:2 - tmpfs tmpfs rw
";

    #[test]
    fn a_mounts_groups_are_read_from_its_own_line() {
        let read = |id| find(MOUNTS, id).map(|mount| (mount.point, mount.shared, mount.slave));
        assert_eq!(read(21), Some(("/", false, false)));
        assert_eq!(read(36), Some(("/mnt/both", true, true)));
        assert_eq!(read(37), Some(("/mnt/follower", false, true)));
        assert_eq!(read(3), None);
    }
}
