//! What a user asks for, as steps with their undo.
//!
//! Owns the use cases (create, start, stop, remove, list, inspect, exec, pull, load, import, volumes),
//! the container state machine and its reconciliation with the kernel. It refuses to print, to read
//! the environment, or to end the process: front ends do.
//!
//! Start at [`Engine`]; every use case is a file of the same name.

mod capabilities;
mod counting;
mod create;
mod engine;
mod error;
mod exec;
mod filling;
mod ground;
mod history;
mod image_config;
mod image_inspect;
mod image_remove;
mod images;
mod images_list;
mod inspect;
mod list;
mod lock;
pub mod model;
mod mounts;
mod names;
mod network;
mod ports;
mod propagation;
mod prune;
mod reconcile;
mod record;
mod remove;
mod reset;
mod resolve;
mod spec;
mod start;
mod step;
mod stop;
mod stubs;
mod time;
mod top;
mod usage;
pub mod view;
mod volumes;

pub use create::Created;
pub use engine::{Engine, RegistryFiles, Settings};
pub use error::Error;
pub use exec::ExecSession;
pub use history::HistoryEntry;
pub use images::*;
pub use list::LogSource;
pub use model::*;
pub use prune::Pruned;
pub use remove::RemoveOptions;
pub use start::Started;
pub use step::{BaseLayers, Step, StepKiller, StepMount, StepRequest, StepSource};
pub use tug_registry::{Found, Keeper, Vault};
pub use usage::{BuildCacheUsage, ContainerUsage, DiskUsage, VolumeUsage};
pub use view::*;

/// argv[0] of the process a monitor turns into to tidy up: followed by data root, exec root and the
/// container's id.
pub const REAPER: &str = "tug-reap";
