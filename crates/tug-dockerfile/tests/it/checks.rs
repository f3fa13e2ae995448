//! The build checks: for each file the rules that speak up, on which line, in which words.

use std::collections::BTreeMap;

use tug_dockerfile::{
    BaseImage, CheckContext, Ignore, Inputs, Platform, Report, Rule, check, parse,
};

fn inputs() -> Inputs {
    let platform: Platform = "linux/amd64".parse().unwrap();
    Inputs {
        build_args: BTreeMap::new(),
        build_platform: platform.clone(),
        target_platform: platform,
        target_stage: None,
    }
}

fn base(name: &str, _platform: &Platform) -> Option<BaseImage> {
    match name {
        "unknown" => None,
        "foreign" => {
            Some(BaseImage { platform: "linux/arm64".parse().ok(), ..BaseImage::default() })
        }
        "triggers" => Some(BaseImage { on_build: vec!["ARG x=1".into()], ..BaseImage::default() }),
        "shelled" => {
            Some(BaseImage { shell: vec!["/bin/bash".into(), "-c".into()], ..BaseImage::default() })
        }
        _ => Some(BaseImage {
            env: vec!["PATH=/bin".into(), "FROM_BASE=1".into()],
            ..BaseImage::default()
        }),
    }
}

fn report_with(text: &str, inputs: &Inputs, ignore: Option<&Ignore>) -> Report {
    let file = parse("Dockerfile", text.as_bytes()).expect(text);
    check(&file, &CheckContext { inputs, ignore, bases: &base, stages: None })
}

fn report(text: &str) -> Report {
    report_with(text, &inputs(), None)
}

/// `Rule:line` for each warning.
fn found(report: &Report) -> Vec<String> {
    assert!(report.error.is_none(), "{:?}", report.error);
    report
        .warnings
        .iter()
        .map(|warning| format!("{}:{}", warning.rule.name(), warning.span.line()))
        .collect()
}

