//! From text to tokens: text between actions, and the words inside them.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A flaw; the token's text says which.
    Flaw,
    End,
    /// Outside actions.
    Text,
    Open,
    Close,
    Space,
    /// A name of a function.
    Name,
    /// A reserved word.
    Word,
    /// `.Name`
    Field,
    /// `$name`
    Variable,
    Dot,
    Bool,
    /// A number; `'a'` is one too.
    Number,
    Char,
    String,
    RawString,
    Declare,
    Assign,
    Pipe,
    Comma,
    /// What means nothing in an action.
    Other,
    OpenParen,
    CloseParen,
}

/// One token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    /// Bytes before it.
    pub(crate) at: usize,
    pub(crate) line: usize,
    pub(crate) text: String,
}

impl Token {
    /// As errors quote it.
    pub(crate) fn shown(&self) -> String {
        match self.kind {
            Kind::End => "EOF".to_owned(),
            Kind::Flaw => self.text.clone(),
            Kind::Word | Kind::Dot => format!("<{}>", self.text),
            _ if self.text.len() > 10 => {
                let start: String = self.text.chars().take(10).collect();
                format!("{}...", crate::quote(&start))
            }
            _ => crate::quote(&self.text),
        }
    }
}

/// Reserved words.
const WORDS: &[&str] = &[
    "block", "break", "continue", "define", "else", "end", "if", "nil", "range", "template", "with",
];

/// White space inside actions.
const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

