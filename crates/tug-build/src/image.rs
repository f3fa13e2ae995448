//! An image's configuration as BuildKit writes it: the same keys in the same order, so that the same build
//! gives the same bytes.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tug_types::DiffId;

/// `comment` of every history entry a Dockerfile makes.
pub(crate) const COMMENT: &str = "buildkit.dockerfile.v0";

/// An empty JSON object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Empty {}

/// The configuration blob: top-level keys sorted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ImageConfig {
    pub architecture: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub author: String,
    pub config: RunConfig,
    pub created: Option<String>,
    #[serde(deserialize_with = "null_is_empty")]
    pub history: Vec<History>,
    pub os: String,
    #[serde(rename = "os.features", skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    #[serde(rename = "os.version", skip_serializing_if = "String::is_empty")]
    pub os_version: String,
    pub rootfs: RootFs,
    /// What the image carries of its own build (`--cache-to type=inline`).
    #[serde(rename = "tug.build.cache.v1", skip_serializing_if = "Option::is_none")]
    pub cache: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

/// What a container runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct RunConfig {
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_empty")]
    pub user: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_empty")]
    pub exposed_ports: BTreeMap<String, Empty>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub env: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub entrypoint: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub cmd: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_empty")]
    pub volumes: BTreeMap<String, Empty>,
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_empty")]
    pub working_dir: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_empty")]
    pub stop_signal: String,
    #[serde(skip_serializing_if = "std::ops::Not::not", deserialize_with = "null_is_empty")]
    pub args_escaped: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub on_build: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub shell: Vec<String>,
}

/// Times in nanoseconds; zero is not given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Healthcheck {
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub test: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub interval: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub start_period: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: i64,
}

/// One step of how it came to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct History {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_empty")]
    pub created_by: String,
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_empty")]
    pub author: String,
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_is_empty")]
    pub comment: String,
    #[serde(skip_serializing_if = "std::ops::Not::not", deserialize_with = "null_is_empty")]
    pub empty_layer: bool,
}

/// Its layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RootFs {
    #[serde(rename = "type")]
    pub kind: String,
    /// `null` when there is none.
    pub diff_ids: Option<Vec<DiffId>>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self { kind: "layers".to_owned(), diff_ids: None }
    }
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

fn null_is_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl ImageConfig {
    /// The bytes, escaped as Go's encoder does.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let json = serde_json::to_string(self).unwrap_or_default();
        let mut out = String::with_capacity(json.len());
        for c in json.chars() {
            // Structure holds none of these: they are inside of strings.
            match c {
                '<' => out.push_str("\\u003c"),
                '>' => out.push_str("\\u003e"),
                '&' => out.push_str("\\u0026"),
                '\u{2028}' => out.push_str("\\u2028"),
                '\u{2029}' => out.push_str("\\u2029"),
                c => out.push(c),
            }
        }
        out.into_bytes()
    }

    /// Adds a step to the history. `layer`: it left one; `built`: by the builder itself.
    pub(crate) fn commit(&mut self, mut text: String, layer: bool, built: bool) {
        if built {
            text.push_str(" # buildkit");
        }
        self.history.push(History {
            created_by: text,
            comment: COMMENT.to_owned(),
            empty_layer: !layer,
            ..History::default()
        });
    }

    /// Fills in the times that are missing: a step with a layer has the layer's, one without has that of
    /// the layer before it, or of the first new one when there is none before. `times` are the layers',
    /// where known, base first.
    pub(crate) fn date(&mut self, times: &[Option<String>], epoch: Option<&str>) {
        let mut layer = 0;
        for entry in &mut self.history {
            if !entry.empty_layer {
                if entry.created.is_none() {
                    entry.created = times.get(layer).cloned().flatten();
                }
                layer += 1;
            }
        }
        let mut created = None;
        let mut gap = false;
        for entry in &self.history {
            match &entry.created {
                Some(time) => {
                    created = Some(time.clone());
                    if gap {
                        break;
                    }
                }
                None => gap = true,
            }
        }
        gap = false;
        for entry in &mut self.history {
            match &entry.created {
                Some(time) if gap => created = Some(time.clone()),
                Some(_) => {}
                None => {
                    gap = true;
                    entry.created.clone_from(&created);
                }
            }
        }
        if let Some(epoch) = epoch {
            for entry in self.history.iter_mut().filter(|entry| entry.comment == COMMENT) {
                if entry.created.as_deref().is_none_or(|time| is_later(time, epoch)) {
                    entry.created = Some(epoch.to_owned());
                }
            }
        }
        self.created = self.history.iter().rev().find_map(|entry| entry.created.clone());
    }
}

fn is_later(time: &str, than: &str) -> bool {
    match (time.parse::<jiff::Timestamp>(), than.parse::<jiff::Timestamp>()) {
        (Ok(time), Ok(than)) => time > than,
        _ => false,
    }
}

/// Nanoseconds since the epoch, as Go writes a time.
pub(crate) fn rfc3339(nanoseconds: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(nanoseconds))
        .map(|time| time.to_string())
        .unwrap_or_default()
}

/// `["a" "b"]`: a list of words as Go's `%q` writes it.
pub(crate) fn quoted(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quote(word)).collect();
    format!("[{}]", words.join(" "))
}

