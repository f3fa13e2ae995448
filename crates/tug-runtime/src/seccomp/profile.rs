//! Profiles of the user's, in Docker's JSON format: the OCI runtime specification's, with
//! conditions on capabilities, machines and kernels.

use super::SeccompError;
use super::abi::{Abi, Machine};
use super::policy::{Action, Condition, EPERM, Policy, Test};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::HashMap;

/// Fields that Docker ignores are ignored here. A list may be null, which Go writes for an empty one.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u64>,
    architectures: Option<Vec<String>>,
    arch_map: Option<Vec<Architecture>>,
    flags: Option<Vec<String>>,
    syscalls: Option<Vec<Rule>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Architecture {
    architecture: String,
    sub_architectures: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Rule {
    /// The old way to write `names`.
    name: String,
    names: Option<Vec<String>>,
    action: String,
    errno_ret: Option<u64>,
    args: Option<Vec<Argument>>,
    includes: Option<Filter>,
    excludes: Option<Filter>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Argument {
    index: u64,
    value: u64,
    value_two: u64,
    op: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Filter {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

/// The profile as it reads here for these capabilities. None when it is empty: no filter.
pub(super) fn policy(
    machine: Machine,
    json: &str,
    capabilities: &[String],
) -> Result<Option<Policy>, SeccompError> {
    // Serde would take a list of the fields' values as well, and so an empty list for a profile that
    // filters nothing.
    serde_json::from_str::<HashMap<String, IgnoredAny>>(json).map_err(SeccompError::Json)?;
    let profile: Profile = serde_json::from_str(json).map_err(SeccompError::Json)?;
    let rules = profile.syscalls.as_deref().unwrap_or_default();
    check_flags(profile.flags.as_deref().unwrap_or_default())?;
    if profile.default_action.is_empty() {
        return if rules.is_empty() { Ok(None) } else { Err(SeccompError::NoDefaultAction) };
    }
    let default = action(&profile.default_action, profile.default_errno_ret)?;
    let mut policy = Policy::new(machine.native(), abis(machine, &profile)?, default);
    for (rule, number) in rules.iter().zip(1..) {
        let names = names(rule, number)?;
        let conditions = conditions(rule, names)?;
        let action = action(&rule.action, rule.errno_ret)?;
        if applies(rule, machine, capabilities)? {
            for name in names {
                policy.add(name, &conditions, action);
            }
        }
    }
    Ok(Some(policy))
}

/// Whether refused calls are to be logged. A profile that cannot be read has failed before.
pub(super) fn logs(json: &str) -> bool {
    let profile: Profile = serde_json::from_str(json).unwrap_or_default();
    profile.flags.is_some_and(|flags| flags.iter().any(|flag| flag == "SECCOMP_FILTER_FLAG_LOG"))
}

/// Three of the four change nothing here. TSYNC: there is one thread. SPEC_ALLOW: kernels since 5.16
/// tie no mitigation to seccomp, older ones then keep it. WAIT_KILLABLE_RECV: about SCMP_ACT_NOTIFY.
fn check_flags(flags: &[String]) -> Result<(), SeccompError> {
    flags.iter().try_for_each(|flag| match flag.as_str() {
        "SECCOMP_FILTER_FLAG_LOG"
        | "SECCOMP_FILTER_FLAG_TSYNC"
        | "SECCOMP_FILTER_FLAG_SPEC_ALLOW"
        | "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => Ok(()),
        _ => Err(SeccompError::Flag { flag: flag.clone() }),
    })
}

/// The ways into the kernel that the profile is about: those listed, or the machine's entry of the
/// map. Other machines' are left out: no call comes through those here.
fn abis(machine: Machine, profile: &Profile) -> Result<Vec<Abi>, SeccompError> {
    let listed = profile.architectures.as_deref().unwrap_or_default();
    let map = profile.arch_map.as_deref().unwrap_or_default();
    if !listed.is_empty() && !map.is_empty() {
        return Err(SeccompError::Both("architectures", "archMap"));
    }
    let own =
        |entry: &&Architecture| Abi::from_libseccomp(&entry.architecture) == Some(machine.native());
    let entry = map.iter().find(own).and_then(|entry| entry.sub_architectures.as_ref());
    let mut abis = Vec::new();
    for name in listed.iter().chain(entry.into_iter().flatten()) {
        match Abi::from_libseccomp(name) {
            Some(abi) if machine.abis().contains(&abi) => abis.push(abi),
            Some(_) => {}
            None if FOREIGN.contains(&name.as_str()) => {}
            None => return Err(SeccompError::Architecture { architecture: name.clone() }),
        }
    }
    Ok(abis)
}

/// The architectures that a profile may list beside those of [`Abi`].
const FOREIGN: [&str; 13] = [
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_LOONGARCH64",
];

fn names(rule: &Rule, number: usize) -> Result<&[String], SeccompError> {
    let names = rule.names.as_deref().unwrap_or_default();
    if !rule.name.is_empty() && !names.is_empty() {
        return Err(SeccompError::Both("name", "names"));
    }
    let names = if rule.name.is_empty() { names } else { std::slice::from_ref(&rule.name) };
    if names.iter().any(String::is_empty) {
        return Err(SeccompError::EmptyName { rule: number });
    }
    Ok(names)
}

fn action(action: &str, number: Option<u64>) -> Result<Action, SeccompError> {
    let within = |most: u16| match number {
        None => Ok(EPERM),
        Some(number) => u16::try_from(number)
            .ok()
            .filter(|number| *number <= most)
            .ok_or_else(|| SeccompError::Errno { action: action.to_owned(), number }),
    };
    Ok(match action {
        "SCMP_ACT_ALLOW" => Action::ALLOW,
        "SCMP_ACT_ERRNO" => Action::errno(within(4095)?),
        "SCMP_ACT_TRACE" => Action::trace(within(u16::MAX)?),
        "SCMP_ACT_LOG" => Action::LOG,
        "SCMP_ACT_TRAP" => Action::TRAP,
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KILL_THREAD,
        "SCMP_ACT_KILL_PROCESS" => Action::KILL_PROCESS,
        "SCMP_ACT_NOTIFY" => return Err(SeccompError::Notify),
        _ => return Err(SeccompError::Action { action: action.to_owned() }),
    })
}

fn conditions(rule: &Rule, names: &[String]) -> Result<Vec<Condition>, SeccompError> {
    let call = || names.first().cloned().unwrap_or_default();
    let condition = |argument: &Argument| {
        let index = u8::try_from(argument.index).ok().filter(|index| *index < 6);
        let value = argument.value;
        let test = match argument.op.as_str() {
            "SCMP_CMP_EQ" => Test::Equal(value),
            "SCMP_CMP_NE" => Test::NotEqual(value),
            "SCMP_CMP_LT" => Test::Less(value),
            "SCMP_CMP_LE" => Test::AtMost(value),
            "SCMP_CMP_GT" => Test::Greater(value),
            "SCMP_CMP_GE" => Test::AtLeast(value),
            "SCMP_CMP_MASKED_EQ" => Test::Masked { mask: value, value: argument.value_two },
            operator => {
                return Err(SeccompError::Operator { call: call(), operator: operator.to_owned() });
            }
        };
        let argument =
            index.ok_or_else(|| SeccompError::Argument { call: call(), index: argument.index })?;
        Ok(Condition { argument, test })
    };
    rule.args.iter().flatten().map(condition).collect()
}

/// Any exclusion that holds excludes; all inclusions must hold.
fn applies(rule: &Rule, machine: Machine, capabilities: &[String]) -> Result<bool, SeccompError> {
    let here = |arches: &[String]| arches.iter().any(|arch| arch == machine.docker_name());
    if let Some(excludes) = &rule.excludes {
        let caps = excludes.caps.as_deref().unwrap_or_default();
        if here(excludes.arches.as_deref().unwrap_or_default())
            || caps.iter().any(|capability| capabilities.contains(capability))
            || min_kernel(excludes)?.unwrap_or(false)
        {
            return Ok(false);
        }
    }
    if let Some(includes) = &rule.includes {
        let caps = includes.caps.as_deref().unwrap_or_default();
        let arches = includes.arches.as_deref().unwrap_or_default();
        if !(arches.is_empty() || here(arches))
            || !caps.iter().all(|capability| capabilities.contains(capability))
            || !min_kernel(includes)?.unwrap_or(true)
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether this kernel is at least the filter's. None when it does not say.
fn min_kernel(filter: &Filter) -> Result<Option<bool>, SeccompError> {
    let Some(least) = filter.min_kernel.as_deref().filter(|version| !version.is_empty()) else {
        return Ok(None);
    };
    let invalid = || SeccompError::KernelVersion { version: least.to_owned() };
    let (version, rest) = leading_version(least).ok_or_else(invalid)?;
    if !rest.is_empty() || version == (0, 0) {
        return Err(invalid());
    }
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let (running, _) = leading_version(&release)
        .ok_or_else(|| SeccompError::KernelRelease { release: release.clone().into_owned() })?;
    Ok(Some(running >= version))
}

/// The two numbers a version starts with (`6.1` of `6.1.0-rc3+`), and what follows.
fn leading_version(text: &str) -> Option<((u32, u32), &str)> {
    let (major, rest) = text.split_once('.')?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (minor, rest) = rest.split_at(end);
    Some(((major.parse().ok()?, minor.parse().ok()?), rest))
}
