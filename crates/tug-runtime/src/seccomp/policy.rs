//! What a filter decides, by way into the kernel and call: the profile with all names, capabilities
//! and versions resolved.

use super::abi::Abi;

/// What happens to a call: the value a seccomp program returns (linux/seccomp.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Action(pub(super) u32);

impl Action {
    pub(super) const ALLOW: Self = Self(0x7fff_0000);
    pub(super) const LOG: Self = Self(0x7ffc_0000);
    pub(super) const TRAP: Self = Self(0x0003_0000);
    pub(super) const KILL_THREAD: Self = Self(0);
    pub(super) const KILL_PROCESS: Self = Self(0x8000_0000);

    /// The call fails. The kernel takes no errno above 4095.
    pub(super) const fn errno(errno: u16) -> Self {
        Self(0x0005_0000 | errno as u32)
    }

    /// A tracer decides, and gets this message.
    pub(super) const fn trace(message: u16) -> Self {
        Self(0x7ff0_0000 | message as u32)
    }

    /// Whether the call may still happen. A tracer counts: it knows what it does.
    pub(super) fn permits(self) -> bool {
        self == Self::ALLOW || self == Self::LOG || self.0 >> 16 == 0x7ff0
    }
}

pub(super) const EPERM: u16 = libc::EPERM as u16;
pub(super) const ENOSYS: u16 = libc::ENOSYS as u16;

/// A look at one argument of a call, all 64 bits of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    /// 0 to 5.
    pub(super) argument: u8,
    pub(super) test: Test,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Test {
    Equal(u64),
    NotEqual(u64),
    Less(u64),
    AtMost(u64),
    Greater(u64),
    AtLeast(u64),
    /// The bits of the mask have this value.
    Masked {
        mask: u64,
        value: u64,
    },
}

/// The rules about one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// None: the policy's default.
    Default,
    /// One without conditions.
    Always(Action),
    /// Those with conditions, at this index of [`Table::conditional`].
    When(usize),
}

/// One rule with conditions, all of which must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conditional {
    pub(super) conditions: Vec<Condition>,
    pub(super) action: Action,
}

/// The rules of one way into the kernel.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) abi: Abi,
    /// By number, up to the newest call a rule names.
    pub(super) calls: Vec<Verdict>,
    /// Calls far outside the table (32-bit ARM's private ones), in no order.
    pub(super) far: Vec<(u32, Verdict)>,
    /// The rules of one call, the first that holds decides.
    pub(super) conditional: Vec<Vec<Conditional>>,
}

/// No table is near this long; [`Table::far`] holds what lies beyond.
pub(super) const FAR: u32 = 1024;

impl Table {
    fn slot(&mut self, number: u32) -> &mut Verdict {
        if number < FAR {
            let index = number as usize;
            if self.calls.len() <= index {
                self.calls.resize(index + 1, Verdict::Default);
            }
            return &mut self.calls[index];
        }
        let index = self.far.iter().position(|(far, _)| *far == number).unwrap_or_else(|| {
            self.far.push((number, Verdict::Default));
            self.far.len() - 1
        });
        &mut self.far[index].1
    }

    fn add(&mut self, number: u32, conditions: &[Condition], action: Action, default: Action) {
        let next = self.conditional.len();
        let slot = self.slot(number);
        // A rule that says what the default says stands in no other rule's way. It has been counted
        // all the same: the profile knows the call.
        if action == default {
            return;
        }
        let index = match (*slot, conditions) {
            (Verdict::Always(_), _) => return,
            (_, []) => {
                *slot = Verdict::Always(action);
                return;
            }
            (Verdict::Default, _) => {
                *slot = Verdict::When(next);
                self.conditional.push(Vec::new());
                next
            }
            (Verdict::When(index), _) => index,
        };
        self.conditional[index].push(Conditional { conditions: conditions.to_vec(), action });
    }
}

/// What a filter decides.
#[derive(Debug)]
pub(super) struct Policy {
    /// For calls without a rule, and those whose rules' conditions do not hold.
    pub(super) default: Action,
    /// For calls newer than the newest that a rule names.
    pub(super) newer: Action,
    /// The native one first. Calls through others kill the thread, as with libseccomp.
    pub(super) tables: Vec<Table>,
}

