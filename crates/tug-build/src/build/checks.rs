//! The build checks: with every build, and alone.

use super::Build;
use crate::error::BuildError;
use crate::ignore::Rules;
use crate::image::ImageConfig;
use crate::lower::{self, BaseImage};
use crate::request::BuildRequest;
use std::collections::BTreeSet;
use std::sync::PoisonError;
use tug_dockerfile::{
    CheckContext, Diagnostic, Dockerfile, GlobalScope, Platform, Problem, Report, StageGraph,
};
use tug_engine::Engine;

/// What `--check` has to say.
#[derive(Debug)]
pub struct Checked {
    /// The warnings.
    pub report: Report,
    /// What a build would fail with before it runs anything.
    pub error: Option<BuildError>,
}

impl Checked {
    /// Whether there is nothing to complain about.
    pub fn is_clean(&self) -> bool {
        self.error.is_none() && self.report.warnings.is_empty()
    }
}

impl Build {
    /// What the checks found, once the build has come so far; also of one that failed.
    pub fn report(&self) -> Option<Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs the build checks and nothing else.
    ///
    /// # Errors
    /// When there is no Dockerfile that can be read.
    pub fn check(&self) -> Result<Checked, BuildError> {
        let (file, path) = match self.definition() {
            Err(BuildError::Dockerfile(wrong)) => {
                let report = Report::unreadable(*wrong.clone());
                return Ok(Checked { report, error: Some(BuildError::Dockerfile(wrong)) });
            }
            read => read?,
        };
        let rules = self.rules(path.as_deref())?;
        let mut report = self.run_checks(&file, &rules, None);
        let error = match report.error.take() {
            Some(wrong) => Some(BuildError::Dockerfile(Box::new(wrong))),
            None => match report.violation() {
                Some(violation) => Some(BuildError::Violation(violation)),
                None => self.rehearse(&file).err(),
            },
        };
        Ok(Checked { report, error })
    }

    /// Lowers the Dockerfile over the images that are here, and over nothing in place of the others.
    fn rehearse(&self, file: &Dockerfile) -> Result<(), BuildError> {
        let engine = Engine::new(self.settings.clone());
        let inputs = lower::inputs(&self.request, self.request.platforms.first());
        let global = GlobalScope::new(file, &inputs)
            .map_err(|error| BuildError::Dockerfile(Box::new(error)))?;
        let mut find = |name: &str, _: Option<&Platform>| {
            let known = engine.base_image(name).ok().flatten();
            let config = known.and_then(|base| serde_json::from_slice(&base.config).ok());
            let config = config.unwrap_or_default();
            Ok(BaseImage { name: name.to_owned(), config, layers: Vec::new() })
        };
        // What a build may do is asked when there is one.
        let allow = ["network.host", "security.insecure"].map(str::to_owned).into();
        let request = BuildRequest { allow, ..self.request.clone() };
        lower::lower(file, &[global], &request, &mut find).map(drop)
    }

    /// Runs the checks and keeps what they found.
    ///
    /// # Errors
    /// When that ends the build.
    pub(super) fn checked(
        &self,
        file: &Dockerfile,
        graph: &StageGraph,
        rules: &Rules,
    ) -> Result<(), BuildError> {
        let target = graph.target(file, self.request.target.as_deref());
        let needed = target.and_then(|target| graph.needed(file, target)).ok();
        let mut report = self.run_checks(file, rules, needed.as_ref());
        // Anything else wrong with it the plan meets.
        let options = |error: &mut Diagnostic| matches!(error.problem(), Problem::CheckOptions(_));
        let wrong = report.error.take_if(options);
        let violation = report.violation();
        *self.report.lock().unwrap_or_else(PoisonError::into_inner) = Some(report);
        match (wrong, violation) {
            (Some(error), _) => Err(BuildError::Dockerfile(Box::new(error))),
            (None, Some(violation)) => Err(BuildError::Violation(violation)),
            (None, None) => Ok(()),
        }
    }

    fn run_checks(
        &self,
        file: &Dockerfile,
        rules: &Rules,
        stages: Option<&BTreeSet<usize>>,
    ) -> Report {
        let engine = Engine::new(self.settings.clone());
        let bases = |name: &str, _: &Platform| {
            let base = engine.base_image(name).ok().flatten()?;
            let image: ImageConfig = serde_json::from_slice(&base.config).ok()?;
            let platform = format!("{}/{}/{}", image.os, image.architecture, image.variant);
            Some(tug_dockerfile::BaseImage {
                env: image.config.env,
                shell: image.config.shell,
                platform: platform.trim_end_matches('/').parse().ok(),
                on_build: image.config.on_build,
            })
        };
        let inputs = lower::inputs(&self.request, self.request.platforms.first());
        let context =
            CheckContext { inputs: &inputs, ignore: rules.ignore(), bases: &bases, stages };
        tug_dockerfile::check(file, &context)
    }
}
