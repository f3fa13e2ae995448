//! Profiles of the user's.

use super::super::abi::Abi;
use super::super::policy::{Condition, Test};
use super::oracle::{Oracle, Rule};
use super::*;
use serde_json::{Value, json};

fn run(json: &Value, capabilities: &[String], number: u32, first: u64) -> Action {
    let program = profile_program(Machine::X86_64, &json.to_string(), capabilities).unwrap();
    bpf::run(&program, X86_64, number, [first, 0, 0, 0, 0, 0]).0
}

fn error(json: Value) -> SeccompError {
    match super::super::profile::policy(Machine::X86_64, &json.to_string(), &[]) {
        Err(error) => error,
        Ok(_) => panic!("{json} was taken"),
    }
}

const CHMOD: u32 = syscalls::x86_64::Sysno::chmod as u32;
const KILL: u32 = syscalls::x86_64::Sysno::kill as u32;

#[test]
fn one_call_is_forbidden_and_all_others_are_not() {
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            {"names": ["chmod", "a_call_of_no_kernel"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13},
            {"name": "kill", "action": "SCMP_ACT_KILL_PROCESS", "comment": "the old spelling",
             "args": [{"index": 0, "value": 7, "op": "SCMP_CMP_EQ"}]},
        ],
    });
    assert_eq!(run(&profile, &[], CHMOD, 0), Action::errno(13));
    assert_eq!(run(&profile, &[], KILL, 7), Action::KILL_PROCESS);
    assert_eq!(run(&profile, &[], KILL, 8), Action::ALLOW);
    assert_eq!(run(&profile, &[], 0, 0), Action::ALLOW);
    // What is unknown is allowed too where the rest is, but not by another way into the kernel.
    assert_eq!(run(&profile, &[], 5000, 0), Action::ALLOW);
    assert_eq!(run(&profile, &[], X32_BIT, 0), Action::KILL_THREAD);
    assert_eq!(run(&profile, &[], u32::MAX, 0), Action::ALLOW);
}

#[test]
fn conditions_on_the_machine_the_capabilities_and_the_kernel_select_rules() {
    let filtered = |field: &str, filter: Value| {
        json!({
            "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
            "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": null}],
            "syscalls": [{"names": ["chmod"], "action": "SCMP_ACT_ALLOW", "args": [], field: filter}],
        })
    };
    let both = capabilities(&["CHOWN", "KILL"]);
    for (filter, holds) in [
        (json!({}), None),
        (json!({"caps": ["CAP_CHOWN"]}), Some(true)),
        (json!({"caps": ["CAP_SYS_BOOT"]}), Some(false)),
        (json!({"arches": ["arm64", "amd64"]}), Some(true)),
        (json!({"arches": ["arm64"]}), Some(false)),
        (json!({"minKernel": "3.10"}), Some(true)),
        (json!({"minKernel": "250.0"}), Some(false)),
        (json!({"minKernel": ""}), None),
    ] {
        let chmod = |field| run(&filtered(field, filter.clone()), &both, CHMOD, 0) == Action::ALLOW;
        assert_eq!(chmod("includes"), holds.unwrap_or(true), "includes {filter}");
        assert_eq!(chmod("excludes"), !holds.unwrap_or(false), "excludes {filter}");
    }
    // All that are included must be there, one that is excluded suffices.
    let caps = json!({"caps": ["CAP_CHOWN", "CAP_SYS_BOOT"]});
    assert_eq!(run(&filtered("includes", caps.clone()), &both, CHMOD, 0), UNKNOWN);
    assert_eq!(run(&filtered("excludes", caps), &both, CHMOD, 0), UNKNOWN);
}

#[test]
fn sockets_of_32_bit_x86_are_filtered_by_both_their_ways() {
    let profile = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_MIPS"],
        "syscalls": [
            {"names": ["connect"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["socket"], "action": "SCMP_ACT_ALLOW",
             "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]},
        ],
    });
    let program = profile_program(Machine::X86_64, &profile.to_string(), &[]).unwrap();
    let i386 = |call: syscalls::x86::Sysno, first| {
        bpf::run(&program, I386, call as u32, [first, 0, 0, 0, 0, 0]).0
    };
    use syscalls::x86::Sysno as S;
    assert_eq!(i386(S::connect, 0), Action::ALLOW);
    assert_eq!(i386(S::socketcall, 3), Action::ALLOW);
    assert_eq!(i386(S::socketcall, 4), DENIED);
    assert_eq!(i386(S::socket, 1), Action::ALLOW);
    assert_eq!(i386(S::socketcall, 1), DENIED);
}

