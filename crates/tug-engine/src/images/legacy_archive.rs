//! What Docker before 1.10 wrote: `repositories`, tags to layer ids, and for each layer a directory
//! with `json` (which names the parent) and `layer.tar`. The configuration is put together from
//! those; there is none to take over.

use super::archive::{Archive, LayerMember};
use super::docker_archive::reference;
use super::error::ImageError;
use super::load::Found;
use crate::Error;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use tug_store::LayerEntry;

const TABLE: &str = "repositories";
/// The most layers Docker ever allowed.
const MOST_LAYERS: usize = 127;

/// All images of the archive.
pub(super) fn images(archive: &Archive) -> Result<Vec<Found>, Error> {
    let repositories: BTreeMap<String, BTreeMap<String, String>> =
        archive.json("the archive", TABLE)?;
    let mut tops: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (repository, tags) in repositories {
        for (tag, top) in tags {
            tops.entry(top).or_default().push(format!("{repository}:{tag}"));
        }
    }
    tops.iter().map(|(top, tags)| image(archive, top, tags)).collect()
}

fn image(archive: &Archive, top: &str, tags: &[String]) -> Result<Found, Error> {
    let mut chain: Vec<(Value, LayerMember)> = Vec::new();
    let mut next = Some(top.to_owned());
    let mut by = TABLE.to_owned();
    while let Some(id) = next {
        let name = format!("{id}/json");
        let description: Value = archive.json(&by, &name)?;
        let layer = archive.layer(&by, &format!("{id}/layer.tar"))?;
        next = description["parent"].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        chain.push((description, layer));
        if chain.len() > MOST_LAYERS {
            return Err(
                ImageError::Missing { by, name: "an end of the chain of parents".into() }.into()
            );
        }
        by = name;
    }
    chain.reverse();
    let config = configuration(&chain);
    let config = serde_json::to_vec(&config).map_err(|source| ImageError::Write { source })?;
    let layers = chain.iter().map(|(_, layer)| LayerEntry {
        diff_id: layer.diff_id,
        size: layer.size,
        blob: None,
        media_type: None,
    });
    Ok(Found {
        config,
        manifest: None,
        index: None,
        layers: layers.collect(),
        tags: tags.iter().map(|tag| reference(TABLE, tag)).collect::<Result<_, _>>()?,
    })
}

/// The configuration Docker's own migration would give the image: the topmost description, with
/// what belongs to the chain as a whole.
fn configuration(chain: &[(Value, LayerMember)]) -> Value {
    let mut config = Map::new();
    if let Some((Value::Object(top), _)) = chain.last() {
        for key in
            ["architecture", "author", "comment", "config", "created", "docker_version", "os"]
        {
            config.extend(top.get(key).map(|value| (key.to_owned(), value.clone())));
        }
    }
    for (key, default) in [("architecture", "amd64"), ("os", "linux")] {
        config.entry(key).or_insert_with(|| json!(default));
    }
    let history: Vec<Value> = chain.iter().map(|(description, _)| step(description)).collect();
    let diff_ids: Vec<String> = chain.iter().map(|(_, layer)| layer.diff_id.to_string()).collect();
    config.insert("history".to_owned(), json!(history));
    config.insert("rootfs".to_owned(), json!({"type": "layers", "diff_ids": diff_ids}));
    Value::Object(config)
}

fn step(description: &Value) -> Value {
    let command = description["container_config"]["Cmd"].as_array().cloned().unwrap_or_default();
    let words: Vec<&str> = command.iter().filter_map(Value::as_str).collect();
    json!({"created": description["created"], "created_by": words.join(" ")})
}
