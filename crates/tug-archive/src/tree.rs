//! A directory below which everything stays.