#[test]
fn each_rule_speaks_up_where_it_should() {
    for (text, expected) in [
        ("FROM a AS Build\n", vec!["StageNameCasing:1"]),
        ("FROM a as b\n", vec!["FromAsCasing:1"]),
        ("from a AS b\n", vec!["FromAsCasing:1"]),
        ("from a as b\n", vec![]),
        ("FROM a\nRUN a \\\n\n  b\n", vec!["NoEmptyContinuation:4"]),
        ("FROM a\nRUN a \\\n# c\n  b\n", vec![]),
        ("FROM a\nrun b\nRUN c\n", vec!["ConsistentInstructionCasing:2"]),
        ("from a\nrun b\nRUN c\n", vec!["ConsistentInstructionCasing:3"]),
        ("From a\nRun b\n", vec!["ConsistentInstructionCasing:1", "ConsistentInstructionCasing:2"]),
        ("FROM a\nrun b\n", vec!["ConsistentInstructionCasing:2"]),
        ("FROM a AS b\nFROM a AS b\n", vec!["DuplicateStageName:2"]),
        ("FROM a AS scratch\n", vec!["ReservedStageName:1"]),
        ("FROM a AS context\n", vec!["ReservedStageName:1"]),
        ("FROM a\nCMD b\n", vec!["JSONArgsRecommended:2"]),
        ("FROM a\nENTRYPOINT b\n", vec!["JSONArgsRecommended:2"]),
        ("FROM a\nSHELL [\"x\"]\nCMD b\n", vec![]),
        ("FROM shelled\nCMD b\n", vec![]),
        ("FROM a AS b\nSHELL [\"x\"]\nFROM b\nCMD c\n", vec![]),
        ("FROM a\nCMD [\"b\"]\n", vec![]),
        ("FROM a\nMAINTAINER me\n", vec!["MaintainerDeprecated:2"]),
        ("FROM a${TAG}\n", vec!["UndefinedArgInFrom:1"]),
        ("ARG TAG\nFROM a${TAG}\n", vec![]),
        ("FROM --platform=$BULIDPLATFORM$BUILDPLATFORM a\n", vec!["UndefinedArgInFrom:1"]),
        ("FROM a\nWORKDIR app\n", vec!["WorkdirRelativePath:2"]),
        ("FROM a\nWORKDIR /x\nWORKDIR app\n", vec![]),
        ("FROM a\nWORKDIR app\nWORKDIR b\n", vec!["WorkdirRelativePath:2"]),
        ("FROM a AS b\nWORKDIR /x\nFROM b\nWORKDIR app\n", vec![]),
        ("FROM a\nCOPY $foo .\n", vec!["UndefinedVar:2"]),
        ("FROM a\nARG foo\nCOPY $foo .\n", vec![]),
        ("FROM a\nCOPY ${foo:-x} .\n", vec!["UndefinedVar:2"]),
        ("FROM a\nENV A=$x B=$x\n", vec!["UndefinedVar:2", "UndefinedVar:2"]),
        ("FROM a\nENV A=$FROM_BASE\n", vec![]),
        ("FROM unknown\nENV A=$FROM_BASE\n", vec![]),
        ("FROM a AS b\nARG x\nFROM b\nENV A=$x\n", vec![]),
        ("ARG x=1\nFROM a\nENV A=$x\n", vec!["UndefinedVar:3"]),
        ("FROM a\nRUN echo $x\n", vec![]),
        ("FROM a\nCOPY <<EOF /x\n$nothing\nEOF\n", vec!["UndefinedVar:2"]),
        ("FROM a\nCOPY <<'EOF' /x\n$nothing\nEOF\n", vec![]),
        (
            "FROM a\nCMD [\"a\"]\nCMD [\"b\"]\nENTRYPOINT [\"a\"]\nENTRYPOINT [\"a\"]\nHEALTHCHECK NONE\nHEALTHCHECK NONE\n",
            vec![
                "MultipleInstructionsDisallowed:2",
                "MultipleInstructionsDisallowed:4",
                "MultipleInstructionsDisallowed:6",
            ],
        ),
        ("FROM a AS b\nCMD [\"a\"]\nFROM b\nCMD [\"c\"]\n", vec![]),
        ("FROM a\nENV a b\nLABEL c d\n", vec!["LegacyKeyValueFormat:2", "LegacyKeyValueFormat:3"]),
        ("FROM foreign\n", vec!["InvalidBaseImagePlatform:1"]),
        ("FROM --platform=$TARGETPLATFORM a\n", vec!["RedundantTargetPlatform:1"]),
        ("FROM --platform=$BUILDPLATFORM a\n", vec![]),
        ("FROM --platform=linux/amd64 a\n", vec!["FromPlatformFlagConstDisallowed:1"]),
        ("FROM --platform=linux/amd64 a AS build_amd64\n", vec![]),
        (
            "FROM a\nARG API_KEY\nENV DB_PASSWORD=x token=y\n",
            vec!["SecretsUsedInArgOrEnv:2", "SecretsUsedInArgOrEnv:3", "SecretsUsedInArgOrEnv:3"],
        ),
        ("FROM a\nARG PUBLIC_KEY\nARG KEY_FILE\nARG MONKEY\nARG TOKEN_VERSION\n", vec![]),
        ("ARG VERSION\nFROM a:${VERSION}\n", vec!["InvalidDefaultArgInFrom:2"]),
        ("ARG VERSION=1\nFROM a:${VERSION}\n", vec![]),
        ("ARG IMAGE\nFROM ${IMAGE:-a}\n", vec![]),
        ("FROM a\nEXPOSE 80/TCP 81/udp\n", vec!["ExposeProtoCasing:2"]),
        (
            "FROM a\nEXPOSE 127.0.0.1:80:80 5000:5000\n",
            vec!["ExposeInvalidFormat:2", "ExposeInvalidFormat:2"],
        ),
        // Triggers run before the stage's own instructions.
        ("FROM a AS b\nONBUILD ARG x\nFROM b\nENV A=$x\n", vec![]),
        (
            "FROM a AS b\nONBUILD ENV x y\nFROM b\nENV A=$x\nFROM a\n",
            vec!["LegacyKeyValueFormat:3"],
        ),
        ("FROM triggers\nENV A=$x\n", vec![]),
        // Experimental, so only when asked for.
        ("# hello world\nARG foo=bar\nFROM a\n", vec![]),
        (
            "# check=experimental=InvalidDefinitionDescription\n# bar is it\nARG foo=bar\n# BasE is it\nFROM a AS base\n# no\nARG a=1 b=2\n",
            vec![
                "InvalidDefinitionDescription:3",
                "InvalidDefinitionDescription:5",
                "InvalidDefinitionDescription:7",
            ],
        ),
        (
            "# check=experimental=all\n# foo is it\nARG foo=bar\n# base is it\nFROM a AS base\n#\nARG x\n# c\nCOPY a b\n",
            vec![],
        ),
        // Skipping.
        ("# check=skip=MaintainerDeprecated\nFROM a\nMAINTAINER me\n", vec![]),
        ("# check=skip=all\nFROM a as b\nMAINTAINER me\n", vec![]),
        ("# check=skip=MaintainerDeprecated,FromAsCasing\nFROM a as b\nMAINTAINER me\n", vec![]),
        (
            "FROM a\n# check=skip=MaintainerDeprecated\nMAINTAINER me\nCMD x\n",
            vec!["JSONArgsRecommended:4"],
        ),
        ("FROM a\n# check=skip=JSONArgsRecommended why not\nCMD x\n", vec![]),
    ] {
        assert_eq!(found(&report(text)), expected, "{text}");
    }
}

