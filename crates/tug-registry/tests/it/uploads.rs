//! Blobs on their way out, to a registry that has bad days.

use crate::support::*;
use std::io::{self, Read};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tug_registry::{Client, Error, Settings, UploadEvent};
use tug_test::layout::digest_of;
use tug_test::scripted::{Asked, Reply, Server};
use tug_types::{Digest, Explain, Kind};

/// What a registry holds of one upload.
#[derive(Default)]
struct Dock {
    content: Vec<u8>,
    uploads: usize,
    blob: Option<String>,
}

impl Dock {
    /// A faultless registry's answer.
    fn answer(&mut self, asked: &Asked) -> Reply {
        let upload = format!("/v2/app/blobs/uploads/{}", self.uploads);
        let place = |reply: Reply, dock: &Self| {
            let range = format!("0-{}", dock.content.len().saturating_sub(1));
            reply
                .with("Location", &format!("/v2/app/blobs/uploads/{}?state=x", dock.uploads))
                .with("Range", &range)
        };
        match asked.method.as_str() {
            "HEAD" => match &self.blob {
                Some(blob) if asked.target.ends_with(blob) => Reply::new(200, ""),
                _ => Reply::new(404, ""),
            },
            "POST" => {
                *self = Self { uploads: self.uploads + 1, ..Self::default() };
                place(Reply::new(202, ""), self)
            }
            "GET" if asked.target.starts_with(&upload) => place(Reply::new(204, ""), self),
            "PATCH" if asked.target.starts_with(&upload) => {
                let range = asked.header("content-range").unwrap_or_default().to_owned();
                let wanted =
                    format!("{}-{}", self.content.len(), self.content.len() + asked.body.len() - 1);
                if range != wanted {
                    return place(Reply::new(416, ""), self);
                }
                self.content.extend_from_slice(&asked.body);
                place(Reply::new(202, ""), self)
            }
            "PUT" if asked.target.starts_with(&upload) => {
                self.content.extend_from_slice(&asked.body);
                let digest = digest_of(&self.content);
                if !asked.target.contains(&digest.replace(':', "%3A")) {
                    return Reply::refusal(400, "DIGEST_INVALID", "provided digest did not match");
                }
                self.blob = Some(digest);
                Reply::new(201, "")
            }
            _ => Reply::refusal(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry"),
        }
    }
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 9u32;
    let step = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(step).collect()
}

fn in_pieces(of: usize) -> Settings {
    Settings { upload_piece: of, ..settings() }
}

fn upload(
    server: &Server,
    settings: Settings,
    content: &[u8],
) -> Result<((Digest, u64), Vec<UploadEvent>), Error> {
    let client = Client::new(settings)?;
    let to = client.destination(&reference(&server.address(), "app"))?;
    let events = Mutex::new(Vec::new());
    let observer = |event| events.lock().unwrap().push(event);
    let content: Arc<[u8]> = Arc::from(content);
    let mut open = || Ok(Box::new(io::Cursor::new(content.clone())) as Box<dyn Read>);
    let name = Digest::from_sha256([7; 32]);
    let never = AtomicBool::new(false);
    let done = client.upload(&to, name, &mut open, &observer, &never)?;
    Ok((done, events.into_inner().unwrap()))
}

/// A registry that `spoil`s some requests before or after it has taken them in.
fn dock(
    spoil: impl Fn(&Asked, &mut Dock) -> Option<Reply> + Send + Sync + 'static,
) -> (Server, Arc<Mutex<Dock>>) {
    let dock = Arc::new(Mutex::new(Dock::default()));
    let state = dock.clone();
    let server = Server::start(move |asked| {
        let mut dock = state.lock().unwrap();
        spoil(asked, &mut dock).unwrap_or_else(|| dock.answer(asked))
    })
    .unwrap();
    (server, dock)
}

/// Hangs up without an answer.
fn hang_up() -> Reply {
    Reply::new(0, "")
}

fn patches(server: &Server) -> Vec<String> {
    let asked = server.asked().into_iter().filter(|asked| asked.method == "PATCH");
    asked.map(|asked| asked.header("content-range").unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_blob_goes_in_pieces_and_a_small_one_at_once() {
    let (server, dock) = dock(|_, _| None);
    let content = noise(250_000);
    let ((digest, size), events) = upload(&server, in_pieces(100_000), &content).unwrap();
    assert_eq!(digest.to_string(), digest_of(&content));
    assert_eq!(size, 250_000);
    assert!(dock.lock().unwrap().content == content);
    assert_eq!(patches(&server), ["0-99999", "100000-199999", "200000-249999"]);
    assert_eq!(events.last(), Some(&UploadEvent::Sent(250_000)));
    upload(&server, in_pieces(100_000), b"small").unwrap();
    assert_eq!(patches(&server).len(), 3, "in the PUT itself");
    upload(&server, in_pieces(100_000), b"").unwrap();
    let exact = noise(200_000);
    let ((_, size), _) = upload(&server, in_pieces(100_000), &exact).unwrap();
    assert_eq!(size, 200_000);
}

#[test]
fn a_cut_piece_goes_on_where_the_registry_stands() {
    let (server, dock) = dock(|asked, dock| {
        // Takes a part of the second piece in, then hangs up.
        let second = asked.method == "PATCH" && dock.content.len() == 100_000;
        second.then(|| {
            dock.content.extend_from_slice(&asked.body[..30_000]);
            hang_up()
        })
    });
    let content = noise(250_000);
    let (_, events) = upload(&server, in_pieces(100_000), &content).unwrap();
    assert!(dock.lock().unwrap().content == content);
    let sent = patches(&server);
    assert_eq!(sent[..3], ["0-99999", "100000-199999", "130000-199999"], "{sent:?}");
    assert!(events.iter().any(|event| matches!(event, UploadEvent::Retrying(2, _))));
    assert_eq!(dock.lock().unwrap().uploads, 1);
}

#[test]
fn an_upload_the_registry_forgot_starts_over() {
    let (server, dock) = dock(|asked, dock| {
        let second = asked.method == "PATCH" && dock.content.len() == 100_000 && dock.uploads == 1;
        second.then(|| {
            dock.uploads = 7;
            Reply::refusal(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        })
    });
    let content = noise(250_000);
    upload(&server, in_pieces(100_000), &content).unwrap();
    assert!(dock.lock().unwrap().content == content);
    assert_eq!(dock.lock().unwrap().uploads, 8);
}

#[test]
fn an_answer_that_got_lost_is_no_second_upload() {
    let (server, dock) = dock(|asked, dock| {
        (asked.method == "PUT").then(|| {
            dock.answer(asked);
            hang_up()
        })
    });
    let content = noise(150_000);
    upload(&server, in_pieces(100_000), &content).unwrap();
    assert_eq!(dock.lock().unwrap().uploads, 1);
}

#[test]
fn a_token_that_runs_out_in_the_middle_is_renewed() {
    let tokens = Server::start(|asked| {
        let body = format!(r#"{{"token":"token-{}","expires_in":300}}"#, asked.earlier);
        Reply::new(200, body).with("Content-Type", "application/json")
    })
    .unwrap();
    let realm = format!("http://{}/token", tokens.address());
    // Every token is good for the pieces of one 100,000 bytes only.
    let (server, dock) = dock(move |asked, dock| {
        let wanted = format!("Bearer token-{}", dock.content.len() / 100_000);
        let good = asked.header("authorization") == Some(wanted.as_str());
        let challenge =
            format!(r#"Bearer realm="{realm}",service="s",scope="repository:app:pull,push""#);
        (!good).then(|| Reply::new(401, "").with("WWW-Authenticate", &challenge))
    });
    let content = noise(450_000);
    upload(&server, in_pieces(100_000), &content).unwrap();
    assert!(dock.lock().unwrap().content == content);
    assert_eq!(dock.lock().unwrap().uploads, 1, "nothing was started over");
    assert_eq!(tokens.asked().len(), 5);
    assert_eq!(tokens.asked()[0].target, "/token?service=s&scope=repository%3Aapp%3Apull%2Cpush");
}

#[test]
fn a_line_that_is_always_cut_and_a_refusal_end_it() {
    let (server, _) = dock(|asked, _| (asked.method == "PATCH").then(hang_up));
    let error = upload(&server, in_pieces(100_000), &noise(250_000)).unwrap_err();
    assert!(matches!(error, Error::Cut { tries: 3, .. }), "{error}");
    assert_eq!(error.kind(), Kind::Unavailable);
    let (server, _) = dock(|asked, _| {
        let denied = || Reply::refusal(403, "DENIED", "requested access is denied");
        (asked.method == "POST").then(denied)
    });
    let failure = upload(&server, settings(), b"x").unwrap_err().failure();
    assert_eq!(
        failure.message.replace(&server.address(), "HOST"),
        "push access denied for HOST/app, repository does not exist or may require authorization: \
         denied: requested access is denied"
    );
    assert!(failure.hint.unwrap().contains("tug login"));
}

#[test]
fn a_source_that_fails_is_named_and_what_is_not_redirected_stays() {
    let (server, _) = dock(|_, _| None);
    let client = Client::new(settings()).unwrap();
    let to = client.destination(&reference(&server.address(), "app")).unwrap();
    let mut open = || Err(io::Error::other("gone"));
    let never = AtomicBool::new(false);
    let error =
        client.upload(&to, Digest::from_sha256([7; 32]), &mut open, &|_| {}, &never).unwrap_err();
    assert!(error.failure().message.ends_with("read it here: gone"), "{error}");

    let elsewhere = Server::start(|_| Reply::new(202, "")).unwrap();
    let target = format!("http://{}/v2/app/blobs/uploads/", elsewhere.address());
    let (server, _) = dock(move |_, _| Some(Reply::new(307, "").with("Location", &target)));
    let error = upload(&server, settings(), b"secret").unwrap_err();
    assert!(matches!(error, Error::Redirect { .. }), "{error}");
    assert!(elsewhere.asked().is_empty());
}

#[test]
fn credentials_do_not_follow_an_upload_to_another_host() {
    let state = Arc::new(Mutex::new(Dock::default()));
    let storage_state = state.clone();
    let storage = Server::start(move |asked| storage_state.lock().unwrap().answer(asked)).unwrap();
    let elsewhere = storage.address();
    let (server, _) = dock(move |asked, _| {
        if asked.header("authorization") != Some("Basic dHVnOnNlY3JldA==") {
            return Some(Reply::new(401, "").with("WWW-Authenticate", "Basic realm=x"));
        }
        let location = format!("http://{elsewhere}/v2/app/blobs/uploads/0");
        (asked.method == "POST").then(|| Reply::new(202, "").with("Location", &location))
    });
    let config = docker_config(&server.address());
    let content = noise(150_000);
    let settings = Settings { upload_piece: 100_000, ..with_config(config.path()) };
    upload(&server, settings, &content).unwrap();
    assert!(state.lock().unwrap().content == content);
    assert!(storage.asked().iter().all(|asked| asked.header("authorization").is_none()));
}

#[test]
fn nothing_is_waited_for_longer_than_wanted() {
    let (server, _) = dock(|asked, _| {
        (asked.method == "PATCH").then(|| Reply::new(429, "").with("Retry-After", "3600"))
    });
    let begun = std::time::Instant::now();
    let error = upload(&server, in_pieces(1000), &noise(5000)).unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert!(matches!(error, Error::RateLimited { .. }), "{error}");
    assert!(error.hint().unwrap().starts_with("retry after 3600 s, at "));
}
