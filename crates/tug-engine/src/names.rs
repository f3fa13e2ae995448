//! Names for containers that were given none: an adjective and somebody worth remembering.

const ADJECTIVES: &[&str] = &[
    "able", "agile", "amber", "bold", "brave", "bright", "brisk", "calm", "candid", "careful",
    "cheerful", "clever", "cosy", "curious", "daring", "eager", "earnest", "elegant", "fair",
    "fearless", "festive", "fond", "frank", "gentle", "gifted", "glad", "golden", "graceful",
    "happy", "hardy", "honest", "hopeful", "humble", "jolly", "keen", "kind", "lively", "loyal",
    "lucid", "merry", "mild", "modest", "neat", "nimble", "noble", "patient", "peaceful", "plucky",
    "polite", "proud", "quick", "quiet", "ready", "serene", "sharp", "silent", "sincere", "spry",
    "steady", "sunny", "swift", "tender", "tidy", "trusty", "upbeat", "vivid", "warm", "wise",
    "witty", "zealous",
];

const SURNAMES: &[&str] = &[
    "abel",
    "agnesi",
    "allen",
    "ampere",
    "archimedes",
    "babbage",
    "banach",
    "bardeen",
    "bell",
    "bernoulli",
    "bohr",
    "boole",
    "bose",
    "boyle",
    "brahe",
    "cantor",
    "carson",
    "cauchy",
    "chandrasekhar",
    "chebyshev",
    "church",
    "clarke",
    "copernicus",
    "curie",
    "darwin",
    "dijkstra",
    "dirac",
    "easley",
    "einstein",
    "elion",
    "euclid",
    "euler",
    "faraday",
    "fermat",
    "fermi",
    "feynman",
    "fourier",
    "franklin",
    "galileo",
    "galois",
    "gauss",
    "germain",
    "goodall",
    "hamilton",
    "hawking",
    "herschel",
    "hertz",
    "hilbert",
    "hodgkin",
    "hopper",
    "hubble",
    "hypatia",
    "johnson",
    "joliot",
    "kepler",
    "khayyam",
    "knuth",
    "kovalevskaya",
    "lamarr",
    "lamport",
    "laplace",
    "leavitt",
    "leibniz",
    "liskov",
    "lovelace",
    "maxwell",
    "mayer",
    "mcclintock",
    "meitner",
    "mendel",
    "mendeleev",
    "mirzakhani",
    "moser",
    "napier",
    "nash",
    "neumann",
    "newton",
    "noether",
    "pascal",
    "pasteur",
    "payne",
    "perlman",
    "planck",
    "poincare",
    "ptolemy",
    "raman",
    "ramanujan",
    "ride",
    "riemann",
    "ritchie",
    "rubin",
    "shannon",
    "shaw",
    "sinoussi",
    "somerville",
    "swartz",
    "tesla",
    "thompson",
    "torvalds",
    "turing",
    "volta",
    "wiles",
    "wilson",
    "wing",
    "wu",
    "yalow",
];

/// A generator of names that starts at a place taken from `seed` and goes through all combinations;
/// after the first round every name gets a digit, as Docker's do.
pub(crate) fn generator(seed: u64) -> impl FnMut() -> String {
    let all = (ADJECTIVES.len() * SURNAMES.len()) as u64;
    let mut step = 0u64;
    move || {
        // The stride is odd and has no factor in common with the number of combinations, so every
        // combination comes up once before any comes again.
        let place = usize::try_from((seed % all + step * 4_999) % all).unwrap_or(0);
        let (adjective, surname) =
            (ADJECTIVES[place / SURNAMES.len()], SURNAMES[place % SURNAMES.len()]);
        let round = step / all;
        step += 1;
        match round {
            0 => format!("{adjective}_{surname}"),
            round => format!("{adjective}_{surname}{round}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_combination_comes_once_before_digits_are_added() {
        let all = ADJECTIVES.len() * SURNAMES.len();
        let mut next = generator(u64::MAX);
        let names: BTreeSet<String> = (0..all).map(|_| next()).collect();
        assert_eq!(names.len(), all);
        assert!(names.iter().all(|name| !name.ends_with(|c: char| c.is_ascii_digit())));
        assert!(next().ends_with('1'));
    }
}
