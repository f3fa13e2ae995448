//! `--annotation [LEVEL[PLATFORM],…:]KEY=VALUE`

use tug_build::{Annotation, AnnotationLevel, Platform};

/// One for each level that is named; the manifest when none is.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(text: &str) -> Result<Vec<Annotation>, String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("invalid annotation {text:?}, expected key=value"))?;
    let (levels, key) = match name.split_once(':') {
        Some((levels, key)) => (levels, key),
        None => ("manifest", name),
    };
    if key.is_empty() {
        return Err(format!("invalid annotation {text:?}, expected key=value"));
    }
    levels
        .split(',')
        .map(|word| {
            let (on, platform) = level(word)?;
            Ok(Annotation { on, platform, key: key.to_owned(), value: value.to_owned() })
        })
        .collect()
}

/// The same as an attribute of an output: what follows `annotation` in `annotation-LEVEL[PLATFORM].KEY`, and the value.
///
/// # Errors
/// What is wrong with it.
pub(super) fn attribute(rest: &str, value: &str) -> Result<Annotation, String> {
    let wrong = || format!("invalid annotation key annotation{rest}");
    // The platform may hold a dot; the level does not.
    let (word, key) = match rest.find(']') {
        Some(end) if rest.find('.').is_none_or(|dot| end < dot || rest[..dot].contains('[')) => {
            (&rest[..=end], rest[end + 1..].strip_prefix('.').ok_or_else(wrong)?)
        }
        _ => rest.split_once('.').ok_or_else(wrong)?,
    };
    let word = match word.strip_prefix('-') {
        Some(word) => word.to_owned(),
        None => format!("manifest{word}"),
    };
    if key.is_empty() {
        return Err(wrong());
    }
    let (on, platform) = level(&word)?;
    Ok(Annotation { on, platform, key: key.to_owned(), value: value.to_owned() })
}

/// `manifest[linux/arm64]`
fn level(word: &str) -> Result<(AnnotationLevel, Option<Platform>), String> {
    let wrong = || {
        format!(
            "invalid annotation type {word:?}, expected type and optional platform in square brackets"
        )
    };
    let (name, platform) = match word.split_once('[') {
        Some((name, rest)) => (name, Some(rest.strip_suffix(']').ok_or_else(wrong)?)),
        None => (word, None),
    };
    let on = match name {
        "manifest" => AnnotationLevel::Manifest,
        "index" => AnnotationLevel::Index,
        "manifest-descriptor" => AnnotationLevel::ManifestDescriptor,
        "index-descriptor" => AnnotationLevel::IndexDescriptor,
        "" => return Err(wrong()),
        other => return Err(format!("unknown annotation type {other:?}")),
    };
    let platform = platform.map(|text| text.parse::<Platform>()).transpose();
    Ok((on, platform.map_err(|error| format!("invalid annotation type {word:?}: {error}"))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_as_buildx_reads_them() {
        let read = |text: &str| parse(text).unwrap();
        let plain = read("org.example.a=b=c");
        assert_eq!(
            (plain[0].on, plain[0].key.as_str()),
            (AnnotationLevel::Manifest, "org.example.a")
        );
        assert_eq!(plain[0].value, "b=c");
        let both = read("index,manifest[linux/arm64]:k=");
        assert_eq!(both.len(), 2);
        assert_eq!(both[1].platform, "linux/arm64".parse().ok());
        for bad in
            ["k", "=v", ":k=v", "foo:k=v", "manifest[linux:k=v", "manifest[]:k=v", "index:=v"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
