//! Pipelines: declarations, commands, operands.

use super::Parser;
use crate::number;
use crate::token::Kind;
use crate::tree::{Command, Operand, Pipe, Term};
use crate::{Error, quote};

impl Parser<'_> {
    pub(super) fn pipe(&mut self, context: &str, end: Kind) -> Result<Pipe, Error> {
        let at = self.peek_word().at;
        let mut pipe = Pipe { at, assigns: false, variables: Vec::new(), commands: Vec::new() };
        self.declarations(&mut pipe, context)?;
        loop {
            let token = self.word();
            match token.kind {
                kind if kind == end => break,
                Kind::Word if token.text != "nil" => return self.unexpected(&token, context),
                Kind::Bool
                | Kind::Char
                | Kind::Dot
                | Kind::Field
                | Kind::Name
                | Kind::Number
                | Kind::Word
                | Kind::RawString
                | Kind::String
                | Kind::Variable
                | Kind::OpenParen => {
                    self.back();
                    let command = self.command()?;
                    pipe.commands.push(command);
                }
                _ => return self.unexpected(&token, context),
            }
        }
        self.check(&pipe, context)?;
        Ok(pipe)
    }

    /// `$a :=`, `$a =`, and in `range` `$a, $b :=`.
    fn declarations(&mut self, pipe: &mut Pipe, context: &str) -> Result<(), Error> {
        while self.peek_word().kind == Kind::Variable {
            let start = self.next;
            let variable = self.token().text;
            match self.word().kind {
                kind @ (Kind::Assign | Kind::Declare) => {
                    pipe.assigns = kind == Kind::Assign;
                    self.declare(pipe, variable);
                    return Ok(());
                }
                Kind::Comma => {
                    self.declare(pipe, variable);
                    if context != "range" || pipe.variables.len() > 1 {
                        return self.flaw(format!("too many declarations in {context}"));
                    }
                    if !matches!(
                        self.peek_word().kind,
                        Kind::Variable | Kind::Close | Kind::CloseParen
                    ) {
                        return self.flaw("range can only initialize variables");
                    }
                }
                _ => {
                    self.next = start;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn declare(&mut self, pipe: &mut Pipe, variable: String) {
        self.scope.variables.push(variable.clone());
        pipe.variables.push(variable);
    }

    fn check(&self, pipe: &Pipe, context: &str) -> Result<(), Error> {
        if pipe.commands.is_empty() {
            return self.flaw(format!("missing value for {context}"));
        }
        for (number, command) in pipe.commands.iter().enumerate().skip(1) {
            let executable = !matches!(
                command.words.first().map(|word| &word.term),
                Some(
                    Term::Bool(_)
                        | Term::Dot
                        | Term::Nil
                        | Term::Number { .. }
                        | Term::String { .. }
                )
            );
            if !executable {
                let stage = number + 1;
                return self.flaw(format!("non executable command in pipeline stage {stage}"));
            }
        }
        Ok(())
    }

    fn command(&mut self) -> Result<Command, Error> {
        let at = self.peek_word().at;
        let mut words = Vec::new();
        loop {
            self.skip_space();
            words.extend(self.operand()?);
            let token = self.token();
            match token.kind {
                Kind::Space => {}
                Kind::Close | Kind::CloseParen => {
                    self.back();
                    break;
                }
                Kind::Pipe => break,
                _ => return self.unexpected(&token, "operand"),
            }
        }
        match words.is_empty() {
            true => self.flaw("empty command"),
            false => Ok(Command { at, words }),
        }
    }

    fn operand(&mut self) -> Result<Option<Operand>, Error> {
        let Some(operand) = self.term()? else { return Ok(None) };
        if self.peek().kind != Kind::Field {
            return Ok(Some(operand));
        }
        // Where a chain of fields fails, Go points at its second field.
        let at = self.peek().at;
        let mut names = Vec::new();
        while self.peek().kind == Kind::Field {
            names.push(self.token().text[1..].to_owned());
        }
        let joined = |first: Vec<String>| [first, names.clone()].concat();
        let term = match operand.term {
            Term::Field(first) => Term::Field(joined(first)),
            Term::Variable(first) => Term::Variable(joined(first)),
            Term::Bool(_) | Term::String { .. } | Term::Number { .. } | Term::Nil | Term::Dot => {
                let shown = quote(&operand.to_string());
                return self.flaw(format!("unexpected . after term {shown}"));
            }
            Term::Function(_) | Term::Pipe(_) | Term::Chain(..) => {
                Term::Chain(Box::new(operand), names)
            }
        };
        Ok(Some(Operand { at, term }))
    }

    fn term(&mut self) -> Result<Option<Operand>, Error> {
        let token = self.word();
        let term = match token.kind {
            Kind::Name if self.functions.knows(&token.text) => Term::Function(token.text),
            Kind::Name => {
                return self.flaw(format!("function {} not defined", quote(&token.text)));
            }
            Kind::Dot => Term::Dot,
            Kind::Word if token.text == "nil" => Term::Nil,
            Kind::Variable if self.scope.variables.contains(&token.text) => {
                Term::Variable(vec![token.text])
            }
            Kind::Variable => {
                return self.flaw(format!("undefined variable {}", quote(&token.text)));
            }
            Kind::Field => Term::Field(vec![token.text[1..].to_owned()]),
            Kind::Bool => Term::Bool(token.text == "true"),
            Kind::Number => match number::read(&token.text) {
                Some(number) => Term::Number { text: token.text, number, is_char: false },
                None => {
                    let flaw = match number::is_huge(&token.text) {
                        true => "integer overflow",
                        false => "illegal number syntax",
                    };
                    return self.flaw(format!("{flaw}: {}", quote(&token.text)));
                }
            },
            Kind::Char => self.character(token.text)?,
            Kind::OpenParen => {
                let pipe =
                    self.deeper(|parser| parser.pipe("parenthesized pipeline", Kind::CloseParen))?;
                Term::Pipe(pipe)
            }
            Kind::String | Kind::RawString => {
                Term::String { text: self.unquoted(&token)?, quoted: token.text }
            }
            _ => {
                self.back();
                return Ok(None);
            }
        };
        Ok(Some(Operand { at: token.at, term }))
    }

    /// `'a'` is a number, as in Go.
    fn character(&self, text: String) -> Result<Term, Error> {
        let plain = number::unquote(&text).unwrap_or_default();
        if plain.is_empty() {
            return self.flaw("invalid syntax");
        }
        let mut chars = plain.chars();
        let (Some(c), None) = (chars.next(), chars.next()) else {
            return self.flaw(format!("malformed character constant: {text}"));
        };
        let code = u32::from(c);
        let number = number::Number {
            int: Some(i64::from(code)),
            uint: Some(u64::from(code)),
            float: Some(f64::from(code)),
        };
        Ok(Term::Number { text, number, is_char: true })
    }
}
