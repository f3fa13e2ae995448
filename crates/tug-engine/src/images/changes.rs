//! Dockerfile instructions given with `-c`: those that change what a container of the image runs.
//! Docker's spelling rules: JSON for exact words, anything else is a shell's line; quotes and
//! backslashes in `ENV`, `LABEL`, `EXPOSE` and `VOLUME`. Variables come from the environment
//! so far.

use super::error::ImageError;
use crate::model::{Config, Empty, Healthcheck};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What may be changed.
pub(crate) const KNOWN: &str = "CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, \
                                STOPSIGNAL, USER, VOLUME, WORKDIR";

/// The outcome of all changes, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    cmd: Option<Vec<String>>,
    /// A change said so, and not only the container.
    cmd_is_set: bool,
    entrypoint: Option<Vec<String>>,
    env: Vec<String>,
    exposed_ports: BTreeMap<String, ()>,
    healthcheck: Option<Healthcheck>,
    labels: BTreeMap<String, String>,
    on_build: Vec<String>,
    shell: Option<Vec<String>>,
    stop_signal: Option<String>,
    user: Option<String>,
    volumes: BTreeMap<String, ()>,
    working_dir: Option<String>,
}

/// Reads a list of changes; one text may hold several lines.
pub(crate) fn parse(changes: &[String]) -> Result<Changed, ImageError> {
    parse_over(Changed::default(), changes)
}

/// The same on top of what is there already.
pub(crate) fn parse_over(mut changed: Changed, changes: &[String]) -> Result<Changed, ImageError> {
    for line in changes.iter().flat_map(|text| text.lines()).map(str::trim) {
        if !line.is_empty() && !line.starts_with('#') {
            changed.apply(line)?;
        }
    }
    Ok(changed)
}

impl Changed {
    /// What a container runs with.
    pub(crate) fn of(config: &Config) -> Self {
        let keys = |names: &BTreeMap<String, Empty>| -> BTreeMap<String, ()> {
            names.keys().map(|name| (name.clone(), ())).collect()
        };
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Self {
            cmd: config.cmd.clone(),
            cmd_is_set: false,
            entrypoint: config.entrypoint.clone(),
            env: config.env.clone(),
            exposed_ports: keys(&config.exposed_ports),
            healthcheck: config.healthcheck.clone(),
            labels: config.labels.clone(),
            on_build: config.on_build.clone().unwrap_or_default(),
            shell: config.shell.clone(),
            stop_signal: config.stop_signal.clone(),
            user: text(&config.user),
            volumes: config.volumes.as_ref().map(keys).unwrap_or_default(),
            working_dir: text(&config.working_dir),
        }
    }

