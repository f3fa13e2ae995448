//! Layers: compressed or not, unpacked for real into a directory of their own.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::Path;
use tug_archive::{Limits, UnpackOptions, Whiteouts, decoder, remove_tree, unpack};

fuzz_target!(|bytes: &[u8]| {
    let Ok(place) = tempfile::tempdir() else { return };
    let inside = place.path().join("inside");
    std::fs::create_dir(&inside).expect("an empty directory can be made");
    std::fs::write(place.path().join("canary"), "sings").expect("a file can be written");
    let limits = Limits { entries: 200, bytes: 1 << 20, header: 1 << 16 };
    for whiteouts in [Whiteouts::Overlay, Whiteouts::Keep] {
        let options = UnpackOptions { limits, whiteouts };
        if let Ok(plain) = decoder(bytes) {
            let _ = unpack(plain, &inside, &options);
        }
        assert_untouched(place.path());
    }
    let _ = remove_tree(&inside);
});

/// Nothing beside the root has changed, whatever the archive says.
fn assert_untouched(place: &Path) {
    let canary = std::fs::read(place.join("canary")).expect("the canary lives");
    assert_eq!(canary, b"sings");
    let beside = std::fs::read_dir(place).expect("the place can be read").count();
    assert_eq!(beside, 2, "something was made outside of the root");
}
