//! `.gitmodules`: where submodules are and where they come from.

/// One submodule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Module {
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
            list.push(Module::default());
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
    list.retain(|module| !module.path.is_empty() && !module.url.is_empty());
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_listed() {
        let text = b"[submodule \"a\"]\n\tpath = lib/a\n\turl = ../a.git\n\tbranch = x\n[submodule \"b\"]\n";
        let found = modules(text);
        assert_eq!(found, [Module { path: "lib/a".to_owned(), url: "../a.git".to_owned() }]);
    }
}
