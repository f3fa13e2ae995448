//! What people and Dockerfiles write to name an image.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tug_types::ImageReference;

fuzz_target!(|text: &str| {
    if let Ok(reference) = ImageReference::parse(text) {
        // What it prints names the same thing.
        for printed in [reference.to_string(), reference.familiar()] {
            let again = ImageReference::parse(&printed).ok();
            assert_eq!(again.as_ref(), Some(&reference), "{text:?} printed as {printed:?}");
        }
    }
});
