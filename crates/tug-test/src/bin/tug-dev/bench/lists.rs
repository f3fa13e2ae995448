//! Lists over two hundred images, as somebody has who builds every day: a base in common, a layer of
//! its own each, twenty steps of history.

use super::clock::{Times, time};
use super::engine::Engine;
use super::table::{Limit, Table};
use super::{BATCH, BATCHES, Site};
use serde_json::{Value, json};
use std::fs::File;
use std::io;
use tug_test::layer::Meta;
use tug_test::layout::{Compression, Family};
use tug_test::sandbox::busybox_in;

const IMAGES: usize = 200;

/// Measures and fills the table's rows.
pub(crate) fn measure(site: &Site<'_>, engines: &[Engine], table: &mut Table) -> io::Result<()> {
    let archive = site.disk.join("images.tar").to_string_lossy().into_owned();
    make(site, &archive)?;
    if let Some((tug, others)) = engines.split_first() {
        tug.ok(&["load", "-q", "-i", &archive])?;
        // Docker reads no plain OCI layout; what tug saves is that and its own form at once.
        let names = ["images", "--filter", "label=bench", "--format", "{{.Repository}}:{{.Tag}}"];
        let names = tug.ok(&names)?;
        let both = site.disk.join("images-both.tar").to_string_lossy().into_owned();
        if !others.is_empty() {
            let save = ["save", "-o", &both].into_iter().chain(names.lines());
            tug.ok(&save.collect::<Vec<_>>())?;
        }
        for engine in others {
            engine.ok(&["load", "-q", "-i", &both])?;
        }
    }
    for (name, command, most) in [
        ("image ls, 200 images", &["image", "ls"][..], 8.0),
        ("system df, 200 images", &["system", "df"], 15.0),
    ] {
        let mut times = vec![Times::default(); engines.len()];
        for _ in 0..BATCHES * BATCH {
            for (engine, times) in engines.iter().zip(&mut times) {
                times.push(time(&mut engine.command(command))?);
            }
        }
        table.row(name, "ms", &times, None, Limit::Value(most));
    }
    for engine in engines {
        let ids = engine.ok(&["images", "-q", "--filter", "label=bench"])?;
        let mut remove = vec!["rmi", "-f"];
        remove.extend(ids.lines());
        engine.ok(&remove)?;
    }
    Ok(())
}

/// An archive of all of them.
fn make(site: &Site<'_>, archive: &str) -> io::Result<()> {
    let (layout, base) = busybox_in(&site.disk.join("images-layout"))?;
    let below = layout.layers_of(&base)?;
    let step = |number: usize| -> Value {
        json!({"created": "2024-01-01T00:00:00Z", "created_by": format!("RUN step {number} of a build # buildkit"), "comment": "buildkit.dockerfile.v0", "empty_layer": number > 1})
    };
    let mut images = Vec::new();
    for number in 0..IMAGES {
        let own = layout.layer(Compression::Gzip, |tar| {
            tar.file("number", Meta::mode(0o644), number.to_string().as_bytes())
        })?;
        let layers: Vec<_> = below.iter().cloned().chain([own]).collect();
        let config = json!({
            "Cmd": ["sh"], "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Labels": {"bench": number.to_string(), "org.opencontainers.image.title": "one of many"},
        });
        let config = json!({
            "architecture": "amd64", "os": "linux", "created": "2024-01-01T00:00:00Z",
            "config": config, "history": (0..20).map(step).collect::<Vec<_>>(),
            "rootfs": {"type": "layers", "diff_ids": layers.iter().map(|layer| &layer.diff_id).collect::<Vec<_>>()},
        });
        let image = layout.image_of(Family::Oci, config.to_string().as_bytes(), &layers)?;
        images.push((image, format!("registry.example.org/team/app-{number}:1.{number}")));
    }
    let named: Vec<_> = images.iter().map(|(image, name)| (image, name.as_str())).collect();
    layout.oci_archive(File::create(archive)?, &named)
}
