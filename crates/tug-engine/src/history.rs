//! `history`: the steps that made an image, the last one first.

use crate::image_config::{ImageStep, steps_of};
use crate::time::seconds_of;
use crate::{Engine, Error};
use tug_types::{Digest, ImageReference};

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The image's, for its last step; the others are no images.
    pub id: Option<Digest>,
    /// Seconds since the epoch, 0 when it is not known.
    pub created: i64,
    /// The instruction.
    pub created_by: String,
    /// Bytes of the files of the layer it made, 0 when it made none.
    pub size: u64,
    /// Who made it.
    pub comment: String,
    /// The image's tags, for its last step.
    pub tags: Vec<String>,
}

impl Engine {
    /// The steps of an image; of several platforms that of the one asked for.
    ///
    /// # Errors
    /// When there is no such image, or its configuration cannot be read.
    pub fn history(&self, name: &str, platform: Option<&str>) -> Result<Vec<HistoryEntry>, Error> {
        let image = self.image_on(name, platform)?;
        let steps = steps_of(&image.config).map_err(|error| Error::DamagedImage {
            image: name.to_owned(),
            what: format!("its configuration cannot be read: {error}"),
        })?;
        let sizes: Vec<u64> =
            self.store.image_layers(&image.id)?.into_iter().map(|layer| layer.size).collect();
        let mut entries = entries(steps, &sizes);
        if let Some(last) = entries.first_mut() {
            last.id = Some(image.id);
            last.tags = image.tags.iter().map(ImageReference::familiar).collect();
        }
        Ok(entries)
    }
}

/// Steps with the sizes of the layers they made, turned round. Layers without a step (some tools write
/// none) are steps nobody knows anything of.
fn entries(steps: Vec<ImageStep>, sizes: &[u64]) -> Vec<HistoryEntry> {
    let mut sizes = sizes.iter().copied();
    let entry = |step: ImageStep, size| HistoryEntry {
        id: None,
        created: step.created.as_deref().map_or(0, seconds_of),
        created_by: step.created_by,
        size,
        comment: step.comment,
        tags: Vec::new(),
    };
    let mut entries: Vec<HistoryEntry> = steps
        .into_iter()
        .map(|step| {
            let size = if step.empty_layer { 0 } else { sizes.next().unwrap_or(0) };
            entry(step, size)
        })
        .collect();
    entries.extend(sizes.map(|size| entry(ImageStep::default(), size)));
    entries.reverse();
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_belong_to_the_steps_that_made_them() {
        let step = |by: &str, empty_layer| ImageStep {
            created_by: by.to_owned(),
            empty_layer,
            ..ImageStep::default()
        };
        let steps = vec![step("ADD", false), step("ENV", true), step("RUN", false)];
        let shown = |sizes: &[u64]| {
            let entries = entries(steps.clone(), sizes).into_iter();
            entries.map(|entry| (entry.created_by, entry.size)).collect::<Vec<_>>()
        };
        let by = |text: &str, size| (text.to_owned(), size);
        assert_eq!(shown(&[7, 8]), [by("RUN", 8), by("ENV", 0), by("ADD", 7)]);
        assert_eq!(shown(&[7]), [by("RUN", 0), by("ENV", 0), by("ADD", 7)]);
        assert_eq!(shown(&[7, 8, 9]), [by("", 9), by("RUN", 8), by("ENV", 0), by("ADD", 7)]);
    }
}
