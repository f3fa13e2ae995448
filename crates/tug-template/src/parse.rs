//! From tokens to trees.

mod pipe;

use crate::number;
use crate::token::{Kind, Token, tokens};
use crate::tree::{Control, List, Node};
use crate::{Error, Functions, quote};
use std::collections::HashMap;

/// How deep actions and parentheses may nest: every level takes room on the stack.
const DEPTH: usize = 200;

/// Reads a text into its templates: the main one has the empty name.
pub(crate) fn parse(text: &str, functions: &Functions) -> Result<HashMap<String, List>, Error> {
    let mut parser = Parser {
        tokens: tokens(text),
        next: 0,
        functions,
        trees: HashMap::new(),
        scope: Scope::new(),
        action_line: 0,
        depth: 0,
    };
    let main = parser.top()?;
    parser.add(String::new(), main)?;
    Ok(parser.trees)
}

struct Parser<'a> {
    tokens: Vec<Token>,
    next: usize,
    functions: &'a Functions,
    trees: HashMap<String, List>,
    scope: Scope,
    action_line: usize,
    depth: usize,
}

/// What may be named where the parser is.
struct Scope {
    variables: Vec<String>,
    ranges: usize,
}

impl Scope {
    fn new() -> Self {
        Self { variables: vec!["$".to_owned()], ranges: 0 }
    }
}

/// What ended a list.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    End,
    Else,
}

impl Ended {
    fn shown(self) -> &'static str {
        match self {
            Self::End => "{{end}}",
            Self::Else => "{{else}}",
        }
    }
}

/// A step, or what ends the steps.
enum Step {
    Node(Node),
    Ended(Ended),
}

