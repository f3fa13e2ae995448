//! `--cache-from` and `--cache-to`

use super::attributes::Attributes;
use std::path::PathBuf;
use tug_build::{CachePlace, CacheTo};
use tug_engine::CacheForm;
use tug_types::{Digest, ImageReference};

/// `NAME`, `type=registry,ref=NAME`, `type=local,src=DIR[,tag=…][,digest=…]`
///
/// # Errors
/// What is wrong with it, and what is not supported.
pub(super) fn from(text: &str) -> Result<Vec<CachePlace>, String> {
    let Some(mut read) = attributes(text)? else { return names(text) };
    let place = match kind(&mut read)?.as_str() {
        "inline" => CachePlace::Inline,
        "registry" => registry(&mut read)?,
        "local" => {
            let dir = read.take("src").filter(|dir| !dir.is_empty());
            let dir = PathBuf::from(dir.ok_or("local cache importer requires src")?);
            let digest = match read.take("digest") {
                Some(text) => {
                    Some(Digest::parse(&text).map_err(|error| format!("digest={text}: {error}"))?)
                }
                None => None,
            };
            CachePlace::Local { dir, tag: tag(&mut read)?, digest }
        }
        other => return Err(format!("caches of type {other:?} are not supported by tug")),
    };
    read.end()?;
    Ok(vec![place])
}

/// `NAME`, `type=registry,ref=NAME`, `type=local,dest=DIR[,tag=…]`, each with `mode=min|max` and how it is written;
/// `type=inline`
///
/// # Errors
/// What is wrong with it, and what is not supported.
pub(super) fn to(text: &str) -> Result<Vec<CacheTo>, String> {
    let plain = |place| CacheTo {
        place,
        all: false,
        ignore_error: false,
        form: CacheForm::default(),
        compressed: false,
    };
    let Some(mut read) = attributes(text)? else {
        return Ok(names(text)?.into_iter().map(plain).collect());
    };
    let kind = kind(&mut read)?;
    let mode = read.take("mode");
    let all = match mode.as_deref() {
        None | Some("min") => false,
        Some("max") if kind == "inline" => {
            return Err(read.refused(
                "mode",
                "max",
                "an inline cache has what its image is made of",
            ));
        }
        Some("max") => true,
        Some(other) => return Err(format!("mode={other}: expected min or max")),
    };
    if kind == "inline" {
        read.end()?;
        return Ok(vec![plain(CachePlace::Inline)]);
    }
    let place = match kind.as_str() {
        "registry" => registry(&mut read)?,
        "local" => {
            let dir = read.take("dest").filter(|dir| !dir.is_empty());
            let dir = PathBuf::from(dir.ok_or("local cache exporter requires dest")?);
            CachePlace::Local { dir, tag: tag(&mut read)?, digest: None }
        }
        other => return Err(format!("caches of type {other:?} are not supported by tug")),
    };
    let ignore_error = read.flag("ignore-error")?.unwrap_or(false);
    let compression = read.compression()?;
    let oci = read.oci(compression.as_ref())?.unwrap_or(true);
    let image_manifest = read.flag("image-manifest")?.unwrap_or(oci);
    if image_manifest && !oci {
        return Err("invalid configuration for remote cache, OCI mediatypes are required for image-manifest cache format".to_owned());
    }
    read.end()?;
    let form = CacheForm { compression: compression.unwrap_or_default(), oci, image_manifest };
    Ok(vec![CacheTo { place, all, ignore_error, form, compressed: compression.is_some() }])
}

/// None where the text is names alone.
fn attributes(text: &str) -> Result<Option<Attributes>, String> {
    if !text.contains('=') {
        return Ok(None);
    }
    let fields = tug_build::csv_fields(text).map_err(|error| error.to_string())?;
    Attributes::read("cache", &fields).map(Some)
}

fn kind(read: &mut Attributes) -> Result<String, String> {
    read.take("type")
        .filter(|kind| !kind.is_empty())
        .ok_or_else(|| "type is required for a cache".to_owned())
}

/// Names of registry caches; `inline` is what older versions of tug took it for.
fn names(text: &str) -> Result<Vec<CachePlace>, String> {
    let fields = tug_build::csv_fields(text).map_err(|error| error.to_string())?;
    let place = |name: &String| match name.as_str() {
        "inline" => Ok(CachePlace::Inline),
        name => parse(name),
    };
    fields.iter().filter(|name| !name.is_empty()).map(place).collect()
}

fn parse(name: &str) -> Result<CachePlace, String> {
    let parsed = ImageReference::parse(name);
    parsed.map(CachePlace::Registry).map_err(|error| format!("{name}: {error}"))
}

fn registry(read: &mut Attributes) -> Result<CachePlace, String> {
    read.only("registry.insecure", false, "registries.json says which are reached without TLS")?;
    parse(&read.take("ref").ok_or("ref is required for a registry cache")?)
}

fn tag(read: &mut Attributes) -> Result<String, String> {
    match read.take("tag") {
        Some(tag) if tag.is_empty() => Err("the tag of a local cache is empty".to_owned()),
        tag => Ok(tag.unwrap_or_else(|| "latest".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tug_engine::Method;

    #[test]
    fn caches_are_read_as_buildx_reads_them() {
        let name = || CachePlace::Registry(ImageReference::parse("r.lan/a:c").unwrap());
        assert_eq!(from("r.lan/a:c").unwrap(), [name()]);
        assert_eq!(from("r.lan/a:c,r.lan/a:c").unwrap(), [name(), name()]);
        assert_eq!(from("type=registry,ref=r.lan/a:c").unwrap(), [name()]);
        let max = &to("type=registry,ref=r.lan/a:c,mode=max,compression=zstd,compression-level=9")
            .unwrap()[0];
        assert_eq!((&max.place, max.all, max.ignore_error), (&name(), true, false));
        let how = max.form.compression;
        assert_eq!((how.method, how.level, how.force), (Method::Zstd, Some(9), false));
        let old = &to("type=local,dest=d,oci-mediatypes=false,ignore-error=1").unwrap()[0];
        assert_eq!((old.form.image_manifest, old.form.oci, old.ignore_error), (false, false, true));
        assert_eq!(to("type=inline,mode=min").unwrap()[0].place, CachePlace::Inline);
        let dir =
            |tag: &str| CachePlace::Local { dir: "d".into(), tag: tag.to_owned(), digest: None };
        assert_eq!(from("type=local,src=d").unwrap(), [dir("latest")]);
        assert_eq!(from("type=local,src=d,tag=x").unwrap(), [dir("x")]);
        for bad in [
            "type=gha",
            "type=local,src=d",
            "type=registry",
            "ref=x",
            "type=inline,mode=all",
            "type=inline,mode=max",
            "type=local,dest=d,compression=estargz",
            "type=local,dest=d,compression=lz4",
            "type=local,dest=d,compression=zstd,oci-mediatypes=false",
            "type=local,dest=d,image-manifest=true,oci-mediatypes=false",
            "type=local,dest=d,compression-level=10",
            "type=local,dest=d,ignore-error=maybe",
            "type=local,dest=d,reset=true",
            "type=registry,ref=r.lan/a,registry.insecure=true",
        ] {
            assert!(to(bad).is_err(), "{bad}");
        }
        for bad in ["type=local,dest=d", "type=local,src=d,mode=max", "type=local,src=d,digest=1"] {
            assert!(from(bad).is_err(), "{bad}");
        }
    }
}
