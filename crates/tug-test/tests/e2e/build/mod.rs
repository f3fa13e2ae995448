//! `tug build`: Dockerfiles into images that run.

mod budget;
mod cache;
mod context;
mod corpus;
mod edits;
mod failures;
mod git;
mod hanging;
mod instructions;
mod killed_outputs;
mod kills;
mod mounts;
mod outputs;
mod release;
mod secrets;
mod seeds;
mod shared;
mod sharing;
mod ssh;
mod stages;

use std::path::{Path, PathBuf};
use tug_test::output::Output;
use tug_test::sandbox::Sandbox;

/// A directory with a Dockerfile and files beside it.
pub(crate) struct Project {
    pub dir: PathBuf,
}

impl Project {
    /// In the sandbox; `files` are names and contents, directories made as needed.
    pub(crate) fn new(s: &Sandbox, dockerfile: &str, files: &[(&str, &str)]) -> Self {
        let dir = s.dir().join(format!("project-{}", tug_test::unique()));
        let project = Self { dir };
        project.write("Dockerfile", dockerfile);
        files.iter().for_each(|(name, content)| project.write(name, content));
        project
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        let path = self.dir.join(name);
        let made = std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))
            .and_then(|()| std::fs::write(&path, content));
        assert!(made.is_ok(), "{}: {made:?}", path.display());
    }

    pub(crate) fn path(&self) -> String {
        self.dir.to_string_lossy().into_owned()
    }

    /// `tug build FLAGS DIR`, which may fail.
    pub(crate) fn try_build(&self, s: &Sandbox, flags: &[&str]) -> Output {
        s.tug(&[&["build"], flags, &[&self.path()]].concat())
    }

    /// The same with `-t app`; it must succeed.
    pub(crate) fn build(&self, s: &Sandbox, flags: &[&str]) -> Output {
        let output = self.try_build(s, &[&["-t", "app"], flags].concat());
        output.ok();
        output
    }
}

/// `tug run --rm app COMMAND`, its output.
pub(crate) fn in_app(s: &Sandbox, script: &str) -> String {
    let run = s.tug(&["run", "--rm", "--entrypoint", "sh", "-u", "0", "app", "-c", script]);
    run.ok().to_owned()
}

/// The image's `Config`.
pub(crate) fn config(s: &Sandbox, image: &str) -> serde_json::Value {
    s.inspect(image)["Config"].clone()
}

/// The titles of the steps that were cached, and of those that ran, in plain progress.
pub(crate) fn steps(output: &Output) -> (Vec<String>, Vec<String>) {
    let (mut cached, mut ran) = (Vec::new(), Vec::new());
    let mut titles = std::collections::BTreeMap::new();
    for line in output.stderr.lines() {
        let Some((number, text)) = line.strip_prefix('#').and_then(|l| l.split_once(' ')) else {
            continue;
        };
        let is_step = text.starts_with('[') && !text.starts_with("[internal]");
        if is_step && !titles.contains_key(number) {
            titles.insert(number.to_owned(), text.to_owned());
        } else if let Some(title) = titles.get(number) {
            match text {
                "CACHED" => cached.push(title.clone()),
                _ if text.starts_with("DONE") => ran.push(title.clone()),
                _ => {}
            }
        }
    }
    ran.retain(|title| !title.contains("] FROM "));
    (cached, ran)
}
