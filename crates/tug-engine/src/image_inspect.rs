//! `image inspect`: one image in full, in Docker's shape.

use crate::create::parse_image_config;
use crate::image_config::{ImageRunConfig, steps_of};
use crate::time::rfc3339;
use crate::view::{GraphDriver, ImageInspect, ImageMetadata, ImageRunInspect, RootFs};
use crate::{Engine, Error};
use std::path::Path;
use tug_types::{DiffId, ImageReference};

impl Engine {
    /// One image in full; of several platforms the one asked for.
    ///
    /// # Errors
    /// When there is none, or its configuration cannot be read.
    pub fn image_inspect(&self, name: &str, platform: Option<&str>) -> Result<ImageInspect, Error> {
        let image = self.image_on(name, platform)?;
        let config = parse_image_config(&image)?;
        // Docker takes the word of the last step where the image itself has none.
        let comment = match config.comment.as_str() {
            "" => steps_of(&image.config).ok().and_then(|steps| steps.into_iter().next_back()),
            _ => None,
        };
        Ok(ImageInspect {
            id: image.id,
            repo_tags: image.tags.iter().map(ImageReference::familiar).collect(),
            repo_digests: image.digests.iter().map(ImageReference::familiar).collect(),
            parent: String::new(),
            comment: comment.map_or(config.comment, |step| step.comment),
            created: config.created,
            docker_version: config.docker_version,
            author: config.author,
            config: Some(run_config(config.config.unwrap_or_default())),
            architecture: config.architecture,
            variant: config.variant.filter(|variant| !variant.is_empty()),
            os: config.os,
            size: image.size,
            graph_driver: self.image_driver(&config.rootfs.diff_ids),
            root_fs: RootFs {
                kind: "layers",
                layers: config.rootfs.diff_ids.iter().map(|layer| layer.0).collect(),
            },
            metadata: ImageMetadata { last_tag_time: rfc3339(image.tagged) },
            sent: None,
        })
    }

    /// Where the image's layers are. `MergedDir` and `WorkDir` are not there, as they are not with Docker while
    /// nothing runs.
    fn image_driver(&self, diff_ids: &[DiffId]) -> GraphDriver {
        let layers = self.store.layers();
        let mut trees: Vec<String> =
            diff_ids.iter().rev().map(|layer| layers.tree(layer).display().to_string()).collect();
        let upper = if trees.is_empty() { String::new() } else { trees.remove(0) };
        let beside = |name| Path::new(&upper).with_file_name(name).display().to_string();
        let mut data = vec![
            ("MergedDir".to_owned(), beside("merged")),
            ("WorkDir".to_owned(), beside("work")),
            ("UpperDir".to_owned(), upper),
        ];
        if !trees.is_empty() {
            data.push(("LowerDir".to_owned(), trees.join(":")));
        }
        GraphDriver { data: data.into_iter().collect(), name: "overlay2" }
    }
}

fn run_config(config: ImageRunConfig) -> ImageRunInspect {
    ImageRunInspect {
        user: config.user,
        exposed_ports: config.exposed_ports.unwrap_or_default(),
        env: config.env.unwrap_or_default(),
        entrypoint: config.entrypoint.unwrap_or_default(),
        cmd: config.cmd.unwrap_or_default(),
        volumes: config.volumes.unwrap_or_default(),
        working_dir: config.working_dir,
        labels: config.labels.unwrap_or_default(),
        stop_signal: config.stop_signal.unwrap_or_default(),
        args_escaped: config.args_escaped,
        healthcheck: config.healthcheck,
        on_build: config.on_build.unwrap_or_default(),
        shell: config.shell.unwrap_or_default(),
    }
}
