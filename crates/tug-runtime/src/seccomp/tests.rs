//! The filter's tests: programs run by an interpreter ([`bpf`]) and compared with a slow, obvious
//! reading of the rules ([`oracle`]); a few facts anybody can check; one filter in a real process.

mod bpf;
mod docker;
mod kernel;
mod oracle;
mod profile;

use super::abi::{Machine, X32_BIT};
use super::policy::{Action, ENOSYS, EPERM};
use super::{SeccompError, compile};
use tug_sys::seccomp::Instruction;

const DENIED: Action = Action::errno(EPERM);
const UNKNOWN: Action = Action::errno(ENOSYS);

const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
const AARCH64: u32 = 0xc000_00b7;
const ARM: u32 = 0x4000_0028;

fn capabilities(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| format!("CAP_{name}")).collect()
}

/// What Docker gives a container.
fn fourteen() -> Vec<String> {
    capabilities(&[
        "CHOWN",
        "DAC_OVERRIDE",
        "FSETID",
        "FOWNER",
        "MKNOD",
        "NET_RAW",
        "SETGID",
        "SETUID",
        "SETFCAP",
        "SETPCAP",
        "NET_BIND_SERVICE",
        "SYS_CHROOT",
        "KILL",
        "AUDIT_WRITE",
    ])
}

fn default_program(machine: Machine, capabilities: &[String]) -> Vec<Instruction> {
    let program = compile::program(&super::docker::policy(machine, capabilities)).unwrap();
    bpf::check(&program);
    program
}

fn profile_program(
    machine: Machine,
    json: &str,
    capabilities: &[String],
) -> Result<Vec<Instruction>, SeccompError> {
    let policy = super::profile::policy(machine, json, capabilities)?;
    let program = compile::program(&policy.expect("a filter"))?;
    bpf::check(&program);
    Ok(program)
}

/// Numbers that no kernel promises will do: xorshift64*, the same at every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}