#[test]
fn ignored_sources() {
    for (ignore, text, expected) in [
        ("Dockerfile", "FROM a\nCOPY Dockerfile .\nADD Dockerfile /x\n", 2),
        ("Dockerfile", "FROM a\nCOPY ./Dockerfile .\n", 1),
        ("docs", "FROM a\nCOPY docs/a .\n", 1),
        ("Dockerfile\n!x", "FROM a\nCOPY Dockerfile .\n", 0),
        ("Dockerfile", "FROM a AS b\nFROM a\nCOPY --from=b Dockerfile .\n", 0),
        ("*", "FROM a\nCOPY . .\n", 1),
        ("foo", "FROM a\nCOPY . .\n", 0),
        ("**", "FROM a\nADD https://example.com/x .\n", 0),
    ] {
        let ignore = Ignore::parse(ignore.as_bytes()).unwrap();
        let report = report_with(text, &inputs(), Some(&ignore));
        assert_eq!(found(&report).len(), expected, "{text}");
        assert!(report.warnings.iter().all(|warning| warning.rule == Rule::CopyIgnoredFile));
    }
}

#[test]
fn in_buildkits_words() {
    for (text, message) in [
        ("FROM a AS Build\n", "Stage name 'Build' should be lowercase"),
        ("FROM a as b\n", "'as' and 'FROM' keywords' casing do not match"),
        (
            "FROM a\nRun b\n",
            "Command 'Run' should match the case of the command majority (uppercase)",
        ),
        ("FROM a AS b\nFROM a AS b\n", "Duplicate stage name \"b\", stage names should be unique"),
        (
            "FROM a AS scratch\n",
            "Stage name should not use the same name as reserved stage \"scratch\"",
        ),
        (
            "FROM a\nCMD b\n",
            "JSON arguments recommended for CMD to prevent unintended behavior related to OS signals",
        ),
        ("FROM a\nMAINTAINER b\n", "Maintainer instruction is deprecated in favor of using label"),
        (
            "ARG version=1\nFROM a$verison\n",
            "FROM argument 'verison' is not declared (did you mean version?)",
        ),
        (
            "FROM a\nWORKDIR b\n",
            "Relative workdir \"b\" can have unexpected results if the base image changes",
        ),
        ("FROM a\nENV B=$PAHT\n", "Usage of undefined variable '$PAHT' (did you mean $PATH?)"),
        ("FROM a\nENV B=$ZZZZZZ\n", "Usage of undefined variable '$ZZZZZZ'"),
        (
            "FROM a\nCMD [\"b\"]\nCMD [\"c\"]\n",
            "Multiple CMD instructions should not be used in the same stage because only the last one will be used",
        ),
        (
            "FROM a\nENV b c\n",
            "\"ENV key=value\" should be used instead of legacy \"ENV key value\" format",
        ),
        (
            "FROM foreign\n",
            "Base image foreign was pulled with platform \"linux/arm64\", expected \"linux/amd64\" for current build",
        ),
        (
            "FROM --platform=${TARGETPLATFORM} a\n",
            "Setting platform to predefined ${TARGETPLATFORM} in FROM is redundant as this is the default behavior",
        ),
        (
            "FROM a\nARG TOKEN\n",
            "Do not use ARG or ENV instructions for sensitive data (ARG \"TOKEN\")",
        ),
        (
            "ARG X\nFROM $X\n",
            "Default value for ARG $X results in empty or invalid base image name",
        ),
        (
            "FROM --platform=linux/arm64 a\n",
            "FROM --platform flag should not use constant value \"linux/arm64\"",
        ),
        (
            "FROM a\nEXPOSE 80/Udp\n",
            "Defined protocol '80/Udp' in EXPOSE instruction should be lowercase",
        ),
        (
            "FROM a\nEXPOSE 1:2\n",
            "EXPOSE instruction should not define an IP address or host-port mapping, found '1:2'",
        ),
    ] {
        let report = report(text);
        assert_eq!(report.warnings[0].message, message, "{text}");
    }
}

