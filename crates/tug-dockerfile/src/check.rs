//! The build checks: what is allowed in a Dockerfile but hardly meant.
//!
//! [`check`] goes through a parsed file once, the way a build would, and reports each rule where BuildKit
//! does. `# check=` at the top of the file, the same comment above an instruction and the build argument
//! `BUILDKIT_DOCKERFILE_CHECK` choose the rules.

mod report;
mod rule;
mod stage;

use std::collections::BTreeSet;

use crate::ast::{Dockerfile, Instruction, Stage};
use crate::diagnostic::Diagnostic;
use crate::directive::CheckOptions;
use crate::expand::Expanded;
use crate::ignore::Ignore;
use crate::platform::Platform;
use crate::problem::Problem;
use crate::scope::{GlobalScope, Inputs};
use crate::span::Span;
use crate::stages::{Origin, StageGraph};
use crate::suggest::nearest;

pub use report::{Report, Warning};
pub(crate) use report::{base64, location};
pub use rule::Rule;

/// The build argument that takes the place of `# check=`.
const CHECK_ARG: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// What the checks need to know of a base image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BaseImage {
    /// The config's `NAME=value` words.
    pub env: Vec<String>,
    /// The config's `Shell`.
    pub shell: Vec<String>,
    /// What the image was made for.
    pub platform: Option<Platform>,
    /// The config's `OnBuild`.
    pub on_build: Vec<String>,
}

/// What is checked against, besides the file itself.
pub struct CheckContext<'a> {
    /// Build arguments and platforms.
    pub inputs: &'a Inputs,
    /// The context's ignore file.
    pub ignore: Option<&'a Ignore>,
    /// Looks a base image up. For one that is not known, nothing is said of undefined variables in the
    /// stages that stand on it.
    pub bases: &'a dyn Fn(&str, &Platform) -> Option<BaseImage>,
    /// Only these stages; all of them without it, as `--check` without `--target` wants.
    pub stages: Option<&'a BTreeSet<usize>>,
}

/// Runs the build checks.
pub fn check(file: &Dockerfile, context: &CheckContext<'_>) -> Report {
    let mut report = Report {
        source: file.source.clone(),
        warnings: Vec::new(),
        error: None,
        warnings_are_errors: false,
    };
    let given = context.inputs.build_args.get(CHECK_ARG).map(String::as_str);
    let written = file.directives.check.as_ref();
    // What follows a blank says why; it is no option.
    let text =
        given.or(written.and_then(|check| check.value.split(' ').next())).unwrap_or_default();
    let options = match CheckOptions::parse(text) {
        Ok(options) => options,
        Err(error) => {
            let span =
                written.filter(|_| given.is_none()).map(|check| check.span).unwrap_or_default();
            report.error =
                Some(Diagnostic::evaluate(Problem::CheckOptions(error), &file.source, span));
            return report;
        }
    };
    report.warnings_are_errors = options.error;
    let mut checker = Checker { file, context, options, warnings: Vec::new() };
    report.error = checker.run().err();
    report.warnings = checker.warnings;
    report
}

struct Checker<'a> {
    file: &'a Dockerfile,
    context: &'a CheckContext<'a>,
    options: CheckOptions,
    warnings: Vec<Warning>,
}

impl<'a> Checker<'a> {
    fn run(&mut self) -> Result<(), Diagnostic> {
        let file = self.file;
        for line in &file.empty_continuations {
            self.warn(Rule::NoEmptyContinuation, *line, &[], "Empty continuation line".into());
        }
        self.written_form();
        self.stage_names();
        self.casing();
        self.default_bases();
        let global = GlobalScope::new(file, self.context.inputs)?;
        for stage in &file.stages {
            self.header(stage, &global)?;
        }
        let graph = StageGraph::new(file, &global)?;
        stage::check_stages(self, &graph, &global)
    }

    /// Reports, unless the options or the comments above the instruction say otherwise.
    fn warn(&mut self, rule: Rule, span: Span, comments: &[String], message: String) {
        let own = CheckOptions::from_comments(comments);
        let options = own.map_or_else(|| self.options.clone(), |own| self.options.merged(&own));
        let wanted = if rule.is_experimental() {
            options.experimental_all || options.experimental.contains(rule.name())
        } else {
            !options.skip_all && !options.skip.contains(rule.name())
        };
        if wanted {
            self.warnings.push(Warning { rule, message, span });
        }
    }

