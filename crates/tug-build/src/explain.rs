//! Why a step ran: what is different from the last time.

use crate::error::BuildError;
use tug_solver::{Change, Input, changes};
use tug_store::Store;

/// Why one step ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// `[2/4] RUN make`
    pub title: String,
    /// One line each.
    pub reasons: Vec<String>,
}

const KIND: &str = "inputs";

/// What a step depended on when it was last looked at, kept to be compared with.
pub(crate) fn remember(store: &Store, slot: &str, inputs: &[Input]) -> Result<(), BuildError> {
    let json = serde_json::to_vec(inputs).unwrap_or_default();
    let packed = zstd::bulk::compress(&json, 1).unwrap_or_default();
    Ok(store.put_build_note(KIND, slot, &packed)?)
}

/// Compares with the last time.
pub(crate) fn explain(
    store: &Store,
    slot: &str,
    title: &str,
    inputs: &[Input],
) -> Result<Explanation, BuildError> {
    /// Inputs of a large context, unpacked.
    const MOST: usize = 256 << 20;
    let title = title.to_owned();
    let packed = store.build_note(KIND, slot)?;
    let before: Option<Vec<Input>> = packed
        .and_then(|packed| zstd::bulk::decompress(&packed, MOST).ok())
        .and_then(|json| serde_json::from_slice(&json).ok());
    let reasons = match before {
        None => vec!["it was not built here before".to_owned()],
        Some(before) => {
            let found = changes(&before, inputs);
            if found.is_empty() {
                vec!["its result is no longer in the cache".to_owned()]
            } else {
                lines(&found)
            }
        }
    };
    Ok(Explanation { title, reasons })
}

/// So many are named one by one.
const NAMED: usize = 10;

fn lines(found: &[Change]) -> Vec<String> {
    let mut lines: Vec<String> = found.iter().take(NAMED).map(line).collect();
    if found.len() > NAMED {
        lines.push(format!("and {} more", found.len() - NAMED));
    }
    lines
}

fn line(change: &Change) -> String {
    match change {
        Change::Added { name } => format!("{name} is new"),
        Change::Removed { name } => format!("{name} is gone"),
        Change::Changed { name, before, after } => {
            if name.starts_with("file ") || name.starts_with("files ") {
                let (old, new) = (attributes(before), attributes(after));
                return match (old, new) {
                    (Some(old), Some(new)) if old != new => {
                        format!("{name} changed (mode or owner: {old} before, {new} now)")
                    }
                    _ => format!("{name} changed"),
                };
            }
            format!("{name} changed from {} to {}", short(before), short(after))
        }
    }
}

/// What is before the digest of a file.
fn attributes(value: &str) -> Option<&str> {
    value.rsplit_once(' ').map(|(attributes, _)| attributes)
}

fn short(value: &str) -> String {
    const LONGEST: usize = 60;
    let shown: String = value.chars().take(LONGEST).collect();
    let more = if shown.len() < value.len() { "…" } else { "" };
    format!("{shown:?}{more}")
}
