//! Every Dockerfile of the corpus gives what Docker gave for it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use tug_test::corpus::runner::{self, Outcome};
use tug_test::corpus::{Case, compare, dir, read, topics};
use tug_test::sandbox::Sandbox;
use tug_test::skip::skip;

/// A test per topic, so that they run side by side.
macro_rules! topic {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            same_as_docker(stringify!($name));
        })*

        #[test]
        fn every_topic_is_tested() {
            let tested = BTreeSet::from([$(stringify!($name).to_owned()),*]);
            assert_eq!(tested, topics().into_iter().collect());
        }
    };
}

topic!(
    add
    args
    config
    copy
    copy_flags
    files
    heredocs
    ignore
    malformed
    projects
    run
    stages
    syntax
);

fn same_as_docker(topic: &str) {
    let Some(recorded) = compare::recorded(topic) else {
        return skip("nothing of Docker's is recorded for this topic");
    };
    let meant = compare::meant();
    let s = Sandbox::new();
    let engine = |arguments: &[&str]| s.tug(arguments);
    let base = runner::base(&engine, s.dir());
    let mut wrong = String::new();
    for case in read(&dir().join(format!("{topic}.txt"))) {
        let outcome = runner::build(&case, &engine, &base, s.dir());
        let text = outcome.text();
        let Some(docker) = recorded.get(&case.name) else {
            let _ = writeln!(wrong, "=== {}\nnothing is recorded; tug:\n{text}", case.name);
            continue;
        };
        let mut docker = docker.clone();
        if let Some(line) = case.lines("line").first() {
            docker = docker.replace("fails\n", &format!("fails at line {line}\n"));
        }
        let difference = compare::difference(&docker, &text);
        let accepted = meant.get(&case.name).map_or("", |lines| lines.trim_end());
        if accepted != difference.trim_end() {
            let _ = writeln!(wrong, "=== {}\n{difference}", case.name);
            if let Outcome::Failed { said, .. } = &outcome {
                wrong.push_str(said);
            }
        }
        words(&case, &outcome, &mut wrong);
    }
    assert!(wrong.is_empty(), "not as Docker (-) has it:\n{wrong}");
}

/// What fails says what its case asks for.
fn words(case: &Case, outcome: &Outcome, wrong: &mut String) {
    for wanted in case.lines("says").into_iter().filter(|line| !line.trim().is_empty()) {
        match outcome {
            Outcome::Failed { said, .. } if said.contains(wanted) => {}
            Outcome::Failed { said, .. } => {
                let _ = writeln!(wrong, "=== {}\nmust say {wanted:?}:\n{said}", case.name);
            }
            Outcome::Built(_) => {
                let _ = writeln!(wrong, "=== {}\nmust fail and say {wanted:?}", case.name);
            }
        }
    }
}

#[test]
fn there_are_as_many_as_promised_and_each_difference_has_its_case() {
    let mut names = BTreeSet::new();
    let (mut good, mut bad) = (0, 0);
    for topic in topics() {
        let cases = read(&dir().join(format!("{topic}.txt")));
        if topic == "malformed" {
            bad += cases.len()
        } else {
            good += cases.len()
        }
        names.extend(cases.into_iter().map(|case| case.name));
    }
    assert!(good >= 150 && bad >= 100, "{good} to build, {bad} to refuse");
    for name in compare::meant().keys() {
        assert!(names.contains(name), "differences.txt names {name}, which is no case");
    }
}
