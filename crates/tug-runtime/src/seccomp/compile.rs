//! From a policy to a BPF program.
//!
//! The program first looks at the architecture (a chain: there are two at most), then finds the call
//! in a balanced binary tree over the numbers, in which neighbours that fare alike are one leaf: about nine
//! comparisons for Docker's default, where a list of some 400 calls would be a chain of as many. Only
//! leaves with conditions look at arguments, so that the kernel (since 5.11) works out once, at
//! load, which numbers always pass, and does not run the program for those at all.
//!
//! ```text
//! load arch; is it A? no: skip section A
//!   section A: load nr; tree; leaves return or check arguments and return
//! is it B? no: skip section B
//!   section B ...
//! return KILL_THREAD
//! ```

use super::abi::{Abi, X32_BIT};
use super::policy::{Action, Condition, Conditional, Policy, Table, Test, Verdict};
use super::{MAX_INSTRUCTIONS, SeccompError};
use tug_sys::seccomp::Instruction;

// linux/bpf_common.h: class, size, mode, operation and source in one number.
pub(super) const LOAD: u16 = 0x20;
pub(super) const AND: u16 = 0x54;
pub(super) const JUMP: u16 = 0x05;
pub(super) const IF_EQUAL: u16 = 0x15;
pub(super) const IF_GREATER: u16 = 0x25;
pub(super) const IF_AT_LEAST: u16 = 0x35;
pub(super) const RETURN: u16 = 0x06;

// struct seccomp_data: where its fields are.
pub(super) const NUMBER: u32 = 0;
pub(super) const ARCHITECTURE: u32 = 4;
pub(super) const ARGUMENTS: u32 = 16;

pub(super) fn program(policy: &Policy) -> Result<Vec<Instruction>, SeccompError> {
    let mut program = Vec::with_capacity(1024);
    program.push(statement(LOAD, ARCHITECTURE));
    for table in &policy.tables {
        // x32 is a part of x86_64's section: the kernel says the same architecture.
        if table.abi == Abi::X32 {
            continue;
        }
        let x32 = policy.tables.iter().find(|other| other.abi == Abi::X32);
        let mut section = Section::default();
        let root = section.tree(&leaves(policy, table, x32));
        // A tree of a single leaf that was there already would not be next.
        if section.distance(root) > 0 {
            section.push(statement(JUMP, section.distance(root) as u32));
        }
        section.push(statement(LOAD, NUMBER));
        program.push(jump(IF_EQUAL, table.abi.audit(), 1, 0));
        program.push(statement(JUMP, length(&section.backwards)));
        program.extend(section.backwards.into_iter().rev());
    }
    program.push(statement(RETURN, Action::KILL_THREAD.0));
    if program.len() > MAX_INSTRUCTIONS {
        return Err(SeccompError::TooLong { instructions: program.len() });
    }
    Ok(program)
}

/// What becomes of the numbers from `from` up to the next leaf's.
struct Leaf<'a> {
    from: u32,
    outcome: Outcome<'a>,
}

#[derive(PartialEq)]
enum Outcome<'a> {
    Return(Action),
    /// The first whose conditions hold, or else the default.
    Check(&'a [Conditional], Action),
}

/// The numbers of one architecture from 0 to the end.
fn leaves<'a>(policy: &Policy, table: &'a Table, x32: Option<&'a Table>) -> Vec<Leaf<'a>> {
    let mut leaves = Leaves(Vec::with_capacity(256));
    leaves.table(policy, table);
    match (table.abi, x32) {
        (Abi::X86_64, Some(x32)) => leaves.table(policy, x32),
        (Abi::X86_64, None) => {
            leaves.push(X32_BIT, Outcome::Return(Action::KILL_THREAD));
            // A tracer's way to say that the call shall not happen: no x32 call.
            leaves.push(u32::MAX, Outcome::Return(policy.default));
        }
        _ => {}
    }
    leaves.0
}

struct Leaves<'a>(Vec<Leaf<'a>>);

impl<'a> Leaves<'a> {
    fn table(&mut self, policy: &Policy, table: &'a Table) {
        let base = table.abi.base();
        let outcome = |verdict| match verdict {
            Verdict::Default => Outcome::Return(policy.default),
            Verdict::Always(action) => Outcome::Return(action),
            Verdict::When(index) => Outcome::Check(&table.conditional[index], policy.default),
        };
        for (number, verdict) in (base..).zip(&table.calls) {
            self.push(number, outcome(*verdict));
        }
        // A table without a single call has no newest.
        let newer =
            || Outcome::Return(if table.calls.is_empty() { policy.default } else { policy.newer });
        self.push(base + length(&table.calls), newer());
        let mut far = table.far.clone();
        far.sort_unstable_by_key(|(number, _)| *number);
        for (number, verdict) in far {
            self.push(base + number, outcome(verdict));
            self.push(base + number + 1, newer());
        }
    }

    fn push(&mut self, from: u32, outcome: Outcome<'a>) {
        // The leaf before turned out to be of no number at all.
        self.0.pop_if(|last| last.from == from);
        if self.0.last().is_none_or(|last| last.outcome != outcome) {
            self.0.push(Leaf { from, outcome });
        }
    }
}

/// A section in the making, from its end to its beginning: BPF jumps forward only, so what is jumped to
/// has to be known first. Positions count from the end.
#[derive(Default)]
struct Section {
    backwards: Vec<Instruction>,
    /// Returns that may be jumped to instead of made again, by action.
    returns: Vec<(Action, usize)>,
}

