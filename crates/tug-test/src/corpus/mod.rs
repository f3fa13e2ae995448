//! Dockerfiles of our own making, what Docker makes of them, and how the two are compared.
//!
//! `corpus/*.txt` hold the cases, a file per topic; `corpus/docker/*.txt` what Docker built from each, as
//! recorded by `./dev peers corpus` and by nothing else; `corpus/differences.txt` names every place
//! where tug is meant to differ, with the reason. Both engines' images are read from what `save` writes
//! ([`image`]), by code that shares nothing with tug, and described as text ([`describe`]).
//!
//! A case:
//!
//! ```text
//! === name-of-the-case
//! What it shows.
//! --- Dockerfile
//! FROM busybox
//! COPY a /b
//! --- context
//! file a "hello\n" mode=600
//! --- flags
//! --build-arg
//! X=1
//! ```
//!
//! Sections: `Dockerfile [crlf] [bom] [NAME]`, `base IMAGE` (a Dockerfile built and tagged before), `context
//! [NAME]` (a [`context`] list; a named one is a directory beside), `flags` (one argument a line, `$DIR` is
//! where the contexts are), `times` (modification times count), `says` (what tug must say of what fails).

pub mod compare;
pub mod context;
pub mod describe;
pub mod image;
pub mod runner;

use std::path::{Path, PathBuf};

/// One Dockerfile with all that belongs to it.
#[derive(Clone, Debug, Default)]
pub struct Case {
    /// Unique in the corpus.
    pub name: String,
    /// Its sections, in order.
    pub sections: Vec<Section>,
}

/// What stands below a `---` line.
#[derive(Clone, Debug, Default)]
pub struct Section {
    /// The words behind the dashes.
    pub head: Vec<String>,
    /// The lines below, with their ends.
    pub text: String,
}

impl Section {
    /// Its first word.
    pub fn kind(&self) -> &str {
        self.head.first().map_or("", String::as_str)
    }
}

impl Case {
    /// The sections of a kind.
    pub fn all(&self, kind: &str) -> impl Iterator<Item = &Section> {
        self.sections.iter().filter(move |section| section.kind() == kind)
    }

    /// The lines of the first section of a kind; none when it is not there.
    pub fn lines(&self, kind: &str) -> Vec<&str> {
        self.all(kind).next().map(|section| section.text.lines().collect()).unwrap_or_default()
    }
}

/// Where the corpus is.
pub fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// The names of all topics, sorted.
pub fn topics() -> Vec<String> {
    let entries = std::fs::read_dir(dir()).unwrap_or_else(|e| panic!("{}: {e}", dir().display()));
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".txt")?.to_owned()))
        .filter(|name| name != "differences")
        .collect();
    names.sort();
    names
}

/// The cases of one file.
pub fn read(path: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    parse(&text)
}

/// The cases in a text.
pub fn parse(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.split_inclusive('\n') {
        if let Some(name) = line.strip_prefix("=== ") {
            cases.push(Case { name: name.trim().to_owned(), sections: Vec::new() });
            continue;
        }
        let Some(case) = cases.last_mut() else { continue };
        if let Some(head) = line.strip_prefix("--- ") {
            let head = head.split_whitespace().map(str::to_owned).collect();
            case.sections.push(Section { head, text: String::new() });
        } else if let Some(section) = case.sections.last_mut() {
            section.text.push_str(line);
        }
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_and_sections_are_told_apart() {
        let cases =
            parse("# file\n=== a\nwhy\n--- Dockerfile crlf\nFROM x\n--- flags\n-q\n=== b\n");
        assert_eq!(cases.len(), 2);
        assert_eq!(cases[0].sections[0].head, ["Dockerfile", "crlf"]);
        assert_eq!(cases[0].sections[0].text, "FROM x\n");
        assert_eq!(cases[0].lines("flags"), ["-q"]);
        assert!(cases[1].sections.is_empty());
    }

    #[test]
    fn no_name_is_taken_twice() {
        let mut names: Vec<String> = Vec::new();
        for topic in topics() {
            names.extend(read(&dir().join(format!("{topic}.txt"))).into_iter().map(|c| c.name));
        }
        names.sort();
        let twice: Vec<_> = names.windows(2).filter(|pair| pair[0] == pair[1]).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }
}
