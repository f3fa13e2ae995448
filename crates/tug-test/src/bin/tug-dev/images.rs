//! Makes the base images and hands them to a registry.

use std::io;
use std::path::Path;
use tug_test::layout::{Compression, Family, Layout};
use tug_test::{fixture, push as registry};

/// Stores the base image `name`, made from `source`, in the OCI layout `layout`, and as an archive beside
/// it for `tug load`.
pub(crate) fn make(layout: &str, name: &str, source: &str) -> io::Result<()> {
    let layout = Layout::create(Path::new(layout))?;
    let source = Path::new(source);
    let image = match name {
        "busybox" => fixture::busybox(&layout, source)?,
        "debian" => fixture::debian(&layout, source)?,
        "nginx" => fixture::nginx(&layout, &layout.find("debian:latest")?, source)?,
        "node" => fixture::node(&layout, &layout.find("debian:latest")?, source)?,
        _ => return Err(io::Error::other(format!("no recipe for an image named {name}"))),
    };
    let tagged = format!("{name}:latest");
    layout.name(&image, &tagged)?;
    let archive = std::fs::File::create(layout.dir().with_file_name(format!("{name}.tar")))?;
    layout.oci_archive(std::io::BufWriter::new(archive), &[(&image, &tagged)])?;
    println!("{name}:latest {}", image.digest);
    Ok(())
}

/// An image of one layer per tree, for measuring.
pub(crate) fn of_trees(
    layout: &str,
    name: &str,
    compression: &str,
    trees: &[&str],
) -> io::Result<()> {
    let layout = Layout::create(Path::new(layout))?;
    let compression = match compression {
        "gzip" => Compression::Gzip,
        "zstd" => Compression::Zstd,
        other => return Err(io::Error::other(format!("no compression {other}"))),
    };
    let pack = |tree: &&str| layout.layer(compression, |tar| tar.tree(Path::new(tree)));
    let layers = trees.iter().map(pack).collect::<io::Result<Vec<_>>>()?;
    let image = layout.image(Family::Oci, &serde_json::json!({"Cmd": ["true"]}), &layers)?;
    layout.name(&image, name)?;
    println!("{name} {}", image.digest);
    Ok(())
}

/// Puts the named images of `layout` into the registry at `address`, as `library/NAME:TAG`.
pub(crate) fn push(layout: &str, address: &str, names: &[&str]) -> io::Result<()> {
    let layout = Layout::create(Path::new(layout))?;
    for name in names {
        let image = layout.find(name)?;
        let (repository, tag) = name.split_once(':').unwrap_or((name, "latest"));
        registry::push(address, &layout, &image, &format!("library/{repository}"), tag)?;
        println!("{address}/library/{repository}:{tag} {}", image.digest);
    }
    Ok(())
}

/// Unpacks the layers of one of our own images, which are known to be harmless, into a directory.
pub(crate) fn unpack(layout: &str, name: &str, directory: &str) -> io::Result<()> {
    let layout = Layout::create(Path::new(layout))?;
    for layer in layout.layers_of(&layout.find(name)?)? {
        let blob = std::fs::File::open(layout.blob(&layer.digest))?;
        let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(blob));
        tar.set_preserve_permissions(true);
        tar.unpack(directory)?;
    }
    Ok(())
}