#[test]
fn an_empty_profile_is_no_filter() {
    let none = super::super::program(&crate::Seccomp::Profile("{}".to_owned()), &[]);
    assert!(none.unwrap().is_none());
    assert!(super::super::program(&crate::Seccomp::Unconfined, &[]).unwrap().is_none());
}

#[test]
fn the_log_is_the_profiles_to_ask_for() {
    let profile = |flags: Value| {
        crate::Seccomp::Profile(
            json!({"defaultAction": "SCMP_ACT_LOG", "flags": flags}).to_string(),
        )
    };
    assert!(super::super::logs(&profile(json!(["SECCOMP_FILTER_FLAG_LOG"]))));
    assert!(!super::super::logs(&profile(json!(["SECCOMP_FILTER_FLAG_TSYNC"]))));
    assert!(!super::super::logs(&crate::Seccomp::Default));
}

#[test]
fn mistakes_are_named() {
    use SeccompError as E;
    let rule = |rule: Value| json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]});
    let argument = |argument: Value| {
        rule(json!({"names": ["chmod"], "action": "SCMP_ACT_ALLOW", "args": [argument]}))
    };
    assert!(matches!(error(json!([1])), E::Json(_)));
    assert!(matches!(error(json!({"syscalls": [{"names": ["read"]}]})), E::NoDefaultAction));
    assert!(matches!(error(json!({"defaultAction": "ALLOW"})), E::Action { .. }));
    assert!(matches!(error(rule(json!({"names": ["read"]}))), E::Action { .. }));
    assert!(matches!(error(json!({"defaultAction": "SCMP_ACT_NOTIFY"})), E::Notify));
    assert!(matches!(
        error(json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4096})),
        E::Errno { number: 4096, .. }
    ));
    assert!(matches!(
        error(rule(json!({"names": [""], "action": "SCMP_ACT_ALLOW"}))),
        E::EmptyName { rule: 1 }
    ));
    assert!(matches!(
        error(rule(json!({"name": "a", "names": ["b"], "action": "SCMP_ACT_ALLOW"}))),
        E::Both("name", "names")
    ));
    assert!(matches!(
        error(json!({
            "defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86"],
            "archMap": [{"architecture": "SCMP_ARCH_X86_64"}],
        })),
        E::Both("architectures", "archMap")
    ));
    assert!(matches!(
        error(json!({"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_VAX"]})),
        E::Architecture { .. }
    ));
    assert!(matches!(
        error(json!({"defaultAction": "SCMP_ACT_ERRNO", "flags": ["SECCOMP_FILTER_FLAG_X"]})),
        E::Flag { .. }
    ));
    assert!(matches!(error(argument(json!({"index": 0, "op": "=="}))), E::Operator { .. }));
    assert!(matches!(
        error(argument(json!({"index": 6, "op": "SCMP_CMP_EQ"}))),
        E::Argument { index: 6, .. }
    ));
    let kernel = rule(json!({
        "names": ["read"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "5.x"},
    }));
    let kernel = error(kernel);
    assert!(matches!(&kernel, E::KernelVersion { version } if version == "5.x"), "{kernel}");
    assert_eq!(tug_types::Explain::kind(&kernel), tug_types::Kind::Invalid);
}

/// No two neighbours alike, so that each is a leaf, and some jumps are too long for a comparison to
/// hold. With three conditions each it is more than the kernel takes.
#[test]
fn long_programs_jump_far_and_too_long_ones_are_refused() {
    let calls = (0..470).filter_map(syscalls::x86_64::Sysno::new);
    let profile = |args: &Value| {
        let rule = |call: syscalls::x86_64::Sysno| {
            json!({
                "names": [call.name()], "action": "SCMP_ACT_ERRNO", "errnoRet": call as u32,
                "args": args,
            })
        };
        json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"],
            "syscalls": calls.clone().map(rule).collect::<Vec<_>>(),
        })
        .to_string()
    };
    let program = profile_program(Machine::X86_64, &profile(&json!([])), &[]).unwrap();
    assert!(program.iter().any(|i| i.code == compile::JUMP && i.k > 255));
    for call in calls.clone() {
        let expected = Action::errno(call as u16);
        assert_eq!(bpf::run(&program, X86_64, call as u32, [0; 6]).0, expected, "{call}");
    }
    let argument = json!({"index": 0, "value": 5, "op": "SCMP_CMP_NE"});
    let long =
        profile_program(Machine::X86_64, &profile(&json!([argument, argument, argument])), &[]);
    assert!(matches!(long, Err(SeccompError::TooLong { .. })));
}

