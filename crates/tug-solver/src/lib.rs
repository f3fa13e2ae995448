//! A graph of content-addressed operations, and the order in which they run.
//!
//! Owns vertices and their definitions ([`Graph`]), what a result depends on and the key made of it
//! ([`Inputs`], [`Key`]), the parallel schedule ([`solve`]), and the reasons why something ran
//! ([`changes`]). It has never heard of containers, images or Dockerfiles: what an operation does, where
//! results are kept and how a turn is taken among processes is the [`Executor`]'s.
//!
//! ```text
//! every input has its result ─► Executor::inputs ─► Key ─► Executor::cached ─► result
//!                                                            │ none
//!                                                            ▼
//!                              permit of the vertex' class ─► turn ─► cached? ─► execute ─► result
//! ```
//!
//! A vertex is looked at only once all its inputs are results, and its key names those results by their
//! content. So a key never means "what this would be made from" but "what this is made from": a step
//! that ran again and came out the same leaves everything after it cached.

mod graph;
mod key;
mod schedule;

pub use graph::{Graph, Operation, Vertex, VertexId};
pub use key::{Change, Input, Inputs, Key, Parts, changes};
pub use schedule::{Event, Executor, Failure, Limits, Weight, solve};
