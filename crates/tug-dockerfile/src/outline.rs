//! What a Dockerfile takes and offers, without building it: the answers of `--call outline` and
//! `--call targets`, as text and as JSON in BuildKit's forms.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::ast::{Arg, Dockerfile, Instruction};
use crate::check::{base64, location};
use crate::diagnostic::Diagnostic;
use crate::mount::{Mount, MountKind};
use crate::scope::{GlobalScope, Inputs};
use crate::source::Source;
use crate::span::Span;
use crate::stage_scope::StageScope;
use crate::stages::{Origin, StageGraph};

/// The stages that can be built.
#[derive(Clone, Debug)]
pub struct Targets {
    source: Arc<Source>,
    list: Vec<Target>,
}

#[derive(Clone, Debug)]
struct Target {
    name: String,
    description: String,
    base: String,
    platform: String,
    span: Span,
}

/// The build arguments, secrets and agents of one target.
#[derive(Clone, Debug)]
pub struct Outline {
    source: Arc<Source>,
    name: String,
    description: String,
    args: Vec<ArgLine>,
    secrets: Vec<Needed>,
    agents: Vec<Needed>,
}

#[derive(Clone, Debug)]
struct ArgLine {
    name: String,
    value: String,
    description: String,
    span: Span,
}

/// A secret or an agent.
#[derive(Clone, Debug)]
struct Needed {
    id: String,
    required: bool,
    span: Span,
}

/// The environment of a base image, where that is known.
pub type BaseEnv<'a> = &'a dyn Fn(&str) -> Vec<String>;

/// Lists the stages.
pub fn targets(file: &Dockerfile) -> Targets {
    let target = |stage: &crate::ast::Stage| Target {
        name: stage.name.as_ref().map(|name| name.value.clone()).unwrap_or_default(),
        description: stage.doc.clone().unwrap_or_default(),
        base: stage.base.value.clone(),
        platform: stage.platform.as_ref().map(|text| text.value.clone()).unwrap_or_default(),
        span: stage.head.span,
    };
    Targets { source: file.source.clone(), list: file.stages.iter().map(target).collect() }
}

/// Looks through a target and the stages it needs.
///
/// # Errors
/// What is wrong with the Dockerfile.
pub fn outline(
    file: &Dockerfile,
    inputs: &Inputs,
    env: BaseEnv<'_>,
) -> Result<Outline, Diagnostic> {
    let global = GlobalScope::new(file, inputs)?;
    let graph = StageGraph::new(file, &global)?;
    let target = graph.target(file, inputs.target_stage.as_deref())?;
    let needed = graph.needed(file, target)?;
    let mut view = View { file, inputs, global: &global, found: Found::default() };
    let mut scopes: BTreeMap<usize, StageScope<'_>> = BTreeMap::new();
    for index in &needed {
        let scope = match graph.base(*index) {
            Origin::Stage(base) => scopes.get(base).map(StageScope::on_stage),
            Origin::Scratch => None,
            Origin::Outside(name) => Some(StageScope::on_image(&global, env(name))),
        };
        let scope = scope.unwrap_or_else(|| StageScope::on_image(&global, Vec::<String>::new()));
        scopes.insert(*index, view.stage(*index, scope, &graph.header(*index).used)?);
    }
    let stage = &file.stages[target];
    let Found { args, secrets, agents, .. } = view.found;
    let mut args: Vec<ArgLine> = args.into_values().collect();
    args.sort_by_key(|arg| arg.span.line());
    Ok(Outline {
        source: file.source.clone(),
        name: stage.name.as_ref().map(|name| name.value.clone()).unwrap_or_default(),
        description: stage.doc.clone().unwrap_or_default(),
        args,
        secrets: by_line(secrets),
        agents: by_line(agents),
    })
}

#[derive(Default)]
struct Found {
    args: BTreeMap<String, ArgLine>,
    secrets: BTreeMap<String, Needed>,
    agents: BTreeMap<String, Needed>,
    /// Arguments before the first `FROM` that were looked at.
    seen: BTreeSet<String>,
}

