//! Archives against a real file system and against the tools that make them.
#![expect(clippy::disallowed_methods, reason = "the tools that make archives are the oracle")]

mod copying;
mod hostile;
mod layers;
mod roundtrip;
mod support;
mod tools;
