//! `-p` and `--expose`. Grammar and messages: Docker's client, `[IP:][HOST[-HOST]:]CTR[-CTR][/PROTO]`
//! or `target=80,published=8080`.

use crate::flags::Parsed;
use crate::quit::Quit;
use std::collections::BTreeMap;
use std::net::IpAddr;
use tug_engine::{Empty, PortBinding};

/// `80/tcp` to the host's sides of it.
pub(crate) type Bindings = BTreeMap<String, Vec<PortBinding>>;

/// Reads all `-p`.
///
/// # Errors
/// Docker's words.
pub(crate) fn published(parsed: &Parsed<'_>) -> Result<Bindings, Quit> {
    let mut bindings = Bindings::new();
    for text in parsed.all("publish") {
        let text = match text.contains('=') {
            true => long_form(text).map_err(|why| parsed.wrong(why))?,
            false => text.to_owned(),
        };
        publish(&text, &mut bindings).map_err(|why| {
            let hint = "write [IP:][HOST_PORT:]CONTAINER_PORT[/udp], as in `-p 8080:80`";
            parsed.wrong(why).with_hint(hint)
        })?;
    }
    Ok(bindings)
}

/// Reads all `--expose`, and adds what is published.
///
/// # Errors
/// Docker's words.
pub(crate) fn exposed(
    parsed: &Parsed<'_>,
    bindings: &Bindings,
) -> Result<BTreeMap<String, Empty>, Quit> {
    let mut ports: BTreeMap<String, Empty> =
        bindings.keys().map(|port| (port.clone(), Empty {})).collect();
    for text in parsed.all("expose") {
        if text.contains(':') {
            return Err(parsed.wrong(format!("invalid port format for --expose: {text}")));
        }
        let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = range(numbers).ok_or_else(|| {
            parsed.wrong(format!(
                "invalid range format for --expose: {text}, error: expected a port or a range"
            ))
        })?;
        let protocol = protocol_of(protocol).map_err(|why| parsed.wrong(why))?;
        ports.extend((first..=last).map(|port| (format!("{port}/{protocol}"), Empty {})));
    }
    Ok(ports)
}

fn publish(text: &str, bindings: &mut Bindings) -> Result<(), String> {
    let mut parts = text.rsplitn(3, ':');
    let container = parts.next().unwrap_or_default();
    let host = parts.next().unwrap_or_default();
    let ip = parts.next().unwrap_or_default();
    let (container, protocol) = container.split_once('/').unwrap_or((container, "tcp"));
    if container.is_empty() {
        return Err(format!("no port specified: {text}<empty>"));
    }
    let ip = address(ip)?;
    let inside = range(container).ok_or_else(|| format!("invalid containerPort: {container}"))?;
    let outside = match host {
        "" => None,
        host => Some(range(host).ok_or_else(|| format!("invalid hostPort: {host}"))?),
    };
    let count = |(first, last): (u16, u16)| last - first;
    let choose = inside.0 == inside.1;
    if let Some(outside) = outside
        && count(outside) != count(inside)
        && !choose
    {
        return Err(format!(
            "invalid ranges specified for container and host Ports: {container} and {host}"
        ));
    }
    let protocol = protocol_of(protocol)?;
    for port in inside.0..=inside.1 {
        let host_port = match outside {
            None => String::new(),
            Some((first, last)) if choose && first != last => format!("{first}-{last}"),
            Some((first, _)) => (first + (port - inside.0)).to_string(),
        };
        let binding = PortBinding { host_ip: ip.clone(), host_port };
        bindings.entry(format!("{port}/{protocol}")).or_default().push(binding);
    }
    Ok(())
}

fn protocol_of(text: &str) -> Result<String, String> {
    let lower = text.to_lowercase();
    match lower.as_str() {
        "tcp" | "udp" | "sctp" => Ok(lower),
        _ => Err(format!("invalid proto: {text}")),
    }
}

fn address(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if bare.is_empty() || bare.parse::<IpAddr>().is_ok() {
        return Ok(bare.to_owned());
    }
    Err(format!("invalid IP address: {text}"))
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| {
        text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u16>().ok()).flatten()
    };
    let (first, last) = (port(first)?, port(last)?);
    (first <= last).then_some((first, last))
}

/// `target=80,published=8080,protocol=udp,mode=host`
fn long_form(text: &str) -> Result<String, String> {
    let (mut target, mut published, mut protocol) = (None, String::new(), "tcp".to_owned());
    for field in text.split(',') {
        let (name, value) =
            field.split_once('=').ok_or_else(|| format!("invalid field: {field}"))?;
        match name.to_lowercase().as_str() {
            "target" => target = Some(value.to_owned()),
            "published" => published = format!("{value}:"),
            "protocol" => value.clone_into(&mut protocol),
            "mode" if matches!(value, "host" | "ingress") => {}
            "mode" => {
                return Err(format!(
                    "invalid publish mode value ({value}): must be either 'ingress' or 'host'"
                ));
            }
            _ => return Err(format!("invalid field key: {name}")),
        }
    }
    let target =
        target.ok_or_else(|| format!("missing mandatory field '{}' in port mapping", "target"))?;
    Ok(format!("{published}{target}/{protocol}"))
}