fn quote(word: &str) -> String {
    let mut out = String::from("\"");
    for c in word.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if c.is_control() && (c as u32) < 0x80 => {
                out.push_str(&format!("\\x{:02x}", c as u32));
            }
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// `[a b]`: a list of words as Go's `%v` writes it.
pub(crate) fn listed<S: AsRef<str>>(words: &[S]) -> String {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    format!("[{}]", words.join(" "))
}

impl Healthcheck {
    /// As Go's `%q` writes a pointer to the structure: the number of retries becomes a character.
    pub(crate) fn shown(&self) -> String {
        let times = [self.interval, self.timeout, self.start_period, self.start_interval];
        let times: Vec<String> =
            times.iter().map(|time| format!("\"{}\"", go_duration(*time))).collect();
        format!("&{{{} {} {}}}", quoted(&self.test), times.join(" "), quoted_rune(self.retries))
    }
}

/// A number as Go's `%q` writes it.
fn quoted_rune(number: i64) -> String {
    let c = u32::try_from(number).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
    let text = match c {
        '\'' => "\\'".to_owned(),
        '"' => "\"".to_owned(),
        c => quote(&c.to_string()).trim_matches('"').to_owned(),
    };
    format!("'{text}'")
}

/// `1m30s`, `0s`, `1.5ms`
fn go_duration(nanoseconds: i64) -> String {
    let fraction = |value: u64, unit: u64, name: &str| -> String {
        let (whole, rest) = (value / unit, value % unit);
        if rest == 0 {
            return format!("{whole}{name}");
        }
        let width = unit.ilog10() as usize;
        let digits = format!("{rest:0width$}");
        format!("{whole}.{}{name}", digits.trim_end_matches('0'))
    };
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let all = nanoseconds.unsigned_abs();
    let text = match all {
        0 => "0s".to_owned(),
        1..1_000 => format!("{all}ns"),
        1_000..1_000_000 => fraction(all, 1_000, "µs"),
        1_000_000..1_000_000_000 => fraction(all, 1_000_000, "ms"),
        _ => {
            let seconds = all / 1_000_000_000;
            let rest = fraction(all % 60_000_000_000, 1_000_000_000, "s");
            match (seconds / 3600, seconds / 60 % 60) {
                (0, 0) => rest,
                (0, minutes) => format!("{minutes}m{rest}"),
                (hours, minutes) => format!("{hours}h{minutes}m{rest}"),
            }
        }
    };
    format!("{sign}{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_buildkits() {
        let mut image = ImageConfig {
            architecture: "amd64".into(),
            os: "linux".into(),
            ..ImageConfig::default()
        };
        image.config.env = vec!["PATH=/bin".into()];
        image.config.cmd = vec!["sh".into(), "-c".into(), "a && b <c>".into()];
        image.config.working_dir = "/".into();
        image.config.args_escaped = true;
        image.commit("CMD".into(), false, false);
        image.date(&[], Some("1970-01-01T00:00:10Z"));
        assert_eq!(
            String::from_utf8(image.to_bytes()).unwrap(),
            concat!(
                r#"{"architecture":"amd64","config":{"Env":["PATH=/bin"],"#,
                r#""Cmd":["sh","-c","a \u0026\u0026 b \u003cc\u003e"],"WorkingDir":"/","ArgsEscaped":true},"#,
                r#""created":"1970-01-01T00:00:10Z","history":[{"created":"1970-01-01T00:00:10Z","#,
                r#""created_by":"CMD","comment":"buildkit.dockerfile.v0","empty_layer":true}],"#,
                r#""os":"linux","rootfs":{"type":"layers","diff_ids":null}}"#
            )
        );
    }

    #[test]
    fn times_without_a_layer_are_those_of_the_layer_before() {
        let mut image = ImageConfig::default();
        let base = History { created: Some("2020-01-01T00:00:00Z".into()), ..History::default() };
        image.history.push(base);
        image.commit("ENV".into(), false, false);
        image.commit("RUN".into(), true, true);
        image.commit("CMD".into(), false, false);
        image.date(&[None, Some("2024-01-01T00:00:00Z".into())], None);
        let times: Vec<_> = image.history.iter().map(|h| h.created.clone().unwrap()).collect();
        let (old, new) = ("2020-01-01T00:00:00Z", "2024-01-01T00:00:00Z");
        assert_eq!(times, [old, new, new, new]);
        assert_eq!(image.created.as_deref(), Some(new));
        assert_eq!(image.history[2].created_by, "RUN # buildkit");
    }

    #[test]
    fn words_and_durations_are_gos() {
        let words = ["a b".to_owned(), "\"\\\n".to_owned(), "é\u{1}".to_owned()];
        assert_eq!(quoted(&words), r#"["a b" "\"\\\n" "é\x01"]"#);
        let runes = [0, 3, 7, 39, 65].map(quoted_rune);
        assert_eq!(runes, [r"'\x00'", r"'\x03'", r"'\a'", r"'\''", "'A'"]);
        for (nanoseconds, text) in [
            (0, "0s"),
            (30_000_000_000, "30s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
            (1_500_000, "1.5ms"),
            (61_500_000_000, "1m1.5s"),
            (5, "5ns"),
        ] {
            assert_eq!(go_duration(nanoseconds), text);
        }
    }

    #[test]
    fn nulls_of_old_images_are_read() {
        let json = r#"{"architecture":"amd64","os":"linux","container_config":{},"history":null,
            "config":{"Env":null,"Cmd":["sh"],"Volumes":null,"OnBuild":null,"Labels":null,
            "Hostname":"x","Entrypoint":null},"rootfs":{"type":"layers","diff_ids":[]}}"#;
        let image: ImageConfig = serde_json::from_str(json).unwrap();
        assert_eq!(image.config.cmd, ["sh"]);
        assert!(image.history.is_empty());
    }
}
