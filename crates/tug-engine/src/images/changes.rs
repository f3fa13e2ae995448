//! Dockerfile instructions given with `-c`: those that change what a container of the image runs.
//! Docker's spelling rules: JSON for exact words, anything else is a shell's line; quotes and
//! backslashes in `ENV`, `LABEL`, `EXPOSE` and `VOLUME`. Variables are not expanded: there is no
//! environment yet that they could come from.

use super::error::ImageError;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What may be changed.
pub(crate) const KNOWN: &str = "CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, \
                                VOLUME, WORKDIR";

/// The outcome of all changes, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    cmd: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    env: Vec<String>,
    exposed_ports: BTreeMap<String, ()>,
    labels: BTreeMap<String, String>,
    on_build: Vec<String>,
    stop_signal: Option<String>,
    user: Option<String>,
    volumes: BTreeMap<String, ()>,
    working_dir: Option<String>,
}

/// Reads a list of changes; one text may hold several lines.
pub(crate) fn parse(changes: &[String]) -> Result<Changed, ImageError> {
    let mut changed = Changed::default();
    for line in changes.iter().flat_map(|text| text.lines()).map(str::trim) {
        if !line.is_empty() && !line.starts_with('#') {
            changed.apply(line)?;
        }
    }
    Ok(changed)
}

impl Changed {
    fn apply(&mut self, line: &str) -> Result<(), ImageError> {
        let (instruction, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let change = Change { line, rest: rest.trim() };
        let instruction = instruction.to_ascii_uppercase();
        if !KNOWN.split(", ").any(|known| known == instruction) {
            return Err(ImageError::UnknownChange { instruction });
        }
        if change.rest.is_empty() {
            return Err(change.wrong(format!("{instruction} requires an argument")));
        }
        match instruction.as_str() {
            "CMD" => self.cmd = Some(change.command()),
            "ENTRYPOINT" => self.entrypoint = Some(change.command()),
            "ENV" => {
                for (name, value) in change.pairs()? {
                    let prefix = format!("{name}=");
                    self.env.retain(|old| !old.starts_with(&prefix));
                    self.env.push(format!("{prefix}{value}"));
                }
            }
            "EXPOSE" => {
                for word in change.words()? {
                    self.exposed_ports.extend(ports(&change, &word)?.into_iter().map(|p| (p, ())));
                }
            }
            "LABEL" => self.labels.extend(change.pairs()?),
            "ONBUILD" => self.on_build.push(change.rest.to_owned()),
            "STOPSIGNAL" => self.stop_signal = Some(change.rest.to_owned()),
            "USER" => self.user = Some(change.rest.to_owned()),
            "VOLUME" => {
                let words = change.json_words().map_or_else(|| change.words(), Ok)?;
                self.volumes.extend(words.into_iter().map(|word| (word, ())));
            }
            _ => {
                let base = self.working_dir.as_deref().unwrap_or("/");
                let joined = tug_types::ContainerPath::parse(base)
                    .and_then(|base| base.join(change.rest))
                    .map_err(|error| change.wrong(error.to_string()))?;
                self.working_dir = Some(joined.as_str().to_owned());
            }
        }
        Ok(())
    }

    /// The `config` object of an image configuration: only what is set.
    pub(crate) fn to_json(&self) -> Value {
        let mut config = Map::new();
        let set = |names: &BTreeMap<String, ()>| -> Map<String, Value> {
            names.keys().map(|name| (name.clone(), json!({}))).collect()
        };
        let mut put = |key: &str, value: Option<Value>| {
            config.extend(value.map(|value| (key.to_owned(), value)));
        };
        let some = |present: bool, value: Value| present.then_some(value);
        put("Cmd", self.cmd.as_ref().map(|cmd| json!(cmd)));
        put("Entrypoint", self.entrypoint.as_ref().map(|words| json!(words)));
        put("Env", some(!self.env.is_empty(), json!(self.env)));
        put("ExposedPorts", some(!self.exposed_ports.is_empty(), json!(set(&self.exposed_ports))));
        put("Labels", some(!self.labels.is_empty(), json!(self.labels)));
        put("OnBuild", some(!self.on_build.is_empty(), json!(self.on_build)));
        put("StopSignal", self.stop_signal.as_ref().map(|text| json!(text)));
        put("User", self.user.as_ref().map(|text| json!(text)));
        put("Volumes", some(!self.volumes.is_empty(), json!(set(&self.volumes))));
        put("WorkingDir", self.working_dir.as_ref().map(|text| json!(text)));
        Value::Object(config)
    }
}

/// One instruction being read.
struct Change<'a> {
    line: &'a str,
    rest: &'a str,
}

