//! Running a graph: everything whose inputs are there goes ahead, side by side.
//!
//! Workers take jobs from two queues: vertices to be looked at, and operations to be run. The second
//! kind waits for a permit when it is [`Weight::Heavy`]; nobody waits while holding a worker. The calling
//! thread is the first worker, others are started when there is more to do than there are idle ones, so a
//! graph that is all cached never starts a thread unless it is wide.

use crate::{Graph, Inputs, Key, Operation, VertexId};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Scope;

/// What running an operation costs the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Needs no permit.
    Light,
    /// One of [`Limits::heavy`].
    Heavy,
}

/// How much runs at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Heavy operations.
    pub heavy: usize,
    /// Light operations and lookups.
    pub light: usize,
}

/// What happened to a vertex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Its inputs are there and it is being looked at.
    Looked,
    /// Its result was there.
    Cached,
    /// It begins to run.
    Started,
    /// It ran to its end.
    Completed,
    /// It failed.
    Failed,
    /// It ran when another one failed.
    Cancelled,
}

/// Does what operations say.
pub trait Executor: Sync {
    /// What vertices do.
    type Operation: Operation + Sync;
    /// What they result in.
    type Output: Clone + Send + Sync;
    /// How they fail.
    type Error: Send;
    /// The right to execute one key, given back when dropped.
    type Turn;

    /// Everything the result of a vertex depends on, given the results of its inputs. `None` when it must
    /// not be remembered: then it is executed whenever it is needed.
    ///
    /// # Errors
    /// Whatever keeps it from looking.
    fn inputs(
        &self,
        vertex: VertexId,
        results: &[Self::Output],
    ) -> Result<Option<Inputs>, Self::Error>;

    /// The result remembered under a key.
    ///
    /// # Errors
    /// Whatever keeps it from looking.
    fn cached(
        &self,
        vertex: VertexId,
        key: &Key,
        inputs: &Inputs,
    ) -> Result<Option<Self::Output>, Self::Error>;

    /// Waits until nobody else, in whatever process, executes this key.
    ///
    /// # Errors
    /// Whatever keeps it from waiting.
    fn turn(&self, key: &Key) -> Result<Self::Turn, Self::Error>;

    /// Runs it, and remembers the result under the key when there is one.
    ///
    /// # Errors
    /// Why it failed.
    fn execute(
        &self,
        vertex: VertexId,
        results: &[Self::Output],
        inputs: Option<&Inputs>,
    ) -> Result<Self::Output, Self::Error>;

    /// Asks whatever runs to end soon: something else has failed. Called once.
    fn cancel(&self);

    /// Told of everything that happens, from any worker.
    fn event(&self, vertex: VertexId, event: Event);
}

/// A vertex that failed first. Others that failed after it were its consequences.
#[derive(Debug)]
pub struct Failure<E> {
    /// Which.
    pub vertex: VertexId,
    /// Why.
    pub error: E,
}

/// Brings about the results of `targets`, in their order. What no target needs is never looked at.
///
/// # Errors
/// The first vertex that failed; all that ran has ended by then.
pub fn solve<E: Executor>(
    graph: &Graph<E::Operation>,
    targets: &[VertexId],
    executor: &E,
    limits: Limits,
) -> Result<Vec<E::Output>, Failure<E::Error>> {
    let crew = Crew::new(graph, targets, executor, limits);
    std::thread::scope(|scope| crew.work(scope));
    let state = crew.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(failure) = state.failure {
        return Err(failure);
    }
    let result = |target: &VertexId| state.results[target.index()].clone();
    Ok(targets.iter().filter_map(result).collect())
}

struct Crew<'g, E: Executor> {
    graph: &'g Graph<E::Operation>,
    executor: &'g E,
    limits: Limits,
    state: Mutex<State<E>>,
    changed: Condvar,
}

