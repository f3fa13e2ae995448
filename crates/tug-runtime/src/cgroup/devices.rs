//! Which devices a container may use: Docker's default list, `--device`, `--device-cgroup-rule`.
//! v1 takes the rules as text; v2 takes a small BPF program (bpf(2), `BPF_PROG_TYPE_CGROUP_DEVICE`).

use super::CgroupError;
use tug_sys::bpf::Instruction;

/// One allowed family of devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// `c`, `b`, or `a` for both.
    pub kind: char,
    /// `None` is `*`.
    pub major: Option<u32>,
    /// `None` is `*`.
    pub minor: Option<u32>,
    /// Subset of [`READ`], [`WRITE`], [`MKNOD`].
    pub access: u32,
}

/// Bits of `bpf_cgroup_dev_ctx.access_type`'s upper half.
pub(crate) const MKNOD: u32 = 1;
pub(crate) const READ: u32 = 2;
pub(crate) const WRITE: u32 = 4;
const ALL: u32 = READ | WRITE | MKNOD;

const fn char_device(major: u32, minor: u32) -> Rule {
    Rule { kind: 'c', major: Some(major), minor: Some(minor), access: ALL }
}

/// Docker's default: nodes may be made of anything, but only these used.
pub(crate) const DEFAULT: [Rule; 11] = [
    Rule { kind: 'c', major: None, minor: None, access: MKNOD },
    Rule { kind: 'b', major: None, minor: None, access: MKNOD },
    char_device(1, 3),                                              // null
    char_device(1, 5),                                              // zero
    char_device(1, 7),                                              // full
    char_device(1, 8),                                              // random
    char_device(1, 9),                                              // urandom
    char_device(5, 0),                                              // tty
    char_device(5, 1),                                              // console
    char_device(5, 2),                                              // ptmx
    Rule { kind: 'c', major: Some(136), minor: None, access: ALL }, // pts
];

impl Rule {
    /// `c 1:3 rwm`
    pub(crate) fn parse(text: &str) -> Result<Self, CgroupError> {
        let bad = || CgroupError::DeviceRule { rule: text.to_owned() };
        let mut words = text.split_whitespace();
        let (Some(kind), Some(numbers), Some(access), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(bad());
        };
        let kind = match kind {
            "a" => 'a',
            "b" => 'b',
            "c" => 'c',
            _ => return Err(bad()),
        };
        let (major, minor) = numbers.split_once(':').ok_or_else(bad)?;
        let number = |text: &str| match text {
            "*" => Ok(None),
            digits => digits.parse().map(Some).map_err(|_| bad()),
        };
        Ok(Self {
            kind,
            major: number(major)?,
            minor: number(minor)?,
            access: parse_access(access).ok_or_else(bad)?,
        })
    }

    /// As `devices.allow` reads it.
    pub(crate) fn text(&self) -> String {
        let number = |n: Option<u32>| n.map_or_else(|| "*".to_owned(), |n| n.to_string());
        let mut access = String::new();
        for (bit, letter) in [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')] {
            if self.access & bit != 0 {
                access.push(letter);
            }
        }
        format!("{} {}:{} {access}", self.kind, number(self.major), number(self.minor))
    }
}

/// A subset of `rwm`, not empty.
pub(crate) fn parse_access(text: &str) -> Option<u32> {
    let mut access = 0;
    for letter in text.chars() {
        access |= match letter {
            'r' => READ,
            'w' => WRITE,
            'm' => MKNOD,
            _ => return None,
        };
    }
    Some(access).filter(|access| *access != 0)
}

/// The v2 program: each rule is a chain of comparisons that ends in "allow"; past all is "refuse".
/// Context (linux/bpf.h, `bpf_cgroup_dev_ctx`): u32 access and type, u32 major, u32 minor.
pub(crate) fn program(rules: &[Rule]) -> Vec<Instruction> {
    let mut code = vec![
        Instruction::load_u32(2, 1, 0),
        Instruction::mov(3, 2),
        Instruction::and(2, 0xffff),     // r2: type
        Instruction::shift_right(3, 16), // r3: access
        Instruction::load_u32(4, 1, 4),  // r4: major
        Instruction::load_u32(5, 1, 8),  // r5: minor
    ];
    for rule in rules {
        let mut checks = Vec::new();
        if rule.kind != 'a' {
            // BPF_DEVCG_DEV_BLOCK is 1, BPF_DEVCG_DEV_CHAR 2.
            checks.push((2, if rule.kind == 'b' { 1 } else { 2 }));
        }
        checks.extend(rule.major.map(|major| (4, major)));
        checks.extend(rule.minor.map(|minor| (5, minor)));
        // Access: nothing beyond the rule's bits may be asked for.
        let tail: i16 = if rule.access == ALL { 2 } else { 5 };
        let mut left = i16::try_from(checks.len()).unwrap_or(3) + tail;
        for (register, value) in checks {
            left -= 1;
            code.push(Instruction::jump_if_not_equal(register, value, left));
        }
        if rule.access != ALL {
            code.push(Instruction::mov(0, 3));
            code.push(Instruction::and(0, !rule.access));
            code.push(Instruction::jump_if_not_equal(0, 0, 2));
        }
        code.push(Instruction::set(0, 1));
        code.push(Instruction::exit());
    }
    code.push(Instruction::set(0, 0));
    code.push(Instruction::exit());
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would answer.
    fn run(code: &[Instruction], kind: u32, access: u32, major: u32, minor: u32) -> bool {
        tug_sys::bpf::interpret(code, &[access << 16 | kind, major, minor]) == 1
    }

    #[test]
    fn rules_read_and_write_the_kernels_text() {
        for text in ["c 1:3 rwm", "b *:* m", "a *:* rwm", "c 136:* rw"] {
            assert_eq!(Rule::parse(text).unwrap().text(), text);
        }
        for text in ["", "c 1:3", "x 1:3 r", "c 1 r", "c 1:3 q", "c 1:3 r extra"] {
            assert!(Rule::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_program_agrees_with_the_rules_read_one_by_one() {
        let mut rules = DEFAULT.to_vec();
        rules.push(Rule::parse("b 8:* r").unwrap());
        let code = program(&rules);
        for (kind, letter) in [(1, 'b'), (2, 'c')] {
            for access in 1..8 {
                for (major, minor) in [(1, 3), (1, 4), (5, 1), (8, 0), (10, 229), (136, 7)] {
                    let expected = rules.iter().any(|rule| {
                        (rule.kind == letter || rule.kind == 'a')
                            && rule.major.is_none_or(|m| m == major)
                            && rule.minor.is_none_or(|m| m == minor)
                            && access & !rule.access == 0
                    });
                    assert_eq!(
                        run(&code, kind, access, major, minor),
                        expected,
                        "{letter} {major}:{minor} {access}"
                    );
                }
            }
        }
    }
}
