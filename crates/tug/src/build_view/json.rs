//! `--progress rawjson`: BuildKit's solve status, an object a line.

use super::View;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use tug_build::{Event, LineId, Progress};

/// Writes objects to stderr.
pub(super) struct Json(Mutex<HashMap<LineId, (String, String)>>);

impl Json {
    pub(super) fn new() -> Self {
        Self(Mutex::default())
    }
}

impl View for Json {
    fn close(&self, _: bool) {}
}

fn now() -> String {
    jiff::Timestamp::now().to_string()
}

/// A digest that names a line: lines have numbers only.
fn name_of(line: LineId) -> String {
    format!("sha256:{:064x}", line.0)
}

impl Progress for Json {
    fn event(&self, event: Event) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let vertex = |line: LineId, extra: Value| {
            let (name, started) = known.get(&line).cloned().unwrap_or_default();
            let mut object = Map::new();
            object.insert("digest".into(), json!(name_of(line)));
            object.insert("name".into(), json!(name));
            object.insert("started".into(), json!(started));
            if let Value::Object(extra) = extra {
                object.extend(extra);
            }
            json!({ "vertexes": [object] })
        };
        let object = match event {
            Event::Started { line, name } => {
                known.insert(line, (name, now()));
                let (name, started) = known.get(&line).cloned().unwrap_or_default();
                json!({ "vertexes": [{ "digest": name_of(line), "name": name, "started": started }] })
            }
            Event::Cached { line } => vertex(line, json!({ "completed": now(), "cached": true })),
            Event::Done { line } => vertex(line, json!({ "completed": now() })),
            Event::Failed { line, error } => {
                vertex(line, json!({ "completed": now(), "error": error }))
            }
            Event::Cancelled { line } => {
                vertex(line, json!({ "completed": now(), "error": "context canceled" }))
            }
            Event::Output { line, stderr, bytes } => {
                let stream = if stderr { 2 } else { 1 };
                json!({ "logs": [{ "vertex": name_of(line), "stream": stream,
                    "data": base64(&bytes), "timestamp": now() }] })
            }
            Event::Part { line, name, bytes, done } => {
                let mut status = json!({ "id": name, "vertex": name_of(line),
                    "current": bytes.unwrap_or(0), "timestamp": now(), "started": now() });
                if done && let Some(status) = status.as_object_mut() {
                    status.insert("completed".into(), json!(now()));
                }
                json!({ "statuses": [status] })
            }
            Event::Warning { line, text } => {
                json!({ "warnings": [{ "vertex": name_of(line), "level": 1, "short": base64(text.as_bytes()) }] })
            }
        };
        drop(known);
        // Nobody can be told that nobody listens.
        let _ = writeln!(std::io::stderr().lock(), "{object}");
    }
}

/// Go's encoding of bytes in JSON (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let number =
            chunk.iter().fold(0u32, |n, byte| n << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            if place <= chunk.len() {
                let digit = number >> (18 - 6 * place) & 63;
                out.push(char::from(DIGITS[digit as usize]));
            } else {
                out.push('=');
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn bytes_are_encoded_as_everywhere() {
        for (text, encoded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
    }
}