#[test]
fn random_profiles_agree_with_an_obvious_reading_of_them() {
    for seed in 1..60 {
        let mut random = Random(seed);
        let machine = random.of(&[Machine::X86_64, Machine::X86_64, Machine::Aarch64]);
        let (default, default_json) = any_action(&mut random);
        let rules: Vec<(Rule, Value)> =
            (0..random.below(120)).map(|_| any_rule(&mut random)).collect();
        let others: Vec<(Abi, &str)> = match machine {
            Machine::X86_64 => vec![(Abi::X86, "SCMP_ARCH_X86"), (Abi::X32, "SCMP_ARCH_X32")],
            Machine::Aarch64 => vec![(Abi::Arm, "SCMP_ARCH_ARM")],
        };
        let others: Vec<_> = others.into_iter().filter(|_| random.below(3) > 0).collect();
        let profile = json!({
            "defaultAction": default_json["action"], "defaultErrnoRet": default_json["errnoRet"],
            "architectures": others.iter().map(|(_, name)| name).collect::<Vec<_>>(),
            "syscalls": rules.iter().map(|(_, json)| json).collect::<Vec<_>>(),
        });
        let abis: Vec<Abi> =
            std::iter::once(machine.native()).chain(others.iter().map(|(abi, _)| *abi)).collect();
        let rules: Vec<Rule> = rules.into_iter().map(|(rule, _)| rule).collect();
        let program = profile_program(machine, &profile.to_string(), &[]).unwrap();
        Oracle::new(&abis, default, &rules).agrees_with(&program, &mut random);
    }
}

fn any_rule(random: &mut Random) -> (Rule, Value) {
    // Few names for many rules, so that several meet on one call.
    let name = match random.below(4) {
        0 => random.of(&["socket", "semop", "clone", "ioctl", "openat", "set_tls", "no_call"]),
        1 => syscalls::x86::Sysno::new(random.below(460)).map_or("read", |call| call.name()),
        _ => syscalls::x86_64::Sysno::new(random.below(460)).map_or("write", |call| call.name()),
    };
    let (action, mut json) = any_action(random);
    let conditions = random.of(&[0, 0, 1, 1, 2, 3, 6]);
    let (conditions, arguments): (Vec<_>, Vec<_>) =
        (0..conditions).map(|_| any_condition(random)).unzip();
    json["names"] = json!([name]);
    json["args"] = json!(arguments);
    ((name.to_owned(), conditions, action), json)
}

fn any_action(random: &mut Random) -> (Action, Value) {
    let number = random.below(4000) as u16;
    match random.below(8) {
        0..3 => (Action::ALLOW, json!({"action": "SCMP_ACT_ALLOW"})),
        3 => (DENIED, json!({"action": "SCMP_ACT_ERRNO"})),
        4 => (Action::errno(number), json!({"action": "SCMP_ACT_ERRNO", "errnoRet": number})),
        5 => (Action::trace(number), json!({"action": "SCMP_ACT_TRACE", "errnoRet": number})),
        6 => (Action::KILL_THREAD, json!({"action": "SCMP_ACT_KILL"})),
        _ => (Action::TRAP, json!({"action": "SCMP_ACT_TRAP"})),
    }
}

fn any_condition(random: &mut Random) -> (Condition, Value) {
    let value = match random.below(4) {
        0 => random.below(4) as u64,
        1 => random.below(4) as u64 * 0xffff_ffff,
        2 => 1 << random.below(64),
        _ => random.next(),
    };
    let other = value & random.next();
    let (test, operator) = random.of(&[
        (Test::Equal(value), "SCMP_CMP_EQ"),
        (Test::NotEqual(value), "SCMP_CMP_NE"),
        (Test::Less(value), "SCMP_CMP_LT"),
        (Test::AtMost(value), "SCMP_CMP_LE"),
        (Test::Greater(value), "SCMP_CMP_GT"),
        (Test::AtLeast(value), "SCMP_CMP_GE"),
        (Test::Masked { mask: value, value: other }, "SCMP_CMP_MASKED_EQ"),
    ]);
    let argument = random.below(6) as u8;
    let json = json!({"index": argument, "value": value, "valueTwo": other, "op": operator});
    (Condition { argument, test }, json)
}
