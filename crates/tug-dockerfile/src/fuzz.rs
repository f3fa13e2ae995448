//! What a fuzzer can feed: everything this crate does with text from strangers.

use std::collections::BTreeMap;

use crate::check::{BaseImage, CheckContext, check};
use crate::expand::{Expander, Variables};
use crate::ignore::{Ignore, Verdict};
use crate::parse::{detect_syntax, parse, parse_trigger};
use crate::scope::{GlobalScope, Inputs};
use crate::span::Span;
use crate::stage_scope::StageScope;
use crate::stages::StageGraph;

/// Puts `bytes` through the parser and all that follows it, the ignore file reader and word expansion.
/// Must return, whatever they are.
///
/// # Panics
/// When a span lies outside the text, or the ignore file's two ways of asking differ: what a fuzzer is
/// there to find.
pub fn exercise(bytes: &[u8]) {
    detect_syntax(bytes);
    dockerfile(bytes);
    let _ = parse_trigger("trigger", &String::from_utf8_lossy(bytes));
    words(bytes);
    ignore_file(bytes);
}

/// Expands the variables of `bytes` in every way there is.
pub fn words(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let variables: BTreeMap<String, String> = [("a".to_owned(), "b c/d".to_owned())].into();
    for expander in
        [Expander::new('\\'), Expander { raw_quotes: true, keep_unset: true, ..Expander::new('`') }]
    {
        let _ = expander.expand(&text, &variables as &dyn Variables);
    }
}

fn dockerfile(bytes: &[u8]) {
    let file = match parse("Dockerfile", bytes) {
        Ok(file) => file,
        Err(error) => {
            let _ = (error.to_string(), error.excerpt(), error.problem().hint());
            return;
        }
    };
    let inside = |span: Span| {
        assert!(span.line() >= 1 && span.end.line <= file.source.line_count(), "{span:?}");
    };
    let inputs = Inputs::host();
    let Ok(global) = GlobalScope::new(&file, &inputs) else { return };
    for stage in &file.stages {
        inside(stage.head.span);
        let mut scope = StageScope::on_image(&global, ["a=b"]);
        for step in &stage.steps {
            inside(step.head.span);
            match scope.evaluate(step) {
                Ok(evaluated) => evaluated.undefined.iter().for_each(|name| inside(name.span)),
                Err(error) => {
                    let _ = (error.to_string(), error.excerpt());
                }
            }
        }
    }
    if let Ok(graph) = StageGraph::new(&file, &global) {
        let _ = graph.needed(&file, file.stages.len() - 1);
    }
    let bases = |_: &str, _: &crate::platform::Platform| Some(BaseImage::default());
    let report =
        check(&file, &CheckContext { inputs: &inputs, ignore: None, bases: &bases, stages: None });
    let _ = (report.to_text(false), report.to_json(None), report.summary("x"));
}

/// Reads `bytes` as an ignore file and asks it about some paths.
///
/// # Panics
/// When its two ways of asking differ.
pub fn ignore_file(bytes: &[u8]) {
    let Ok(ignore) = Ignore::parse(bytes) else { return };
    let mut verdict = Verdict::default();
    for path in ["a", "a/b", "a/b/c.txt"] {
        let before = verdict;
        verdict = ignore.verdict(path, &before);
        assert_eq!(verdict.ignored, ignore.is_ignored(path), "{path}");
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        // What an ignored directory holds can come back only where that was foretold.
        assert!(verdict.ignored || !before.ignored || ignore.may_reenter(parent), "{path}");
    }
}
