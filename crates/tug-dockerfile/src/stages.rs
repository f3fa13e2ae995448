//! Which stage stands on which, and which ones a target needs.

use std::collections::BTreeSet;

use crate::ast::{Dockerfile, Instruction, Step};
use crate::diagnostic::Diagnostic;
use crate::expand::{Expander, NoVariables};
use crate::problem::Problem;
use crate::scope::{GlobalScope, Header};
use crate::span::Span;
use crate::suggest::nearest;

/// Where files or a base come from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A stage of the same file, by number.
    Stage(usize),
    /// Nothing at all.
    Scratch,
    /// Anything else: a named context or an image.
    Outside(String),
}

/// The stages of a file with the names in them resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageGraph {
    stages: Vec<Links>,
    /// Names of stages, for suggestions and look-ups; none where there is no name.
    names: Vec<Option<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Links {
    header: Header,
    base: Origin,
    /// `COPY --from` and `RUN --mount=from=`, with the place of the instruction.
    sources: Vec<(Origin, Span)>,
}

impl Dockerfile {
    /// The name of a stage that may have been meant by `name`, which is none.
    pub fn stage_like(&self, name: &str) -> Option<String> {
        let names = self.stages.iter().filter_map(|stage| stage.name.as_ref());
        nearest(name, names.map(|name| name.value.as_str()), true)
    }
}

impl StageGraph {
    /// Resolves every `FROM`, `COPY --from` and `RUN --mount=from=`.
    ///
    /// # Errors
    /// When a `FROM` cannot be evaluated, a stage number is out of range, or stages need each other.
    pub fn new(file: &Dockerfile, global: &GlobalScope) -> Result<Self, Diagnostic> {
        let names: Vec<Option<String>> = file
            .stages
            .iter()
            .map(|stage| stage.name.as_ref().map(|name| name.value.clone()))
            .collect();
        let mut graph = Self { stages: Vec::new(), names };
        for stage in &file.stages {
            let header = global.header(stage)?;
            // Only the stages above count, and the name must be spelled as it is kept.
            let above = &graph.names[..stage.index];
            let base = match above.iter().rposition(|name| name.as_ref() == Some(&header.base)) {
                Some(index) => Origin::Stage(index),
                None if header.base == "scratch" => Origin::Scratch,
                None => Origin::Outside(header.base.clone()),
            };
            graph.stages.push(Links { header, base, sources: Vec::new() });
        }
        for stage in &file.stages {
            let mut sources = Vec::new();
            for step in &stage.steps {
                for origin in graph.sources(file, step)? {
                    sources.push((origin, step.head.span));
                }
            }
            graph.stages[stage.index].sources = sources;
        }
        graph.refuse_circles(file)?;
        Ok(graph)
    }

    /// The `FROM` line of a stage, evaluated.
    ///
    /// # Panics
    /// When the file has no stage of that number.
    pub fn header(&self, stage: usize) -> &Header {
        &self.stages[stage].header
    }

    /// What a stage stands on.
    ///
    /// # Panics
    /// When the file has no stage of that number.
    pub fn base(&self, stage: usize) -> &Origin {
        &self.stages[stage].base
    }

    /// What a step's `--from` or mounts refer to, one for each; a mount without `from=` is left out.
    ///
    /// # Errors
    /// When a stage number is out of range or `--from` holds a variable.
    pub fn sources(&self, file: &Dockerfile, step: &Step) -> Result<Vec<Origin>, Diagnostic> {
        match &step.instruction {
            Instruction::Copy(copy) => {
                let Some(from) = &copy.from else { return Ok(Vec::new()) };
                let fail = |problem| {
                    Diagnostic::evaluate(problem, &file.source, step.head.span).at(Some(from.span))
                };
                let expanded = Expander::new(file.escape)
                    .expand(&from.value, &NoVariables)
                    .map_err(|error| fail(error.into()))?;
                if expanded.text != from.value {
                    return Err(fail(Problem::FromVariable));
                }
                match from.value.parse::<i64>() {
                    Ok(index) => match usize::try_from(index) {
                        Ok(stage) if stage < self.names.len() => Ok(vec![Origin::Stage(stage)]),
                        _ => Err(fail(Problem::StageIndex { index })),
                    },
                    Err(_) => Ok(vec![self.origin(&from.value)]),
                }
            }
            Instruction::Run(run) => Ok(run
                .mounts
                .iter()
                .filter_map(|mount| Some(self.origin(mount.from.as_ref()?)))
                .collect()),
            _ => Ok(Vec::new()),
        }
    }