impl Section {
    /// A tree that ends in these leaves, for a number already loaded. Says where it begins.
    fn tree(&mut self, leaves: &[Leaf<'_>]) -> usize {
        let (below, above) = match leaves {
            [] => return self.leaf(&Outcome::Return(Action::KILL_THREAD)),
            [leaf] => return self.leaf(&leaf.outcome),
            _ => leaves.split_at(leaves.len() / 2),
        };
        let upper = self.tree(above);
        let lower = self.tree(below);
        let upper = self.within_reach(upper, 1);
        let lower = self.within_reach(lower, 0);
        let (jt, jf) = (self.distance(upper) as u8, self.distance(lower) as u8);
        self.push(jump(IF_AT_LEAST, above[0].from, jt, jf))
    }

    fn leaf(&mut self, outcome: &Outcome<'_>) -> usize {
        /// Returns farther away than this are made again: a comparison reaches 255 instructions, and
        /// those between it and its leaf are only few.
        const NEAR: usize = 200;
        if let Outcome::Return(action) = outcome {
            let known = self.returns.iter().find(|(known, _)| known == action);
            match known {
                Some((_, at)) if self.distance(*at) < NEAR => return *at,
                _ => {}
            }
            let at = self.push(statement(RETURN, action.0));
            self.returns.retain(|(known, _)| known != action);
            self.returns.push((*action, at));
            return at;
        }
        let mut code = Vec::new();
        leaf_code(outcome, &mut code);
        self.backwards.extend(code.into_iter().rev());
        self.backwards.len() - 1
    }

    /// Where to jump to for `target`: itself, or where it is too far for a comparison that has `more`
    /// instructions still to come behind it, a jump to it.
    fn within_reach(&mut self, target: usize, more: usize) -> usize {
        match self.distance(target) + more > usize::from(u8::MAX) {
            true => self.push(statement(JUMP, self.distance(target) as u32)),
            false => target,
        }
    }

    /// How many instructions the next one made would have to skip.
    fn distance(&self, target: usize) -> usize {
        self.backwards.len() - target - 1
    }

    fn push(&mut self, instruction: Instruction) -> usize {
        self.backwards.push(instruction);
        self.backwards.len() - 1
    }
}

fn leaf_code(outcome: &Outcome<'_>, program: &mut Vec<Instruction>) {
    match outcome {
        Outcome::Return(action) => program.push(statement(RETURN, action.0)),
        Outcome::Check(rules, default) => {
            for rule in *rules {
                program.extend(rule_code(rule));
            }
            program.push(statement(RETURN, default.0));
        }
    }
}

/// Returns the rule's action, or goes on behind itself. Made from the end: each condition must know
/// how much there is to skip.
fn rule_code(rule: &Conditional) -> Vec<Instruction> {
    let mut code = vec![statement(RETURN, rule.action.0)];
    for condition in rule.conditions.iter().rev() {
        // At most six conditions of six instructions.
        let behind = code.len() as u8;
        code.splice(0..0, condition_code(condition, behind));
    }
    code
}

/// Goes on behind itself when the condition holds, otherwise skips `rest` more. The kernel's words
/// are 32 bits: an argument's upper half decides, unless it is equal and the lower half must.
fn condition_code(condition: &Condition, rest: u8) -> Vec<Instruction> {
    let low = ARGUMENTS + 8 * u32::from(condition.argument);
    let (low, high) = if cfg!(target_endian = "little") { (low, low + 4) } else { (low + 4, low) };
    let upper = |number: u64| (number >> 32) as u32;
    let lower = |number: u64| number as u32;
    // Of five instructions: the upper half is greater, or it is equal and the lower compares so.
    let ordered = |compare, number, holds: u8, fails: u8| {
        vec![
            statement(LOAD, high),
            jump(IF_GREATER, upper(number), holds + 3, 0),
            jump(IF_EQUAL, upper(number), 0, fails + 2),
            statement(LOAD, low),
            jump(compare, lower(number), holds, fails),
        ]
    };
    match condition.test {
        Test::Equal(number) => vec![
            statement(LOAD, high),
            jump(IF_EQUAL, upper(number), 0, rest + 2),
            statement(LOAD, low),
            jump(IF_EQUAL, lower(number), 0, rest),
        ],
        Test::NotEqual(number) => vec![
            statement(LOAD, high),
            jump(IF_EQUAL, upper(number), 0, 2),
            statement(LOAD, low),
            jump(IF_EQUAL, lower(number), rest, 0),
        ],
        Test::Greater(number) => ordered(IF_GREATER, number, 0, rest),
        Test::AtLeast(number) => ordered(IF_AT_LEAST, number, 0, rest),
        Test::Less(number) => ordered(IF_AT_LEAST, number, rest, 0),
        Test::AtMost(number) => ordered(IF_GREATER, number, rest, 0),
        Test::Masked { mask, value } => vec![
            statement(LOAD, high),
            statement(AND, upper(mask)),
            jump(IF_EQUAL, upper(value), 0, rest + 3),
            statement(LOAD, low),
            statement(AND, lower(mask)),
            jump(IF_EQUAL, lower(value), 0, rest),
        ],
    }
}

fn statement(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

/// No list here is near 2^32 long.
fn length<T>(list: &[T]) -> u32 {
    list.len() as u32
}
