//! Text from strangers: no panic, no endless work, whatever it is.

use proptest::prelude::*;
use tug_dockerfile::fuzz::exercise;

/// Pieces that mean something, so that random text gets past the first line.
const PIECES: &[&str] = &[
    "FROM ",
    "a",
    " AS b",
    "\n",
    "\r\n",
    "RUN ",
    "COPY ",
    "ADD ",
    "ENV ",
    "ARG ",
    "LABEL ",
    "ONBUILD ",
    "CMD ",
    "HEALTHCHECK ",
    "EXPOSE ",
    "VOLUME ",
    "USER ",
    "WORKDIR ",
    "SHELL ",
    "STOPSIGNAL ",
    "MAINTAINER ",
    "ENTRYPOINT ",
    "--mount=",
    "type=cache,",
    "from=b",
    "--from=",
    "--chown=",
    "--platform=",
    "--",
    "=",
    "\\",
    "\\\n",
    "`",
    "\"",
    "'",
    "$",
    "${",
    "}",
    ":-",
    ":?",
    "#",
    "##",
    "%",
    "/",
    "//",
    "*",
    "?",
    "[",
    "]",
    "[\"a\"]",
    "<<",
    "<<-",
    "EOF",
    "\nEOF\n",
    "# escape=`\n",
    "# check=skip=all\n",
    "# syntax=",
    " ",
    "\t",
    "안",
    "\u{feff}",
    "!",
    "**",
    ".",
    "..",
    "\0",
    "\u{85}",
    "\u{a0}",
    "\u{b}",
    "80/tcp",
    "1",
    ",",
    "NONE",
    "scratch",
    "$a",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        exercise(&bytes);
    }

    #[test]
    fn pieces(pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..40)) {
        exercise(pieces.concat().as_bytes());
        exercise(format!("FROM a\n{}", pieces.concat()).as_bytes());
    }
}

#[test]
fn big_and_deep() {
    for text in [
        "[".repeat(100_000),
        format!("FROM a\nCMD {}", "[".repeat(100_000)),
        format!("FROM a\nWORKDIR {}", "${a:-".repeat(20_000)),
        format!("FROM a\n{}RUN b", "ONBUILD ".repeat(20_000)),
        format!("FROM a\nENV {}", "a=b ".repeat(20_000)),
        format!("FROM a\nRUN {}", "b \\\n".repeat(20_000)),
        format!("FROM a\nRUN {}\n", "<<E ".repeat(2_000)),
        "FROM a\n".repeat(2_000),
        "*".repeat(5_000),
        "a*".repeat(2_000),
        "**/".repeat(2_000),
    ] {
        exercise(text.as_bytes());
    }
}
