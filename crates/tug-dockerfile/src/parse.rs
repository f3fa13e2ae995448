//! The parser: bytes into a [`Dockerfile`].

use std::ops::Range;
use std::sync::Arc;

use crate::ast::{Arg, Directives, Dockerfile, GlobalArg, Head, Heredoc, Instruction, Stage, Step};
use crate::diagnostic::Diagnostic;
use crate::directive;
use crate::fault::Fault;
use crate::flags::{Flags, Known};
use crate::instruction;
use crate::lines::{Logical, Reader};
use crate::problem::Problem;
use crate::shape::{Body, KEYWORDS, Shape};
use crate::source::Source;
use crate::span::{Span, Spanned};
use crate::suggest::nearest;
use crate::words::Word;

/// Parses a Dockerfile. `name` is what messages call it.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn parse(name: &str, bytes: &[u8]) -> Result<Dockerfile, Diagnostic> {
    let source = Arc::new(Source::new(name, bytes));
    let nowhere = |problem| Err(Diagnostic::parse(problem, &source, Span::default()));
    if bytes.is_empty() {
        return nowhere(Problem::EmptyFile);
    }
    let mut file = Dockerfile {
        source: source.clone(),
        directives: Directives {
            syntax: directive::syntax(&source),
            escape: None,
            check: directive::find(&source, "check"),
        },
        escape: '\\',
        global_args: Vec::new(),
        stages: Vec::new(),
        empty_continuations: Vec::new(),
    };
    let mut reader = Reader::new(&source);
    let mut empty = true;
    while let Some(entry) = Entry::next(&mut reader, &source)? {
        empty = false;
        if entry.logical.has_empty_line {
            file.empty_continuations.push(source.line_span(entry.logical.last));
        }
        add(&mut file, entry)?;
    }
    file.escape = reader.escape;
    file.directives.escape = reader.escape_directive;
    if empty {
        return nowhere(Problem::NoInstructions);
    }
    if file.stages.is_empty() {
        return nowhere(Problem::NoStages);
    }
    Ok(file)
}

/// The frontend a file asks for, whatever language it is in: `# syntax=`, `// syntax=` or
/// `{"syntax": "…"}`, a `#!` line before it skipped.
pub fn detect_syntax(bytes: &[u8]) -> Option<String> {
    directive::syntax(&Source::new("", bytes)).map(|found| found.value)
}

/// Reads an `ONBUILD` trigger as an image config keeps it. Spans point into the trigger's own text,
/// called `name`.
///
/// # Errors
/// When it is not exactly one instruction that a stage may hold.
pub fn parse_trigger(name: &str, expression: &str) -> Result<Step, Diagnostic> {
    let source = Arc::new(Source::new(name, expression.as_bytes()));
    let mut reader = Reader::new(&source);
    let fail = || Diagnostic::parse(Problem::TriggerCount, &source, source.line_span(1));
    let entry = Entry::next(&mut reader, &source)?.ok_or_else(fail)?;
    let step = entry.step()?;
    match Entry::next(&mut reader, &source)? {
        None => Ok(step),
        Some(_) => Err(fail()),
    }
}

/// One instruction with its here-documents, not yet looked into.
struct Entry {
    source: Arc<Source>,
    logical: Logical,
    shape: Shape,
    heredocs: Vec<Heredoc>,
    span: Span,
}

impl Entry {
    fn next(reader: &mut Reader, source: &Arc<Source>) -> Result<Option<Self>, Diagnostic> {
        let Some(logical) = reader.next()? else { return Ok(None) };
        let place = Place { source, logical: &logical };
        let shape =
            Shape::of(&logical.text, reader.escape).map_err(|fault| place.diagnostic(fault))?;
        let mut heredocs = Vec::new();
        if shape.takes_heredocs() && logical.text.contains("<<") {
            let marks = crate::heredoc::marks(&logical.text)
                .map_err(|error| place.diagnostic(Problem::HeredocWord(error).into()))?;
            for mark in marks {
                heredocs.push(content(mark, reader, &place)?);
            }
        }
        let span = logical.whole(source, reader.last());
        if let Some(line) = source.broken_line(span.lines()) {
            let problem = Problem::NotUtf8 { line };
            return Err(Diagnostic::parse(problem, source, span).at(Some(source.line_span(line))));
        }
        Ok(Some(Self { source: source.clone(), logical, shape, heredocs, span }))
    }

    fn head(&self) -> Head {
        Head {
            keyword: self.shape.keyword.text.clone(),
            code: self.logical.text.trim().to_owned(),
            span: self.span,
            comments: self.logical.comments.clone(),
        }
    }

    fn fail(&self, fault: Fault) -> Diagnostic {
        let mark = fault.at.map(|range| self.logical.span(&self.source, &range));
        Diagnostic::parse(fault.problem, &self.source, self.span).at(mark)
    }

    fn unknown(&self) -> Diagnostic {
        let word = &self.shape.keyword;
        let problem = Problem::UnknownInstruction {
            name: word.text.clone(),
            suggestion: nearest(&word.text, KEYWORDS, false),
        };
        self.fail(Fault::at(problem, word.range.clone()))
    }

    fn step(mut self) -> Result<Step, Diagnostic> {
        match self.shape.name {
            None => return Err(self.unknown()),
            // Only a trigger can be one here.
            Some("FROM") => {
                let problem = Problem::OnbuildTrigger { name: "FROM".to_owned() };
                return Err(self.fail(Fault::at(problem, self.shape.keyword.range.clone())));
            }
            Some(_) => {}
        }
        let head = self.head();
        let heredocs = std::mem::take(&mut self.heredocs);
        let spans = |range: &Range<usize>| self.logical.span(&self.source, range);
        let context = instruction::Context {
            line: &self.logical.text,
            comments: &head.comments,
            spans: &spans,
        };
        match instruction::read(&self.shape, heredocs, &context) {
            Ok(instruction) => Ok(Step { head, instruction }),
            Err(fault) => Err(self.fail(fault)),
        }
    }
}