impl Change<'_> {
    fn wrong(&self, why: impl Into<String>) -> ImageError {
        ImageError::BadChange { change: self.line.to_owned(), why: why.into() }
    }

    fn json_words(&self) -> Option<Vec<String>> {
        self.rest.starts_with('[').then(|| serde_json::from_str(self.rest).ok()).flatten()
    }

    /// Exact words, or a line for the shell.
    fn command(&self) -> Vec<String> {
        let shell = || vec!["/bin/sh".to_owned(), "-c".to_owned(), self.rest.to_owned()];
        self.json_words().unwrap_or_else(shell)
    }

    fn words(&self) -> Result<Vec<String>, ImageError> {
        shlex::split(self.rest).ok_or_else(|| self.wrong("a quote is not closed"))
    }

    /// `name=value …`, or the old `name value`.
    fn pairs(&self) -> Result<Vec<(String, String)>, ImageError> {
        let (first, rest) = self.rest.split_once(char::is_whitespace).unwrap_or((self.rest, ""));
        if !first.contains('=') {
            let value = rest.trim();
            return if value.is_empty() {
                Err(self.wrong("a name without a value: write NAME=VALUE"))
            } else {
                Ok(vec![(first.to_owned(), value.to_owned())])
            };
        }
        self.words()?
            .into_iter()
            .map(|word| match word.split_once('=') {
                Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
                _ => Err(self.wrong(format!("{word:?} is not NAME=VALUE"))),
            })
            .collect()
    }
}

/// `80`, `53/udp`, `8000-8002/tcp` as the ports they stand for.
fn ports(change: &Change<'_>, word: &str) -> Result<Vec<String>, ImageError> {
    let wrong = || change.wrong(format!("{word:?} is not a port"));
    let (range, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(change.wrong(format!("{protocol:?} is not a protocol: tcp, udp or sctp")));
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last): (u16, u16) =
        (first.parse().map_err(|_| wrong())?, last.parse().map_err(|_| wrong())?);
    if first == 0 || first > last {
        return Err(wrong());
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(changes: &[&str]) -> Value {
        let changes: Vec<String> = changes.iter().map(|c| (*c).to_owned()).collect();
        parse(&changes).unwrap().to_json()
    }

    #[test]
    fn every_instruction_lands_where_docker_puts_it() {
        let config = changed(&[
            r#"CMD ["echo", "a b"]"#,
            "entrypoint exec /init",
            r#"ENV A=1 B="two words" A=3"#,
            "ENV OLD the whole rest",
            "EXPOSE 80 53/udp 8000-8001",
            "LABEL a=b \"c d\"='e f'",
            "ONBUILD RUN make",
            "STOPSIGNAL SIGQUIT",
            "USER 1000:1000",
            r#"VOLUME ["/data"]"#,
            "VOLUME /a /b",
            "WORKDIR /srv",
            "WORKDIR app/../www",
        ]);
        assert_eq!(
            config,
            json!({
                "Cmd": ["echo", "a b"],
                "Entrypoint": ["/bin/sh", "-c", "exec /init"],
                "Env": ["B=two words", "A=3", "OLD=the whole rest"],
                "ExposedPorts": {"80/tcp": {}, "53/udp": {}, "8000/tcp": {}, "8001/tcp": {}},
                "Labels": {"a": "b", "c d": "e f"},
                "OnBuild": ["RUN make"],
                "StopSignal": "SIGQUIT",
                "User": "1000:1000",
                "Volumes": {"/data": {}, "/a": {}, "/b": {}},
                "WorkingDir": "/srv/www",
            })
        );
        assert_eq!(changed(&[]), json!({}));
        assert_eq!(changed(&["# nothing\n\nUSER me"]), json!({"User": "me"}));
    }

    #[test]
    fn wrong_changes_are_named() {
        for (change, words) in [
            ("FROM scratch", "FROM is not a valid change command"),
            ("run make", "RUN is not a valid change command"),
            ("CMD", "change \"CMD\": CMD requires an argument"),
            ("ENV A", "a name without a value"),
            ("ENV A=1 B", "\"B\" is not NAME=VALUE"),
            ("LABEL a='b", "a quote is not closed"),
            ("EXPOSE http", "\"http\" is not a port"),
            ("EXPOSE 9-8", "\"9-8\" is not a port"),
            ("EXPOSE 80/icmp", "\"icmp\" is not a protocol"),
        ] {
            let error = parse(&[change.to_owned()]).unwrap_err().to_string();
            assert!(error.contains(words), "{change}: {error}");
        }
    }
}
