//! The few fields of an image configuration that decide whether and how its layers are fetched.
//! The bytes themselves are never written again from these: their digest is the image's id.

use crate::platform::Platform;
use serde::Deserialize;
use tug_types::DiffId;

/// The head of an image configuration (OCI image configuration; Docker's is the same here).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ConfigHead {
    /// Go's name of the processor.
    pub architecture: String,
    /// Go's name of the system.
    pub os: String,
    /// `v7` of `arm/v7`.
    pub variant: Option<String>,
    /// What the root is made of.
    pub rootfs: RootFs,
}

/// `rootfs` of an image configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RootFs {
    /// `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Digests of the uncompressed tars, lowest first. `null` for an image without layers.
    #[serde(deserialize_with = "null_is_empty")]
    pub diff_ids: Vec<DiffId>,
}

impl ConfigHead {
    /// The platform the image is made for; empty fields mean Docker's own default, `linux/amd64`.
    pub fn platform(&self) -> Platform {
        let or = |text: &str, default: &str| {
            if text.is_empty() { default.to_owned() } else { text.to_owned() }
        };
        let variant = self.variant.clone().unwrap_or_default();
        Platform::new(&or(&self.os, "linux"), &or(&self.architecture, "amd64"), &variant)
    }
}

fn null_is_empty<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Vec<DiffId>, D::Error> {
    Ok(Option::<Vec<DiffId>>::deserialize(input)?.unwrap_or_default())
}
