//! `.gitmodules`: where submodules are and where they come from.

/// One submodule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Module {
    /// What git calls it, and its directory in `.git/modules`: one that leads nowhere else.
    pub name: String,
    /// Below the repository.
    pub path: String,
    /// Its address, which may be relative.
    pub url: String,
}

/// Those that have a path and an address.
pub fn modules(text: &[u8]) -> Vec<Module> {
    let text = String::from_utf8_lossy(text);
    let mut list: Vec<Module> = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            let name = line.split_once('"').and_then(|(_, rest)| rest.rsplit_once('"'));
            let name = name.map(|(name, _)| name.to_owned()).unwrap_or_default();
            list.push(Module { name, ..Module::default() });
            continue;
        }
        let (Some((name, value)), Some(module)) = (line.split_once('='), list.last_mut()) else {
            continue;
        };
        let value = value.trim().trim_matches('"').to_owned();
        match name.trim().to_ascii_lowercase().as_str() {
            "path" => module.path = value,
            "url" => module.url = value,
            _ => {}
        }
    }
    let plain = |name: &str| name.split('/').all(|part| !["", ".", ".."].contains(&part));
    list.retain(|module| plain(&module.name) && !module.path.is_empty() && !module.url.is_empty());
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_listed() {
        let text = b"[submodule \"a\"]\n\tpath = lib/a\n\turl = ../a.git\n\tbranch = x\n[submodule \"b\"]\n";
        let one =
            Module { name: "a".to_owned(), path: "lib/a".to_owned(), url: "../a.git".to_owned() };
        assert_eq!(modules(text), [one]);
        for name in ["..", "a/../../b", "/a", ""] {
            let text = format!("[submodule \"{name}\"]\npath = a\nurl = b\n");
            assert!(modules(text.as_bytes()).is_empty(), "{name}");
        }
    }
}
