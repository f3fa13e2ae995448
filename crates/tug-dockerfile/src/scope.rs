//! Which variables an instruction sees, and the instruction with them put in.
//!
//! Three scopes, as BuildKit has them:
//!
//! - [`GlobalScope`]: the platform variables and the `ARG`s before the first `FROM`. `FROM` lines see it,
//!   and inside a stage an `ARG name` without a value takes its value from it.
//! - [`StageScope`]: the base's environment, then every `ENV` and `ARG` in order. A stage that stands on
//!   another goes on with that one's scope.
//! - The build arguments given from outside take the place of an `ARG`'s own value, in both.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::ast::{Arg, Dockerfile, InlineFile, Instruction, KeyValue, Paths, Run, Stage, Step};
use crate::diagnostic::Diagnostic;
use crate::env::Env;
use crate::expand::{ExpandError, Expanded, Expander, Variables};
use crate::mount::{Mount, MountKind};
use crate::platform::{Platform, platform_args};
use crate::port::{ExposedPorts, parse_ports};
use crate::problem::Problem;
use crate::source::Source;
use crate::span::{Span, Spanned};
use crate::suggest::nearest;

/// What a Linux image without a `PATH` gets.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// `ARG`s that steer the build and are no variables of its processes.
const NOT_VARIABLES: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

/// What is given from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inputs {
    /// `--build-arg`
    pub build_args: BTreeMap<String, String>,
    /// The machine that builds.
    pub build_platform: Platform,
    /// What is built for.
    pub target_platform: Platform,
    /// `--target`
    pub target_stage: Option<String>,
}

impl Inputs {
    /// No build arguments, the host's platform, the last stage.
    pub fn host() -> Self {
        Self {
            build_args: BTreeMap::new(),
            build_platform: Platform::host(),
            target_platform: Platform::host(),
            target_stage: None,
        }
    }
}

/// The variables outside the stages.
#[derive(Clone, Debug)]
pub struct GlobalScope {
    env: Env,
    /// The names of the `ARG`s before the first `FROM`.
    declared: BTreeSet<String>,
    build_args: BTreeMap<String, String>,
    escape: char,
    source: Arc<Source>,
}

/// A `FROM` line with its variables put in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Image, earlier stage's name or `scratch`.
    pub base: String,
    /// `--platform`
    pub platform: Option<Platform>,
    /// Variables that decided them.
    pub used: BTreeSet<String>,
}

impl GlobalScope {
    /// Evaluates the `ARG`s before the first `FROM`.
    ///
    /// # Errors
    /// When a value cannot be expanded.
    pub fn new(file: &Dockerfile, inputs: &Inputs) -> Result<Self, Diagnostic> {
        let last = file.stages.last().and_then(|stage| stage.name.as_ref());
        let target = inputs
            .target_stage
            .as_deref()
            .or(last.map(|name| name.value.as_str()))
            .unwrap_or_default();
        let mut scope = Self {
            env: platform_args(
                &inputs.build_platform,
                &inputs.target_platform,
                target,
                &inputs.build_args,
            ),
            declared: BTreeSet::new(),
            build_args: inputs.build_args.clone(),
            escape: file.escape,
            source: file.source.clone(),
        };
        for instruction in &file.global_args {
            for arg in &instruction.args {
                let value = match (scope.build_args.get(&arg.key), &arg.value) {
                    (Some(given), _) => Some(given.clone()),
                    (None, Some(written)) => {
                        let expanded =
                            scope.expander().expand(written, &scope.env).map_err(|error| {
                                Diagnostic::evaluate(
                                    error.into(),
                                    &file.source,
                                    instruction.head.span,
                                )
                                .at(Some(arg.span))
                            })?;
                        Some(expanded.text)
                    }
                    (None, None) => None,
                };
                if let Some(value) = value {
                    scope.env.set(&arg.key, value);
                }
                scope.declared.insert(arg.key.clone());
            }
        }
        Ok(scope)
    }

    /// The variables and their values.
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// The names of the `ARG`s before the first `FROM`, set or not.
    pub fn declared(&self) -> &BTreeSet<String> {
        &self.declared
    }

    pub(crate) fn expander(&self) -> Expander {
        Expander::new(self.escape)
    }

    pub(crate) fn expand(&self, word: &str) -> Result<Expanded, ExpandError> {
        self.expander().expand(word, &self.env)
    }