struct View<'a> {
    file: &'a Dockerfile,
    inputs: &'a Inputs,
    global: &'a GlobalScope,
    found: Found,
}

impl<'a> View<'a> {
    fn stage(
        &mut self,
        index: usize,
        mut scope: StageScope<'a>,
        used: &BTreeSet<String>,
    ) -> Result<StageScope<'a>, Diagnostic> {
        used.iter().for_each(|name| self.global_arg(name));
        for step in &self.file.stages[index].steps {
            let evaluated = scope.evaluate(step)?;
            if let Instruction::Arg(args) = &step.instruction {
                let Instruction::Arg(values) = &evaluated.instruction else { continue };
                for (written, arg) in args.iter().zip(values) {
                    self.arg(written, arg, step.head.span);
                }
            }
            for mount in &evaluated.mounts {
                self.mount(mount, step.head.span);
            }
        }
        Ok(scope)
    }

    /// An `ARG` of a stage. One that takes its value from before the first `FROM` is that one.
    fn arg(&mut self, written: &Arg, arg: &Arg, span: Span) {
        let given = self.inputs.build_args.contains_key(&arg.key);
        let inherited = written.value.is_none() && !given;
        if inherited && self.global.env().value(&arg.key).is_some() {
            return self.global_arg(&arg.key);
        }
        let line = ArgLine {
            name: arg.key.clone(),
            value: arg.value.clone().unwrap_or_default(),
            description: arg.doc.clone().unwrap_or_default(),
            span,
        };
        self.found.args.entry(arg.key.clone()).or_insert(line);
    }

    /// An `ARG` before the first `FROM`, and those its value is made of.
    fn global_arg(&mut self, name: &str) {
        if !self.found.seen.insert(name.to_owned()) {
            return;
        }
        let instructions = self.file.global_args.iter();
        let all = instructions.flat_map(|i| i.args.iter().map(move |arg| (arg, i.head.span)));
        let Some((arg, span)) = all.rev().find(|(arg, _)| arg.key == name) else { return };
        let line = ArgLine {
            name: name.to_owned(),
            value: self.global.env().value(name).unwrap_or_default().to_owned(),
            description: arg.doc.clone().unwrap_or_default(),
            span,
        };
        self.found.args.entry(name.to_owned()).or_insert(line);
        if self.inputs.build_args.contains_key(name) {
            return;
        }
        let parts = arg.value.as_deref().and_then(|value| self.global.expand(value).ok());
        parts.into_iter().flat_map(|parts| parts.used).for_each(|name| self.global_arg(&name));
    }

    fn mount(&mut self, mount: &Mount, span: Span) {
        let (list, usual) = match mount.kind {
            MountKind::Secret => {
                (&mut self.found.secrets, mount.target.rsplit('/').next().unwrap_or_default())
            }
            MountKind::Ssh => (&mut self.found.agents, "default"),
            _ => return,
        };
        let written = mount.id.as_deref().filter(|id| !id.is_empty());
        let source = Some(mount.source.as_str()).filter(|source| !source.is_empty());
        let id = written.or(source).unwrap_or(usual).to_owned();
        let needed = Needed { id: id.clone(), required: mount.required, span };
        list.entry(id).or_insert(needed).required |= mount.required;
    }
}

fn by_line(found: BTreeMap<String, Needed>) -> Vec<Needed> {
    let mut list: Vec<Needed> = found.into_values().collect();
    list.sort_by_key(|needed| needed.span.line());
    list
}

impl Targets {
    /// What `--call targets` prints.
    pub fn to_text(&self) -> String {
        let mut rows = vec![["TARGET".to_owned(), "DESCRIPTION".to_owned()]];
        let last = self.list.len().saturating_sub(1);
        for (at, target) in self.list.iter().enumerate() {
            let name = match (target.name.as_str(), at == last) {
                ("", true) => "(default)".to_owned(),
                (name, true) => format!("{name} (default)"),
                (name, false) => name.to_owned(),
            };
            rows.push([name, target.description.clone()]);
        }
        columns(&rows, 1)
    }

