//! Texts that stand for something: sizes, times, filters. Pure.

pub(crate) mod duration;
pub(crate) mod filter;
pub(crate) mod moment;
pub(crate) mod size;
