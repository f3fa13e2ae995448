//! The kernel's part: what it checks before it takes a program, and how it runs one.

use crate::seccomp::compile::*;
use crate::seccomp::policy::Action;
use tug_sys::seccomp::Instruction;

/// Panics where the kernel would refuse the program.
pub(super) fn check(program: &[Instruction]) {
    assert!(program.len() <= crate::seccomp::MAX_INSTRUCTIONS);
    assert_eq!(program.last().map(|last| last.code), Some(RETURN));
    for (at, instruction) in program.iter().enumerate() {
        let furthest = match instruction.code {
            LOAD => {
                assert!(instruction.k % 4 == 0 && instruction.k < 64, "{at}: {instruction:?}");
                at + 1
            }
            IF_EQUAL | IF_GREATER | IF_AT_LEAST => {
                at + 1 + usize::from(instruction.jt.max(instruction.jf))
            }
            JUMP => at + 1 + instruction.k as usize,
            AND => at + 1,
            RETURN => at,
            code => panic!("{at}: code {code:#x}"),
        };
        assert!(furthest < program.len(), "{at}: {instruction:?} leads out");
    }
}

/// What the program returns for a call, and after how many instructions.
pub(super) fn run(
    program: &[Instruction],
    architecture: u32,
    number: u32,
    arguments: [u64; 6],
) -> (Action, usize) {
    let load = |offset: u32| match offset {
        NUMBER => number,
        ARCHITECTURE => architecture,
        8 | 12 => panic!("looks at the instruction pointer"),
        _ => {
            let argument = arguments[(offset - ARGUMENTS) as usize / 8];
            let upper = ((offset - ARGUMENTS) % 8 == 4) == cfg!(target_endian = "little");
            (if upper { argument >> 32 } else { argument & 0xffff_ffff }) as u32
        }
    };
    let (mut at, mut accumulator) = (0, 0);
    for steps in 1.. {
        let Instruction { code, jt, jf, k } = program[at];
        at += 1;
        let mut branch = |holds| at += usize::from(if holds { jt } else { jf });
        match code {
            LOAD => accumulator = load(k),
            AND => accumulator &= k,
            IF_EQUAL => branch(accumulator == k),
            IF_GREATER => branch(accumulator > k),
            IF_AT_LEAST => branch(accumulator >= k),
            JUMP => at += k as usize,
            RETURN => return (Action(k), steps),
            _ => panic!("code {code:#x}"),
        }
    }
    unreachable!("the last instruction returns")
}
