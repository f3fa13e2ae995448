//! What of a context counts, found out the slow way: everything is read every time, and the rules of ignore
//! files are followed as they are written down, one path after the other.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What a step takes.
pub(super) struct Taken {
    pub sources: Vec<&'static str>,
    /// The only source is a pattern of one directory and one name.
    pub wild: bool,
    pub excludes: Vec<&'static str>,
}

/// What a step sees: for each thing selected its name and what is at and below it. `None`: not there.
pub(super) type State = Option<Vec<(String, BTreeMap<String, String>)>>;

/// The files of a context at one moment.
pub(super) struct Oracle {
    /// Everything, hidden or not, as text.
    files: BTreeMap<String, String>,
    rules: Vec<(bool, Vec<String>)>,
}

impl Oracle {
    pub(super) fn look(top: &Path) -> Self {
        let mut files = BTreeMap::from([(String::new(), "directory".to_owned())]);
        walk(top, "", &mut files);
        let text = std::fs::read_to_string(top.join(".dockerignore")).unwrap_or_default();
        Self { files, rules: rules(text.lines()) }
    }

    pub(super) fn state(&self, step: &Taken) -> State {
        let excludes = rules(step.excludes.iter().copied());
        let mut all = Vec::new();
        for source in &step.sources {
            if step.wild {
                let (dir, name) = source.split_once('/').unwrap_or_default();
                let pattern = [dir.to_owned(), name.to_owned()];
                let names = self.files.keys().filter(|path| matches(&pattern, &split(path)));
                for path in names {
                    if let Some(real) = self.follow(path).filter(|real| !self.is_hidden(real)) {
                        all.push((path.clone(), self.below(&real, &excludes)));
                    }
                }
            } else {
                if self.is_hidden(source) && !source.is_empty() {
                    return None;
                }
                all.push(((*source).to_owned(), self.below(source, &excludes)));
            }
        }
        Some(all)
    }

    /// Where a name leads; links lead to names beside them only.
    fn follow(&self, path: &str) -> Option<String> {
        let mut path = path.to_owned();
        for _ in 0..50 {
            match self.files.get(&path)?.strip_prefix("link ") {
                None => return Some(path),
                Some(to) => {
                    let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
                    path = format!("{dir}/{to}");
                }
            }
        }
        None
    }

    fn is_hidden(&self, path: &str) -> bool {
        ignored(&self.rules, path) && !self.has_kept(path, &self.rules, "")
    }

    /// A directory something is left of.
    fn has_kept(&self, path: &str, rules: &[(bool, Vec<String>)], top: &str) -> bool {
        let inside = format!("{path}/");
        let below = self.files.range(inside.clone()..).map(|(other, _)| other);
        let mut below = below.take_while(|other| other.starts_with(&inside));
        below.any(|other| !ignored(rules, relative(other, top)))
    }

    fn below(&self, top: &str, excludes: &[(bool, Vec<String>)]) -> BTreeMap<String, String> {
        let inside = if top.is_empty() { String::new() } else { format!("{top}/") };
        let mut kept = BTreeMap::new();
        for (path, state) in &self.files {
            if path == top {
                kept.insert(String::new(), state.clone());
            } else if path.starts_with(&inside) && !path.is_empty() {
                let name = relative(path, top);
                let out = ignored(excludes, name) && !self.has_kept(path, excludes, top);
                if !self.is_hidden(path) && !out {
                    kept.insert(name.to_owned(), state.clone());
                }
            }
        }
        // What is left only for the sake of something in it that is not left either.
        let names: Vec<String> = kept.keys().rev().cloned().collect();
        for name in names.iter().filter(|name| !name.is_empty()) {
            let path = format!("{inside}{name}");
            let by_rule = ignored(&self.rules, &path) || ignored(excludes, name);
            let inside = format!("{name}/");
            if by_rule && !kept.keys().any(|other| other.starts_with(&inside)) {
                kept.remove(name);
            }
        }
        kept
    }
}

fn relative<'p>(path: &'p str, top: &str) -> &'p str {
    path[top.len()..].trim_start_matches('/')
}

fn walk(top: &Path, dir: &str, files: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(top.join(dir)).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        let path = if dir.is_empty() { name } else { format!("{dir}/{name}") };
        let full = top.join(&path);
        let metadata = full.symlink_metadata().unwrap();
        let mode = metadata.mode() & 0o7777;
        let state = if metadata.is_symlink() {
            format!("link {}", std::fs::read_link(&full).unwrap().display())
        } else if metadata.is_dir() {
            format!("directory {mode:o}")
        } else {
            format!("file {mode:o} {}", std::fs::read_to_string(&full).unwrap())
        };
        let is_dir = metadata.is_dir();
        files.insert(path.clone(), state);
        if is_dir {
            walk(top, &path, files);
        }
    }
}

/// Whether each rule is an exception, and the parts of its path.
fn rules<'l>(lines: impl Iterator<Item = &'l str>) -> Vec<(bool, Vec<String>)> {
    let lines = lines.filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines
        .map(|line| match line.strip_prefix('!') {
            Some(rest) => (true, split(rest)),
            None => (false, split(line)),
        })
        .collect()
}

fn split(path: &str) -> Vec<String> {
    path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// The last rule that fits a path, or a directory it is in, decides.
fn ignored(rules: &[(bool, Vec<String>)], path: &str) -> bool {
    let parts = split(path);
    let mut ignored = false;
    for (exception, pattern) in rules {
        if (1..=parts.len()).any(|length| matches(pattern, &parts[..length])) {
            ignored = !exception;
        }
    }
    ignored
}

fn matches(pattern: &[String], path: &[String]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        // At the end of a pattern it stands for something, before that also for nothing.
        (Some((first, rest)), _) if first == "**" => match rest.is_empty() {
            true => !path.is_empty(),
            false => (0..=path.len()).any(|skip| matches(rest, &path[skip..])),
        },
        (Some((first, rest)), Some((name, below))) => {
            let (first, name): (Vec<char>, Vec<char>) =
                (first.chars().collect(), name.chars().collect());
            part(&first, &name) && matches(rest, below)
        }
        _ => false,
    }
}

fn part(pattern: &[char], name: &[char]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some(('*', rest)), _) => (0..=name.len()).any(|skip| part(rest, &name[skip..])),
        (Some(('?', rest)), Some((_, below))) => part(rest, below),
        (Some((c, rest)), Some((d, below))) => c == d && part(rest, below),
        _ => false,
    }
}
