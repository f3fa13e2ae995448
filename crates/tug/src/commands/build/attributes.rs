//! The attributes of `--output`, `--cache-to` and `--cache-from`: `NAME=VALUE` in CSV, as buildx reads them.
//! Whoever reads an attribute takes it; what is left in the end is not supported, and said so by name.

use tug_engine::{Compression, Method};

/// What is left of them.
pub(super) struct Attributes {
    /// `output`, `cache`: what errors call them.
    of: &'static str,
    pairs: Vec<(String, String)>,
}

impl Attributes {
    /// Reads them all; of a name that is given twice the last counts.
    pub(super) fn read(of: &'static str, fields: &[String]) -> Result<Self, String> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for field in fields {
            let (name, value) =
                field.split_once('=').ok_or_else(|| format!("invalid value {field}"))?;
            let name = name.trim().to_lowercase();
            pairs.retain(|(known, _)| *known != name);
            pairs.push((name, value.to_owned()));
        }
        Ok(Self { of, pairs })
    }

    /// Takes one.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.pairs.iter().position(|(known, _)| known == name)?;
        Some(self.pairs.remove(at).1)
    }

    /// Takes all whose names begin so: what follows, and their values.
    pub(super) fn take_all(&mut self, prefix: &str) -> Vec<(String, String)> {
        let (taken, left) = std::mem::take(&mut self.pairs)
            .into_iter()
            .partition(|(name, _)| name.starts_with(prefix));
        self.pairs = left;
        let taken: Vec<(String, String)> = taken;
        taken.into_iter().map(|(name, value)| (name[prefix.len()..].to_owned(), value)).collect()
    }

    /// Takes a yes or no, in any of Go's spellings.
    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>, String> {
        let Some(value) = self.take(name) else { return Ok(None) };
        match value.as_str() {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(Some(true)),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(Some(false)),
            _ => Err(format!("non-bool value specified for {name}: {value:?}")),
        }
    }

    /// Takes a flag that has only one meaning here.
    pub(super) fn only(&mut self, name: &str, value: bool, why: &str) -> Result<(), String> {
        match self.flag(name)? {
            Some(given) if given != value => Err(self.refused(name, &given.to_string(), why)),
            _ => Ok(()),
        }
    }

    /// Takes what says how layers are compressed; none when nothing does.
    pub(super) fn compression(&mut self) -> Result<Option<Compression>, String> {
        let (method, level) = (self.take("compression"), self.take("compression-level"));
        let force = self.flag("force-compression")?;
        if method.is_none() && level.is_none() && force.is_none() {
            return Ok(None);
        }
        let (method, highest) = match method.as_deref() {
            None | Some("gzip") => (Method::Gzip, 9),
            Some("zstd") => (Method::Zstd, 22),
            Some("uncompressed") => (Method::Uncompressed, 0),
            Some("estargz") => {
                return Err(self.refused(
                    "compression",
                    "estargz",
                    "it knows gzip, zstd and uncompressed",
                ));
            }
            Some(other) => return Err(format!("unsupported compression type {other}")),
        };
        let level = match level.map(|text| (text.parse::<u32>(), text)) {
            None => None,
            Some((Ok(level), _)) if level <= highest => Some(level),
            Some((_, text)) => {
                return Err(format!(
                    "compression-level={text}: expected a number from 0 to {highest}"
                ));
            }
        };
        Ok(Some(Compression { method, level, force: force.unwrap_or(false) }))
    }

    /// What zstd asks for.
    pub(super) fn oci(
        &mut self,
        compression: Option<&Compression>,
    ) -> Result<Option<bool>, String> {
        let is_zstd = compression.is_some_and(|how| how.method == Method::Zstd);
        match self.flag("oci-mediatypes")? {
            Some(false) if is_zstd => Err(format!(
                "{} option \"compression=zstd\" conflicts with \"oci-mediatypes=false\"",
                self.of
            )),
            None if is_zstd => Ok(Some(true)),
            given => Ok(given),
        }
    }

    pub(super) fn refused(&self, name: &str, value: &str, why: &str) -> String {
        format!("the {} option {name}={value} is not supported by tug: {why}", self.of)
    }

    /// That there is nothing left.
    pub(super) fn end(self) -> Result<(), String> {
        match self.pairs.first() {
            Some((name, value)) => {
                Err(format!("the {} option {name}={value} is not supported by tug", self.of))
            }
            None => Ok(()),
        }
    }
}
