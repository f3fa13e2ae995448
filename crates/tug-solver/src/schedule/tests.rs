//! The schedule against executors that count and wait.

use super::*;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

#[derive(Clone)]
struct Op {
    name: String,
    weight: Weight,
}

impl Operation for Op {
    fn definition(&self) -> Vec<u8> {
        self.name.clone().into_bytes()
    }

    fn weight(&self) -> Weight {
        self.weight
    }
}

fn op(name: impl Into<String>, weight: Weight) -> Op {
    Op { name: name.into(), weight }
}

/// Results are texts: the operation's name over those of its inputs.
struct Kitchen<'g> {
    graph: &'g Graph<Op>,
    cache: Mutex<HashMap<Key, String>>,
    log: Mutex<Vec<(String, Event)>>,
    running: AtomicUsize,
    most: AtomicUsize,
    cancelled: AtomicBool,
    pause: Duration,
    broken: Option<&'static str>,
}

impl<'g> Kitchen<'g> {
    fn new(graph: &'g Graph<Op>) -> Self {
        Self {
            graph,
            cache: Mutex::default(),
            log: Mutex::default(),
            running: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            cancelled: AtomicBool::new(false),
            pause: Duration::ZERO,
            broken: None,
        }
    }

    fn count(&self, event: &Event) -> usize {
        self.log.lock().unwrap().iter().filter(|(_, seen)| seen == event).count()
    }

    fn name(&self, vertex: VertexId) -> &str {
        &self.graph.vertex(vertex).operation.name
    }
}

impl Executor for Kitchen<'_> {
    type Operation = Op;
    type Output = String;
    type Error = String;
    type Turn = ();

    fn inputs(&self, vertex: VertexId, results: &[String]) -> Result<Option<Inputs>, String> {
        if self.name(vertex).starts_with("never") {
            return Ok(None);
        }
        let mut inputs = Inputs::new();
        inputs.add("name", self.name(vertex));
        results.iter().for_each(|result| inputs.add("result", result));
        Ok(Some(inputs))
    }

    fn cached(&self, _: VertexId, key: &Key, _: &Inputs) -> Result<Option<String>, String> {
        Ok(self.cache.lock().unwrap().get(key).cloned())
    }

    fn turn(&self, _: &Key) -> Result<(), String> {
        Ok(())
    }

    fn execute(
        &self,
        vertex: VertexId,
        results: &[String],
        inputs: Option<&Inputs>,
    ) -> Result<String, String> {
        if self.broken == Some(self.name(vertex)) {
            // Not before the other one runs.
            while self.running.load(Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
            return Err("broken".to_owned());
        }
        let now = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        let until = Instant::now() + self.pause;
        while Instant::now() < until && !self.cancelled.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.running.fetch_sub(1, Ordering::SeqCst);
        if self.cancelled.load(Ordering::SeqCst) {
            return Err("cancelled".to_owned());
        }
        let result = format!("{}({})", self.name(vertex), results.join(","));
        if let Some(inputs) = inputs {
            self.cache.lock().unwrap().insert(inputs.key(), result.clone());
        }
        Ok(result)
    }

    fn cancel(&self) {
        assert!(!self.cancelled.swap(true, Ordering::SeqCst), "cancelled once");
    }

    fn event(&self, vertex: VertexId, event: Event) {
        self.log.lock().unwrap().push((self.name(vertex).to_owned(), event));
    }
}

const FEW: Limits = Limits { heavy: 3, light: 2 };

#[test]
fn results_come_in_order_and_the_second_time_from_the_cache() {
    let mut graph = Graph::new();
    let a = graph.add(op("a", Weight::Light), vec![]);
    let b = graph.add(op("b", Weight::Heavy), vec![a]);
    let c = graph.add(op("c", Weight::Heavy), vec![a]);
    let d = graph.add(op("d", Weight::Light), vec![c, b]);
    let unused = graph.add(op("unused", Weight::Light), vec![d]);
    let kitchen = Kitchen::new(&graph);
    let results = solve(&graph, &[d, b], &kitchen, FEW).unwrap();
    assert_eq!(results, ["d(c(a()),b(a()))", "b(a())"]);
    assert_eq!(kitchen.count(&Event::Completed), 4);
    assert!(kitchen.log.lock().unwrap().iter().all(|(name, _)| name != "unused"), "{unused:?}");

    let again = solve(&graph, &[d], &kitchen, FEW).unwrap();
    assert_eq!(again, results[..1]);
    assert_eq!(kitchen.count(&Event::Cached), 4);
    assert_eq!(kitchen.count(&Event::Started), 4, "nothing ran again");
}