/// Cuts a text. The last token is the end or a flaw.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut lexer = Lexer { text, at: 0, line: 1, parens: 0, tokens: Vec::new() };
    if let Err(flaw) = lexer.outside() {
        let (at, line) = (lexer.at, lexer.line);
        lexer.tokens.push(Token { kind: Kind::Flaw, at, line, text: flaw });
    }
    lexer.tokens
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    parens: usize,
    tokens: Vec<Token>,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    /// The next so many bytes as a token.
    fn take(&mut self, kind: Kind, length: usize) {
        let text = self.text[self.at..self.at + length].to_owned();
        let (at, line) = (self.at, self.line);
        self.skip(length);
        self.tokens.push(Token { kind, at, line, text });
    }

    fn skip(&mut self, length: usize) {
        let passed = &self.text[self.at..self.at + length];
        self.line += passed.bytes().filter(|b| *b == b'\n').count();
        self.at += length;
    }

    /// Text and actions in turns.
    fn outside(&mut self) -> Result<(), String> {
        loop {
            let Some(length) = self.rest().find("{{") else {
                let length = self.rest().len();
                if length > 0 {
                    self.take(Kind::Text, length);
                }
                self.take(Kind::End, 0);
                return Ok(());
            };
            let trims = opens_trimmed(&self.rest()[length + 2..]);
            let kept = match trims {
                true => self.rest()[..length].trim_end_matches(BLANKS).len(),
                false => length,
            };
            if kept > 0 {
                self.take(Kind::Text, kept);
            }
            self.skip(length - kept);
            let marker = if trims { 2 } else { 0 };
            if self.rest()[2 + marker..].starts_with("/*") {
                self.skip(2 + marker);
                self.comment()?;
                continue;
            }
            self.take(Kind::Open, 2);
            self.skip(marker);
            self.parens = 0;
            self.inside()?;
        }
    }

    fn comment(&mut self) -> Result<(), String> {
        let Some(end) = self.rest().find("*/") else { return Err("unclosed comment".to_owned()) };
        self.skip(end + 2);
        let trims = closes_trimmed(self.rest());
        let marker = if trims { 2 } else { 0 };
        if !self.rest()[marker..].starts_with("}}") {
            return Err("comment ends before closing delimiter".to_owned());
        }
        self.close(marker, trims);
        Ok(())
    }

    /// Passes `}}` and, when it trims, the blanks behind.
    fn close(&mut self, marker: usize, trims: bool) {
        self.skip(marker + 2);
        if trims {
            let blanks = self.rest().len() - self.rest().trim_start_matches(BLANKS).len();
            self.skip(blanks);
        }
    }

    fn inside(&mut self) -> Result<(), String> {
        loop {
            let trims = closes_trimmed(self.rest());
            let marker = if trims { 2 } else { 0 };
            if self.rest()[marker..].starts_with("}}") {
                if self.parens > 0 {
                    return Err("unclosed left paren".to_owned());
                }
                let (at, line) = (self.at + marker, self.line);
                self.tokens.push(Token { kind: Kind::Close, at, line, text: "}}".to_owned() });
                self.close(marker, trims);
                return Ok(());
            }
            self.word()?;
        }
    }

    fn word(&mut self) -> Result<(), String> {
        let Some(c) = self.rest().chars().next() else { return Err("unclosed action".to_owned()) };
        match c {
            ' ' | '\t' | '\r' | '\n' => {
                // A blank before a trim marker belongs to the marker.
                let mut length = 0;
                while self.rest()[length..].starts_with(BLANKS)
                    && !(length > 0 && closes_trimmed(&self.rest()[length..]))
                {
                    length += 1;
                }
                self.take(Kind::Space, length);
            }
            '=' => self.take(Kind::Assign, 1),
            ':' if self.rest().starts_with(":=") => self.take(Kind::Declare, 2),
            ':' => return Err("expected :=".to_owned()),
            '|' => self.take(Kind::Pipe, 1),
            ',' => self.take(Kind::Comma, 1),
            '"' => self.quoted('"', Kind::String, "unterminated quoted string")?,
            '\'' => self.quoted('\'', Kind::Char, "unterminated character constant")?,
            '`' => match self.rest()[1..].find('`') {
                Some(end) => self.take(Kind::RawString, end + 2),
                None => return Err("unterminated raw quoted string".to_owned()),
            },
            '(' => {
                self.parens += 1;
                self.take(Kind::OpenParen, 1);
            }
            ')' => {
                let left = self.parens.checked_sub(1);
                self.parens = left.ok_or_else(|| "unexpected right paren".to_owned())?;
                self.take(Kind::CloseParen, 1);
            }
            '$' => self.named(1, Kind::Variable)?,
            '.' if !self.rest()[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                match self.rest()[1..].starts_with(is_word) {
                    true => self.named(1, Kind::Field)?,
                    false => {
                        self.ended(1)?;
                        self.take(Kind::Dot, 1);
                    }
                }
            }
            '+' | '-' | '.' | '0'..='9' => self.number()?,
            c if is_word(c) => self.named(0, Kind::Name)?,
            c if c.is_ascii_graphic() => self.take(Kind::Other, 1),
            c => return Err(format!("unrecognized character in action: {}", unicode(c))),
        }
        Ok(())
    }

    /// A name behind so many bytes of prefix; keywords and truths are told apart.
    fn named(&mut self, prefix: usize, kind: Kind) -> Result<(), String> {
        let after = &self.rest()[prefix..];
        let length = prefix + after.find(|c| !is_word(c)).unwrap_or(after.len());
        let kind = match &self.rest()[..length] {
            word if WORDS.contains(&word) => Kind::Word,
            "true" | "false" => Kind::Bool,
            _ => kind,
        };
        self.ended(length)?;
        self.take(kind, length);
        Ok(())
    }

    /// Whether a name of so many bytes ends where a name may end.
    fn ended(&self, length: usize) -> Result<(), String> {
        let after = &self.rest()[length..];
        match after.chars().next() {
            None | Some(' ' | '\t' | '\r' | '\n' | '.' | ',' | '|' | ':' | '=' | ')' | '(') => {
                Ok(())
            }
            Some(_) if after.starts_with("}}") => Ok(()),
            Some(c) => Err(format!("bad character {}", unicode(c))),
        }
    }

    fn quoted(&mut self, mark: char, kind: Kind, unterminated: &str) -> Result<(), String> {
        let mut escaped = false;
        for (at, c) in self.rest().char_indices().skip(1) {
            match c {
                '\n' => break,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                c if c == mark => {
                    self.take(kind, at + 1);
                    return Ok(());
                }
                _ => {}
            }
        }
        Err(unterminated.to_owned())
    }

    fn number(&mut self) -> Result<(), String> {
        let length = crate::number::length(self.rest());
        let after = &self.rest()[length..];
        if after.starts_with(is_word) || length == 0 {
            let end = length + after.chars().next().map_or(0, char::len_utf8);
            let shown = crate::quote(&self.rest()[..end]);
            return Err(format!("bad number syntax: {shown}"));
        }
        self.take(Kind::Number, length);
        Ok(())
    }
}

/// `{{- `
fn opens_trimmed(after: &str) -> bool {
    let mut chars = after.chars();
    chars.next() == Some('-') && chars.next().is_some_and(|c| BLANKS.contains(&c))
}

/// ` -}}`
fn closes_trimmed(rest: &str) -> bool {
    rest.starts_with(BLANKS) && rest[1..].starts_with("-}}")
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// Go's `%#U`.
pub(crate) fn unicode(c: char) -> String {
    match c.is_control() {
        true => format!("U+{:04X}", c as u32),
        false => format!("U+{:04X} '{c}'", c as u32),
    }
}
