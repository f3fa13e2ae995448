//! Variables put into the words of one instruction, and into the line a progress view shows.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::ast::{CommandLine, InlineFile, Instruction, KeyValue, Paths, Run, Step};
use crate::diagnostic::Diagnostic;
use crate::env::Env;
use crate::expand::{Expanded, Expander, Variables};
use crate::mount::{Mount, MountKind};
use crate::problem::Problem;
use crate::source::Source;
use crate::span::{Span, Spanned};

/// `ARG`s that steer the build and are no variables of its processes.
pub(crate) const NOT_VARIABLES: [&str; 2] =
    ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

/// Expands the words of one instruction.
pub(crate) struct Words<'a> {
    pub(crate) env: &'a Env,
    pub(crate) args: &'a [(String, Option<String>)],
    pub(crate) expander: Expander,
    pub(crate) source: &'a Arc<Source>,
    pub(crate) span: Span,
    pub(crate) own: bool,
    pub(crate) used: BTreeSet<String>,
    pub(crate) undefined: Vec<Spanned<String>>,
}

impl Words<'_> {
    pub(crate) fn fail(&self, problem: Problem, at: Span) -> Diagnostic {
        let within = (self.own && self.span.lines().contains(&at.line())).then_some(at);
        Diagnostic::evaluate(problem, self.source, self.span).at(within)
    }

    fn expanded(
        &mut self,
        word: &str,
        expander: Expander,
        at: Span,
    ) -> Result<Expanded, Diagnostic> {
        let expanded =
            expander.expand(word, self.env).map_err(|error| self.fail(error.into(), at))?;
        self.used.extend(expanded.used.iter().cloned());
        for name in &expanded.unset {
            let declared = self.args.iter().any(|(arg, _)| arg == name);
            if !declared && !NOT_VARIABLES.contains(&name.as_str()) {
                self.undefined.push(Spanned::new(name.clone(), self.place(name, at)));
            }
        }
        Ok(expanded)
    }

    /// Where a variable is written.
    fn place(&self, name: &str, at: Span) -> Span {
        if !self.own {
            return self.span;
        }
        self.source
            .find_variable(at, name)
            .or_else(|| self.source.find_variable(self.span, name))
            .unwrap_or(at)
    }

    pub(crate) fn one(&mut self, word: &str, at: Span) -> Result<String, Diagnostic> {
        Ok(self.expanded(word, self.expander, at)?.text)
    }

    fn spanned(&mut self, word: &Spanned<String>) -> Result<Spanned<String>, Diagnostic> {
        Ok(Spanned::new(self.one(&word.value, word.span)?, word.span))
    }

    fn maybe(
        &mut self,
        word: &Option<Spanned<String>>,
    ) -> Result<Option<Spanned<String>>, Diagnostic> {
        word.as_ref().map(|word| self.spanned(word)).transpose()
    }

    fn list(&mut self, words: &[Spanned<String>]) -> Result<Vec<Spanned<String>>, Diagnostic> {
        words.iter().map(|word| self.spanned(word)).collect()
    }

    fn pairs(&mut self, pairs: &[KeyValue]) -> Result<Vec<KeyValue>, Diagnostic> {
        let mut out = Vec::with_capacity(pairs.len());
        for pair in pairs {
            let key = self.one(&pair.key, pair.span)?;
            let value = self.one(&pair.value, pair.span)?;
            out.push(KeyValue { key, value, legacy: pair.legacy, span: pair.span });
        }
        Ok(out)
    }

    /// Words split after expansion; what is not set is not reported.
    pub(crate) fn split(&mut self, word: &Spanned<String>) -> Result<Vec<String>, Diagnostic> {
        let expanded = self
            .expander
            .expand(&word.value, self.env)
            .map_err(|error| self.fail(error.into(), word.span))?;
        self.used.extend(expanded.used);
        Ok(expanded.words)
    }

    fn paths(&mut self, paths: &Paths) -> Result<Paths, Diagnostic> {
        let sources = self.list(&paths.sources)?;
        let destination = self.spanned(&paths.destination)?;
        let mut inline = Vec::with_capacity(paths.inline.len());
        for file in &paths.inline {
            let data = if file.expand {
                // In a here-document quotes mean nothing, and the escape is always a backslash.
                let expander = Expander { ignore_quotes: true, ..Expander::new('\\') };
                self.expanded(&file.data, expander, self.span)?.text
            } else {
                file.data.clone()
            };
            inline.push(InlineFile { data, ..file.clone() });
        }
        Ok(Paths { sources, inline, destination })
    }

    pub(crate) fn mounts(&mut self, run: &Run) -> Result<Vec<Mount>, Diagnostic> {
        let mut mounts = Vec::with_capacity(run.mounts.len());
        for flag in &run.mounts {
            let mut failed = None;
            let parsed = Mount::parse(&flag.raw, &mut |value| match self.expanded(
                value,
                self.expander,
                flag.span,
            ) {
                Ok(expanded) => Ok(expanded.text),
                Err(diagnostic) => {
                    failed = Some(diagnostic);
                    Ok(String::new())
                }
            });
            if let Some(diagnostic) = failed {
                return Err(diagnostic);
            }
            mounts.push(parsed.map_err(|error| self.fail(error.into(), flag.span))?);
        }
        Ok(mounts)
    }

    pub(crate) fn instruction(
        &mut self,
        instruction: &Instruction,
    ) -> Result<Instruction, Diagnostic> {
        Ok(match instruction {
            Instruction::Add(add) => {
                let chown = self.maybe(&add.chown)?;
                let chmod = self.maybe(&add.chmod)?;
                let checksum = self.maybe(&add.checksum)?;
                let paths = self.paths(&add.paths)?;
                Instruction::Add(crate::ast::Add { paths, chown, chmod, checksum, ..add.clone() })
            }
            Instruction::Copy(copy) => {
                let chown = self.maybe(&copy.chown)?;
                let chmod = self.maybe(&copy.chmod)?;
                let paths = self.paths(&copy.paths)?;
                Instruction::Copy(crate::ast::Copy { paths, chown, chmod, ..copy.clone() })
            }
            Instruction::Env(pairs) => Instruction::Env(self.pairs(pairs)?),
            Instruction::Label(pairs) => Instruction::Label(self.pairs(pairs)?),
            Instruction::StopSignal(word) => Instruction::StopSignal(self.spanned(word)?),
            Instruction::User(word) => Instruction::User(self.spanned(word)?),
            Instruction::Volume(words) => {
                let volumes = self.list(words)?;
                if let Some(empty) = volumes.iter().find(|volume| volume.value.is_empty()) {
                    return Err(self.fail(Problem::EmptyVolume, empty.span));
                }
                Instruction::Volume(volumes)
            }
            Instruction::Workdir(word) => Instruction::Workdir(self.spanned(word)?),
            other => other.clone(),
        })
    }
}

