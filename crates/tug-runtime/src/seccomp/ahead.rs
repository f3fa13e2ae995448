//! Docker's default for an ordinary container, compiled ahead of time: what nearly every container gets
//! costs nothing at its start. (Compiling it takes 30 microseconds in a warm process and 200 in one that
//! has only begun, which is a twentieth of a container's start.)
//!
//! The programs are in [`tables`], which a test writes and another one keeps up to date:
//! `cargo test -p tug-runtime --lib -- --ignored write_the_tables`.

mod tables;

use super::abi::Machine;
use tug_sys::seccomp::Instruction;

static X86_64: [Instruction; tables::X86_64.len()] = unpack(tables::X86_64);
static AARCH64: [Instruction; tables::AARCH64.len()] = unpack(tables::AARCH64);

/// The program for a container whose capabilities make no other difference to the profile than Docker's
/// fourteen do (see `docker::is_ordinary`).
pub(super) fn program(machine: Machine) -> &'static [Instruction] {
    match machine {
        Machine::X86_64 => &X86_64,
        Machine::Aarch64 => &AARCH64,
    }
}

const fn unpack<const N: usize>(packed: [u64; N]) -> [Instruction; N] {
    let mut program = [Instruction { code: 0, jt: 0, jf: 0, k: 0 }; N];
    let mut at = 0;
    while at < N {
        let [c0, c1, jt, jf, k0, k1, k2, k3] = packed[at].to_be_bytes();
        program[at] = Instruction {
            code: u16::from_be_bytes([c0, c1]),
            jt,
            jf,
            k: u32::from_be_bytes([k0, k1, k2, k3]),
        };
        at += 1;
    }
    program
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::{compile, docker};

    fn compiled(machine: Machine) -> Vec<Instruction> {
        compile::program(&docker::policy(machine, &["CAP_SYS_CHROOT".to_owned()])).unwrap()
    }

    #[test]
    fn the_tables_are_what_compiling_gives() {
        for machine in [Machine::X86_64, Machine::Aarch64] {
            assert!(program(machine) == compiled(machine), "write the tables again, as said above");
        }
    }

    #[test]
    #[ignore = "writes src/seccomp/ahead/tables.rs"]
    fn write_the_tables() {
        let mut text =
            "//! Written by the test `write_the_tables` of the module above; not to be edited.\n"
                .to_owned();
        for (name, machine) in [("X86_64", Machine::X86_64), ("AARCH64", Machine::Aarch64)] {
            let program = compiled(machine);
            let length = program.len();
            text += &format!("\n#[rustfmt::skip]\npub(super) const {name}: [u64; {length}] = [\n");
            for line in program.chunks(4) {
                let numbers: Vec<String> = line
                    .iter()
                    .map(|i| {
                        let (high, low) = (i.k >> 16, i.k & 0xffff);
                        format!("0x{:04x}_{:02x}{:02x}_{high:04x}_{low:04x}", i.code, i.jt, i.jf)
                    })
                    .collect();
                text += &format!("    {},\n", numbers.join(", "));
            }
            text += "];\n";
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/seccomp/ahead/tables.rs");
        std::fs::write(path, text).unwrap();
    }
}
