//! Which variables an instruction sees, and the instruction with them put in.
//!
//! Three scopes, as BuildKit has them:
//!
//! - [`GlobalScope`]: the platform variables and the `ARG`s before the first `FROM`. `FROM` lines see it,
//!   and inside a stage an `ARG name` without a value takes its value from it.
//! - [`crate::StageScope`]: the base's environment, then every `ENV` and `ARG` in order. A stage that stands on
//!   another goes on with that one's scope.
//! - The build arguments given from outside take the place of an `ARG`'s own value, in both.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::ast::{Dockerfile, Stage};
use crate::diagnostic::Diagnostic;
use crate::env::Env;
use crate::expand::{ExpandError, Expanded, Expander};
use crate::platform::{Platform, platform_args};
use crate::problem::Problem;
use crate::source::Source;
use crate::span::Span;
use crate::suggest::nearest;

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

    pub(crate) fn build_args(&self) -> &BTreeMap<String, String> {
        &self.build_args
    }

    pub(crate) fn escape(&self) -> char {
        self.escape
    }

    pub(crate) fn source(&self) -> &Arc<Source> {
        &self.source
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