/// Variables, those that a secret goes into hidden.
struct Masked<'a> {
    env: &'a Env,
    secrets: Vec<&'a str>,
}

impl Variables for Masked<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        if self.secrets.contains(&name) { Some("****") } else { self.env.value(name) }
    }
}

/// The instruction's line with its variables put in; as written where that fails.
pub(crate) fn title(step: &Step, env: &Env, escape: char, mounts: &[Mount]) -> String {
    let secrets = mounts
        .iter()
        .filter(|mount| mount.kind == MountKind::Secret)
        .filter_map(|mount| mount.env.as_deref())
        .filter(|name| !name.is_empty())
        .collect();
    let mut line = step.head.code.clone();
    let mut expander = Expander::new(escape);
    if let Instruction::Run(run) = &step.instruction {
        // A RUN's line is the shell's: quotes and what is not set stay.
        expander = Expander { raw_quotes: true, keep_unset: true, ..expander };
        if let (true, Some(first)) = (is_lone_heredoc(run), run.heredocs.first()) {
            line = format!("{line} ({})", first.summary());
        }
    }
    let line = match expander.expand(&line, &Masked { env, secrets }) {
        Ok(expanded) => expanded.text,
        Err(_) => line,
    };
    let keyword = line.find(' ').unwrap_or(line.len());
    line[..keyword].to_uppercase() + &line[keyword..]
}

fn is_lone_heredoc(run: &Run) -> bool {
    matches!(&run.command, CommandLine::Shell(line) if crate::heredoc::is_mark(line))
}