    fn apply(&mut self, line: &str) -> Result<(), ImageError> {
        let (instruction, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let instruction = instruction.to_ascii_uppercase();
        // Commands are a shell's business, and what `ONBUILD` has is expanded when it runs.
        let expanded = match instruction.as_str() {
            "ENV" | "EXPOSE" | "LABEL" | "STOPSIGNAL" | "USER" | "VOLUME" | "WORKDIR" => {
                expand(rest.trim(), &self.env)
            }
            _ => rest.trim().to_owned(),
        };
        let change = Change { line, rest: &expanded };
        if !KNOWN.split(", ").any(|known| known == instruction) {
            return Err(ImageError::UnknownChange { instruction });
        }
        if change.rest.is_empty() {
            return Err(change.wrong(format!("{instruction} requires an argument")));
        }
        match instruction.as_str() {
            "CMD" => (self.cmd, self.cmd_is_set) = (Some(change.command()), true),
            "ENTRYPOINT" => {
                self.entrypoint = Some(change.command());
                // Arguments of another program are none of this one's.
                if !self.cmd_is_set {
                    self.cmd = None;
                }
            }
            "HEALTHCHECK" => self.healthcheck = Some(change.healthcheck()?),
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
        put("Healthcheck", self.healthcheck.as_ref().map(|check| json!(check)));
        put("Labels", some(!self.labels.is_empty(), json!(self.labels)));
        put("OnBuild", some(!self.on_build.is_empty(), json!(self.on_build)));
        put("Shell", self.shell.as_ref().map(|words| json!(words)));
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

    /// `[--interval=30s …] CMD COMMAND`, or `NONE`.
    fn healthcheck(&self) -> Result<Healthcheck, ImageError> {
        let mut check = Healthcheck::default();
        let mut rest = self.rest;
        while let Some(flag) = rest.strip_prefix("--") {
            let (flag, after) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
            rest = after.trim_start();
            let (name, value) = flag
                .split_once('=')
                .ok_or_else(|| self.wrong(format!("--{flag} needs a value")))?;
            let duration = || {
                nanoseconds(value)
                    .ok_or_else(|| self.wrong(format!("{value:?} is not a duration such as 30s")))
            };
            match name {
                "interval" => check.interval = Some(duration()?),
                "timeout" => check.timeout = Some(duration()?),
                "start-period" => check.start_period = Some(duration()?),
                "start-interval" => check.start_interval = Some(duration()?),
                "retries" => {
                    let retries = value.parse().ok().filter(|retries: &i64| *retries >= 0);
                    let wrong = || self.wrong(format!("{value:?} is not a number of retries"));
                    check.retries = Some(retries.ok_or_else(wrong)?);
                }
                _ => return Err(self.wrong(format!("--{name} is not a flag of HEALTHCHECK"))),
            }
        }
        let (kind, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let inner = Change { line: self.line, rest: command.trim() };
        check.test = Some(match (kind.to_ascii_uppercase().as_str(), inner.rest.is_empty()) {
            ("NONE", true) => vec!["NONE".to_owned()],
            ("CMD", false) => match inner.json_words() {
                Some(words) => [vec!["CMD".to_owned()], words].concat(),
                None => vec!["CMD-SHELL".to_owned(), inner.rest.to_owned()],
            },
            _ => return Err(self.wrong("expected NONE, or CMD and a command")),
        });
        Ok(check)
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

/// `1h30m`, `2.5s`, `100ms` in nanoseconds.
fn nanoseconds(text: &str) -> Option<i64> {
    let (mut rest, mut sum) = (text, 0f64);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let after = &rest[digits..];
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let unit = match &after[..end] {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 6e10,
            "h" => 3.6e12,
            _ => return None,
        };
        sum += number * unit;
        rest = &after[end..];
    }
    (!text.is_empty()).then_some(sum as i64)
}

/// Puts in the values of `$NAME`, `${NAME}`, `${NAME:-default}` and `${NAME:+instead}`; not in single
/// quotes, and not after a backslash. Names without a value become nothing.
fn expand(text: &str, env: &[String]) -> String {
    let value_of =
        |name: &str| env.iter().rev().find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let (mut out, mut rest, mut quoted) = (String::new(), text, false);
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '\'' => quoted = !quoted,
            '\\' if !quoted => {
                let next = rest.chars().next();
                if next != Some('$') {
                    out.push(c);
                }
                out.extend(next);
                rest = &rest[next.map_or(0, char::len_utf8)..];
                continue;
            }
            '$' if !quoted => {
                if let Some((inside, after)) =
                    rest.strip_prefix('{').and_then(|braced| braced.split_once('}'))
                {
                    let end = inside.find(|c| !is_name(c)).unwrap_or(inside.len());
                    let (name, modifier) = inside.split_at(end);
                    let value = value_of(name).filter(|value| !value.is_empty());
                    out.push_str(match (modifier.get(..2), value) {
                        (Some(":-"), None) => &modifier[2..],
                        (Some(":+"), Some(_)) => &modifier[2..],
                        (Some(":+"), None) => "",
                        (_, value) => value.unwrap_or(""),
                    });
                    rest = after;
                    continue;
                }
                let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
                if end > 0 {
                    out.push_str(value_of(&rest[..end]).unwrap_or(""));
                    rest = &rest[end..];
                    continue;
                }
            }
            _ => {}
        }
        out.push(c);
    }
    out
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
    fn changes_go_on_top_of_what_a_container_runs_with() {
        let config = Config {
            cmd: Some(vec!["old".to_owned()]),
            env: vec!["PATH=/bin".to_owned(), "A=1".to_owned()],
            working_dir: "/srv".to_owned(),
            ..Config::default()
        };
        let over = |lines: &[&str]| {
            let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
            parse_over(Changed::of(&config), &lines).unwrap().to_json()
        };
        let config = over(&["ENV PATH=$PATH:/x B='$A' C=${NO:-d}${A:+e}\\$A", "WORKDIR ${A}"]);
        assert_eq!(config["Env"], json!(["A=1", "PATH=/bin:/x", "B=$A", "C=de$A"]));
        assert_eq!((&config["Cmd"], &config["WorkingDir"]), (&json!(["old"]), &json!("/srv/1")));
        let config = over(&["ENTRYPOINT [\"new\"]"]);
        assert_eq!((&config["Cmd"], &config["Entrypoint"]), (&json!(null), &json!(["new"])));
        let config = over(&["CMD x", "ENTRYPOINT [\"new\"]"]);
        assert_eq!(config["Cmd"], json!(["/bin/sh", "-c", "x"]));
        let config = over(&["HEALTHCHECK --interval=1m30s --retries=3 CMD [\"true\"]"]);
        let check = json!({"Test": ["CMD", "true"], "Interval": 90_000_000_000i64, "Retries": 3});
        assert_eq!(config["Healthcheck"], check);
        assert_eq!(over(&["healthcheck none"])["Healthcheck"], json!({"Test": ["NONE"]}));
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
            ("HEALTHCHECK --interval=x CMD true", "is not a duration"),
            ("HEALTHCHECK CMD", "expected NONE, or CMD and a command"),
            ("EXPOSE 80/icmp", "\"icmp\" is not a protocol"),
        ] {
            let error = parse(&[change.to_owned()]).unwrap_err().to_string();
            assert!(error.contains(words), "{change}: {error}");
        }
    }
}
