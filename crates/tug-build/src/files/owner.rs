//! `--chown` and the user of a `WORKDIR`: names looked up in the image's own passwd and group files.

use super::rooted::{self, Names};
use std::fmt;
use std::io::Read;

/// Numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owner {
    pub uid: u32,
    pub gid: u32,
}

/// A name where no names are: the image has no such file.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("unable to find {name}: the image has no /{file}")]
pub struct OwnerError {
    name: String,
    file: &'static str,
}

/// A name that is not in its file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    User(String),
    Group(String),
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, name, file) = match self {
            Self::User(name) => ("user", name, "passwd"),
            Self::Group(name) => ("group", name, "group"),
        };
        write!(f, "unable to find {what} {name} in the image's /etc/{file}: root is taken instead")
    }
}

/// Nobody's passwd has 16 MiB.
const MOST: u64 = 16 << 20;

/// Reads `user`, `user:group`, numbers or names. Without a group, a number is the group's too, and a
/// name has the one of its entry. As in BuildKit, a name that is not in its file stands for root, which is
/// noted, and one without a file is an error.
pub(crate) fn resolve(
    text: &str,
    root: &impl Names,
    unknown: &mut Vec<Unknown>,
) -> Result<Owner, OwnerError> {
    let (user, group) = text.split_once(':').map_or((text, None), |(u, g)| (u, Some(g)));
    let file = |name: &str, file| {
        read(root, file).ok_or_else(|| OwnerError { name: name.to_owned(), file })
    };
    let mut owner = match number(user) {
        Some(uid) => Owner { uid, gid: uid },
        None if user.is_empty() => Owner::default(),
        None => find_user(user, &file(user, "etc/passwd")?).unwrap_or_else(|| {
            unknown.push(Unknown::User(user.to_owned()));
            Owner::default()
        }),
    };
    if let Some(group) = group.filter(|group| !group.is_empty()) {
        owner.gid = match number(group) {
            Some(gid) => gid,
            None => find_group(group, &file(group, "etc/group")?).unwrap_or_else(|| {
                unknown.push(Unknown::Group(group.to_owned()));
                0
            }),
        };
    }
    Ok(owner)
}

fn number(text: &str) -> Option<u32> {
    if text == "root" { Some(0) } else { text.parse().ok() }
}

fn read(root: &impl Names, path: &str) -> Option<String> {
    let open = || {
        let name = rooted::real(root, path, true).ok()?;
        let file = root.open_file(&name).ok()?;
        let mut bytes = Vec::new();
        std::fs::File::from(file).take(MOST).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    open()
}

fn find_user(wanted: &str, passwd: &str) -> Option<Owner> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next()? == wanted;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        found.then_some(Owner { uid, gid })
    })
}

fn find_group(wanted: &str, group: &str) -> Option<u32> {
    group.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next()? == wanted;
        let gid = fields.nth(1)?.parse().ok()?;
        found.then_some(gid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn names_are_the_images() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir(temp.path().join("etc")).unwrap();
        std::fs::write(temp.path().join("etc/passwd"), "root:x:0:0::/:\nweb:x:33:34::/:\n")
            .unwrap();
        std::fs::write(temp.path().join("etc/group"), "adm:x:4:\n").unwrap();
        let root = rooted::open_root(temp.path()).unwrap();
        let owner = |text| {
            let mut unknown = Vec::new();
            let owner = resolve(text, &root.as_fd(), &mut unknown).unwrap();
            (owner, unknown)
        };
        let is = |uid, gid| (Owner { uid, gid }, Vec::new());
        assert_eq!(owner("web"), is(33, 34));
        assert_eq!(owner("web:adm"), is(33, 4));
        assert_eq!(owner("1000"), is(1000, 1000));
        assert_eq!(owner("1000:adm"), is(1000, 4));
        assert_eq!(owner("5:6"), is(5, 6));
        assert_eq!(owner("root"), is(0, 0));
        assert_eq!(owner(":7"), is(0, 7));
        let without = |uid, gid, unknown| (Owner { uid, gid }, vec![unknown]);
        assert_eq!(owner("nobody"), without(0, 0, Unknown::User("nobody".into())));
        assert_eq!(owner("web:wheel"), without(33, 0, Unknown::Group("wheel".into())));
        std::fs::remove_file(temp.path().join("etc/passwd")).unwrap();
        let error = resolve("web", &root.as_fd(), &mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "unable to find web: the image has no /etc/passwd");
    }
}
