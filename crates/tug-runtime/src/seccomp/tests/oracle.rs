//! The same decisions, made the obvious way: read all rules for every call anew.

use super::super::abi::{Abi, Machine, X32_BIT};
use super::super::policy::{Action, Condition, FAR, Test, multiplexed};
use super::{AARCH64, ARM, I386, Random, UNKNOWN, X86_64, bpf};
use std::collections::{BTreeMap, BTreeSet};
use tug_sys::seccomp::Instruction;

/// One name, and when what happens.
pub(super) type Rule = (String, Vec<Condition>, Action);

/// The same once its name is a number.
type Numbered = (Vec<Condition>, Action);

pub(super) struct Oracle {
    abis: Vec<Abi>,
    default: Action,
    /// By table and number within it.
    rules: BTreeMap<(u8, u32), Vec<Numbered>>,
    /// By table, the newest call that any rule names.
    newest: BTreeMap<u8, Option<u32>>,
}

impl Oracle {
    pub(super) fn new(abis: &[Abi], default: Action, list: &[Rule]) -> Self {
        let mut rules: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for abi in abis {
            for (name, conditions, action) in list {
                let arguments: BTreeSet<u8> = conditions.iter().map(|c| c.argument).collect();
                if let Some(number) = abi.number(name) {
                    let of_call = rules.entry((*abi as u8, number)).or_default();
                    if arguments.len() == conditions.len() {
                        of_call.push((conditions.clone(), *action));
                    } else {
                        of_call.extend(conditions.iter().map(|c| (vec![*c], *action)));
                    }
                }
                if let (Abi::X86, Some((number, condition))) = (abi, multiplexed(name))
                    && (conditions.is_empty() || !action.permits())
                {
                    rules.entry((*abi as u8, number)).or_default().push((vec![condition], *action));
                }
            }
        }
        let newest = |abi: u8| rules.keys().filter(|k| k.0 == abi && k.1 < FAR).map(|k| k.1).max();
        let newest = abis.iter().map(|abi| (*abi as u8, newest(*abi as u8))).collect();
        Self { abis: abis.to_vec(), default, rules, newest }
    }

    fn decide(&self, architecture: u32, number: u32, arguments: [u64; 6]) -> Action {
        let (abi, number) = match architecture {
            X86_64 if number >= X32_BIT => (Abi::X32, number - X32_BIT),
            X86_64 => (Abi::X86_64, number),
            I386 => (Abi::X86, number),
            AARCH64 => (Abi::Aarch64, number),
            ARM => (Abi::Arm, number),
            _ => return Action::KILL_THREAD,
        };
        if !self.abis.contains(&abi) {
            // A tracer's -1 counts as a call of x86_64 then.
            let minus_one = abi == Abi::X32 && number + X32_BIT == u32::MAX;
            let tracers = minus_one && self.abis.contains(&Abi::X86_64);
            return if tracers { self.default } else { Action::KILL_THREAD };
        }
        let Some(rules) = self.rules.get(&(abi as u8, number)) else {
            let newest = self.newest[&(abi as u8)];
            let newer = newest.is_some_and(|newest| number > newest);
            return if newer && !self.default.permits() { UNKNOWN } else { self.default };
        };
        let telling = || rules.iter().filter(|(_, action)| *action != self.default);
        let always = telling().find(|(conditions, _)| conditions.is_empty());
        let holds = |(conditions, _): &&Numbered| {
            conditions.iter().all(|c| holds(c.test, arguments[usize::from(c.argument)]))
        };
        always.or_else(|| telling().find(holds)).map_or(self.default, |(_, action)| *action)
    }

    /// Compares with a program for every number of every architecture, with arguments that matter
    /// and some that should not.
    pub(super) fn agrees_with(&self, program: &[Instruction], random: &mut Random) {
        let near = (0..700).chain(0xf_0000..0xf_0009).chain([u32::MAX, X32_BIT - 1, 1 << 31]);
        for architecture in [X86_64, I386, AARCH64, ARM, 0x1234] {
            for number in near.clone().chain(X32_BIT..X32_BIT + 700) {
                let telling = self.telling(number);
                for _ in 0..if telling.is_empty() { 1 } else { 30 } {
                    let arguments = std::array::from_fn(|_| argument(&telling, random));
                    assert_eq!(
                        bpf::run(program, architecture, number, arguments).0,
                        self.decide(architecture, number, arguments),
                        "{architecture:#x} {number:#x} {arguments:x?}"
                    );
                }
            }
        }
    }

    /// What the conditions on this call ask, by whatever way into the kernel.
    fn telling(&self, number: u32) -> Vec<Test> {
        let rules = |abi: &Abi| self.rules.get(&(*abi as u8, number & !X32_BIT));
        let conditions = self.abis.iter().filter_map(rules).flatten().flat_map(|rule| &rule.0);
        conditions.map(|condition| condition.test).collect()
    }
}

/// Mostly a number from one of the tests, or one close by.
fn argument(telling: &[Test], random: &mut Random) -> u64 {
    if telling.is_empty() {
        return random.next();
    }
    let near = match random.of(telling) {
        Test::Equal(n) | Test::NotEqual(n) | Test::Less(n) | Test::AtMost(n) => n,
        Test::Greater(n) | Test::AtLeast(n) => n,
        Test::Masked { mask, value } => value | random.next() & !mask,
    };
    match random.below(10) {
        0..4 => near,
        4 => near.wrapping_add(1),
        5 => near.wrapping_sub(1),
        6 => near ^ 1 << 32,
        7 => near.rotate_left(32),
        8 => near ^ 1 << random.below(64),
        _ => random.next(),
    }
}

fn holds(test: Test, argument: u64) -> bool {
    match test {
        Test::Equal(number) => argument == number,
        Test::NotEqual(number) => argument != number,
        Test::Less(number) => argument < number,
        Test::AtMost(number) => argument <= number,
        Test::Greater(number) => argument > number,
        Test::AtLeast(number) => argument >= number,
        Test::Masked { mask, value } => argument & mask == value,
    }
}

#[test]
fn dockers_default_agrees_for_every_capability() {
    let mut random = Random(1);
    let mut sets = vec![super::fourteen(), Vec::new()];
    let each = [
        "DAC_READ_SEARCH",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_CHROOT",
        "SYS_MODULE",
        "SYS_PACCT",
        "SYS_PTRACE",
        "SYS_RAWIO",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "SYS_NICE",
        "SYSLOG",
        "BPF",
        "PERFMON",
    ];
    sets.push(super::capabilities(&each));
    sets.extend(each.iter().map(|name| super::capabilities(&[name])));
    for machine in [Machine::X86_64, Machine::Aarch64] {
        for set in &sets {
            let rules: Vec<Rule> = super::super::docker::rules(machine, set)
                .map(|(name, conditions, action)| (name.to_owned(), conditions.to_vec(), action))
                .collect();
            let oracle = Oracle::new(machine.abis(), super::super::docker::DEFAULT, &rules);
            oracle.agrees_with(&super::default_program(machine, set), &mut random);
        }
    }
}
