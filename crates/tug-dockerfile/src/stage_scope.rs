//! The variables of one stage, and its instructions evaluated one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::ast::{Arg, Instruction, Stage, Step};
use crate::diagnostic::Diagnostic;
use crate::env::Env;
use crate::mount::Mount;
use crate::port::{ExposedPorts, parse_ports};
use crate::scope::GlobalScope;
use crate::source::Source;
use crate::span::{Span, Spanned};
use crate::substitute::{NOT_VARIABLES, Words, title};

/// What a Linux image without a `PATH` gets.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

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
            source: global.source().clone(),
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
                let title = title(step, &self.env, self.global.escape(), &[]);
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
        let title = title(step, &self.env, self.global.escape(), &mounts);
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
            let given = self.global.build_args().get(&arg.key);
            let value = match (given, &arg.value) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(written)) => {
                    let mut words = self.words(span, own);
                    let value = words.one(written, arg.span)?;
                    used.extend(words.used);
                    undefined.extend(words.undefined);
                    Some(value)
                }
                (None, None) => self.global.env().value(&arg.key).map(str::to_owned),
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