    /// What can be said of each instruction alone, as it is written.
    fn written_form(&mut self) {
        let file = self.file;
        for global in &file.global_args {
            let names: Vec<&str> = global.args.iter().map(|arg| arg.key.as_str()).collect();
            self.description("ARG", &names, &global.head.comments, global.head.span);
        }
        for stage in &file.stages {
            self.from(stage);
            for step in &stage.steps {
                match &step.instruction {
                    Instruction::Maintainer(_) => self.warn(
                        Rule::MaintainerDeprecated,
                        step.head.span,
                        &step.head.comments,
                        "Maintainer instruction is deprecated in favor of using label".into(),
                    ),
                    Instruction::Arg(args) => {
                        let names: Vec<&str> = args.iter().map(|arg| arg.key.as_str()).collect();
                        self.description("ARG", &names, &step.head.comments, step.head.span);
                    }
                    _ => {}
                }
            }
        }
    }

    fn from(&mut self, stage: &Stage) {
        let (span, comments) = (stage.head.span, &stage.head.comments);
        if let Some(name) = stage.written_name.as_ref().filter(|name| **name != name.to_lowercase())
        {
            let message = format!("Stage name '{name}' should be lowercase");
            self.warn(Rule::StageNameCasing, span, comments, message);
        }
        let from = &stage.head.keyword;
        if let Some(between) = &stage.as_keyword {
            let matching = if *from == from.to_lowercase() {
                *between == between.to_lowercase()
            } else if *from == from.to_uppercase() {
                *between == between.to_uppercase()
            } else {
                // FROM itself is the thing to complain of.
                true
            };
            if !matching {
                let message = format!("'{between}' and '{from}' keywords' casing do not match");
                self.warn(Rule::FromAsCasing, span, comments, message);
            }
        }
        if let Some(name) = &stage.name {
            self.description("FROM", &[&name.value], comments, span);
        }
    }

    /// The last comment line above a definition should describe it.
    fn description(&mut self, instruction: &str, names: &[&str], comments: &[String], span: Span) {
        let Some(comment) = comments.last() else { return };
        let first = comment.split(' ').next().unwrap_or_default();
        if names.contains(&first) {
            return;
        }
        let example = match names {
            [one] => one,
            _ => "<arg_key>",
        };
        let message = format!(
            "Comment for {instruction} should follow the format: `# {example} <description>`"
        );
        self.warn(Rule::InvalidDefinitionDescription, span, comments, message);
    }

    fn stage_names(&mut self) {
        let file = self.file;
        let mut seen = BTreeSet::new();
        for stage in &file.stages {
            let Some(name) = stage.name.as_ref().map(|name| name.value.as_str()) else { continue };
            if ["context", "scratch"].contains(&name) {
                let message =
                    format!("Stage name should not use the same name as reserved stage {name:?}");
                self.warn(Rule::ReservedStageName, stage.head.span, &[], message);
            }
            if !seen.insert(name) {
                let message =
                    format!("Duplicate stage name {name:?}, stage names should be unique");
                self.warn(Rule::DuplicateStageName, stage.head.span, &[], message);
            }
        }
    }

    /// All keywords in capitals, or all in small letters, whichever most are; capitals on a tie.
    fn casing(&mut self) {
        let file = self.file;
        let heads = file.stages.iter().flat_map(|stage| {
            std::iter::once(&stage.head).chain(stage.steps.iter().map(|step| &step.head))
        });
        let lower = |word: &str| word == word.to_lowercase();
        let upper = |word: &str| word == word.to_uppercase();
        let small = heads.clone().filter(|head| lower(&head.keyword)).count();
        let capital =
            heads.clone().filter(|head| upper(&head.keyword) && !lower(&head.keyword)).count();
        let (fits, casing): (&dyn Fn(&str) -> bool, _) =
            if small > capital { (&lower, "lowercase") } else { (&upper, "uppercase") };
        for head in heads.filter(|head| !fits(&head.keyword)) {
            let message = format!(
                "Command '{}' should match the case of the command majority ({casing})",
                head.keyword
            );
            self.warn(Rule::ConsistentInstructionCasing, head.span, &[], message);
        }
    }