    /// What `--call targets,format=json` prints, without a line end.
    pub fn to_json(&self) -> String {
        let last = self.list.len().saturating_sub(1);
        let line = |(at, target): (usize, &Target)| {
            let mut value = json!({ "location": location(target.span) });
            let texts = [
                ("name", &target.name),
                ("description", &target.description),
                ("base", &target.base),
                ("platform", &target.platform),
            ];
            texts.into_iter().for_each(|(key, text)| put(&mut value, key, text));
            if at == last {
                value["default"] = json!(true);
            }
            value
        };
        let list: Vec<Value> = self.list.iter().enumerate().map(line).collect();
        format!("{:#}", json!({ "targets": list, "sources": [data(&self.source)] }))
    }
}

impl Outline {
    /// What `--call outline` prints.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        if !self.name.is_empty() || !self.description.is_empty() {
            let name = if self.name.is_empty() { "(default)" } else { &self.name };
            let mut rows = vec![["TARGET:".to_owned(), name.to_owned()]];
            if !self.description.is_empty() {
                rows.push(["DESCRIPTION:".to_owned(), self.description.clone()]);
            }
            let _ = writeln!(out, "{}", columns(&rows, 1));
        }
        if !self.args.is_empty() {
            let mut rows = vec![["BUILD ARG", "VALUE", "DESCRIPTION"].map(str::to_owned)];
            let row = |a: &ArgLine| [a.name.clone(), a.value.clone(), a.description.clone()];
            rows.extend(self.args.iter().map(row));
            let _ = writeln!(out, "{}", columns(&rows, 3));
        }
        for (title, list) in [("SECRET", &self.secrets), ("SSH", &self.agents)] {
            if list.is_empty() {
                continue;
            }
            let mut rows = vec![[title, "REQUIRED"].map(str::to_owned)];
            let row = |n: &Needed| [n.id.clone(), if n.required { "true" } else { "" }.to_owned()];
            rows.extend(list.iter().map(row));
            let _ = writeln!(out, "{}", columns(&rows, 3));
        }
        out
    }

    /// What `--call outline,format=json` prints, without a line end.
    pub fn to_json(&self) -> String {
        let mut value = json!({});
        put(&mut value, "name", &self.name);
        put(&mut value, "description", &self.description);
        if !self.args.is_empty() {
            let line = |arg: &ArgLine| {
                let mut line = json!({ "name": arg.name, "location": location(arg.span) });
                put(&mut line, "description", &arg.description);
                put(&mut line, "value", &arg.value);
                line
            };
            value["args"] = self.args.iter().map(line).collect();
        }
        for (key, list) in [("secrets", &self.secrets), ("ssh", &self.agents)] {
            if list.is_empty() {
                continue;
            }
            let line = |needed: &Needed| {
                let mut line = json!({ "name": needed.id, "location": location(needed.span) });
                if needed.required {
                    line["required"] = json!(true);
                }
                line
            };
            value[key] = list.iter().map(line).collect();
        }
        value["sources"] = json!([data(&self.source)]);
        format!("{value:#}")
    }
}

fn put(value: &mut Value, key: &str, text: &str) {
    if !text.is_empty() {
        value[key] = json!(text);
    }
}

fn data(source: &Source) -> String {
    base64(source.text().as_bytes())
}

/// Columns with so many blanks between; the last is as wide as it is.
fn columns<const N: usize>(rows: &[[String; N]], between: usize) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..N).map(|column| width(column).unwrap_or(0) + between).collect();
    let mut out = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            let _ = match column + 1 == N {
                true => writeln!(out, "{cell}"),
                false => write!(out, "{cell:0$}", widths[column]),
            };
        }
    }
    out
}
