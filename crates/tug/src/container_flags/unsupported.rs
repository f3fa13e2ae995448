//! Flags that are understood but not honoured. Accepting one in silence would be a lie: it is
//! refused, unless what it asks for is what happens anyway.

use crate::flags::Parsed;
use crate::quit::Quit;

/// Flags refused whatever their value, and what can be done instead.
const REFUSED: &[(&str, Option<&str>)] = &[
    ("annotation", None),
    ("blkio-weight-device", None),
    ("device-read-bps", None),
    ("device-read-iops", None),
    ("device-write-bps", None),
    ("device-write-iops", None),
    ("cpu-count", None),
    ("cpu-percent", None),
    ("cpu-rt-period", None),
    ("cpu-rt-runtime", None),
    ("gpus", Some("name the devices: `--device /dev/dri`")),
    ("health-cmd", None),
    ("health-interval", None),
    ("health-retries", None),
    ("health-start-interval", None),
    ("health-start-period", None),
    ("health-timeout", None),
    ("io-maxbandwidth", None),
    ("io-maxiops", None),
    ("ip", None),
    ("ip6", None),
    ("kernel-memory", Some("`--memory` counts the kernel's memory too")),
    ("link", Some("reach the other container by its address: `tug inspect` shows it")),
    ("link-local-ip", None),
    ("mac-address", None),
    ("network-alias", None),
    ("storage-opt", None),
];

/// Refuses what cannot be honoured.
///
/// # Errors
/// `--gpus is not supported by tug yet`, exit code 125.
pub(crate) fn refuse(parsed: &Parsed<'_>) -> Result<(), Quit> {
    let refuse = |what: &str, instead: Option<&str>| {
        let quit = parsed.wrong(format!("{what} is not supported by tug yet"));
        Err(match instead {
            Some(instead) => quit.with_hint(instead),
            None => quit.with_hint("leave it out"),
        })
    };
    if let Some((name, instead)) = REFUSED.iter().find(|(name, _)| parsed.given(name)) {
        return refuse(&format!("--{name}"), *instead);
    }
    for (name, harmless) in [
        ("isolation", &["", "default"][..]),
        ("runtime", &["", "runc", "io.containerd.runc.v2"]),
        ("blkio-weight", &["0"]),
        ("memory-swappiness", &["-1"]),
        ("volume-driver", &["", "local"]),
    ] {
        if let Some(value) = parsed.text(name).filter(|value| !harmless.contains(value)) {
            return refuse(&format!("--{name} {value}"), None);
        }
    }
    for name in ["oom-kill-disable", "use-api-socket"] {
        if parsed.on(name) {
            return refuse(&format!("--{name}"), None);
        }
    }
    if parsed.switch("disable-content-trust") == Some(false) {
        return refuse("--disable-content-trust=false", None);
    }
    refuse_restart(parsed)
}

fn refuse_restart(parsed: &Parsed<'_>) -> Result<(), Quit> {
    let Some(policy) = parsed.text("restart").filter(|policy| !matches!(*policy, "" | "no")) else {
        return Ok(());
    };
    if parsed.on("rm") {
        return Err(parsed.wrong("conflicting options: cannot specify both --restart and --rm"));
    }
    let name = policy.split_once(':').map_or(policy, |(name, _)| name);
    if !matches!(name, "always" | "on-failure" | "unless-stopped") {
        return Err(parsed.wrong(format!(
            "invalid restart policy: unknown policy '{name}'; use one of 'no', 'always', \
             'on-failure', or 'unless-stopped'"
        )));
    }
    let quit = parsed.wrong(format!("--restart {policy} is not supported by tug yet"));
    Err(quit.with_hint("leave it out, and start the container with `tug start` when it has ended"))
}