#[test]
fn a_result_that_comes_out_the_same_leaves_the_rest_cached() {
    let mut graph = Graph::new();
    let source = graph.add(op("never", Weight::Light), vec![]);
    let user = graph.add(op("user", Weight::Light), vec![source]);
    let kitchen = Kitchen::new(&graph);
    solve(&graph, &[user], &kitchen, FEW).unwrap();
    solve(&graph, &[user], &kitchen, FEW).unwrap();
    let log = kitchen.log.into_inner().unwrap();
    let completed = |wanted: &str| {
        log.iter().filter(|(name, e)| name == wanted && *e == Event::Completed).count()
    };
    assert_eq!((completed("never"), completed("user")), (2, 1));
}

#[test]
fn heavy_operations_run_side_by_side_up_to_their_limit() {
    let mut graph = Graph::new();
    let base = graph.add(op("base", Weight::Light), vec![]);
    let targets: Vec<_> =
        (0..9).map(|n| graph.add(op(format!("h{n}"), Weight::Heavy), vec![base])).collect();
    let mut kitchen = Kitchen::new(&graph);
    kitchen.pause = Duration::from_millis(30);
    solve(&graph, &targets, &kitchen, FEW).unwrap();
    assert_eq!(kitchen.most.load(Ordering::SeqCst), 3);
}

#[test]
fn the_first_failure_ends_everything_and_is_the_one_reported() {
    let mut graph = Graph::new();
    let slow = graph.add(op("slow", Weight::Heavy), vec![]);
    let bad = graph.add(op("bad", Weight::Heavy), vec![]);
    let never = graph.add(op("after", Weight::Light), vec![slow, bad]);
    let mut kitchen = Kitchen::new(&graph);
    kitchen.pause = Duration::from_secs(20);
    kitchen.broken = Some("bad");
    let begun = Instant::now();
    let failure = solve(&graph, &[never], &kitchen, FEW).unwrap_err();
    assert_eq!((failure.vertex, failure.error.as_str()), (bad, "broken"));
    assert!(begun.elapsed() < Duration::from_secs(15), "the slow one was not told");
    assert_eq!(kitchen.count(&Event::Failed), 1);
    assert_eq!(kitchen.count(&Event::Cancelled), 1);
    assert_eq!(kitchen.count(&Event::Completed), 0);
}

/// Random graphs against the obvious way of doing it.
#[test]
fn any_graph_gives_what_doing_it_one_by_one_gives() {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % below as u64).unwrap()
    };
    for _ in 0..200 {
        let mut graph = Graph::new();
        let mut ids = Vec::new();
        let mut expected = Vec::new();
        for number in 0..1 + random(25) {
            let mut inputs = Vec::new();
            for _ in 0..random(4) {
                if !ids.is_empty() {
                    inputs.push(random(ids.len()));
                }
            }
            let weight = if random(2) == 0 { Weight::Light } else { Weight::Heavy };
            let name = format!("v{number}");
            let texts: Vec<String> =
                inputs.iter().map(|at| String::clone(&expected[*at])).collect();
            expected.push(format!("{name}({})", texts.join(",")));
            if expected[number].len() > 10_000 {
                expected.pop();
                break;
            }
            let inputs = inputs.into_iter().map(|at| ids[at]).collect();
            ids.push(graph.add(op(name, weight), inputs));
        }
        let Some(target) = ids.len().checked_sub(1) else { continue };
        let kitchen = Kitchen::new(&graph);
        let results = solve(&graph, &[ids[target]], &kitchen, FEW).unwrap();
        assert_eq!(results, [expected[target].clone()]);
    }
}
