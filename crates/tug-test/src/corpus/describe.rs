//! An image as text, a line for everything that counts.

use super::image::{Entry, Files, Image, Node};
use crate::layout::digest_of;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The text: the configuration, the names in each layer above the base's, and the files that are not as
/// the base has them.
pub fn describe(image: &Image, base: &Image, times: bool) -> String {
    let mut out = String::new();
    configuration(&image.config, &mut out);
    let shared = image.layers.iter().zip(&base.layers).take_while(|(a, b)| a == b).count();
    let mut below = Files::merged(&image.layers[..shared]);
    let start = below.clone();
    for (number, layer) in image.layers[shared..].iter().enumerate() {
        let new = layer.iter().filter(|entry| !is_there(entry, &below));
        let mut names: Vec<String> = new.map(shown_name).collect();
        names.sort();
        let names = if names.is_empty() { "nothing".to_owned() } else { names.join(" ") };
        let _ = writeln!(out, "layer {number}: {names}");
        below.put(layer);
    }
    files(&below, &start, times, &mut out);
    out
}

/// A directory that was there just so: the way to what changed, or touched and left.
fn is_there(entry: &Entry, below: &Files) -> bool {
    let old = below.names.get(&entry.path).map(|number| &below.nodes[*number]);
    entry.node.kind == 'd' && old.is_some_and(|old| same(old, &entry.node))
}

/// But for times.
fn same(a: &Node, b: &Node) -> bool {
    Node { mtime: 0, ..a.clone() } == Node { mtime: 0, ..b.clone() }
}

fn shown_name(entry: &Entry) -> String {
    let slash = if entry.node.kind == 'd' { "/" } else { "" };
    format!("{}{slash}", escaped(entry.path.as_bytes()))
}

/// Everything but times and digests, a line each.
fn configuration(config: &Value, out: &mut String) {
    for (key, value) in config.as_object().into_iter().flatten() {
        match key.as_str() {
            "created" | "rootfs" => {}
            "config" => {
                for (key, value) in value.as_object().into_iter().flatten() {
                    let _ = writeln!(out, "config.{key} = {value}");
                }
            }
            "history" => {
                for entry in value.as_array().into_iter().flatten() {
                    let mut entry = entry.clone();
                    if let Some(fields) = entry.as_object_mut() {
                        fields.remove("created");
                    }
                    let _ = writeln!(out, "history {entry}");
                }
            }
            key => {
                let _ = writeln!(out, "{key} = {value}");
            }
        }
    }
}

fn files(files: &Files, base: &Files, times: bool, out: &mut String) {
    let mut names: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for (path, number) in &files.names {
        names.entry(*number).or_default().push(path);
    }
    for (path, number) in &files.names {
        let node = &files.nodes[*number];
        if !base.names.get(path).is_some_and(|old| same(&base.nodes[*old], node)) {
            let _ = writeln!(out, "{}", line(path, node, &names[number], times));
        }
    }
    let mut gone = String::new();
    for path in base.names.keys().filter(|path| !files.names.contains_key(*path)) {
        // A directory's own name stands for what was below it.
        if gone.is_empty() || !path.starts_with(&gone) {
            let _ = writeln!(out, "gone /{path}");
            gone = format!("{path}/");
        }
    }
}

/// No case sets a time after this one, in 2025: whatever is younger was made by the build.
const NOW: i64 = 1_750_000_000;

fn line(path: &str, node: &Node, names: &[&str], times: bool) -> String {
    let mut line = format!(
        "{} {:04o} {}:{} {}",
        node.kind,
        node.mode,
        node.uid,
        node.gid,
        text_of(format!("/{path}").as_bytes())
    );
    match node.kind {
        'f' => {
            let _ = write!(line, " {}", content(&node.content));
        }
        'l' => {
            let _ = write!(line, " -> {}", node.target);
        }
        'c' | 'b' => {
            let _ = write!(line, " {}:{}", node.device.0, node.device.1);
        }
        _ => {}
    }
    for (name, value) in &node.xattrs {
        let _ = write!(line, " xattr {name}={}", text_of(value));
    }
    if names.len() > 1 {
        let others: Vec<&str> = names.iter().copied().filter(|name| *name != path).collect();
        let _ = write!(line, " is also /{}", others.join(" /"));
    }
    match node.mtime {
        _ if !times => {}
        NOW.. => line.push_str(" time now"),
        time => {
            let _ = write!(line, " time {time}");
        }
    }
    line
}

/// Short text as it is, anything else by size and digest.
fn content(bytes: &[u8]) -> String {
    if bytes.len() <= 800 {
        format!("\"{}\"", escaped(bytes))
    } else {
        format!("{} bytes {}", bytes.len(), &digest_of(bytes)[..23])
    }
}

/// Bytes as text: quoted when there is anything odd in them.
fn text_of(bytes: &[u8]) -> String {
    let plain = bytes.iter().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(byte));
    if plain && !bytes.is_empty() {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    format!("\"{}\"", escaped(bytes))
}

/// Text with what is no plain character written as in Rust.
fn escaped(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => out.push_str("\\n"),
                '\t' => out.push_str("\\t"),
                '\r' => out.push_str("\\r"),
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                c if c.is_control() => {
                    let _ = write!(out, "\\x{:02x}", c as u32);
                }
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, kind: char, content: &str) -> Entry {
        let node = Node { kind, mode: 0o644, content: content.into(), ..Node::default() };
        Entry { path: path.into(), node, link_to: None }
    }

    #[test]
    fn only_what_differs_from_the_base_is_told() {
        let base = Image {
            config: Value::Null,
            layers: vec![vec![entry("a", 'f', "1"), entry("d", 'd', ""), entry("d/x", 'f', "2")]],
        };
        let mut image = base.clone();
        image.config =
            serde_json::json!({"config": {"Cmd": ["sh"]}, "created": "now", "os": "linux"});
        let mut link = entry("h", 'f', "");
        link.link_to = Some("b".into());
        image.layers.push(vec![entry(".wh.d", 'f', ""), entry("b", 'f', "new\n"), link]);
        assert_eq!(
            describe(&image, &base, false),
            "config.Cmd = [\"sh\"]\nos = \"linux\"\nlayer 0: .wh.d b h\nf 0644 0:0 /b \"new\\n\" is also /h\nf 0644 0:0 /h \"new\\n\" is also /b\ngone /d\n"
        );
    }

    #[test]
    fn opaque_directories_hide_what_was_below() {
        let lower = vec![entry("d", 'd', ""), entry("d/old", 'f', "1")];
        let upper =
            vec![entry("d", 'd', ""), entry("d/new", 'f', "2"), entry("d/.wh..wh..opq", 'f', "")];
        let files = Files::merged(&[lower, upper]);
        assert_eq!(files.names.keys().collect::<Vec<_>>(), ["d", "d/new"]);
    }
}
