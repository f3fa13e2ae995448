//! `--filter NAME=VALUE`: several values of one name are alternatives, different names all count.

use crate::suggest;

/// What was asked for.
#[derive(Debug, Default)]
pub(crate) struct Filters(Vec<(String, String)>);

impl Filters {
    /// Reads the values of `--filter`; names are the ones the command knows.
    ///
    /// # Errors
    /// Docker's words for a name that is not known.
    pub(crate) fn new(pairs: Vec<(String, String)>, known: &[&str]) -> Result<Self, String> {
        match pairs.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            None => Ok(Self(pairs)),
            Some((name, _)) => Err(match suggest::closest(name, known.iter().copied()) {
                Some(close) => format!("invalid filter '{name}' (did you mean '{close}'?)"),
                None => format!("invalid filter '{name}', there are: {}", known.join(", ")),
            }),
        }
    }

    /// The values of one name.
    pub(crate) fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether the name was used.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }

    /// True when the name was not used, or one of its values matches.
    pub(crate) fn any(&self, name: &str, matches: impl Fn(&str) -> bool) -> bool {
        !self.has(name) || self.values(name).any(matches)
    }

    /// True when all values of the name match: labels.
    pub(crate) fn all(&self, name: &str, matches: impl Fn(&str) -> bool) -> bool {
        self.values(name).all(matches)
    }

    /// A name that takes `true` or `false`.
    ///
    /// # Errors
    /// When it is neither, or both.
    pub(crate) fn truth(&self, name: &str) -> Result<Option<bool>, String> {
        let mut found = None;
        for value in self.values(name) {
            let truth = match value {
                "1" | "true" => true,
                "0" | "false" => false,
                _ => return Err(format!("invalid filter '{name}={value}'")),
            };
            if found.replace(truth).is_some_and(|other| other != truth) {
                return Err(format!("invalid filter '{name}={value}'"));
            }
        }
        Ok(found)
    }
}

/// `NAME=VALUE` of one `--filter`.
///
/// # Errors
/// Docker's words.
pub(crate) fn pair(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("bad format of filter (expected name=value)")?;
    Ok((name.trim().to_lowercase(), value.trim().to_owned()))
}

/// `label=NAME` or `label=NAME=VALUE`.
pub(crate) fn label_matches<'a>(wanted: &str, get: impl Fn(&str) -> Option<&'a str>) -> bool {
    match wanted.split_once('=') {
        Some((name, value)) => get(name) == Some(value),
        None => get(wanted).is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(texts: &[&str]) -> Filters {
        let pairs = texts.iter().map(|text| pair(text).unwrap()).collect();
        Filters::new(pairs, &["name", "label", "dangling"]).unwrap()
    }

    #[test]
    fn values_of_one_name_are_alternatives() {
        let both = filters(&["name=a", "NAME = b"]);
        assert!(both.any("name", |value| value == "b"));
        assert!(!both.any("name", |value| value == "c"));
        assert!(both.any("label", |_| false), "a name that was not used lets everything pass");
    }

    #[test]
    fn all_labels_must_match() {
        let two = filters(&["label=a", "label=b=2"]);
        let has = |name: &str| (name == "b").then_some("2");
        assert!(!two.all("label", |wanted| label_matches(wanted, has)));
        assert!(filters(&["label=b"]).all("label", |wanted| label_matches(wanted, has)));
        assert!(!filters(&["label=b=3"]).all("label", |wanted| label_matches(wanted, has)));
    }

    #[test]
    fn unknown_names_and_bad_forms_are_refused() {
        assert_eq!(pair("x"), Err("bad format of filter (expected name=value)"));
        let unknown = Filters::new(vec![("nmae".into(), "x".into())], &["name"]).unwrap_err();
        assert_eq!(unknown, "invalid filter 'nmae' (did you mean 'name'?)");
        assert_eq!(filters(&["dangling=1"]).truth("dangling"), Ok(Some(true)));
        assert!(filters(&["dangling=x"]).truth("dangling").is_err());
        assert!(filters(&["dangling=1", "dangling=0"]).truth("dangling").is_err());
    }
}
