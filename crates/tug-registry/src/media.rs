//! The media types an image may be made of, in both families, and what each of them is to a pull.

/// An OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An OCI index: one manifest per platform.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// An OCI image configuration.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// A plain OCI layer.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// A gzip OCI layer.
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// A Docker schema 2 manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// A Docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// A Docker image configuration.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// An OCI layer compressed with zstd.
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// A plain layer of the Docker family.
pub const DOCKER_LAYER_PLAIN: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// BuildKit's name for the configuration of a build cache.
pub const CACHE_CONFIG: &str = "application/vnd.buildkit.cacheconfig.v0";
/// A gzip layer of the Docker family.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// What is sent as `Accept` when a manifest is asked for. Schema 1 is on it only so that a
/// registry holding nothing else says so instead of answering "unknown".
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.docker.distribution.manifest.v1+prettyjws;q=0.1, \
     application/json;q=0.1";

/// What a layer's media type says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerKind {
    /// A tar, plain or compressed with gzip or zstd.
    Tar,
    /// A layer its owner forbids registries to hand on.
    Foreign,
    /// Something no file tree comes out of.
    Unknown,
}

/// Whether the type is one of a manifest for one platform.
pub fn is_manifest(media_type: &str) -> bool {
    matches!(media_type, OCI_MANIFEST | DOCKER_MANIFEST)
}

/// Whether the type is one of a list of manifests.
pub fn is_index(media_type: &str) -> bool {
    matches!(media_type, OCI_INDEX | DOCKER_LIST)
}

/// Whether the type is a manifest of the schema that ended with Docker 1.10.
pub fn is_schema1(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.docker.distribution.manifest.v1+")
}

/// Whether a config of this type describes an image. `application/octet-stream` is what Docker
/// before 1.11 pushed.
pub fn is_image_config(media_type: &str) -> bool {
    matches!(media_type, OCI_CONFIG | DOCKER_CONFIG | "application/octet-stream")
}

/// Classifies a layer.
pub fn layer_kind(media_type: &str) -> LayerKind {
    const OCI_FOREIGN: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";
    const DOCKER_FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar";
    let is = |bare: &str| {
        let compression = media_type.strip_prefix(bare);
        compression.is_some_and(|c| matches!(c, "" | "+gzip" | "+zstd" | ".gzip" | ".zstd"))
    };
    if is(OCI_LAYER) || is("application/vnd.docker.image.rootfs.diff.tar") {
        LayerKind::Tar
    } else if is(OCI_FOREIGN) || is(DOCKER_FOREIGN) {
        LayerKind::Foreign
    } else {
        LayerKind::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_of_both_families_are_told_from_foreign_and_unknown_ones() {
        for (media_type, kind) in [
            (OCI_LAYER, LayerKind::Tar),
            ("application/vnd.oci.image.layer.v1.tar+zstd", LayerKind::Tar),
            (DOCKER_LAYER, LayerKind::Tar),
            ("application/vnd.docker.image.rootfs.diff.tar", LayerKind::Tar),
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", LayerKind::Foreign),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", LayerKind::Foreign),
            ("application/vnd.oci.image.layer.v1.tar+encrypted", LayerKind::Unknown),
            ("application/vnd.cncf.helm.chart.content.v1.tar+gzip", LayerKind::Unknown),
            ("", LayerKind::Unknown),
        ] {
            assert_eq!(layer_kind(media_type), kind, "{media_type}");
        }
    }
}