    /// What a name after `from=` refers to: a stage in any letter case, the last of that name, or else
    /// something outside.
    pub fn origin(&self, name: &str) -> Origin {
        let lower = name.to_lowercase();
        match self.names.iter().rposition(|known| known.as_ref() == Some(&lower)) {
            Some(index) => Origin::Stage(index),
            None if name == "scratch" => Origin::Scratch,
            None => Origin::Outside(name.to_owned()),
        }
    }

    /// The number of the stage `--target` names; the last stage without it.
    ///
    /// # Errors
    /// When no stage has that name.
    pub fn target(&self, file: &Dockerfile, name: Option<&str>) -> Result<usize, Diagnostic> {
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            return Ok(self.stages.len() - 1);
        };
        match self.origin(name) {
            Origin::Stage(index) => Ok(index),
            _ => {
                let suggestion = file.stage_like(name);
                let problem = Problem::NoTarget { name: name.to_owned(), suggestion };
                Err(Diagnostic::evaluate(problem, &file.source, Span::default()))
            }
        }
    }

    /// The stages a stage needs, itself included, in the file's order.
    ///
    /// # Errors
    /// When one of them takes files from a stage that comes later.
    pub fn needed(&self, file: &Dockerfile, target: usize) -> Result<BTreeSet<usize>, Diagnostic> {
        let needed = self.closure(target);
        for stage in &needed {
            if let Some((later, span)) = self.needs(*stage).find(|(other, _)| other > stage) {
                let problem =
                    Problem::LaterStage { from: self.name(later), stage: self.name(*stage) };
                let span = span.unwrap_or(file.stages[*stage].head.span);
                return Err(Diagnostic::evaluate(problem, &file.source, span));
            }
        }
        Ok(needed)
    }

    fn closure(&self, target: usize) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        let mut waiting = vec![target];
        while let Some(stage) = waiting.pop() {
            if found.insert(stage) {
                waiting.extend(self.needs(stage).map(|(needed, _)| needed));
            }
        }
        found
    }

    /// The stages whose files or configuration a stage takes itself.
    pub fn taken(&self, stage: usize) -> Vec<usize> {
        self.needs(stage).map(|(needed, _)| needed).collect()
    }

    /// The stages a stage needs itself, and where it says so.
    fn needs(&self, stage: usize) -> impl Iterator<Item = (usize, Option<Span>)> + '_ {
        let links = &self.stages[stage];
        let base = std::iter::once((&links.base, None));
        base.chain(links.sources.iter().map(|(origin, span)| (origin, Some(*span)))).filter_map(
            |(origin, span)| match origin {
                Origin::Stage(index) => Some((*index, span)),
                _ => None,
            },
        )
    }

    /// A stage must not need itself. Every circle has a step that leads to the same or a later stage.
    fn refuse_circles(&self, file: &Dockerfile) -> Result<(), Diagnostic> {
        for stage in 0..self.stages.len() {
            let mut later = self.needs(stage).filter(|(needed, _)| *needed >= stage);
            if let Some((_, span)) =
                later.find(|(needed, _)| self.closure(*needed).contains(&stage))
            {
                let span = span.unwrap_or(file.stages[stage].head.span);
                let problem = Problem::CircularDependency { stage: self.name(stage) };
                return Err(Diagnostic::evaluate(problem, &file.source, span));
            }
        }
        Ok(())
    }

    /// A stage's name, or `stage-1` for the second where it has none.
    pub fn name(&self, stage: usize) -> String {
        match self.names.get(stage) {
            Some(Some(name)) => name.clone(),
            _ => format!("stage-{stage}"),
        }
    }
}
