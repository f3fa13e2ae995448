//! Which capabilities a container gets: the default set, `--cap-add`, `--cap-drop`, `--privileged`.

use crate::Error;
use std::collections::BTreeSet;

/// All capabilities Linux knows (capabilities(7)), in numerical order.
pub(crate) const ALL: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The set after additions and removals, in the order of [`ALL`]. As in Docker, `ALL` in either list
/// is taken first and single names after it.
pub(crate) fn select(
    defaults: &[&str],
    add: &[String],
    drop: &[String],
    privileged: bool,
) -> Result<Vec<String>, Error> {
    if privileged {
        return Ok(ALL.map(str::to_owned).to_vec());
    }
    let (add, drop) = (normalise(add)?, normalise(drop)?);
    let mut set: BTreeSet<&str> = match (add.contains(&"ALL"), drop.contains(&"ALL")) {
        (true, _) => ALL.into_iter().collect(),
        (false, true) => BTreeSet::new(),
        (false, false) => defaults.iter().copied().collect(),
    };
    for name in drop.iter().filter(|name| **name != "ALL") {
        set.remove(name);
    }
    set.extend(add.iter().filter(|name| **name != "ALL"));
    Ok(ALL.into_iter().filter(|name| set.contains(name)).map(str::to_owned).collect())
}

fn normalise(names: &[String]) -> Result<Vec<&'static str>, Error> {
    names.iter().map(|name| lookup(name)).collect()
}

fn lookup(name: &str) -> Result<&'static str, Error> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if bare == "ALL" {
        return Ok("ALL");
    }
    ALL.into_iter().find(|known| &known[4..] == bare).ok_or_else(|| Error::BadValue {
        what: "capability",
        value: name.to_owned(),
        why: "the kernel has no such capability; see capabilities(7)".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn additions_and_removals_act_on_the_default_set() {
        let defaults = ["CAP_CHOWN", "CAP_KILL"];
        let select = |add: &[&str], drop: &[&str]| {
            select(&defaults, &texts(add), &texts(drop), false).unwrap()
        };
        assert_eq!(select(&["net_admin"], &["CAP_KILL"]), ["CAP_CHOWN", "CAP_NET_ADMIN"]);
        assert_eq!(select(&["kill"], &["all"]), ["CAP_KILL"]);
        assert_eq!(select(&["ALL"], &["chown"]).len(), ALL.len() - 1);
        assert!(select(&[], &["ALL"]).is_empty());
    }

    #[test]
    fn an_unknown_capability_is_named() {
        let error = select(&[], &texts(&["FLY"]), &[], false).unwrap_err();
        assert!(error.to_string().contains("\"FLY\""), "{error}");
    }
}
