//! One archive entry.
