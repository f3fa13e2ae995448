//! `import`: a root filesystem's tar becomes an image of one layer.

use super::changes::{self, Changed};
use super::intake::Intake;
use crate::{Engine, Error};
use serde_json::{Value, json};
use std::io::Read;
use tug_registry::Platform;
use tug_store::LayerEntry;
use tug_types::{Digest, ImageReference};

/// How to import.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// The new image's name; it stays unnamed without one.
    pub reference: Option<ImageReference>,
    /// `-c`: Dockerfile instructions.
    pub changes: Vec<String>,
    /// Where the tar comes from, for the history: `-` or an address.
    pub source: String,
    /// `-m`; `None` is `Imported from SOURCE`.
    pub message: Option<String>,
    /// `--platform`: what the files are for; `None` is this machine.
    pub platform: Option<String>,
}

impl Engine {
    /// The tar at a `http://` or `https://` address, for [`import`](Self::import).
    ///
    /// # Errors
    /// When there is no answer, or another one than a file.
    pub fn fetch(&self, url: &str) -> Result<impl Read + Send, Error> {
        tug_registry::Download::start(url).map_err(|error| Error::from_explain(&error))
    }

    /// Makes an image of a tar, plain or compressed. Returns its id.
    ///
    /// # Errors
    /// When a change makes no sense, the tar is damaged or refused, or cannot be stored. Nothing
    /// stays then.
    pub fn import(&self, input: impl Read + Send, options: ImportOptions) -> Result<Digest, Error> {
        let changed = changes::parse(&options.changes)?;
        let platform = self.platform(options.platform.as_deref())?;
        let mut intake = Intake::begin(self)?;
        let layer = self
            .store
            .layers()
            .unpack(intake.claim()?.lease(), input, None)
            .map_err(|error| Error::Store(error.into()))?;
        intake.claim()?.remember(layer.diff_id);
        let created = crate::time::rfc3339(crate::time::now());
        let source = if options.source.is_empty() { "-" } else { &options.source };
        let imported = format!("Imported from {source}");
        let config = configuration(
            &platform.unwrap_or_else(Platform::host),
            &created,
            options.message.as_deref().unwrap_or(&imported),
            &changed,
            &layer.diff_id.0,
        );
        let layers =
            [LayerEntry { diff_id: layer.diff_id, size: layer.size, blob: None, media_type: None }];
        let name = options.reference.as_ref();
        let id = intake.record_new(&config, &created, &layers, name)?;
        intake.finish()?;
        Ok(id)
    }
}

fn configuration(
    platform: &Platform,
    created: &str,
    message: &str,
    changed: &Changed,
    layer: &Digest,
) -> Value {
    let mut config = json!({
        "architecture": platform.architecture,
        "comment": message,
        "config": changed.to_json(),
        "created": created,
        "history": [{"created": created, "comment": message}],
        "os": platform.os,
        "rootfs": {"type": "layers", "diff_ids": [layer]},
    });
    if !platform.variant.is_empty() {
        config["variant"] = json!(platform.variant);
    }
    config
}
