//! Unpacks one layer into a fresh data root and says how long it took: the measurement behind the
//! pipeline's shape. `unpack_layer LAYER.tar.gz DATA-ROOT [verify]`
#![expect(clippy::print_stdout, reason = "a measurement's output")]

use std::path::PathBuf;
use std::time::Instant;
use tug_store::{Layers, Lease};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(file), Some(root)) = (arguments.next(), arguments.next()) else {
        return Err("usage: unpack_layer LAYER DATA-ROOT [verify]".into());
    };
    let lease = Lease::create(&root)?;
    let layers = Layers::new(&root);
    let start = Instant::now();
    let info = layers.unpack(&lease, std::fs::File::open(file)?, None)?;
    let unpacked = start.elapsed();
    layers.sync()?;
    let synced = start.elapsed();
    let megabytes = info.tar_size as f64 / 1e6;
    println!(
        "{} entries, {megabytes:.0} MB: unpacked in {:.3} s ({:.0} MB/s), synced after {:.3} s",
        info.entries,
        unpacked.as_secs_f64(),
        megabytes / unpacked.as_secs_f64(),
        synced.as_secs_f64(),
    );
    if arguments.next().is_some() {
        let start = Instant::now();
        layers.verify(&info.diff_id)?;
        println!("verified in {:.3} s", start.elapsed().as_secs_f64());
    }
    let skeleton = layers.tree(&info.diff_id).with_file_name("skeleton.zst");
    println!("skeleton: {} bytes", skeleton.metadata()?.len());
    Ok(())
}
