//! Bad Dockerfiles: the line, the words, and what the carets stand under.

use tug_dockerfile::{Diagnostic, parse};
use tug_types::Explain;

fn refused(text: &str) -> Diagnostic {
    match parse("Dockerfile", text.as_bytes()) {
        Ok(_) => panic!("accepted: {text:?}"),
        Err(error) => error,
    }
}

/// The text above the carets.
fn marked(error: &Diagnostic) -> String {
    let Some(mark) = error.mark() else { return String::new() };
    let line = error.source_text().line(mark.start.line);
    let end = if mark.end.line == mark.start.line { mark.end.column } else { u32::MAX };
    line.chars().take(end as usize - 1).skip(mark.start.column as usize - 1).collect()
}

#[test]
fn bad_files() {
    let mut wrong = Vec::new();
    for (text, line, message, mark) in [
        // Nothing to build.
        ("", 0, "the Dockerfile cannot be empty", ""),
        ("\n\n", 0, "file with no instructions", ""),
        ("# only\n# comments\n", 0, "file with no instructions", ""),
        ("ARG a\n", 0, "dockerfile contains no stages to build", ""),
        // Instructions.
        ("FROM a\n\nRUNN b", 3, "unknown instruction: RUNN (did you mean RUN?)", "RUNN"),
        ("FORM a", 1, "unknown instruction: FORM (did you mean FROM?)", "FORM"),
        ("FROM a\nenvv b=c", 2, "unknown instruction: envv (did you mean env?)", "envv"),
        ("FROM a\nCOPPY a b", 2, "unknown instruction: COPPY (did you mean COPY?)", "COPPY"),
        (
            "FROM a\n  ENTRYPIONT b",
            2,
            "unknown instruction: ENTRYPIONT (did you mean ENTRYPOINT?)",
            "ENTRYPIONT",
        ),
        ("FROM a\nBANANA", 2, "unknown instruction: BANANA", "BANANA"),
        ("FROM a\n// comment", 2, "unknown instruction: //", "//"),
        ("FROM a\nRUN b\n  && c", 3, "unknown instruction: &&", "&&"),
        ("FROM a\nRUN b \\\n\nc \\\nd\ne", 6, "unknown instruction: e (did you mean env?)", "e"),
        ("FROM a\n[\"a\"]", 2, "unknown instruction: [\"a\"]", "[\"a\"]"),
        ("FROM a\nRUN=x", 2, "unknown instruction: RUN=x (did you mean run?)", "RUN=x"),
        ("\\", 1, "unknown instruction: ", ""),
        // Before FROM.
        ("RUN a\nFROM b", 1, "no build stage in current context", "RUN"),
        ("ARG a\nENV b=c\nFROM d", 2, "no build stage in current context", "ENV"),
        ("copy a b", 1, "no build stage in current context", "copy"),
        // FROM.
        ("FROM", 1, "FROM requires either one or three arguments", ""),
        ("FROM ubuntu:bionic // 18.04", 1, "FROM requires either one or three arguments", "//"),
        ("FROM ubuntu # the base", 1, "FROM requires either one or three arguments", "#"),
        ("FROM a b", 1, "FROM requires either one or three arguments", "b"),
        ("FROM a AS", 1, "FROM requires either one or three arguments", "AS"),
        ("FROM a SA b", 1, "FROM requires either one or three arguments", "SA"),
        ("FROM a AS b c", 1, "FROM requires either one or three arguments", "c"),
        (
            "FROM a AS 1b",
            1,
            "invalid name for build stage: \"1b\", name can't start with a number or contain symbols",
            "1b",
        ),
        (
            "FROM a AS b/c",
            1,
            "invalid name for build stage: \"b/c\", name can't start with a number or contain symbols",
            "b/c",
        ),
        (
            "FROM --platfrom=x a",
            1,
            "unknown flag: --platfrom (did you mean platform?)",
            "--platfrom=x",
        ),
        ("FROM --platform a", 1, "missing a value on flag: --platform", "--platform"),
        (
            "FROM --platform=a --platform=b c",
            1,
            "duplicate flag specified: --platform",
            "--platform=b",
        ),
        // Arguments.
        ("FROM a\nENV", 2, "ENV requires at least one argument", ""),
        ("FROM a\nENV b", 2, "ENV must have two arguments", "b"),
        (
            "FROM a\nENV b=c d",
            2,
            "Syntax error - can't find = in \"d\". Must be of the form: name=value",
            "d",
        ),
        (
            "FROM a\nENV b=c \\\n  d e=f",
            2,
            "Syntax error - can't find = in \"d\". Must be of the form: name=value",
            "d",
        ),
        ("FROM a\nENV =b", 2, "ENV names can not be blank", "=b"),
        ("FROM a\nLABEL", 2, "LABEL requires at least one argument", ""),
        ("FROM a\nLABEL b", 2, "LABEL must have two arguments", "b"),
        (
            "FROM a\nLABEL b=c d",
            2,
            "Syntax error - can't find = in \"d\". Must be of the form: name=value",
            "d",
        ),
        ("FROM a\nARG", 2, "ARG requires at least one argument", ""),
        ("FROM a\nARG =b", 2, "ARG names can not be blank", "=b"),
        ("ARG =b\nFROM a", 1, "ARG names can not be blank", "=b"),
        ("FROM a\nEXPOSE", 2, "EXPOSE requires at least one argument", ""),
        ("FROM a\nVOLUME", 2, "VOLUME requires at least one argument", ""),
        ("FROM a\nVOLUME []", 2, "VOLUME requires at least one argument", ""),
        ("FROM a\nVOLUME [\"\"]", 2, "VOLUME specified can not be an empty string", "[\"\"]"),
        ("FROM a\nUSER", 2, "USER requires exactly one argument", ""),
        ("FROM a\nWORKDIR", 2, "WORKDIR requires exactly one argument", ""),
        ("FROM a\nSTOPSIGNAL", 2, "STOPSIGNAL requires exactly one argument", ""),
        ("FROM a\nMAINTAINER", 2, "MAINTAINER requires exactly one argument", ""),
        ("FROM a\nONBUILD", 2, "ONBUILD requires at least one argument", ""),
        (
            "FROM a\nONBUILD ONBUILD RUN b",
            2,
            "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
            "ONBUILD",
        ),
        ("FROM a\nONBUILD from b", 2, "FROM isn't allowed as an ONBUILD trigger", "from"),
        (
            "FROM a\nONBUILD MAINTAINER b",
            2,
            "MAINTAINER isn't allowed as an ONBUILD trigger",
            "MAINTAINER",
        ),
        ("FROM a\nSHELL", 2, "SHELL requires at least one argument", ""),
        ("FROM a\nSHELL []", 2, "SHELL requires at least one argument", ""),
        (
            "FROM a\nSHELL /bin/sh -c",
            2,
            "SHELL requires the arguments to be in JSON form",
            "/bin/sh -c",
        ),
        // JSON.
        (
            "FROM a\nCMD [\"a\", 1]",
            2,
            "when using JSON array syntax, arrays must be comprised of strings only",
            "[\"a\", 1]",
        ),
        (
            "FROM a\nRUN [\"a\", [\"b\"]]",
            2,
            "when using JSON array syntax, arrays must be comprised of strings only",
            "[\"a\", [\"b\"]]",
        ),
        (
            "FROM a\nENTRYPOINT [null]",
            2,
            "when using JSON array syntax, arrays must be comprised of strings only",
            "[null]",
        ),
        (
            "FROM a\nONBUILD CMD [1]",
            2,
            "when using JSON array syntax, arrays must be comprised of strings only",
            "[1]",
        ),
        (
            "FROM a\nHEALTHCHECK CMD [1]",
            2,
            "when using JSON array syntax, arrays must be comprised of strings only",
            "[1]",
        ),
        (
            "FROM a\nCOPY [\"a\", {}]",
            2,
            "when using JSON array syntax, arrays must be comprised of strings only",
            "[\"a\", {}]",
        ),
        // COPY and ADD.
        (
            "FROM a\nCOPY",
            2,
            "COPY requires at least two arguments, but only one was provided. Destination could not be determined",
            "",
        ),
        (
            "FROM a\nCOPY b",
            2,
            "COPY requires at least two arguments, but only one was provided. Destination could not be determined",
            "",
        ),
        (
            "FROM a\nADD b",
            2,
            "ADD requires at least two arguments, but only one was provided. Destination could not be determined",
            "",
        ),
        ("FROM a\nCOPY --form=b c d", 2, "unknown flag: --form (did you mean from?)", "--form=b"),
        ("FROM a\nCOPY --checksum=x c d", 2, "unknown flag: --checksum", "--checksum=x"),
        ("FROM a\nADD --from=x c d", 2, "unknown flag: --from", "--from=x"),
        ("FROM a\nADD --parents c d", 2, "unknown flag: --parents", "--parents"),
        (
            "FROM a\nCOPY --link=maybe c d",
            2,
            "expecting boolean value for flag --link, not: maybe",
            "--link=maybe",
        ),
        ("FROM a\nCOPY --link= c d", 2, "missing a value on flag: --link", "--link="),
        ("FROM a\nCOPY --chown c d", 2, "missing a value on flag: --chown", "--chown"),
        (
            "FROM a\nCOPY --chown=a --chown=b c d",
            2,
            "duplicate flag specified: --chown",
            "--chown=b",
        ),
        ("FROM a\nCOPY x <<EOF\nEOF", 2, "COPY cannot accept a heredoc as a destination", ""),
        ("FROM a\nCOPY <<EOF /x\nb\n", 2, "unterminated heredoc", "<<EOF"),
        ("FROM a\nRUN <<EOF\nb\n EOF\n", 2, "unterminated heredoc", "<<EOF"),
        ("FROM a\nCOPY <<A <<B /x\n1\nA\n2\n", 2, "unterminated heredoc", "<<A <<B"),
        // RUN.
        (
            "FROM a\nRUN --netwrok=none b",
            2,
            "unknown flag: --netwrok (did you mean network?)",
            "--netwrok=none",
        ),
        (
            "FROM a\nRUN --network=bridge b",
            2,
            "invalid network mode \"bridge\"",
            "--network=bridge",
        ),
        ("FROM a\nRUN --security=none b", 2, "security \"none\" is not valid", "--security=none"),
        (
            "FROM a\nRUN --mount=type=bind,from=$b,target=/c d",
            2,
            "'from' doesn't support variable expansion, define alias stage instead",
            "--mount=type=bind,from=$b,target=/c",
        ),
        ("FROM a\nRUN --mount= b", 2, "failed to parse csv mounts: EOF", "--mount="),
        (
            "FROM a\nRUN --mount='target=\"a\"' b",
            2,
            "failed to parse csv mounts: bare \" in non-quoted field",
            "--mount='target=\"a\"'",
        ),
        (
            "FROM a\nRUN --mount='\"target=a' b",
            2,
            "failed to parse csv mounts: extraneous or missing \" in quoted-field",
            "--mount='\"target=a'",
        ),
        ("FROM a\nRUN --mount b", 2, "missing a value on flag: --mount", "--mount"),
        (
            "FROM a\nRUN --device=a,b c",
            2,
            "invalid field 'b' must be a key=value pair",
            "--device=a,b",
        ),
        ("FROM a\nRUN --device=a,name=b c", 2, "device name already set to a", "--device=a,name=b"),
        (
            "FROM a\nRUN --device=a,requird=1 c",
            2,
            "unexpected key 'requird' in 'requird=1' (did you mean required?)",
            "--device=a,requird=1",
        ),
        ("FROM a\nCMD --x y", 2, "unknown flag: --x", "--x"),
        ("FROM a\nWORKDIR --x y", 2, "unknown flag: --x", "--x"),
        ("FROM a\nONBUILD --x RUN y", 2, "unknown flag: --x", "--x"),
        // HEALTHCHECK.
        ("FROM a\nHEALTHCHECK", 2, "HEALTHCHECK requires at least one argument", ""),
        ("FROM a\nHEALTHCHECK CMD", 2, "Missing command after HEALTHCHECK CMD", ""),
        ("FROM a\nHEALTHCHECK CMD []", 2, "Missing command after HEALTHCHECK CMD", ""),
        ("FROM a\nHEALTHCHECK NONE b", 2, "HEALTHCHECK NONE takes no arguments", " b"),
        ("FROM a\nHEALTHCHECK curl b", 2, "Unknown type \"CURL\" in HEALTHCHECK (try CMD)", "curl"),
        (
            "FROM a\nHEALTHCHECK --interval=5 CMD b",
            2,
            "time: missing unit in duration \"5\"",
            "--interval=5",
        ),
        (
            "FROM a\nHEALTHCHECK --interval=x CMD b",
            2,
            "time: invalid duration \"x\"",
            "--interval=x",
        ),
        (
            "FROM a\nHEALTHCHECK --timeout=1us CMD b",
            2,
            "Interval \"timeout\" cannot be less than 1ms",
            "--timeout=1us",
        ),
        (
            "FROM a\nHEALTHCHECK --timeout=-1s CMD b",
            2,
            "Interval \"timeout\" cannot be less than 1ms",
            "--timeout=-1s",
        ),
        (
            "FROM a\nHEALTHCHECK --retries=-1 CMD b",
            2,
            "--retries cannot be negative (-1)",
            "--retries=-1",
        ),
        (
            "FROM a\nHEALTHCHECK --retries=x CMD b",
            2,
            "invalid value for --retries: \"x\" is not a number",
            "--retries=x",
        ),
        ("FROM a\nHEALTHCHECK --retry=1 CMD b", 2, "unknown flag: --retry", "--retry=1"),
        // Directives.
        ("# escape=x\nFROM a", 1, "invalid escape token 'x' does not match ` or \\", "# escape=x"),
        (
            "# escape=``\nFROM a",
            1,
            "invalid escape token '``' does not match ` or \\",
            "# escape=``",
        ),
        (
            "# escape=`\n# escape=`\nFROM a",
            2,
            "only one escape parser directive can be used",
            "# escape=`",
        ),
        (
            "# syntax=a\n# SYNTAX=b\nFROM a",
            2,
            "only one syntax parser directive can be used",
            "# SYNTAX=b",
        ),
        // Places behind continuations.
        (
            "# c\nFROM a\nRUN b && \\\n    # why\n    c\nCOPY \\\n  --chwn=x \\\n  d e",
            6,
            "unknown flag: --chwn (did you mean chown?)",
            "--chwn=x",
        ),
        ("FROM a\r\nRUNN b\r\n", 2, "unknown instruction: RUNN (did you mean RUN?)", "RUNN"),
        ("\u{feff}FORM a", 1, "unknown instruction: FORM (did you mean FROM?)", "FORM"),
    ] {
        let error = refused(text);
        let expected = if line == 0 {
            message.to_owned()
        } else {
            format!("dockerfile parse error on line {line}: {message}")
        };
        let got = (error.to_string(), marked(&error));
        if got != (expected.clone(), mark.to_owned()) {
            wrong.push(format!(
                "{text:?}\n  wanted {expected:?} {mark:?}\n  got    {:?} {:?}",
                got.0, got.1
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_seed_file_points_at_the_slashes() {
    let error = refused("FROM ubuntu:bionic // 18.04\nRUN apt-get update\nRUN b\n");
    assert_eq!(
        error.excerpt(),
        "Dockerfile:1
--------------------
   1 | >>> FROM ubuntu:bionic // 18.04
     |                        ^^
   2 |     RUN apt-get update
   3 |     RUN b
--------------------
"
    );
    assert_eq!(
        error.hint().as_deref(),
        Some("`//` does not start a comment: put it on a line of its own that starts with `#`")
    );
}

#[test]
fn carets_line_up_behind_tabs_and_wide_text() {
    let error = refused("FROM a\nCOPY\t안녕\t\\\n\t--x\tb\nRUNN c\n");
    assert_eq!(error.line(), 4);
    let error = refused("FROM a\n\tENV\ta=안 b\n");
    assert!(
        error.excerpt().contains("   2 | >>> \tENV\ta=안 b\n     |     \t   \t    ^\n"),
        "{}",
        error.excerpt()
    );
}

#[test]
fn hints_say_what_to_write() {
    for (text, hint) in [
        ("RUN a\n", "a Dockerfile starts with FROM (only ARG may come before it); move RUN below"),
        ("FROM a\nENV a\n", "write ENV NAME=VALUE"),
        (
            "FROM a\nRUN <<EOF\n",
            "end it with a line that holds EOF and nothing else, no blanks before it",
        ),
        ("FROM a\nSHELL bash\n", "write SHELL [\"/bin/sh\", \"-c\"]"),
        ("FROM a\nCMD --x\n", "CMD takes no flags"),
        ("FROM a\nFROM --x b\n", "FROM takes --platform"),
        ("FROM a\n// x\n", "`//` does not start a comment: comments start with `#`"),
        (
            "FROM a AS 1\n",
            "a name starts with a letter and holds letters, digits, `-`, `_` and `.`",
        ),
    ] {
        assert_eq!(refused(text).hint().as_deref(), Some(hint), "{text:?}");
    }
}

#[test]
fn text_that_is_not_utf8_is_refused_outside_comments() {
    let error = parse("Dockerfile", b"FROM a\nRUN echo \xff\n").unwrap_err();
    assert_eq!(error.to_string(), "dockerfile parse error on line 2: line 2 is not valid UTF-8");
    let error = parse("Dockerfile", b"FROM a\nRUN a \\\n  b\xff\n").unwrap_err();
    assert!(error.to_string().contains("line 3 is not valid"));
    let error = parse("Dockerfile", b"FROM a\nCOPY <<E /x\n\xff\nE\n").unwrap_err();
    assert!(error.to_string().contains("line 3 is not valid"));
    assert!(parse("Dockerfile", b"# caf\xe9\nFROM a\n# \xff\n").is_ok());
}
