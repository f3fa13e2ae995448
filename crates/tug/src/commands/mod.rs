//! The commands, a file each, and how the overview groups them.

pub(crate) mod attach;
pub(crate) mod build;
pub(crate) mod builder;
pub(crate) mod check;
pub(crate) mod commit;
pub(crate) mod completion;
pub(crate) mod create;
pub(crate) mod df;
pub(crate) mod exec;
pub(crate) mod export;
pub(crate) mod history;
pub(crate) mod image_inspect;
pub(crate) mod images;
pub(crate) mod import;
pub(crate) mod info;
pub(crate) mod inspect;
pub(crate) mod kill;
pub(crate) mod load;
pub(crate) mod login;
pub(crate) mod logs;
mod many;
pub(crate) mod port;
pub(crate) mod prune;
pub(crate) mod ps;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod rename;
pub(crate) mod restart;
pub(crate) mod rm;
pub(crate) mod rmi;
pub(crate) mod run;
pub(crate) mod save;
pub(crate) mod search;
pub(crate) mod start;
pub(crate) mod stop;
pub(crate) mod system;
pub(crate) mod tag;
pub(crate) mod top;
pub(crate) mod version;
pub(crate) mod volume;
pub(crate) mod wait;

use crate::flags::Command;

/// Every command, the ones whose start-up matters first.
pub(crate) static COMMANDS: &[&Command] = &[
    &run::COMMAND,
    &exec::COMMAND,
    &ps::COMMAND,
    &logs::COMMAND,
    &start::COMMAND,
    &stop::COMMAND,
    &rm::COMMAND,
    &create::COMMAND,
    &kill::COMMAND,
    &restart::COMMAND,
    &inspect::COMMAND,
    &inspect::CONTAINER,
    &attach::COMMAND,
    &wait::COMMAND,
    &top::COMMAND,
    &port::COMMAND,
    &rename::COMMAND,
    &build::COMMAND,
    &builder::PRUNE,
    &builder::DU,
    &pull::COMMAND,
    &push::COMMAND,
    &login::LOGIN,
    &login::LOGOUT,
    &search::COMMAND,
    &images::COMMAND,
    &image_inspect::COMMAND,
    &history::COMMAND,
    &rmi::COMMAND,
    &tag::COMMAND,
    &load::COMMAND,
    &import::COMMAND,
    &save::COMMAND,
    &export::COMMAND,
    &commit::COMMAND,
    &volume::CREATE,
    &volume::INSPECT,
    &volume::LS,
    &volume::RM,
    &df::COMMAND,
    &system::RESET,
    &check::COMMAND,
    &prune::IMAGE,
    &prune::CONTAINER,
    &prune::VOLUME,
    &prune::SYSTEM,
    &info::COMMAND,
    &version::COMMAND,
    &completion::COMMAND,
];

/// Shown first by `tug --help`, in this order.
pub(crate) const COMMON: &[&str] = &[
    "run", "exec", "ps", "logs", "stop", "rm", "build", "pull", "images", "inspect", "version",
    "info",
];

/// Commands of more than one word.
#[derive(Debug)]
pub(crate) struct Group {
    pub name: &'static str,
    pub about: &'static str,
}

/// The groups.
pub(crate) static GROUPS: &[Group] = &[
    Group { name: "builder", about: "Manage builds" },
    Group { name: "buildx", about: "Manage builds, as Docker's plugin spells it" },
    Group { name: "container", about: "Manage containers" },
    Group { name: "image", about: "Manage images" },
    Group { name: "system", about: "Manage tug" },
    Group { name: "volume", about: "Manage volumes" },
];