impl Policy {
    /// Without rules yet. The native table is always part of it.
    pub(super) fn new(native: Abi, others: impl IntoIterator<Item = Abi>, default: Action) -> Self {
        // ENOSYS for the unknown, as runc does it, is no help where the unknown is allowed.
        let newer = if default.permits() { default } else { Action::errno(ENOSYS) };
        let mut policy = Self { default, newer, tables: Vec::new() };
        for abi in std::iter::once(native).chain(others) {
            if policy.tables.iter().all(|table| table.abi != abi) {
                policy.tables.push(Table {
                    abi,
                    calls: Vec::with_capacity(600),
                    far: Vec::new(),
                    conditional: Vec::new(),
                });
            }
        }
        policy
    }

    /// Adds a rule to every table that has the call. Conditions on one argument more than once are
    /// alternatives, each a rule of its own: profiles written before conditions were joined by
    /// "and" rely on it.
    pub(super) fn add(&mut self, name: &str, conditions: &[Condition], action: Action) {
        let joined = (0..6).all(|argument| {
            conditions.iter().filter(|condition| condition.argument == argument).count() <= 1
        });
        for table in &mut self.tables {
            let abi = table.abi;
            let mut add = |number, conditions: &[Condition]| {
                if joined {
                    table.add(number, conditions, action, self.default);
                } else {
                    for condition in conditions {
                        table.add(number, std::slice::from_ref(condition), action, self.default);
                    }
                }
            };
            if let Some(number) = abi.number(name) {
                add(number, conditions);
            }
            // Arguments of these lie in memory, out of the filter's sight. What conditions allow
            // stays forbidden there, what they forbid is forbidden altogether.
            if abi == Abi::X86
                && let Some((number, multiplexed)) = multiplexed(name)
                && (conditions.is_empty() || !action.permits())
            {
                table.add(number, &[multiplexed], action, self.default);
            }
        }
    }
}

/// socketcall(2) and ipc(2): on 32-bit x86 also the way to the sockets' and System V's calls, by a
/// number in the first argument (linux/net.h, linux/ipc.h).
pub(super) fn multiplexed(name: &str) -> Option<(u32, Condition)> {
    const SOCKETCALL: u32 = syscalls::x86::Sysno::socketcall as u32;
    const IPC: u32 = syscalls::x86::Sysno::ipc as u32;
    // ipc's upper half is a version.
    const HALF: u64 = 0xffff;
    const ALL: u64 = 0xffff_ffff;
    let (number, mask, value) = match name {
        "socket" => (SOCKETCALL, ALL, 1),
        "bind" => (SOCKETCALL, ALL, 2),
        "connect" => (SOCKETCALL, ALL, 3),
        "listen" => (SOCKETCALL, ALL, 4),
        "accept" => (SOCKETCALL, ALL, 5),
        "getsockname" => (SOCKETCALL, ALL, 6),
        "getpeername" => (SOCKETCALL, ALL, 7),
        "socketpair" => (SOCKETCALL, ALL, 8),
        "send" => (SOCKETCALL, ALL, 9),
        "recv" => (SOCKETCALL, ALL, 10),
        "sendto" => (SOCKETCALL, ALL, 11),
        "recvfrom" => (SOCKETCALL, ALL, 12),
        "shutdown" => (SOCKETCALL, ALL, 13),
        "setsockopt" => (SOCKETCALL, ALL, 14),
        "getsockopt" => (SOCKETCALL, ALL, 15),
        "sendmsg" => (SOCKETCALL, ALL, 16),
        "recvmsg" => (SOCKETCALL, ALL, 17),
        "accept4" => (SOCKETCALL, ALL, 18),
        "recvmmsg" => (SOCKETCALL, ALL, 19),
        "sendmmsg" => (SOCKETCALL, ALL, 20),
        "semop" => (IPC, HALF, 1),
        "semget" => (IPC, HALF, 2),
        "semctl" => (IPC, HALF, 3),
        "semtimedop" => (IPC, HALF, 4),
        "msgsnd" => (IPC, HALF, 11),
        "msgrcv" => (IPC, HALF, 12),
        "msgget" => (IPC, HALF, 13),
        "msgctl" => (IPC, HALF, 14),
        "shmat" => (IPC, HALF, 21),
        "shmdt" => (IPC, HALF, 22),
        "shmget" => (IPC, HALF, 23),
        "shmctl" => (IPC, HALF, 24),
        _ => return None,
    };
    Some((number, Condition { argument: 0, test: Test::Masked { mask, value } }))
}