    /// Evaluates a `FROM` line.
    ///
    /// # Errors
    /// When a word cannot be expanded, nothing is left of it, or the platform is none.
    pub fn header(&self, stage: &Stage) -> Result<Header, Diagnostic> {
        let fail = |problem, at: Span| {
            Diagnostic::evaluate(problem, &self.source, stage.head.span).at(Some(at))
        };
        let base =
            self.expand(&stage.base.value).map_err(|error| fail(error.into(), stage.base.span))?;
        if base.text.is_empty() {
            return Err(fail(
                Problem::BlankBase { written: stage.base.value.clone() },
                stage.base.span,
            ));
        }
        let mut used = base.used;
        let mut platform = None;
        if let Some(written) = &stage.platform {
            let expanded =
                self.expand(&written.value).map_err(|error| fail(error.into(), written.span))?;
            let suggestion =
                || expanded.unset.iter().find_map(|name| nearest(name, self.env.names(), true));
            if expanded.text.is_empty() {
                let problem = Problem::BlankPlatform {
                    written: written.value.clone(),
                    suggestion: suggestion(),
                };
                return Err(fail(problem, written.span));
            }
            platform = Some(expanded.text.parse::<Platform>().map_err(|error| {
                let problem = Problem::Platform {
                    written: written.value.clone(),
                    error,
                    suggestion: suggestion(),
                };
                fail(problem, written.span)
            })?);
            used.extend(expanded.used);
        }
        Ok(Header { base: base.text, platform, used })
    }
}

/// The variables of one stage, growing with each instruction.
#[derive(Clone, Debug)]
pub struct StageScope<'a> {
    global: &'a GlobalScope,
    source: Arc<Source>,
    env: Env,
    image_env: Env,
    args: Vec<(String, Option<String>)>,
}

/// An instruction with its variables put in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluated {
    /// The instruction. Words are unquoted where the instruction expands them; in `ARG` every value is
    /// the one in force, whether it was written, given from outside or taken from the global scope.
    pub instruction: Instruction,
    /// A `RUN`'s mounts.
    pub mounts: Vec<Mount>,
    /// An `EXPOSE`'s ports, a value for each word.
    pub ports: Vec<ExposedPorts>,
    /// The variables that were asked for and set.
    pub used: BTreeSet<String>,
    /// The variables that were asked for and are neither set nor declared by an `ARG`, one for each word
    /// that asks.
    pub undefined: Vec<Spanned<String>>,
    /// The instruction as a progress line shows it: variables put in, the keyword in capitals.
    pub title: String,
}

impl<'a> StageScope<'a> {
    /// For a stage that starts from an image, or from `scratch` with no words: the image config's
    /// `NAME=value` words. A `PATH` is added when there is none.
    pub fn on_image<S: AsRef<str>>(
        global: &'a GlobalScope,
        env: impl IntoIterator<Item = S>,
    ) -> Self {
        let mut image_env = Env::from_words(env);
        if image_env.value("PATH").is_none() {
            image_env.set("PATH", DEFAULT_PATH);
        }
        Self {
            global,
            source: global.source.clone(),
            env: image_env.clone(),
            image_env,
            args: Vec::new(),
        }
    }

    /// For a stage that starts from another one: everything that one has set, its `ARG`s too.
    #[must_use]
    pub fn on_stage(&self) -> Self {
        let mut scope = self.clone();
        for (name, value) in self.image_env.iter() {
            scope.env.set(name, value);
        }
        scope
    }

    /// What an instruction or a `RUN`'s process sees: `ENV` and `ARG`, the base's environment included.
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// What the image config keeps: the base's environment and `ENV`.
    pub fn image_env(&self) -> &Env {
        &self.image_env
    }

    /// The `ARG`s so far, in order, each with its value where it has one. A name can come twice.
    pub fn args(&self) -> &[(String, Option<String>)] {
        &self.args
    }

    /// Evaluates an instruction, and lets `ENV` and `ARG` take effect for the ones that follow.
    /// For an `ONBUILD` trigger see [`StageScope::evaluate_trigger`].
    ///
    /// # Errors
    /// When a word cannot be expanded, or what comes out is no mount or port.
    pub fn evaluate(&mut self, step: &Step) -> Result<Evaluated, Diagnostic> {
        self.evaluate_at(step, step.head.span, true)
    }

    /// [`StageScope::evaluate`] for a trigger of the base image: errors point at the stage's `FROM`.
    ///
    /// # Errors
    /// As for [`StageScope::evaluate`].
    pub fn evaluate_trigger(
        &mut self,
        step: &Step,
        stage: &Stage,
    ) -> Result<Evaluated, Diagnostic> {
        self.evaluate_at(step, stage.head.span, false)
    }

