//! The language as a user of the crate sees it: tables of what must come out.

mod checks;
mod expansion;
mod ignoring;
