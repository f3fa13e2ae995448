//! `COPY` and `ADD`.

use super::{Lowering, Place, StageState};
use crate::error::BuildError;
use crate::files::mode::ModeChange;
use crate::files::pattern::is_pattern;
use crate::ops::{Copy, CopySource, Git, Http, Info, Op};
use tug_dockerfile::{Add, Copy as CopyInstruction, Paths, Span};
use tug_git::Remote;
use tug_solver::VertexId;

/// What both have in common.
struct Wanted {
    word: &'static str,
    paths: Paths,
    chown: Option<String>,
    chmod: Option<String>,
    link: bool,
    parents: bool,
    excludes: Vec<String>,
    checksum: Option<String>,
    keep_git_dir: Option<bool>,
    /// Local archives, downloads.
    unpack: (bool, bool),
}

impl<'a> Lowering<'a> {
    pub(crate) fn copy(
        &mut self,
        state: &mut StageState<'a>,
        copy: CopyInstruction,
        title: &str,
        span: Span,
    ) -> Result<(), BuildError> {
        let from = match &copy.from {
            Some(name) => self.place(&name.value, state.index, name.span)?,
            None => Place::Context(self.context("")),
        };
        let wanted = Wanted {
            word: "COPY",
            paths: copy.paths,
            chown: copy.chown.map(|owner| owner.value),
            chmod: copy.chmod.map(|mode| mode.value),
            link: copy.link,
            parents: copy.parents,
            excludes: copy.excludes,
            checksum: None,
            keep_git_dir: None,
            unpack: (false, false),
        };
        self.files(state, wanted, from, title, span)
    }

    pub(crate) fn add_files(
        &mut self,
        state: &mut StageState<'a>,
        add: Add,
        title: &str,
        span: Span,
    ) -> Result<(), BuildError> {
        let wanted = Wanted {
            word: "ADD",
            paths: add.paths,
            chown: add.chown.map(|owner| owner.value),
            chmod: add.chmod.map(|mode| mode.value),
            link: add.link,
            parents: false,
            excludes: add.excludes,
            checksum: add.checksum.map(|sum| sum.value),
            keep_git_dir: add.keep_git_dir,
            unpack: (add.unpack.unwrap_or(true), add.unpack.unwrap_or(false)),
        };
        if wanted.checksum.is_some() {
            let sources = &wanted.paths.sources;
            if sources.len() + wanted.paths.inline.len() > 1 {
                return Err(self.fail(BuildError::ChecksumOfSeveral, span));
            }
            if !sources
                .iter()
                .any(|source| is_address(&source.value) || Remote::is_git(&source.value))
            {
                return Err(self.fail(BuildError::ChecksumOfFile, span));
            }
        }
        let context = Place::Context(self.context(""));
        self.files(state, wanted, context, title, span)
    }

    fn files(
        &mut self,
        state: &mut StageState<'a>,
        wanted: Wanted,
        from: Place,
        title: &str,
        span: Span,
    ) -> Result<(), BuildError> {
        if let Some(mode) = &wanted.chmod
            && ModeChange::parse(mode).is_none()
        {
            return Err(self.fail(BuildError::Chmod { value: mode.clone() }, span));
        }
        let title = state.title(title);
        let history = history(&wanted);
        let link = wanted.link && wanted.chmod.is_none();
        let mut inputs: Vec<VertexId> = match (link, state.files) {
            (false, Some(files)) => vec![files],
            _ => Vec::new(),
        };
        let onto = inputs.len();
        let sources = self.sources(&wanted, &from, onto, &mut inputs, (title.as_str(), span))?;
        let op = Copy {
            sources,
            destination: state.absolute(&wanted.paths.destination.value),
            chown: wanted.chown,
            chmod: wanted.chmod,
            parents: wanted.parents,
            link: onto == 0,
            excludes: wanted.excludes,
            epoch: self.epoch,
        };
        let info = self.info(state, title, span);
        let made = self.add(Op::Copy(op), inputs, info.clone());
        state.files = Some(match (link, state.files) {
            (true, Some(files)) => {
                let info = Info { title: String::new(), ..info };
                self.add(Op::Merge, vec![files, made], info)
            }
            _ => made,
        });
        state.image.commit(history, true, true);
        Ok(())
    }

