//! An instruction's flags against the ones it knows.

use std::ops::Range;

use crate::fault::Fault;
use crate::problem::Problem;
use crate::suggest::nearest;
use crate::words::Word;

/// The flags an instruction knows.
pub(crate) struct Known {
    /// In capitals.
    pub(crate) instruction: &'static str,
    /// All names, without dashes.
    pub(crate) names: &'static [&'static str],
    /// Those that are true or false.
    pub(crate) switches: &'static [&'static str],
    /// Those that may be given several times.
    pub(crate) lists: &'static [&'static str],
}

impl Known {
    /// An instruction that has none.
    pub(crate) const fn none(instruction: &'static str) -> Self {
        Self { instruction, names: &[], switches: &[], lists: &[] }
    }
}

/// One flag as given.
#[derive(Debug)]
pub(crate) struct Given {
    name: &'static str,
    /// `true` or `false` for a switch.
    pub(crate) value: String,
    pub(crate) range: Range<usize>,
}

/// The flags given to one instruction.
#[derive(Debug, Default)]
pub(crate) struct Flags(Vec<Given>);

impl Flags {
    pub(crate) fn read(words: &[Word], known: &Known) -> Result<Self, Fault> {
        let mut given: Vec<Given> = Vec::new();
        for word in words {
            let at = |problem| Fault::at(problem, word.range.clone());
            let (flag, value) = match word.text.split_once('=') {
                Some((flag, value)) => (flag, Some(value)),
                None => (word.text.as_str(), None),
            };
            let bare = flag.strip_prefix("--").unwrap_or(flag);
            let Some(name) = known.names.iter().copied().find(|name| *name == bare) else {
                return Err(at(Problem::UnknownFlag {
                    flag: flag.to_owned(),
                    suggestion: nearest(bare, known.names.iter().copied(), true),
                    instruction: known.instruction,
                    known: known.names,
                }));
            };
            if !known.lists.contains(&name) && given.iter().any(|other| other.name == name) {
                return Err(at(Problem::FlagTwice { flag: flag.to_owned() }));
            }
            let value = if known.switches.contains(&name) {
                switch(flag, value).map_err(at)?
            } else {
                let value =
                    value.ok_or_else(|| at(Problem::FlagWithoutValue { flag: flag.to_owned() }))?;
                value.to_owned()
            };
            given.push(Given { name, value, range: word.range.clone() });
        }
        Ok(Self(given))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Given> {
        self.0.iter().find(|given| given.name == name)
    }

    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &Given> {
        self.0.iter().filter(move |given| given.name == name)
    }

    /// A switch, none when it is not given.
    pub(crate) fn switch(&self, name: &str) -> Option<bool> {
        self.get(name).map(|given| given.value == "true")
    }
}

fn switch(flag: &str, value: Option<&str>) -> Result<String, Problem> {
    match value.map(str::to_lowercase).as_deref() {
        None | Some("true") => Ok("true".to_owned()),
        Some("false") => Ok("false".to_owned()),
        Some("") => Err(Problem::FlagWithoutValue { flag: flag.to_owned() }),
        Some(_) => Err(Problem::FlagNotBoolean {
            flag: flag.to_owned(),
            value: value.unwrap_or_default().to_owned(),
        }),
    }
}
