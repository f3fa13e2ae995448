//! Builds a case with an engine that has Docker's commands, and says what came of it.

use super::image::{self, Image};
use super::{Case, Section, context, describe};
use crate::output::Output;
use std::path::{Path, PathBuf};

/// An engine's command line.
pub type Engine<'a> = &'a dyn Fn(&[&str]) -> Output;

/// What a case came to.
pub enum Outcome {
    /// The image, described.
    Built(String),
    /// It was refused.
    Failed {
        /// The line of the Dockerfile that was pointed at.
        line: Option<u32>,
        /// Everything that was said.
        said: String,
    },
}

impl Outcome {
    /// As it is recorded and compared.
    pub fn text(&self) -> String {
        match self {
            Self::Built(text) => text.clone(),
            Self::Failed { line: Some(line), .. } => format!("fails at line {line}\n"),
            Self::Failed { line: None, .. } => "fails\n".to_owned(),
        }
    }
}

/// The image `busybox` of an engine, the base of all others.
///
/// # Panics
/// When it cannot be saved or read.
pub fn base(engine: Engine<'_>, dir: &Path) -> Image {
    saved(engine, "busybox:latest", dir)
}

fn saved(engine: Engine<'_>, name: &str, dir: &Path) -> Image {
    let archive = dir.join("saved.tar");
    let _ = std::fs::remove_file(&archive);
    engine(&["save", "-o", &archive.to_string_lossy(), name]).ok();
    image::read(&archive).unwrap_or_else(|error| panic!("what was saved of {name}: {error}"))
}

/// Builds one case below `dir`.
///
/// # Panics
/// When its files cannot be made, or what was built cannot be read.
pub fn build(case: &Case, engine: Engine<'_>, base: &Image, dir: &Path) -> Outcome {
    let root = dir.join(&case.name);
    let context = contexts(case, &root);
    for (number, section) in case.all("base").enumerate() {
        let file = root.join(format!("base-{number}"));
        write(&file, section.text.as_bytes());
        let tag = section.head.get(1).map_or("base", String::as_str);
        let context = context.to_string_lossy();
        engine(&["build", "-q", "-t", tag, "-f", &file.to_string_lossy(), &context]).ok();
    }
    let tag = format!("corpus-{}", case.name);
    let root_name = root.to_string_lossy().into_owned();
    let flags = case.lines("flags").into_iter().filter(|flag| !flag.is_empty());
    let flags: Vec<String> = flags.map(|flag| flag.replace("$DIR", &root_name)).collect();
    let context = context.to_string_lossy().into_owned();
    let mut arguments = vec!["build", "-t", &tag];
    arguments.extend(flags.iter().map(String::as_str));
    arguments.push(&context);
    let output = engine(&arguments);
    let outcome = if output.code == 0 {
        let image = saved(engine, &tag, &root);
        Outcome::Built(describe::describe(&image, base, case.all("times").next().is_some()))
    } else {
        Outcome::Failed { line: pointed_at(&output.stderr), said: output.stderr }
    };
    let _ = std::fs::remove_dir_all(&root);
    outcome
}

/// Makes all its files; where the main context is.
fn contexts(case: &Case, root: &Path) -> PathBuf {
    let main = root.join("context");
    let made = std::fs::create_dir_all(&main);
    assert!(made.is_ok(), "{}: {made:?}", main.display());
    for section in case.all("context") {
        let dir = section.head.get(1).map_or_else(|| main.clone(), |name| root.join(name));
        let made = context::make(&dir, &section.text);
        assert!(made.is_ok(), "{}: {made:?}", case.name);
    }
    for section in case.all("Dockerfile") {
        let (name, bytes) = dockerfile(section);
        write(&main.join(name), &bytes);
    }
    main
}

fn dockerfile(section: &Section) -> (&str, Vec<u8>) {
    let (mut name, mut text) = ("Dockerfile", section.text.clone());
    for word in &section.head[1..] {
        match word.as_str() {
            "crlf" => text = text.replace('\n', "\r\n"),
            "bom" => text.insert(0, '\u{feff}'),
            "unended" => text.truncate(text.trim_end_matches('\n').len()),
            other => name = other,
        }
    }
    (name, text.into_bytes())
}

fn write(path: &Path, bytes: &[u8]) {
    let dir = path.parent().unwrap_or(Path::new("/"));
    let made = std::fs::create_dir_all(dir).and_then(|()| std::fs::write(path, bytes));
    assert!(made.is_ok(), "{}: {made:?}", path.display());
}

/// `Dockerfile:3` on a line of its own.
fn pointed_at(said: &str) -> Option<u32> {
    said.lines().find_map(|line| {
        let (name, number) = line.trim().rsplit_once(':')?;
        name.ends_with("ockerfile").then(|| number.parse().ok())?
    })
}
