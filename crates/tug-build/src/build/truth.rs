//! Ten thousand random edits of a context against a slow oracle: the keys of all steps that take files are
//! computed after each, with the index loaded and saved as builds do, and must be equal exactly when what
//! the oracle sees is.
//!
//! The seed is printed when it fails; `TUG_TEST_SEED` repeats a run, `TUG_TEST_EDITS` changes its length.

mod edits;
mod oracle;

use super::{Build, Means};
use crate::execute::Worker;
use crate::lower;
use crate::ops::{CopySource, ExecMountKind, Op, Output};
use crate::progress::Silent;
use crate::request::BuildRequest;
use edits::Edits;
use oracle::{Oracle, State};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tug_dockerfile::GlobalScope;
use tug_engine::Settings;
use tug_solver::{Executor, Key};
use tug_store::{Lease, Store};

const DOCKERFILE: &str = "\
FROM scratch AS all
COPY . /
FROM scratch AS two
COPY d0 d1 /x/
FROM scratch AS pattern
COPY d*/f?.txt /y/
FROM scratch AS excluded
COPY --exclude=*.tmp --exclude=f1.txt d2 /z/
FROM scratch AS bound
RUN --mount=source=d3,target=/m [\"true\"]
FROM scratch
COPY --from=all / /
COPY --from=two / /
COPY --from=pattern / /
COPY --from=excluded / /
COPY --from=bound / /
";

/// The steps of [`DOCKERFILE`] that take files from the context, as the oracle is asked about them.
fn watched() -> Vec<oracle::Taken> {
    let taken = |sources: &[&'static str], wild, excludes: &[&'static str]| oracle::Taken {
        sources: sources.to_vec(),
        wild,
        excludes: excludes.to_vec(),
    };
    vec![
        taken(&[""], false, &[]),
        taken(&["d0", "d1"], false, &[]),
        taken(&["d*/f?.txt"], true, &[]),
        taken(&["d2"], false, &["*.tmp", "f1.txt"]),
        taken(&["d3"], false, &[]),
    ]
}

fn settings(root: &Path) -> Settings {
    Settings {
        data_root: root.join("data"),
        exec_root: root.join("exec"),
        exe: "/nonexistent".into(),
        docker_config_dir: None,
        mirrors: Vec::new(),
        registries: tug_engine::RegistryFiles::default(),
        default_platform: None,
    }
}

/// The key of each step that takes files from the context, in the order of the Dockerfile; none where what
/// it takes is not there.
fn keys(settings: &Settings, context: &Path) -> Vec<Option<Key>> {
    let request = BuildRequest { context: Some(context.to_owned()), ..BuildRequest::default() };
    let build = Build::new(settings.clone(), request, Arc::new(Silent));
    let (file, path) = build.definition().unwrap();
    let global = GlobalScope::new(&file, &lower::inputs(&build.request, None)).unwrap();
    let store = Store::new(&settings.data_root);
    let lease = Lease::create(store.root()).unwrap();
    let plan = build.plan(&file, &[global], &lease).unwrap();
    let rules = build.rules(path.as_deref()).unwrap();
    let contexts = build.contexts(&plan, &rules).unwrap();
    let means = Means {
        graph: &plan.graph,
        info: &plan.info,
        request: &build.request,
        settings: &build.settings,
        board: &build.board,
        cancel: &build.cancel,
        contexts,
        budget: crate::execute::Budget::new(u64::MAX, false, lease.dir()),
        imports: &[],
        lease,
        slots: String::new(),
        epoch: None,
    };
    let worker = Worker::new(means);
    let mut keys = Vec::new();
    for id in plan.graph.ids() {
        let vertex = plan.graph.vertex(id);
        let takes = match &vertex.operation {
            Op::Copy(copy) => copy.sources.iter().any(|source| match source {
                CopySource::Files { from, .. } => is_context(&plan, vertex.inputs[*from]),
                _ => false,
            }),
            Op::Exec(exec) => exec.mounts.iter().any(|mount| match &mount.kind {
                ExecMountKind::Bind { from, .. } => is_context(&plan, vertex.inputs[*from]),
                _ => false,
            }),
            _ => false,
        };
        if takes {
            let result = |input: &tug_solver::VertexId| match is_context(&plan, *input) {
                true => worker.execute(*input, &[], None).unwrap(),
                false => Output::Layers(Arc::default()),
            };
            let results: Vec<Output> = vertex.inputs.iter().map(result).collect();
            let inputs = worker.inputs(id, &results);
            keys.push(inputs.ok().flatten().map(|inputs| inputs.key()));
        }
    }
    for context in worker.contexts.values() {
        context.save().unwrap();
    }
    keys
}

fn is_context(plan: &lower::Plan, id: tug_solver::VertexId) -> bool {
    matches!(plan.graph.vertex(id).operation, Op::Context { .. })
}

/// What was seen of one step so far: states and keys belong to each other one to one.
#[derive(Default)]
struct Seen {
    keys: HashMap<State, Option<Key>>,
    states: HashMap<Option<Key>, State>,
    again: usize,
}

// Two halves, side by side.
#[test]
fn keys_are_equal_exactly_when_the_files_are() {
    compare(0x7472_7574, 5_000);
}

#[test]
fn keys_are_equal_exactly_when_the_files_are_once_more() {
    compare(0x6b65_7973, 5_000);
}

#[expect(clippy::disallowed_methods, reason = "how a test is told to repeat a run")]
fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

fn compare(seed: u64, rounds: u64) {
    let seed = number("TUG_TEST_SEED").unwrap_or(seed + u64::from(std::process::id()));
    let rounds = number("TUG_TEST_EDITS").unwrap_or(rounds);
    let temp = tempfile::tempdir().unwrap();
    let settings = settings(temp.path());
    let context = temp.path().join("context");
    let mut edits = Edits::new(&context, seed, DOCKERFILE);
    let steps = watched();
    let mut seen: Vec<Seen> = steps.iter().map(|_| Seen::default()).collect();
    let mut what = "the first build".to_owned();
    let mut settled = 0;
    for round in 0..rounds {
        let oracle = Oracle::look(&context);
        let keys = keys(&settings, &context);
        assert_eq!(keys.len(), steps.len());
        for ((step, seen), key) in steps.iter().zip(&mut seen).zip(keys) {
            let state = oracle.state(step);
            let told = format!("TUG_TEST_SEED={seed}, round {round}, {:?}: {what}", step.sources);
            match seen.keys.get(&state) {
                Some(known) => {
                    seen.again += 1;
                    assert_eq!(*known, key, "a needless miss, {told}: {state:#?}");
                }
                None => {
                    let other = seen.states.get(&key);
                    assert_eq!(other, None, "a stale hit, {told}: {state:#?}");
                    seen.keys.insert(state.clone(), key);
                    seen.states.insert(key, state);
                }
            }
        }
        settled += usize::from(index_size(&settings) > 40 * 100);
        what = edits.next();
        // Most edits come within the same tick of the clock; after some there is time to settle.
        if round % 250 == 249 {
            std::thread::sleep(Duration::from_millis(150));
        }
    }
    for (step, seen) in steps.iter().zip(&seen) {
        let few = usize::try_from(rounds / 50).unwrap_or(0);
        let (states, again) = (seen.keys.len(), seen.again);
        let told = format!("{:?}: {states} states, {again} again", step.sources);
        assert!(states > few && again > few, "the edits did not try much: {told}");
    }
    assert!(settled > 0 && edits.kinds() > 12, "the index was never used, or few kinds of edits");
}

/// Bytes of the indexes on disk.
fn index_size(settings: &Settings) -> u64 {
    let dir = std::fs::read_dir(settings.data_root.join("build/contexts"));
    dir.into_iter().flatten().flatten().filter_map(|e| Some(e.metadata().ok()?.len())).sum()
}
