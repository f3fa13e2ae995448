//! Device programs of cgroup v2 (bpf(2), linux/bpf.h).

#![expect(unsafe_code, reason = "bpf(2) has no safe wrapper")]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

/// One eBPF instruction (`struct bpf_insn`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

const LOAD_WORD: u8 = 0x61; // BPF_LDX | BPF_MEM | BPF_W
const MOV_REGISTER: u8 = 0xbf; // BPF_ALU64 | BPF_MOV | BPF_X
const MOV_VALUE: u8 = 0xb7; // BPF_ALU64 | BPF_MOV | BPF_K
const AND_VALUE: u8 = 0x54; // BPF_ALU | BPF_AND | BPF_K, 32 bits wide
const SHIFT_RIGHT: u8 = 0x74; // BPF_ALU | BPF_RSH | BPF_K, 32 bits wide
const JUMP_NOT_EQUAL: u8 = 0x55; // BPF_JMP | BPF_JNE | BPF_K
const EXIT: u8 = 0x95; // BPF_JMP | BPF_EXIT

impl Instruction {
    const fn new(code: u8, target: u8, source: u8, offset: i16, immediate: i32) -> Self {
        Self { code, registers: source << 4 | target, offset, immediate }
    }

    /// `target = *(u32 *)(source + offset)`
    pub const fn load_u32(target: u8, source: u8, offset: i16) -> Self {
        Self::new(LOAD_WORD, target, source, offset, 0)
    }

    /// `target = source`
    pub const fn mov(target: u8, source: u8) -> Self {
        Self::new(MOV_REGISTER, target, source, 0, 0)
    }

    /// `target = value`
    pub const fn set(target: u8, value: i32) -> Self {
        Self::new(MOV_VALUE, target, 0, 0, value)
    }

    /// `target &= value`
    pub const fn and(target: u8, value: u32) -> Self {
        Self::new(AND_VALUE, target, 0, 0, value.cast_signed())
    }

    /// `target >>= bits`
    pub const fn shift_right(target: u8, bits: i32) -> Self {
        Self::new(SHIFT_RIGHT, target, 0, 0, bits)
    }

    /// Skips `offset` instructions unless `register == value`.
    pub const fn jump_if_not_equal(register: u8, value: u32, offset: i16) -> Self {
        Self::new(JUMP_NOT_EQUAL, register, 0, offset, value.cast_signed())
    }

    /// Ends with what is in register 0.
    pub const fn exit() -> Self {
        Self::new(EXIT, 0, 0, 0, 0)
    }
}

/// Runs a program of the instructions above as the kernel would, for tests of programs.
pub fn interpret(program: &[Instruction], context: &[u32]) -> u64 {
    let mut registers = [0u64; 11];
    let mut at = 0usize;
    while let Some(i) = program.get(at) {
        let (target, source) = (usize::from(i.registers & 15), usize::from(i.registers >> 4));
        let value = i64::from(i.immediate).cast_unsigned();
        at += 1;
        match i.code {
            LOAD_WORD => {
                let word = usize::try_from(i.offset / 4).unwrap_or(usize::MAX);
                registers[target] = u64::from(context.get(word).copied().unwrap_or(0));
            }
            MOV_REGISTER => registers[target] = registers[source],
            MOV_VALUE => registers[target] = value,
            AND_VALUE => registers[target] = registers[target] & value & 0xffff_ffff,
            SHIFT_RIGHT => registers[target] = (registers[target] & 0xffff_ffff) >> i.immediate,
            JUMP_NOT_EQUAL if registers[target] != value => {
                at = at.saturating_add_signed(isize::from(i.offset));
            }
            JUMP_NOT_EQUAL => {}
            _ => return registers[0],
        }
    }
    registers[0]
}

/// Loads a device program and attaches it to a v2 group.
///
/// # Errors
/// What bpf(2) says: `EPERM` without `CAP_BPF`, `EINVAL` from a kernel without
/// `CONFIG_CGROUP_BPF`.
pub fn attach_device_program(group: &Path, program: &[Instruction]) -> io::Result<()> {
    const PROG_LOAD: libc::c_long = 5;
    const PROG_ATTACH: libc::c_long = 8;
    const TYPE_CGROUP_DEVICE: u32 = 15;
    const CGROUP_DEVICE: u32 = 6;

    #[repr(C)]
    struct Load {
        kind: u32,
        count: u32,
        instructions: u64,
        license: u64,
        rest: [u64; 12],
    }
    #[repr(C)]
    struct Attach {
        target: i32,
        program: i32,
        kind: u32,
        flags: u32,
    }

    let directory = std::fs::File::open(group)?;
    let load = Load {
        kind: TYPE_CGROUP_DEVICE,
        count: u32::try_from(program.len()).map_err(io::Error::other)?,
        instructions: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        rest: [0; 12],
    };
    // SAFETY: the attribute is live, zero beyond what is used, and points at live memory.
    let fd = unsafe {
        libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const load, std::mem::size_of::<Load>())
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just made this descriptor for us.
    let loaded = unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).map_err(io::Error::other)?) };
    let attach = Attach {
        target: directory.as_raw_fd(),
        program: loaded.as_raw_fd(),
        kind: CGROUP_DEVICE,
        flags: 0,
    };
    // SAFETY: the attribute is live and both descriptors are open.
    let attached = unsafe {
        libc::syscall(libc::SYS_bpf, PROG_ATTACH, &raw const attach, std::mem::size_of::<Attach>())
    };
    if attached < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
