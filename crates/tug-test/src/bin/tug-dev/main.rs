//! The part of `./dev` that is easier said in Rust than in a shell script.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a command line tool that measures programs"
)]

mod bench;
mod corpus;
mod images;
mod inside;
mod record;

use std::io;
use std::process::ExitCode;

const USAGE: &str = "usage: tug-dev image LAYOUT busybox PROGRAM
       tug-dev image LAYOUT debian TREE
       tug-dev image LAYOUT nginx UPPER
       tug-dev foreign LAYOUT ARCHITECTURE BUSYBOX
       tug-dev layers LAYOUT NAME:TAG gzip|zstd TREE…
       tug-dev peak PROGRAM ARGUMENT…
       tug-dev push LAYOUT ADDRESS NAME:TAG…
       tug-dev unpack LAYOUT NAME:TAG DIRECTORY
       tug-dev bench TUG FLOOR DISK IMAGE [PART]…
       tug-dev record CLIENT TRANSCRIPT
       tug-dev corpus DOCKER [TOPIC]…
       tug-dev udp-echo PORT | forbidden | produce BYTES";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tug-dev: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> io::Result<()> {
    match arguments {
        ["image", layout, name, source] => images::make(layout, name, source),
        ["foreign", layout, architecture, program] => {
            tug_test::foreign::make(layout, architecture, program)
        }
        ["layers", layout, name, compression, trees @ ..] => {
            images::of_trees(layout, name, compression, trees)
        }
        ["peak", program, arguments @ ..] => bench::peak(program, arguments),
        ["push", layout, address, names @ ..] => images::push(layout, address, names),
        ["unpack", layout, name, directory] => images::unpack(layout, name, directory),
        ["bench", product, floor, disk, image, parts @ ..] => {
            bench::all(product, floor, disk, image, parts)
        }
        ["record", client, path] => record::transcript(client, path),
        ["corpus", docker, topics @ ..] => corpus::record(docker, topics),
        ["produce", bytes] => bench::produce(bytes),
        ["udp-echo", port] => inside::udp_echo(port),
        ["forbidden"] => {
            inside::forbidden();
            Ok(())
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, USAGE)),
    }
}
