//! `--cache-from` and `--cache-to`

use std::path::PathBuf;
use tug_build::{CachePlace, CacheTo};
use tug_types::ImageReference;

/// `NAME`, `type=registry,ref=NAME`, `type=local,src=DIR`
///
/// # Errors
/// What is wrong with it, and what is not supported.
pub(super) fn from(text: &str) -> Result<CachePlace, String> {
    read(text, "src").map(|to| to.place)
}

/// `NAME`, `type=registry,ref=NAME`, `type=local,dest=DIR`, `type=inline`, each with `mode=min|max`
///
/// # Errors
/// What is wrong with it, and what is not supported.
pub(super) fn to(text: &str) -> Result<CacheTo, String> {
    read(text, "dest")
}

fn read(text: &str, dir: &str) -> Result<CacheTo, String> {
    let fields = tug_build::csv_fields(text).map_err(|error| error.to_string())?;
    let name = |text: &str| {
        let parsed = ImageReference::parse(text);
        parsed.map(CachePlace::Registry).map_err(|error| format!("{text}: {error}"))
    };
    if let [word] = fields.as_slice()
        && !word.contains('=')
    {
        let place = if word == "inline" { CachePlace::Inline } else { name(word)? };
        return Ok(CacheTo { place, all: false, ignore_error: false });
    }
    let (mut kind, mut reference, mut path) = (String::new(), None, None);
    let (mut all, mut ignore_error) = (false, false);
    for field in &fields {
        let (key, value) = field.split_once('=').ok_or_else(|| format!("invalid value {field}"))?;
        match (key, value) {
            ("type", _) => value.clone_into(&mut kind),
            ("ref", _) => reference = Some(value.to_owned()),
            (key, _) if key == dir => path = Some(PathBuf::from(value)),
            ("mode", "max") => all = true,
            ("mode", "min") => all = false,
            ("ignore-error", _) => ignore_error = value == "true",
            // How it is packed is tug's own choice.
            ("compression" | "compression-level" | "force-compression", _)
            | ("oci-mediatypes" | "image-manifest", "true") => {}
            _ => return Err(format!("the cache option {key}={value} is not supported by tug")),
        }
    }
    let place = match kind.as_str() {
        "inline" => CachePlace::Inline,
        "registry" => name(&reference.ok_or("ref is required for a registry cache")?)?,
        "local" => {
            CachePlace::Local(path.ok_or_else(|| format!("{dir} is required for a local cache"))?)
        }
        "" => return Err("type is required for a cache".to_owned()),
        other => return Err(format!("caches of type {other:?} are not supported by tug")),
    };
    Ok(CacheTo { place, all, ignore_error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_are_read_as_buildx_reads_them() {
        let name = || CachePlace::Registry(ImageReference::parse("r.lan/a:c").unwrap());
        assert_eq!(from("r.lan/a:c").unwrap(), name());
        assert_eq!(from("type=registry,ref=r.lan/a:c").unwrap(), name());
        let max = to("type=registry,ref=r.lan/a:c,mode=max,compression=zstd").unwrap();
        assert_eq!(max, CacheTo { place: name(), all: true, ignore_error: false });
        assert_eq!(to("type=inline").unwrap().place, CachePlace::Inline);
        assert_eq!(from("type=local,src=d").unwrap(), CachePlace::Local(PathBuf::from("d")));
        for bad in
            ["type=gha", "type=local,src=d", "type=registry", "ref=x", "type=inline,mode=all"]
        {
            assert!(to(bad).is_err(), "{bad}");
        }
    }
}
