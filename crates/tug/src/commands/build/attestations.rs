//! `--provenance`, `--sbom`, `--attest`: asked for, or turned off. As with Docker's own driver there are none, so
//! only turning them off is possible.

use super::attributes::Attributes;
use crate::flags::Parsed;
use crate::quit::Quit;

/// Refuses whatever asks for one.
///
/// # Errors
/// What is asked for, or cannot be read.
pub(super) fn refuse(parsed: &Parsed<'_>) -> Result<(), Quit> {
    for (flag, kind) in
        [("provenance", Some("provenance")), ("sbom", Some("sbom")), ("attest", None)]
    {
        for value in parsed.all(flag) {
            if is_wanted(value, kind).map_err(|why| parsed.wrong(why))? {
                let message = format!("--{flag} {value}: tug writes no attestations");
                let hint = "leave it out, or give --provenance=false --sbom=false";
                return Err(parsed.wrong(message).with_hint(hint));
            }
        }
    }
    Ok(())
}

/// Whether a value asks for an attestation. `kind`: the flag's own, which may be given as yes or no.
fn is_wanted(value: &str, kind: Option<&str>) -> Result<bool, String> {
    if kind.is_some() {
        match value {
            "" | "0" | "f" | "F" | "FALSE" | "false" | "False" => return Ok(false),
            "1" | "t" | "T" | "TRUE" | "true" | "True" => return Ok(true),
            _ => {}
        }
    }
    let fields = tug_build::csv_fields(value).map_err(|error| error.to_string())?;
    let mut read = Attributes::read("attestation", &fields)?;
    if kind.is_none() && read.take("type").is_none_or(|kind| kind.is_empty()) {
        return Err("attestation type not specified".to_owned());
    }
    let disabled = read.flag("disabled").map_err(|error| format!("invalid value: {error}"))?;
    Ok(disabled != Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_docker_takes_and_refuses_without_attestations() {
        let own = Some("provenance");
        for (value, kind) in [
            ("false", own),
            ("", own),
            ("0", own),
            ("disabled=true", own),
            ("type=provenance,disabled=true", None),
            ("type=sbom,disabled=1", None),
        ] {
            assert_eq!(is_wanted(value, kind), Ok(false), "{value}");
        }
        for (value, kind) in [
            ("true", own),
            ("1", own),
            ("mode=max", own),
            ("generator=x", own),
            ("type=provenance", None),
            ("type=foo", None),
            ("type=provenance,disabled=false", None),
        ] {
            assert_eq!(is_wanted(value, kind), Ok(true), "{value}");
        }
        let told = |value, kind| is_wanted(value, kind).unwrap_err();
        assert_eq!(told("foo", own), "invalid value foo");
        assert_eq!(told("provenance", None), "invalid value provenance");
        assert_eq!(told("mode=max", None), "attestation type not specified");
        assert!(told("type=sbom,disabled=x", None).starts_with("invalid value"));
    }
}
