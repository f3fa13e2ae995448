//! `WWW-Authenticate` (RFC 9110, 11.6.1): which scheme a registry wants and with what parameters.

/// What a registry wants to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User and password with every request.
    Basic,
    /// A token from `realm` (distribution's token authentication).
    Bearer {
        /// URL of the token server.
        realm: String,
        /// Who the token is for.
        service: Option<String>,
        /// What it must allow, `repository:library/busybox:pull`.
        scope: Option<String>,
    },
}

impl Challenge {
    /// The challenge to answer among all that the headers hold: a usable bearer before basic.
    pub(crate) fn choose<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Self> {
        let all: Vec<Self> = headers.flat_map(parse).collect();
        let bearer = all.iter().find(|c| matches!(c, Self::Bearer { .. }));
        bearer.or_else(|| all.first()).cloned()
    }
}

/// Every challenge of one header value that is understood.
fn parse(header: &str) -> Vec<Challenge> {
    let mut found: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() {
            break;
        }
        let value = after.trim_start_matches([' ', '\t']).strip_prefix('=');
        match (value, found.last_mut()) {
            (Some(text), Some((_, parameters))) => {
                let (value, after) = take_value(text.trim_start_matches([' ', '\t']));
                parameters.push((word.to_ascii_lowercase(), value));
                rest = after;
            }
            // A parameter before any scheme: not a challenge.
            (Some(_), None) => break,
            (None, _) => {
                found.push((word.to_ascii_lowercase(), Vec::new()));
                rest = after;
            }
        }
    }
    found.into_iter().filter_map(|(scheme, parameters)| interpret(&scheme, parameters)).collect()
}

fn interpret(scheme: &str, parameters: Vec<(String, String)>) -> Option<Challenge> {
    let get = |name: &str| {
        let found = parameters.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
    };
    match scheme {
        "basic" => Some(Challenge::Basic),
        "bearer" => Some(Challenge::Bearer {
            realm: get("realm")?,
            service: get("service"),
            scope: get("scope"),
        }),
        _ => None,
    }
}

/// A token or a quoted string, and what follows it.
fn take_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Challenge::Bearer { realm: realm.into(), service: owned(service), scope: owned(scope) }
    }

    #[test]
    fn the_forms_registries_send_are_read() {
        for (headers, wanted) in [
            (
                vec![r#"Bearer realm="https://a/t",service="s.io",scope="repository:x:pull,push""#],
                Some(bearer("https://a/t", Some("s.io"), Some("repository:x:pull,push"))),
            ),
            (
                vec![r#"bearer REALM=https://a/t , service="s""#],
                Some(bearer("https://a/t", Some("s"), None)),
            ),
            (vec![r#"Basic realm="it's, here""#], Some(Challenge::Basic)),
            (
                vec![r#"Basic realm="b", Bearer realm="https://a/\"t\"""#],
                Some(bearer("https://a/\"t\"", None, None)),
            ),
            (vec!["Negotiate", r#"Basic realm="x""#], Some(Challenge::Basic)),
            (vec!["Negotiate"], None),
            (vec![r#"Bearer service="no realm""#], None),
            (vec!["", "=", r#"x="y"#, r#"Bearer realm="#], None),
        ] {
            assert_eq!(Challenge::choose(headers.iter().copied()), wanted, "{headers:?}");
        }
    }
}