    /// `own`: the step's spans point into the Dockerfile.
    fn evaluate_at(&mut self, step: &Step, span: Span, own: bool) -> Result<Evaluated, Diagnostic> {
        let mut words = self.words(span, own);
        let mut mounts = Vec::new();
        let mut ports = Vec::new();
        let instruction = match &step.instruction {
            Instruction::Arg(args) => {
                let (args, used, undefined) = self.declare(args, span, own)?;
                let title = title(step, &self.env, self.global.escape, &[]);
                let instruction = Instruction::Arg(args);
                return Ok(Evaluated { instruction, mounts, ports, used, undefined, title });
            }
            Instruction::Run(run) => {
                mounts = words.mounts(run)?;
                step.instruction.clone()
            }
            Instruction::Expose(list) => {
                for word in list {
                    for port in words.split(word)? {
                        let read = parse_ports(&port)
                            .map_err(|error| words.fail(error.into(), word.span))?;
                        ports.push(read);
                    }
                }
                step.instruction.clone()
            }
            other => words.instruction(other)?,
        };
        let (used, undefined) = (words.used, words.undefined);
        let title = title(step, &self.env, self.global.escape, &mounts);
        if let Instruction::Env(pairs) = &instruction {
            for pair in pairs {
                self.env.set(&pair.key, &pair.value);
                self.image_env.set(&pair.key, &pair.value);
            }
        }
        Ok(Evaluated { instruction, mounts, ports, used, undefined, title })
    }

    fn words(&self, span: Span, own: bool) -> Words<'_> {
        Words {
            env: &self.env,
            args: &self.args,
            expander: self.global.expander(),
            source: &self.source,
            span,
            own,
            used: BTreeSet::new(),
            undefined: Vec::new(),
        }
    }

    /// `ARG`: each value in turn, the earlier ones in force for the later.
    fn declare(&mut self, args: &[Arg], span: Span, own: bool) -> Result<Declared, Diagnostic> {
        let mut declared = Vec::new();
        let mut used = BTreeSet::new();
        let mut undefined = Vec::new();
        for arg in args {
            let given = self.global.build_args.get(&arg.key);
            let value = match (given, &arg.value) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(written)) => {
                    let mut words = self.words(span, own);
                    let value = words.one(written, arg.span)?;
                    used.extend(words.used);
                    undefined.extend(words.undefined);
                    Some(value)
                }
                (None, None) => self.global.env.value(&arg.key).map(str::to_owned),
            };
            if let Some(value) =
                value.as_ref().filter(|_| !NOT_VARIABLES.contains(&arg.key.as_str()))
            {
                self.env.set(&arg.key, value);
            }
            self.args.push((arg.key.clone(), value.clone()));
            declared.push(Arg { value, ..arg.clone() });
        }
        Ok((declared, used, undefined))
    }
}

/// What an `ARG` comes to: its names with their values, the variables asked for, those not defined.
type Declared = (Vec<Arg>, BTreeSet<String>, Vec<Spanned<String>>);

/// Expands the words of one instruction.
struct Words<'a> {
    env: &'a Env,
    args: &'a [(String, Option<String>)],
    expander: Expander,
    source: &'a Arc<Source>,
    span: Span,
    own: bool,
    used: BTreeSet<String>,
    undefined: Vec<Spanned<String>>,
}

impl Words<'_> {
    fn fail(&self, problem: Problem, at: Span) -> Diagnostic {
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
        [format!("${{{name}"), format!("${name}")]
            .iter()
            .find_map(|written| {
                self.source.find(at, written).or_else(|| self.source.find(self.span, written))
            })
            .unwrap_or(at)
    }

    fn one(&mut self, word: &str, at: Span) -> Result<String, Diagnostic> {
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
    fn split(&mut self, word: &Spanned<String>) -> Result<Vec<String>, Diagnostic> {
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

    fn mounts(&mut self, run: &Run) -> Result<Vec<Mount>, Diagnostic> {
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

    fn instruction(&mut self, instruction: &Instruction) -> Result<Instruction, Diagnostic> {
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
fn title(step: &Step, env: &Env, escape: char, mounts: &[Mount]) -> String {
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
    matches!(&run.command, crate::ast::CommandLine::Shell(line) if crate::heredoc::is_mark(line))
}

/// The proxy variables among the build arguments, in both spellings, for a `RUN`'s process. They are no
/// part of what a step depends on, nor of the image, unless an `ARG` declares them.
pub fn proxy_variables(build_args: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let mut found = BTreeMap::new();
    for (name, value) in build_args {
        let lower = name.to_lowercase();
        if ["http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"]
            .contains(&lower.as_str())
        {
            found.insert(lower, value);
        }
    }
    found
        .into_iter()
        .flat_map(|(name, value)| [(name.to_uppercase(), value.clone()), (name, value.clone())])
        .collect()
}