    /// Without any build argument every base must still be a name.
    fn default_bases(&mut self) {
        let file = self.file;
        let mut inputs = self.context.inputs.clone();
        for global in &file.global_args {
            for arg in &global.args {
                inputs.build_args.remove(&arg.key);
            }
        }
        let Ok(global) = GlobalScope::new(file, &inputs) else { return };
        for stage in &file.stages {
            let Ok(base) = global.expand(&stage.base.value) else { return };
            if tug_types::ImageReference::parse(&base.text).is_err() {
                let message = format!(
                    "Default value for ARG {} results in empty or invalid base image name",
                    stage.base.value
                );
                self.warn(Rule::InvalidDefaultArgInFrom, stage.head.span, &[], message);
            }
        }
    }

    fn header(&mut self, stage: &Stage, global: &GlobalScope) -> Result<(), Diagnostic> {
        if let Ok(base) = global.expand(&stage.base.value) {
            self.undeclared(stage, global, &base);
        }
        if let Some((written, expanded)) =
            stage.platform.as_ref().and_then(|word| Some((word, global.expand(&word.value).ok()?)))
        {
            self.undeclared(stage, global, &expanded);
            self.platform_flag(stage, global, &written.value, &expanded);
        }
        global.header(stage).map(|_| ())
    }

    fn undeclared(&mut self, stage: &Stage, global: &GlobalScope, word: &Expanded) {
        let known = || global.declared().iter().map(String::as_str).chain(global.env().names());
        for name in word.unset.iter().filter(|name| known().all(|known| known != name.as_str())) {
            let suggestion = crate::problem::did_you_mean(&nearest(name, known(), true));
            let message = format!("FROM argument '{name}' is not declared{suggestion}");
            self.warn(Rule::UndefinedArgInFrom, stage.head.span, &stage.head.comments, message);
        }
    }

    fn platform_flag(
        &mut self,
        stage: &Stage,
        global: &GlobalScope,
        written: &str,
        word: &Expanded,
    ) {
        let (span, comments) = (stage.head.span, &stage.head.comments);
        let target = "TARGETPLATFORM";
        let only_target =
            word.used.len() == 1 && word.used.contains(target) && word.unset.is_empty();
        if only_target && global.env().value(target) == Some(word.text.as_str()) {
            let message = format!(
                "Setting platform to predefined {written} in FROM is redundant as this is the default behavior"
            );
            self.warn(Rule::RedundantTargetPlatform, span, comments, message);
        }
        if !word.used.is_empty() || !word.unset.is_empty() {
            return;
        }
        let Ok(platform) = word.text.parse::<Platform>() else { return };
        // A stage that says in its name what it is for is meant so.
        let name = stage.name.as_ref().map_or("", |name| name.value.as_str());
        if !name.contains(&platform.os) && !name.contains(&platform.architecture) {
            let message =
                format!("FROM --platform flag should not use constant value {:?}", word.text);
            self.warn(Rule::FromPlatformFlagConstDisallowed, span, comments, message);
        }
    }

    /// A base image, and whether it was made for the right platform.
    fn base_image(&mut self, stage: &Stage, graph: &StageGraph) -> Option<BaseImage> {
        let Origin::Outside(name) = graph.base(stage.index) else {
            return Some(BaseImage::default());
        };
        let wanted = graph
            .header(stage.index)
            .platform
            .as_ref()
            .unwrap_or(&self.context.inputs.target_platform);
        let image = (self.context.bases)(name, wanted)?;
        let other = image
            .platform
            .as_ref()
            .filter(|actual| actual.os != wanted.os || actual.architecture != wanted.architecture);
        if let Some(actual) = other {
            let message = format!(
                "Base image {name} was pulled with platform {:?}, expected {:?} for current build",
                actual.full(),
                wanted.full()
            );
            self.warn(Rule::InvalidBaseImagePlatform, stage.head.span, &[], message);
        }
        Some(image)
    }
}
