//! What a user asks for, as steps with their undo.
//!
//! Owns the use cases (create, start, stop, remove, list, inspect, exec, pull, load, import, volumes),
//! the container state machine and its reconciliation with the kernel. It refuses to print, to read
//! the environment, or to end the process: front ends do. Start at [`Engine`].

pub mod model;
pub mod view;

pub use model::*;
pub use view::*;