struct Place<'a> {
    source: &'a Arc<Source>,
    logical: &'a Logical,
}

impl Place<'_> {
    fn diagnostic(&self, fault: Fault) -> Diagnostic {
        let mark = fault.at.map(|range| self.logical.span(self.source, &range));
        let span = self.logical.whole(self.source, self.logical.last);
        Diagnostic::parse(fault.problem, self.source, span).at(mark)
    }
}

/// Reads a here-document's lines up to the one that ends it.
fn content(
    mut heredoc: Heredoc,
    reader: &mut Reader,
    place: &Place<'_>,
) -> Result<Heredoc, Diagnostic> {
    while let Some((_, line)) = reader.raw() {
        let bare = line.trim_end_matches(['\r', '\n']);
        let end = if heredoc.chomp { bare.trim_start_matches('\t') } else { bare };
        if end == heredoc.name {
            return Ok(heredoc);
        }
        heredoc.content.push_str(&line);
    }
    let at = place.logical.text.find("<<").map(|at| at..place.logical.text.len());
    let at = at.map(|range| {
        let text = &place.logical.text[range.clone()];
        let end = text.find(&heredoc.name).map_or(2, |at| at + heredoc.name.len());
        range.start..range.start + end
    });
    Err(place
        .diagnostic(Fault { problem: Problem::UnterminatedHeredoc { name: heredoc.name }, at }))
}

/// Puts an instruction where it belongs.
fn add(file: &mut Dockerfile, entry: Entry) -> Result<(), Diagnostic> {
    match entry.shape.name {
        Some("FROM") => {
            let stage = stage(file.stages.len(), &entry).map_err(|fault| entry.fail(fault))?;
            file.stages.push(stage);
        }
        Some("ARG") if file.stages.is_empty() => {
            let step = entry.step()?;
            if let Instruction::Arg(args) = step.instruction {
                file.global_args.push(GlobalArg { head: step.head, args });
            }
        }
        None => return Err(entry.unknown()),
        Some(name) => match file.stages.last_mut() {
            Some(stage) => stage.steps.push(entry.step()?),
            None => {
                let at = entry.shape.keyword.range.clone();
                return Err(
                    entry.fail(Fault::at(Problem::BeforeFrom { name: name.to_owned() }, at))
                );
            }
        },
    }
    Ok(())
}

const FROM_FLAGS: Known =
    Known { instruction: "FROM", names: &["platform"], switches: &[], lists: &[] };

fn stage(index: usize, entry: &Entry) -> Result<Stage, Fault> {
    let words = match &entry.shape.body {
        Body::Words(words) => words.as_slice(),
        _ => &[],
    };
    let spanned = |word: &Word| {
        Spanned::new(word.text.clone(), entry.logical.span(&entry.source, &word.range))
    };
    let (base, name) = match words {
        [base] => (base, None),
        [base, between, name] if between.text.eq_ignore_ascii_case("as") => {
            (base, Some((between, name)))
        }
        words => return Err(from_arguments(words)),
    };
    if let Some((_, name)) = name {
        let lower = name.text.to_lowercase();
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
        if !lower.starts_with(|c: char| c.is_ascii_lowercase()) || !lower.chars().all(fits) {
            return Err(Fault::at(
                Problem::StageName { name: name.text.clone() },
                name.range.clone(),
            ));
        }
    }
    let flags = Flags::read(&entry.shape.flags, &FROM_FLAGS)?;
    let platform = flags.get("platform").filter(|given| !given.value.is_empty()).map(|given| {
        Spanned::new(given.value.clone(), entry.logical.span(&entry.source, &given.range))
    });
    let head = entry.head();
    let lower = name.map(|(_, name)| Spanned::new(name.text.to_lowercase(), spanned(name).span));
    Ok(Stage {
        index,
        doc: lower.as_ref().and_then(|name| description(&head.comments, &name.value)),
        written_name: name.map(|(_, name)| name.text.clone()),
        as_keyword: name.map(|(between, _)| between.text.clone()),
        name: lower,
        base: spanned(base),
        platform,
        head,
        steps: Vec::new(),
    })
}

/// Points at the first word that should not be there.
fn from_arguments(words: &[Word]) -> Fault {
    let extra = match words {
        [_, second, ..] if !second.text.eq_ignore_ascii_case("as") => Some(second),
        [_, _, _, fourth, ..] => Some(fourth),
        [_, second] => Some(second),
        _ => None,
    };
    let problem = Problem::FromArguments { extra: extra.map(|word| word.text.clone()) };
    Fault { problem, at: extra.map(|word| word.range.clone()) }
}

/// What a comment `# <name> <description>` says of `name`.
pub(crate) fn description(comments: &[String], name: &str) -> Option<String> {
    comments.iter().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(' ')?.to_owned()))
}

/// The names and values of an `ARG`.
pub(crate) fn arguments(
    words: &[Word],
    context: &instruction::Context<'_>,
) -> Result<Vec<Arg>, Fault> {
    words
        .iter()
        .map(|word| {
            let (key, value) = match word.text.split_once('=') {
                Some(("", _)) => {
                    return Err(Fault::at(
                        Problem::BlankName { instruction: "ARG" },
                        word.range.clone(),
                    ));
                }
                Some((key, value)) => (key, Some(value.to_owned())),
                None => (word.text.as_str(), None),
            };
            let doc = description(context.comments, key);
            Ok(Arg { key: key.to_owned(), value, doc, span: (context.spans)(&word.range) })
        })
        .collect()
}