    fn sources(
        &mut self,
        wanted: &Wanted,
        from: &Place,
        onto: usize,
        inputs: &mut Vec<VertexId>,
        (title, span): (&str, Span),
    ) -> Result<Vec<CopySource>, BuildError> {
        let mut sources = Vec::new();
        for source in &wanted.paths.sources {
            let text = &source.value;
            if Remote::is_git(text) {
                if wanted.word == "COPY" {
                    return Err(self.fail(BuildError::CopyUrl { url: text.clone() }, source.span));
                }
                let git = git(wanted, text).map_err(|error| self.fail(error, source.span))?;
                let info = Info {
                    title: format!("[internal] load git source {text}"),
                    span: Some(span),
                    ignore_cache: false,
                    slot: String::new(),
                };
                inputs.push(self.add(Op::Git(git), Vec::new(), info));
                sources.push(CopySource::Git { from: inputs.len() - 1 });
                continue;
            }
            if is_address(text) {
                if wanted.word == "COPY" {
                    return Err(self.fail(BuildError::CopyUrl { url: text.clone() }, source.span));
                }
                let http = Http {
                    url: text.clone(),
                    file_name: file_name(text),
                    checksum: wanted.checksum.clone(),
                };
                let info = Info {
                    title: title.to_owned(),
                    span: Some(span),
                    ignore_cache: false,
                    slot: String::new(),
                };
                inputs.push(self.add(Op::Http(http), Vec::new(), info));
                let from = inputs.len() - 1;
                sources.push(CopySource::Download { from, unpack: wanted.unpack.1 });
                continue;
            }
            if !is_pattern(text) {
                return Err(self.fail(BuildError::Pattern { pattern: text.clone() }, source.span));
            }
            let Some(from) = input(from, onto, inputs) else {
                let problem = BuildError::NotFound { path: text.clone(), hint: None };
                return Err(self.fail(problem, source.span));
            };
            let (pattern, unpack) = (text.clone(), wanted.unpack.0 && wanted.word == "ADD");
            sources.push(CopySource::Files { from, pattern, unpack });
        }
        for file in &wanted.paths.inline {
            sources.push(CopySource::Inline { name: file.name.clone(), data: file.data.clone() });
        }
        Ok(sources)
    }
}

/// The number of the input that files come from, added when it is not there yet.
fn input(from: &Place, onto: usize, inputs: &mut Vec<VertexId>) -> Option<usize> {
    let vertex = match from {
        Place::Files(files) => (*files)?,
        Place::Context(context) => *context,
    };
    // What is copied onto may be the same files.
    let known = inputs.iter().skip(onto).position(|input| *input == vertex).map(|at| at + onto);
    Some(known.unwrap_or_else(|| {
        inputs.push(vertex);
        inputs.len() - 1
    }))
}

fn history(wanted: &Wanted) -> String {
    let mut text = wanted.word.to_owned();
    let mut word = |word: &str| {
        text.push(' ');
        text.push_str(word);
    };
    if wanted.parents {
        word("--parents");
    }
    if let Some(owner) = &wanted.chown {
        word(&format!("--chown={owner}"));
    }
    if let Some(mode) = &wanted.chmod {
        word(&format!("--chmod={mode}"));
    }
    for source in &wanted.paths.sources {
        word(&source.value);
    }
    for file in &wanted.paths.inline {
        word(&format!("<<{}", file.name));
    }
    word(&wanted.paths.destination.value);
    text
}

/// A repository, as an instruction asks for it.
fn git(wanted: &Wanted, text: &str) -> Result<Git, BuildError> {
    let remote = Remote::parse(text).map_err(|source| BuildError::git(text, source))?;
    let twice = |what| BuildError::GitTwice { url: tug_git::redacted(text), what };
    if wanted.keep_git_dir.zip(remote.keep_git_dir).is_some_and(|(one, other)| one != other) {
        return Err(twice("keep-git-dir"));
    }
    if wanted.checksum.as_ref().zip(remote.checksum.as_ref()).is_some_and(|(a, b)| a != b) {
        return Err(twice("the checksum"));
    }
    Ok(Git {
        keep_git_dir: remote.keep_git_dir.or(wanted.keep_git_dir).unwrap_or(false),
        url: remote.url,
        reference: remote.reference,
        subdir: remote.subdir,
        no_submodules: remote.no_submodules,
        checksum: remote.checksum.or_else(|| wanted.checksum.clone()),
        by_commit: remote.by_commit,
    })
}

fn is_address(source: &str) -> bool {
    source.starts_with("http://") || source.starts_with("https://")
}

/// What a download is called: the last part of the address' path.
fn file_name(url: &str) -> String {
    let path = url.split(['#', '?']).next().unwrap_or(url);
    let path = path.split_once("://").map_or(path, |(_, rest)| rest);
    match path.split_once('/').map(|(_, path)| path.trim_end_matches('/')) {
        Some(path) if !path.is_empty() => path.rsplit('/').next().unwrap_or(path).to_owned(),
        _ => "__unnamed__".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn downloads_are_called_by_their_path() {
        for (url, name) in [
            ("https://a.b/c/d.tar?x=/y", "d.tar"),
            ("https://a.b/", "__unnamed__"),
            ("https://a.b", "__unnamed__"),
            ("https://a.b/c/", "c"),
        ] {
            assert_eq!(file_name(url), name);
        }
    }
}
