//! What a result depends on, by name; the key made of it; and what is different between two of them.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt;

/// One thing a result depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// What people call it: `command`, `build argument VERSION`, `src/main.c`.
    pub name: String,
    /// Its value, or the digest of its content.
    pub value: String,
}

/// A list of inputs as it is kept to be compared with later.
pub type Parts = Vec<Input>;

/// Everything one result depends on, in a fixed order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs(Parts);

impl Inputs {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    pub fn add(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push(Input { name: name.into(), value: value.into() });
    }

    /// The key: equal exactly when all names and values are, in their order.
    pub fn key(&self) -> Key {
        let mut hash = Sha256::new();
        for Input { name, value } in &self.0 {
            for text in [name, value] {
                hash.update((text.len() as u64).to_le_bytes());
                hash.update(text.as_bytes());
            }
        }
        Key(hash.finalize().into())
    }

    /// As they were added.
    pub fn parts(&self) -> &[Input] {
        &self.0
    }
}

/// Names a result by what it was made of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key([u8; 32]);

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

/// How one input differs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the name and the values")]
pub enum Change {
    /// Both have it, with other values.
    Changed { name: String, before: String, after: String },
    /// It is new.
    Added { name: String },
    /// It is gone.
    Removed { name: String },
}

impl Change {
    /// The input's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Changed { name, .. } | Self::Added { name } | Self::Removed { name } => name,
        }
    }
}

/// What is different, in the order of the newer list; what is gone comes last.
pub fn changes(before: &[Input], after: &[Input]) -> Vec<Change> {
    let mut old: BTreeMap<&str, &str> =
        before.iter().map(|input| (input.name.as_str(), input.value.as_str())).collect();
    let mut found = Vec::new();
    for Input { name, value } in after {
        match old.remove(name.as_str()) {
            None => found.push(Change::Added { name: name.clone() }),
            Some(before) if before != value => found.push(Change::Changed {
                name: name.clone(),
                before: before.to_owned(),
                after: value.clone(),
            }),
            Some(_) => {}
        }
    }
    found.extend(old.into_keys().map(|name| Change::Removed { name: name.to_owned() }));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(list: &[(&str, &str)]) -> Inputs {
        let mut inputs = Inputs::new();
        list.iter().for_each(|(name, value)| inputs.add(*name, *value));
        inputs
    }

    #[test]
    fn a_key_changes_with_every_name_value_and_order() {
        let key = |list: &[(&str, &str)]| inputs(list).key();
        let base = key(&[("a", "1"), ("b", "2")]);
        assert_eq!(base, key(&[("a", "1"), ("b", "2")]));
        for other in [
            &[("a", "1"), ("b", "3")][..],
            &[("a", "1"), ("c", "2")],
            &[("b", "2"), ("a", "1")],
            &[("a", "1")],
            &[("a", "1b"), ("", "2")],
            &[("a1", ""), ("b", "2")],
        ] {
            assert_ne!(base, key(other), "{other:?}");
        }
    }

    #[test]
    fn changes_are_named() {
        let before = inputs(&[("command", "make"), ("a.c", "1"), ("b.c", "1")]);
        let after = inputs(&[("command", "make"), ("a.c", "2"), ("c.c", "1")]);
        let names: Vec<_> = changes(before.parts(), after.parts());
        assert_eq!(
            names,
            [
                Change::Changed { name: "a.c".into(), before: "1".into(), after: "2".into() },
                Change::Added { name: "c.c".into() },
                Change::Removed { name: "b.c".into() },
            ]
        );
        assert!(changes(before.parts(), before.parts()).is_empty());
    }
}
