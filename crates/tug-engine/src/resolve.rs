//! From what a user writes to the one object that is meant: a name, an id or the start of one.

use crate::{Engine, Error};
use tug_store::{ContainerRow, ImageRow};
use tug_types::ImageReference;

impl Engine {
    /// The container a name, id or unambiguous prefix stands for, reconciled with the kernel.
    pub(crate) fn container(&self, name: &str) -> Result<ContainerRow, Error> {
        let row = self.container_as_recorded(name)?;
        match self.reconcile(&row)? {
            true => self.container_as_recorded(name),
            false => Ok(row),
        }
    }

    /// The same without asking the kernel whether the row still tells the truth.
    pub(crate) fn container_as_recorded(&self, name: &str) -> Result<ContainerRow, Error> {
        let mut rows = self.store.find_containers(name)?;
        match rows.len() {
            0 => Err(Error::NoContainer { name: name.to_owned() }),
            1 => Ok(rows.remove(0)),
            _ => Err(Error::AmbiguousContainer {
                prefix: name.to_owned(),
                candidates: rows
                    .iter()
                    .map(|row| format!("{} ({})", row.id.short(), row.name))
                    .collect(),
            }),
        }
    }

    /// The image a reference, id or unambiguous prefix stands for.
    pub(crate) fn image(&self, name: &str) -> Result<ImageRow, Error> {
        self.find_image(name)?.ok_or_else(|| Error::NoImage { name: with_latest(name) })
    }

    pub(crate) fn find_image(&self, name: &str) -> Result<Option<ImageRow>, Error> {
        let digits = name.strip_prefix("sha256:").unwrap_or(name);
        // A name may be 64 characters long too.
        let is_id = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_id || name.starts_with("sha256:") {
            return self.image_by_digits(digits);
        }
        if let Ok(reference) = ImageReference::parse(name)
            && let Some(row) = self.store.image_by_reference(&reference)?
        {
            return Ok(Some(row));
        }
        self.image_by_digits(digits)
    }

    fn image_by_digits(&self, digits: &str) -> Result<Option<ImageRow>, Error> {
        let mut rows = self.store.images_by_prefix(digits)?;
        if rows.len() > 1 {
            return Err(Error::AmbiguousImage {
                prefix: digits.to_owned(),
                candidates: rows
                    .iter()
                    .map(|row| match row.tags.first() {
                        Some(tag) => format!("{} ({})", row.id.short(), tag.familiar()),
                        None => row.id.short(),
                    })
                    .collect(),
            });
        }
        Ok(rows.pop())
    }

    /// Whether an image is here.
    ///
    /// # Errors
    /// When the store fails or a prefix is ambiguous.
    pub fn image_exists(&self, name: &str) -> Result<bool, Error> {
        Ok(self.find_image(name)?.is_some())
    }
}

/// The name as it was looked for.
fn with_latest(name: &str) -> String {
    ImageReference::parse(name).map_or_else(|_| name.to_owned(), |reference| reference.familiar())
}
