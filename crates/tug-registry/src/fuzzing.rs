//! Every parser of this crate that eats foreign bytes, under one name each: for fuzzers. They must
//! end, without a panic, whatever the bytes.

use crate::challenge::Challenge;
use crate::{ConfigHead, Platform, Registries, manifest};
use tug_types::ImageReference;

/// An image reference, and that it reads back as itself.
pub fn reference(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(reference) = ImageReference::parse(text) {
        // What it prints, in full or as people write it, names the same thing.
        for printed in [reference.to_string(), reference.familiar()] {
            let again = ImageReference::parse(&printed).ok();
            assert_eq!(again.as_ref(), Some(&reference), "{text:?} printed as {printed:?}");
        }
        let _ = reference.name();
    }
}

/// A manifest or an index of either family. The first byte chooses the type it is declared as.
pub fn manifest(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let declared = match first % 4 {
        0 => "",
        1 => crate::media::OCI_MANIFEST,
        2 => crate::media::OCI_INDEX,
        _ => crate::media::DOCKER_MANIFEST,
    };
    if let Ok((manifest::Parsed::Index(index), _)) = manifest::parse(rest, declared) {
        let _ = (index.choose(&Platform::host()), index.platforms());
    }
}

/// An image configuration.
pub fn config(bytes: &[u8]) {
    if let Ok(head) = serde_json::from_slice::<ConfigHead>(bytes) {
        let _ = head.platform().to_string();
    }
}

/// `WWW-Authenticate`.
pub fn www_authenticate(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = Challenge::choose(text.lines());
}

/// The answers of a registry that refuses.
pub fn refusal(bytes: &[u8]) {
    let _ = crate::refusal::Refusal::read(bytes);
}

/// The settings of registries, policies and keys.
pub fn settings(bytes: &[u8]) {
    let _ = (Registries::parse(bytes), crate::policy::Policies::can_parse(bytes));
    let text = String::from_utf8_lossy(bytes);
    let _ = (crate::signature::Key::read_all(&text), crate::base64::decode(&text));
    let _ = Platform::parse(&text);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A round of random changes to good inputs, as a fuzzer begins.
    #[test]
    fn nothing_panics_on_changed_inputs() {
        const DIGEST: &str =
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let seeds = [
            format!("registry.lan:5000/a/b_c.d:tag@{DIGEST}"),
            format!(
                r#" {{"schemaVersion":2,"config":{{"mediaType":"x","digest":"{DIGEST}","size":1}},"layers":[],"manifests":[]}}"#
            ),
            r#"{"os":"linux","architecture":"arm64","rootfs":{"type":"layers","diff_ids":null}}"#
                .to_owned(),
            r#"Bearer realm="https://a/t",service="s",scope="repository:x:pull" , Basic realm="\"x""#
                .to_owned(),
            r#"{"errors":[{"code":"DENIED","message":"no"}]}"#.to_owned(),
            r#"{"registries":{"a.io":{"mirrors":["m"]}},"rules":{"a":{"keys":["k"]}}}"#.to_owned(),
        ];
        let mut state = 1u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % below.max(1)
        };
        for round in 0..6000 {
            let mut bytes = seeds[round % seeds.len()].clone().into_bytes();
            for _ in 0..random(6) {
                let at = random(bytes.len());
                if bytes.is_empty() {
                    break;
                }
                match random(4) {
                    0 => drop(bytes.remove(at)),
                    1 => bytes.insert(at, random(256) as u8),
                    2 => bytes[at] = b"\"\\{}[]:,/@=% \n"[random(14)],
                    _ => bytes.truncate(at.max(1)),
                }
            }
            for parser in [reference, manifest, config, www_authenticate, refusal, settings] {
                parser(&bytes);
            }
        }
    }
}