struct State<E: Executor> {
    /// Inputs without a result, by vertex.
    waiting: Vec<usize>,
    /// Who waits for a vertex.
    users: Vec<Vec<VertexId>>,
    results: Vec<Option<E::Output>>,
    to_look_at: VecDeque<VertexId>,
    to_run: VecDeque<Run>,
    /// Vertices without a result.
    left: usize,
    heavy: usize,
    light: usize,
    workers: usize,
    idle: usize,
    failure: Option<Failure<E::Error>>,
}

/// An operation that has to run.
struct Run {
    vertex: VertexId,
    inputs: Option<Inputs>,
    weight: Weight,
}

enum Job {
    Look(VertexId),
    Run(Run),
}

/// What looking at a vertex came to.
enum Found<O> {
    Result(O),
    MustRun(Option<Inputs>),
}

impl<'g, E: Executor> Crew<'g, E> {
    fn new(
        graph: &'g Graph<E::Operation>,
        targets: &[VertexId],
        executor: &'g E,
        limits: Limits,
    ) -> Self {
        let needed = graph.needed(targets);
        let mut state = State {
            waiting: vec![0; graph.len()],
            users: vec![Vec::new(); graph.len()],
            results: (0..graph.len()).map(|_| None).collect(),
            to_look_at: VecDeque::new(),
            to_run: VecDeque::new(),
            left: 0,
            heavy: 0,
            light: 0,
            workers: 1,
            idle: 0,
            failure: None,
        };
        for id in graph.ids().filter(|id| needed[id.index()]) {
            let inputs = &graph.vertex(id).inputs;
            state.left += 1;
            state.waiting[id.index()] = inputs.len();
            inputs.iter().for_each(|input| state.users[input.index()].push(id));
            if inputs.is_empty() {
                state.to_look_at.push_back(id);
            }
        }
        Self { graph, executor, limits, state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State<E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work<'s>(&'s self, scope: &'s Scope<'s, '_>) {
        while let Some(job) = self.next(scope) {
            match job {
                Job::Look(vertex) => {
                    self.executor.event(vertex, Event::Looked);
                    let found = self.look(vertex);
                    self.looked(vertex, found);
                }
                Job::Run(run) => {
                    let result = self.run(&run);
                    self.ran(&run, result);
                }
            }
        }
    }

    /// The next thing to do; none when everything is done or has failed.
    fn next<'s>(&'s self, scope: &'s Scope<'s, '_>) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.left == 0 || state.failure.is_some() {
                self.changed.notify_all();
                return None;
            }
            if let Some(job) = state.take(self.limits) {
                // Somebody else can do the rest meanwhile.
                if state.has_work(self.limits) {
                    self.call_for_help(scope, &mut state);
                }
                return Some(job);
            }
            state.idle += 1;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    fn call_for_help<'s>(&'s self, scope: &'s Scope<'s, '_>, state: &mut State<E>) {
        if state.idle > 0 {
            self.changed.notify_one();
        } else if state.workers < self.limits.heavy + self.limits.light {
            let worker = std::thread::Builder::new().name("tug-solve".to_owned());
            // Without another thread this one does it all, one after the other.
            if worker.spawn_scoped(scope, || self.work(scope)).is_ok() {
                state.workers += 1;
            }
        }
    }

    fn results(&self, vertex: VertexId) -> Vec<E::Output> {
        let state = self.lock();
        let inputs = &self.graph.vertex(vertex).inputs;
        inputs.iter().filter_map(|input| state.results[input.index()].clone()).collect()
    }

    fn look(&self, vertex: VertexId) -> Result<Found<E::Output>, E::Error> {
        let Some(inputs) = self.executor.inputs(vertex, &self.results(vertex))? else {
            return Ok(Found::MustRun(None));
        };
        match self.executor.cached(vertex, &inputs.key(), &inputs)? {
            Some(result) => Ok(Found::Result(result)),
            None => Ok(Found::MustRun(Some(inputs))),
        }
    }

    fn looked(&self, vertex: VertexId, found: Result<Found<E::Output>, E::Error>) {
        match found {
            Ok(Found::Result(result)) => {
                self.executor.event(vertex, Event::Cached);
                self.done(vertex, result);
            }
            Ok(Found::MustRun(inputs)) => {
                let weight = self.graph.vertex(vertex).operation.weight();
                let run = Run { vertex, inputs, weight };
                let mut state = self.lock();
                state.light -= 1;
                state.to_run.push_back(run);
                self.changed.notify_one();
            }
            Err(error) => self.failed(vertex, error),
        }
    }

    /// `true` with a result that somebody else brought about meanwhile.
    fn run(&self, run: &Run) -> Result<(E::Output, bool), E::Error> {
        let key = run.inputs.as_ref().map(Inputs::key);
        let _turn = key.as_ref().map(|key| self.executor.turn(key)).transpose()?;
        if let (Some(key), Some(inputs)) = (&key, &run.inputs)
            && let Some(result) = self.executor.cached(run.vertex, key, inputs)?
        {
            return Ok((result, true));
        }
        self.executor.event(run.vertex, Event::Started);
        let results = self.results(run.vertex);
        self.executor.execute(run.vertex, &results, run.inputs.as_ref()).map(|made| (made, false))
    }

    fn ran(&self, run: &Run, result: Result<(E::Output, bool), E::Error>) {
        if run.weight == Weight::Heavy {
            let mut state = self.lock();
            state.heavy -= 1;
            // Back to the kind of permit that `done` and `failed` give back.
            state.light += 1;
        }
        match result {
            Ok((result, cached)) => {
                let event = if cached { Event::Cached } else { Event::Completed };
                self.executor.event(run.vertex, event);
                self.done(run.vertex, result);
            }
            Err(error) => self.failed(run.vertex, error),
        }
    }

    fn done(&self, vertex: VertexId, result: E::Output) {
        let mut state = self.lock();
        state.light -= 1;
        state.left -= 1;
        state.results[vertex.index()] = Some(result);
        for user in std::mem::take(&mut state.users[vertex.index()]) {
            state.waiting[user.index()] -= 1;
            if state.waiting[user.index()] == 0 {
                state.to_look_at.push_back(user);
            }
        }
        self.changed.notify_one();
    }

    fn failed(&self, vertex: VertexId, error: E::Error) {
        let mut state = self.lock();
        state.light -= 1;
        let first = state.failure.is_none();
        if first {
            state.failure = Some(Failure { vertex, error });
        }
        self.changed.notify_all();
        drop(state);
        self.executor.event(vertex, if first { Event::Failed } else { Event::Cancelled });
        if first {
            self.executor.cancel();
        }
    }
}

impl<E: Executor> State<E> {
    fn has_work(&self, limits: Limits) -> bool {
        let light = self.light < limits.light;
        light && !self.to_look_at.is_empty() || self.runnable(limits).is_some()
    }

    /// The first operation that there is a permit for.
    fn runnable(&self, limits: Limits) -> Option<usize> {
        let light = self.light < limits.light;
        let heavy = self.heavy < limits.heavy;
        self.to_run.iter().position(|run| match run.weight {
            Weight::Light => light,
            Weight::Heavy => heavy,
        })
    }

    /// Lookups come first: they are quick, and what they find is more to do.
    fn take(&mut self, limits: Limits) -> Option<Job> {
        if self.light < limits.light
            && let Some(vertex) = self.to_look_at.pop_front()
        {
            self.light += 1;
            return Some(Job::Look(vertex));
        }
        let run = self.to_run.remove(self.runnable(limits)?)?;
        match run.weight {
            Weight::Light => self.light += 1,
            Weight::Heavy => self.heavy += 1,
        }
        Some(Job::Run(run))
    }
}

#[cfg(test)]
mod tests;
