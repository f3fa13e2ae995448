//! Who the process is: `--user` resolved against the image's own passwd and group files (passwd(5),
//! group(5)), by Docker's rules. Parsers take text.

use crate::Error;

/// The ids a process runs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    pub home: String,
}

/// Resolves `name`, `uid`, `name:group` or `uid:gid`. Without a group the user's own counts, and with
/// it those that list the user; with a group written only that one does.
pub(crate) fn resolve(
    user: &str,
    extra: &[String],
    passwd: &str,
    group: &str,
) -> Result<User, Error> {
    let (name, group_name) = user.split_once(':').map_or((user, None), |(u, g)| (u, Some(g)));
    let name = if name.is_empty() { "0" } else { name };
    let entry = find_user(name, passwd);
    let (uid, mut gid, login, home) = match (entry, name.parse::<u32>()) {
        (Some(entry), _) => (entry.uid, entry.gid, entry.name, entry.home),
        (None, Ok(uid)) => (uid, 0, "", "/"),
        (None, Err(_)) => return Err(Error::NoUser { user: name.to_owned() }),
    };
    let mut groups = Vec::new();
    match group_name.filter(|name| !name.is_empty()) {
        Some(name) => gid = find_group(name, group)?,
        None if !login.is_empty() => groups = memberships(login, group),
        None => {}
    }
    for name in extra {
        groups.push(find_group(name, group)?);
    }
    // The primary group counts as supplementary too, as initgroups(3) has it.
    groups.insert(0, gid);
    let mut unique = Vec::new();
    for id in groups {
        if !unique.contains(&id) {
            unique.push(id);
        }
    }
    Ok(User { uid, gid, groups: unique, home: home.to_owned() })
}

struct Entry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn entries(passwd: &str) -> impl Iterator<Item = Entry<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let home = fields.nth(1).filter(|home| !home.is_empty()).unwrap_or("/");
        Some(Entry { name, uid, gid, home })
    })
}

/// By name first, then by number.
fn find_user<'a>(wanted: &str, passwd: &'a str) -> Option<Entry<'a>> {
    let number = wanted.parse::<u32>().ok();
    entries(passwd)
        .find(|entry| entry.name == wanted)
        .or_else(|| entries(passwd).find(|entry| Some(entry.uid) == number))
}

fn groups(group: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    group.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some((name, gid, fields.next().unwrap_or("")))
    })
}

fn find_group(wanted: &str, group: &str) -> Result<u32, Error> {
    let by_name = groups(group).find(|(name, ..)| *name == wanted).map(|(_, gid, _)| gid);
    by_name
        .or_else(|| wanted.parse().ok())
        .ok_or_else(|| Error::NoGroup { group: wanted.to_owned() })
}

fn memberships(login: &str, group: &str) -> Vec<u32> {
    groups(group)
        .filter(|(.., members)| members.split(',').any(|member| member == login))
        .map(|(_, gid, _)| gid)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/srv/web:/bin/sh\nbroken\n7:x:70:70::/seven:\n";
    const GROUP: &str = "root:x:0:\nwww:x:34:\nlog:x:50:web,other\nadm:x:4:other\n";

    fn user(text: &str) -> Result<User, Error> {
        resolve(text, &[], PASSWD, GROUP)
    }

    #[test]
    fn names_numbers_and_groups() {
        let home = |home: &str| home.to_owned();
        assert_eq!(
            user("").unwrap(),
            User { uid: 0, gid: 0, groups: vec![0], home: home("/root") }
        );
        assert_eq!(
            user("web").unwrap(),
            User { uid: 33, gid: 34, groups: vec![34, 50], home: home("/srv/web") }
        );
        assert_eq!(user("33").unwrap(), user("web").unwrap());
        assert_eq!(
            user("web:adm").unwrap(),
            User { uid: 33, gid: 4, groups: vec![4], home: home("/srv/web") }
        );
        assert_eq!(
            user("1000:1001").unwrap(),
            User { uid: 1000, gid: 1001, groups: vec![1001], home: home("/") }
        );
        assert_eq!(user("7").unwrap().uid, 70, "a name of digits is a name");
    }

    #[test]
    fn extra_groups_are_added_once() {
        let extra = ["log", "adm", "99"].map(str::to_owned);
        assert_eq!(resolve("web", &extra, PASSWD, GROUP).unwrap().groups, [34, 50, 4, 99]);
    }

    #[test]
    fn unknown_names_are_dockers_error() {
        let error = user("nobody").unwrap_err();
        assert_eq!(
            error.to_string(),
            "unable to find user nobody: no matching entries in passwd file"
        );
        let error = user("web:wheel").unwrap_err();
        assert_eq!(
            error.to_string(),
            "unable to find group wheel: no matching entries in group file"
        );
    }
}
