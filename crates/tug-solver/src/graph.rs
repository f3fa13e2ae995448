//! Vertices and edges. Adding the same operation on the same inputs twice gives one vertex.

use crate::Weight;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;

/// What a vertex does, as far as the solver needs to know.
pub trait Operation {
    /// Everything that defines the operation besides its inputs. Two operations with the same definition
    /// are the same operation.
    fn definition(&self) -> Vec<u8>;

    /// Which permit it needs to run.
    fn weight(&self) -> Weight;
}

/// A vertex of one graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VertexId(usize);

impl VertexId {
    /// Its place in the graph: vertices are numbered in the order they were added, inputs first.
    pub fn index(self) -> usize {
        self.0
    }
}

/// One operation and what it works on.
#[derive(Clone, Debug)]
pub struct Vertex<O> {
    /// What it does.
    pub operation: O,
    /// What it works on, in the operation's own order.
    pub inputs: Vec<VertexId>,
}

/// Operations and their inputs. There are no cycles: an input exists before whoever uses it.
#[derive(Clone, Debug)]
pub struct Graph<O> {
    vertices: Vec<Vertex<O>>,
    by_definition: HashMap<[u8; 32], VertexId>,
    definitions: Vec<[u8; 32]>,
}

impl<O> Default for Graph<O> {
    fn default() -> Self {
        Self { vertices: Vec::new(), by_definition: HashMap::new(), definitions: Vec::new() }
    }
}

impl<O: Operation> Graph<O> {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an operation on inputs of this graph; the vertex that is there when it already has it.
    pub fn add(&mut self, operation: O, inputs: Vec<VertexId>) -> VertexId {
        let mut hash = Sha256::new();
        let definition = operation.definition();
        hash.update((definition.len() as u64).to_le_bytes());
        hash.update(&definition);
        for input in &inputs {
            hash.update(self.definitions[input.0]);
        }
        let definition: [u8; 32] = hash.finalize().into();
        if let Some(there) = self.by_definition.get(&definition) {
            return *there;
        }
        let id = VertexId(self.vertices.len());
        self.vertices.push(Vertex { operation, inputs });
        self.definitions.push(definition);
        self.by_definition.insert(definition, id);
        id
    }
}

impl<O> Graph<O> {
    /// A vertex by its number.
    ///
    /// # Panics
    /// When the number is of another graph.
    pub fn vertex(&self, id: VertexId) -> &Vertex<O> {
        &self.vertices[id.0]
    }

    /// How many vertices there are.
    pub fn len(&self) -> usize {
        self.vertices.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.vertices.is_empty()
    }

    /// All vertices, inputs before those that use them.
    pub fn ids(&self) -> impl Iterator<Item = VertexId> + use<O> {
        (0..self.vertices.len()).map(VertexId)
    }

    /// Which vertices the targets need, by number.
    pub fn needed(&self, targets: &[VertexId]) -> Vec<bool> {
        let mut needed = vec![false; self.vertices.len()];
        let mut open: Vec<VertexId> = targets.to_vec();
        while let Some(id) = open.pop() {
            if !std::mem::replace(&mut needed[id.0], true) {
                open.extend(&self.vertices[id.0].inputs);
            }
        }
        needed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Named(&'static str);

    impl Operation for Named {
        fn definition(&self) -> Vec<u8> {
            self.0.as_bytes().to_vec()
        }

        fn weight(&self) -> Weight {
            Weight::Light
        }
    }

    #[test]
    fn the_same_operation_on_the_same_inputs_is_one_vertex() {
        let mut graph = Graph::new();
        let base = graph.add(Named("base"), vec![]);
        let one = graph.add(Named("run"), vec![base]);
        assert_eq!(graph.add(Named("run"), vec![base]), one);
        assert_ne!(graph.add(Named("run"), vec![one]), one, "other inputs, another vertex");
        assert_eq!(graph.len(), 3);
    }

    #[test]
    fn only_what_a_target_stands_on_is_needed() {
        let mut graph = Graph::new();
        let base = graph.add(Named("base"), vec![]);
        let used = graph.add(Named("used"), vec![base]);
        let unused = graph.add(Named("unused"), vec![base]);
        let target = graph.add(Named("target"), vec![used, base]);
        let needed = graph.needed(&[target]);
        assert!(needed[base.index()] && needed[used.index()] && needed[target.index()]);
        assert!(!needed[unused.index()]);
    }
}