#[test]
fn the_page_of_every_rule() {
    for rule in Rule::ALL {
        let url = rule.url();
        let page = url.strip_prefix("https://docs.docker.com/go/dockerfile/rule/");
        let page =
            page.and_then(|page| page.strip_suffix('/')).unwrap_or_default().replace('-', "");
        assert!(
            page == rule.name().to_lowercase() || rule == Rule::InvalidBaseImagePlatform,
            "{url}"
        );
        assert!(!rule.description().contains("  "));
    }
}

#[test]
fn printed_as_check_prints_it() {
    let report = report("FROM a AS x\n\nWORKDIR /x\nRUN a\nCMD b \\\n  c\n\nCMD [\"d\"]\n");
    let expected = "\
Check complete, 2 warnings have been found!

WARNING: JSONArgsRecommended - https://docs.docker.com/go/dockerfile/rule/json-args-recommended/
JSON arguments recommended for CMD to prevent unintended behavior related to OS signals
Dockerfile:5
--------------------
   4 |     RUN a
   5 | >>> CMD b \\
   6 | >>>   c
   7 |     
--------------------

WARNING: MultipleInstructionsDisallowed - https://docs.docker.com/go/dockerfile/rule/multiple-instructions-disallowed/
Multiple CMD instructions should not be used in the same stage because only the last one will be used
Dockerfile:5
--------------------
   4 |     RUN a
   5 | >>> CMD b \\
   6 | >>>   c
   7 |     
--------------------
";
    assert_eq!(report.to_text(false), expected);
    assert_eq!(
        report.summary("docker --debug"),
        " 2 warnings found (use docker --debug to expand):
 - JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals (line 5)
 - MultipleInstructionsDisallowed: Multiple CMD instructions should not be used in the same stage because only the last one will be used (line 5)
"
    );
    assert_eq!(report.violation(), None);
}

#[test]
fn a_clean_file() {
    let report = report("FROM a\nRUN b\n");
    assert_eq!(report.to_text(false), "Check complete, no warnings found.\n");
    assert_eq!(report.summary("x"), "");
    assert_eq!(report.to_text(true), "");
    assert!(report.warnings.is_empty());
}

#[test]
fn one_line_shows_two_around_it() {
    let report = report("FROM a\n\n\nMAINTAINER me");
    assert!(report.to_text(false).ends_with(
        "Dockerfile:4\n--------------------\n   2 |     \n   3 |     \n   4 | >>> MAINTAINER me\n--------------------\n"
    ));
}

#[test]
fn warnings_become_errors_when_asked_to() {
    let text = "# check=skip=FromAsCasing;error=true\nFROM a as b\nMAINTAINER me\nCMD x\n";
    let report_ = report(text);
    assert_eq!(
        report_.violation().as_deref(),
        Some("lint violation found for rules: JSONArgsRecommended, MaintainerDeprecated")
    );
    let mut inputs = inputs();
    inputs.build_args.insert("BUILDKIT_DOCKERFILE_CHECK".into(), "skip=all".into());
    let overridden = report_with(text, &inputs, None);
    assert!(overridden.warnings.is_empty() && overridden.violation().is_none());
    for bad in ["bogus", "what=1", "error=maybe"] {
        let report = report(&format!("# check={bad}\nFROM a\n"));
        assert!(report.error.unwrap().to_string().starts_with("failed to parse check options: "));
    }
}

#[test]
fn as_json() {
    let report = report("FROM a\nMAINTAINER \\\n  me\n");
    let json: serde_json::Value = serde_json::from_str(&report.to_json(None)).unwrap();
    assert_eq!(json["warnings"][0]["ruleName"], "MaintainerDeprecated");
    assert_eq!(json["warnings"][0]["location"]["ranges"][1]["start"]["line"], 3);
    assert_eq!(json["sources"][0]["filename"], "Dockerfile");
    assert_eq!(json["sources"][0]["data"], "RlJPTSBhCk1BSU5UQUlORVIgXAogIG1lCg==");
    assert!(json.get("buildError").is_none());
}

#[test]
fn a_bad_trigger_is_reported_where_it_would_run() {
    let report = report("FROM a AS b\nONBUILD BANANA\n\nFROM b\n");
    let error = report.error.unwrap();
    assert_eq!((error.to_string().as_str(), error.line()), ("unknown instruction: BANANA", 4));
}

#[test]
fn an_error_ends_the_checks_and_is_shown() {
    let report = report("FROM a as b\nCOPY --from=b x y\nEXPOSE nope\n");
    assert_eq!(report.warnings.len(), 1);
    let error = report.error.as_ref().unwrap();
    let text = error.to_string();
    let json = report.to_json(Some((&text, error.span())));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["buildError"]["location"]["ranges"][0]["start"]["line"], 2);
    assert!(json["buildError"]["message"].is_string());
}
