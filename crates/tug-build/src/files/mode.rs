//! `--chmod`: an octal number, or chmod(1)'s words.

/// What a mode becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ModeChange {
    /// Exactly this.
    To(u32),
    /// Changed, clause by clause.
    Clauses(Vec<Clause>),
}

/// `u+rw`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Clause {
    who: u32,
    actions: Vec<(char, Bits)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Bits {
    /// Of `rwxst` and `X`.
    Letters(String),
    /// The bits of user, group or others.
    Of(char),
}

impl ModeChange {
    /// Reads `755`, `u+x,go-w`. None when it is neither.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            let mode = u32::from_str_radix(text, 8).ok()?;
            return (mode <= 0o7777).then_some(Self::To(mode));
        }
        text.split(',').map(Clause::parse).collect::<Option<_>>().map(Self::Clauses)
    }

    /// The mode of directories made on the way: a number is theirs too, less what the usual mask takes;
    /// words are not. So BuildKit has it.
    pub(crate) fn of_made(change: Option<&Self>) -> u32 {
        match change {
            Some(Self::To(mode)) => *mode & 0o755,
            _ => 0o755,
        }
    }

    /// The mode that comes out of one.
    pub(crate) fn apply(&self, mode: u32, directory: bool) -> u32 {
        match self {
            Self::To(mode) => *mode,
            Self::Clauses(clauses) => {
                clauses.iter().fold(mode & 0o7777, |mode, clause| clause.apply(mode, directory))
            }
        }
    }
}

impl Clause {
    fn parse(text: &str) -> Option<Self> {
        let start = text.find(['+', '-', '='])?;
        let mut who = 0;
        for letter in text[..start].chars() {
            who |= match letter {
                'u' => 0o4700,
                'g' => 0o2070,
                'o' => 0o1007,
                'a' => 0o7777,
                _ => return None,
            };
        }
        if who == 0 {
            who = 0o7777;
        }
        let mut actions = Vec::new();
        let mut rest = &text[start..];
        while let Some(operator) = rest.chars().next() {
            let body = &rest[1..];
            let end = body.find(['+', '-', '=']).unwrap_or(body.len());
            let letters = &body[..end];
            let bits = match letters {
                "u" | "g" | "o" => Bits::Of(letters.chars().next()?),
                _ if letters.chars().all(|c| "rwxXst".contains(c)) => {
                    Bits::Letters(letters.to_owned())
                }
                _ => return None,
            };
            actions.push((operator, bits));
            rest = &body[end..];
        }
        Some(Self { who, actions })
    }

    fn apply(&self, mut mode: u32, directory: bool) -> u32 {
        for (operator, bits) in &self.actions {
            let bits = self.who & bits.mask(mode, directory);
            mode = match operator {
                '+' => mode | bits,
                '-' => mode & !bits,
                _ => mode & !(self.who & 0o777) & !(self.who & 0o7000 & !0o1000) | bits,
            };
        }
        mode
    }
}

impl Bits {
    fn mask(&self, mode: u32, directory: bool) -> u32 {
        match self {
            Self::Of(who) => {
                let shift = match who {
                    'u' => 6,
                    'g' => 3,
                    _ => 0,
                };
                let bits = mode >> shift & 0o7;
                bits << 6 | bits << 3 | bits
            }
            Self::Letters(letters) => letters.chars().fold(0, |mask, letter| {
                mask | match letter {
                    'r' => 0o444,
                    'w' => 0o222,
                    'x' => 0o111,
                    'X' if directory || mode & 0o111 != 0 => 0o111,
                    's' => 0o6000,
                    't' => 0o1000,
                    _ => 0,
                }
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_words() {
        for (text, from, directory, to) in [
            ("755", 0o600, false, 0o755),
            ("0644", 0o7777, false, 0o644),
            ("u+x", 0o644, false, 0o744),
            ("go-rwx", 0o755, false, 0o700),
            ("a=r", 0o777, false, 0o444),
            ("u=rwx,g=u,o=", 0o600, false, 0o770),
            ("+X", 0o644, false, 0o644),
            ("+X", 0o644, true, 0o755),
            ("+X", 0o744, false, 0o755),
            ("u+s,g+s,+t", 0o755, false, 0o7755),
            ("u-w+x", 0o600, false, 0o500),
        ] {
            let change = ModeChange::parse(text).unwrap();
            assert_eq!(change.apply(from, directory), to, "{text} on {from:o}");
        }
        for text in ["", "8", "10000", "u", "u+q", "z+x", "u+x,", "-1"] {
            assert!(ModeChange::parse(text).is_none(), "{text}");
        }
    }
}
