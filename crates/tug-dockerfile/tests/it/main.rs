//! The language as a user of the crate sees it: tables of what must come out.

mod checks;
mod evaluating;
mod expansion;
mod hostile;
mod ignoring;
mod outlining;
mod reading;
mod refusing;