impl Parser<'_> {
    fn flaw<T>(&self, message: impl Into<String>) -> Result<T, Error> {
        let line = self.tokens[self.next.saturating_sub(1).min(self.tokens.len() - 1)].line;
        Err(Error::Parse { line, message: message.into() })
    }

    fn unexpected<T>(&self, token: &Token, context: &str) -> Result<T, Error> {
        if token.kind != Kind::Flaw {
            return self.flaw(format!("unexpected {} in {context}", token.shown()));
        }
        let started = match self.action_line {
            line if line == 0 || line == token.line => String::new(),
            line if token.text.ends_with(" action") => format!(" started at :{line}"),
            line => format!(" in action started at :{line}"),
        };
        self.flaw(format!("{}{started}", token.text))
    }

    /// The last token is handed out again and again.
    fn token(&mut self) -> Token {
        let token = self.peek().clone();
        self.next = (self.next + 1).min(self.tokens.len());
        token
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.next.min(self.tokens.len() - 1)]
    }

    fn back(&mut self) {
        self.next = self.next.saturating_sub(1);
    }

    fn skip_space(&mut self) {
        while self.peek().kind == Kind::Space {
            self.next += 1;
        }
    }

    fn word(&mut self) -> Token {
        self.skip_space();
        self.token()
    }

    fn peek_word(&mut self) -> &Token {
        self.skip_space();
        self.peek()
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Result<Token, Error> {
        let token = self.word();
        if token.kind == kind { Ok(token) } else { self.unexpected(&token, context) }
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        if self.depth >= DEPTH {
            return self.flaw(format!("nested more than {DEPTH} levels deep"));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    fn add(&mut self, name: String, list: List) -> Result<(), Error> {
        let blank = |list: &List| {
            list.iter().all(|node| matches!(node, Node::Text(text) if text.trim().is_empty()))
        };
        match self.trees.get(&name) {
            Some(known) if !blank(known) && !blank(&list) => {
                self.flaw(format!("template: multiple definition of template {}", quote(&name)))
            }
            Some(known) if !blank(known) => Ok(()),
            _ => {
                self.trees.insert(name, list);
                Ok(())
            }
        }
    }

    fn top(&mut self) -> Result<List, Error> {
        let mut list = List::new();
        loop {
            match self.peek().kind {
                Kind::End => return Ok(list),
                Kind::Open => {
                    let start = self.next;
                    self.token();
                    let word = self.word();
                    if word.kind == Kind::Word && word.text == "define" {
                        self.definition()?;
                        continue;
                    }
                    self.next = start;
                }
                _ => {}
            }
            match self.step()? {
                Step::Node(node) => list.push(node),
                Step::Ended(ended) => return self.flaw(format!("unexpected {}", ended.shown())),
            }
        }
    }

    fn definition(&mut self) -> Result<(), Error> {
        const CONTEXT: &str = "define clause";
        let name = self.name(CONTEXT)?;
        self.expect(Kind::Close, CONTEXT)?;
        let list = self.separate(CONTEXT)?;
        self.add(name, list)
    }

    /// A list with a scope of its own, up to its end.
    fn separate(&mut self, context: &str) -> Result<List, Error> {
        let outer = std::mem::replace(&mut self.scope, Scope::new());
        let (list, ended) = self.deeper(Self::list)?;
        self.scope = outer;
        match ended {
            Ended::End => Ok(list),
            Ended::Else => self.flaw(format!("unexpected {} in {context}", ended.shown())),
        }
    }

    fn name(&mut self, context: &str) -> Result<String, Error> {
        let token = self.word();
        match token.kind {
            Kind::String | Kind::RawString => self.unquoted(&token),
            _ => self.unexpected(&token, context),
        }
    }

    fn unquoted(&self, token: &Token) -> Result<String, Error> {
        number::unquote(&token.text).map_or_else(|| self.flaw("invalid syntax"), Ok)
    }

    fn list(&mut self) -> Result<(List, Ended), Error> {
        let mut list = List::new();
        while self.peek_word().kind != Kind::End {
            match self.step()? {
                Step::Node(node) => list.push(node),
                Step::Ended(ended) => return Ok((list, ended)),
            }
        }
        self.token();
        self.flaw("unexpected EOF")
    }

    fn step(&mut self) -> Result<Step, Error> {
        let token = self.word();
        match token.kind {
            Kind::Text => Ok(Step::Node(Node::Text(token.text))),
            Kind::Open => {
                self.action_line = token.line;
                let step = self.action();
                self.action_line = 0;
                step
            }
            _ => self.unexpected(&token, "input"),
        }
    }

    fn action(&mut self) -> Result<Step, Error> {
        let token = self.word();
        let at = token.at;
        let word = if token.kind == Kind::Word { token.text.as_str() } else { "" };
        let node = match word {
            "block" => self.block()?,
            "break" => {
                self.in_range("{{break}}")?;
                Node::Break { at }
            }
            "continue" => {
                self.in_range("{{continue}}")?;
                Node::Continue { at }
            }
            "else" => {
                let next = self.peek_word();
                let chained = next.kind == Kind::Word && matches!(&*next.text, "if" | "with");
                if !chained {
                    self.expect(Kind::Close, "else")?;
                }
                return Ok(Step::Ended(Ended::Else));
            }
            "end" => {
                self.expect(Kind::Close, "end")?;
                return Ok(Step::Ended(Ended::End));
            }
            "if" => self.deeper(|parser| parser.control(Control::If, at))?,
            "range" => self.deeper(|parser| parser.control(Control::Range, at))?,
            "with" => self.deeper(|parser| parser.control(Control::With, at))?,
            "template" => self.call()?,
            _ => {
                self.back();
                Node::Action { at, pipe: self.pipe("command", Kind::Close)? }
            }
        };
        Ok(Step::Node(node))
    }

    fn in_range(&mut self, shown: &str) -> Result<(), Error> {
        self.expect(Kind::Close, shown)?;
        match self.scope.ranges {
            0 => self.flaw(format!("{shown} outside {{{{range}}}}")),
            _ => Ok(()),
        }
    }

    fn control(&mut self, kind: Control, at: usize) -> Result<Node, Error> {
        let known = self.scope.variables.len();
        let pipe = self.pipe(kind.word(), Kind::Close)?;
        let in_range = usize::from(kind == Control::Range);
        self.scope.ranges += in_range;
        let (list, ended) = self.list()?;
        self.scope.ranges -= in_range;
        let other = match ended {
            Ended::End => None,
            Ended::Else => Some(self.otherwise(kind)?),
        };
        self.scope.variables.truncate(known);
        Ok(Node::Control { at, kind, pipe, list, other })
    }

    /// What follows `else`; `else if` holds another `if` that takes the `end` with it.
    fn otherwise(&mut self, kind: Control) -> Result<List, Error> {
        let next = self.peek().clone();
        if next.kind == Kind::Word && kind != Control::Range && next.text == kind.word() {
            self.token();
            return Ok(vec![self.deeper(|parser| parser.control(kind, next.at))?]);
        }
        match self.list()? {
            (list, Ended::End) => Ok(list),
            (_, ended) => self.flaw(format!("expected end; found {}", ended.shown())),
        }
    }

    fn block(&mut self) -> Result<Node, Error> {
        const CONTEXT: &str = "block clause";
        let at = self.peek_word().at;
        let name = self.name(CONTEXT)?;
        let pipe = self.pipe(CONTEXT, Kind::Close)?;
        let list = self.separate(CONTEXT)?;
        self.add(name.clone(), list)?;
        Ok(Node::Template { at, name, pipe: Some(pipe) })
    }

    fn call(&mut self) -> Result<Node, Error> {
        const CONTEXT: &str = "template clause";
        let at = self.peek_word().at;
        let name = self.name(CONTEXT)?;
        let pipe = match self.peek_word().kind {
            Kind::Close => {
                self.token();
                None
            }
            _ => Some(self.pipe(CONTEXT, Kind::Close)?),
        };
        Ok(Node::Template { at, name, pipe })
    }
}
