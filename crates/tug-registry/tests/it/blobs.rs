//! Layers: cut, resumed, lied about, redirected.

use crate::support::*;
use tug_registry::BlobEvent;
use tug_test::scripted::{Asked, Reply, Server};
use tug_types::{Explain, Kind};

fn is(asked: &Asked, digest: &str) -> bool {
    asked.target.ends_with(&format!("/blobs/{digest}"))
}

/// The failure of downloading the fixture's layer when `spoil` answers for it.
fn failing(spoil: impl Fn(&Asked, Vec<u8>) -> Reply + Send + Sync + 'static) -> (String, Server) {
    let fixture = Fixture::new();
    let (layer, bytes) = (fixture.layer.clone(), fixture.layer_bytes());
    let server =
        serve(fixture.shelf(), move |asked| is(asked, &layer).then(|| spoil(asked, bytes.clone())));
    let error = download(&server, settings()).map(|_| ()).expect_err("the download succeeded");
    let message = named(&error, &server).message;
    (message.replace(&fixture.layer, "LAYER"), server)
}

#[test]
fn a_layer_arrives_whole() {
    let fixture = Fixture::new();
    let server = serve(fixture.shelf(), |_| None);
    let (bytes, events) = download(&server, settings()).unwrap();
    assert_eq!(bytes, fixture.layer_bytes());
    assert_eq!(events.last(), Some(&BlobEvent::Verified));
    assert!(events.contains(&BlobEvent::Received(bytes.len() as u64)));
}

#[test]
fn a_cut_download_goes_on_where_it_stopped() {
    let fixture = Fixture::new();
    let (shelf, layer) = (fixture.shelf(), fixture.layer.clone());
    let server = serve(fixture.shelf(), move |asked| {
        is(asked, &layer).then(|| {
            let mut reply = shelf.answer(asked);
            reply.cut_after = Some(120_000);
            reply
        })
    });
    let (bytes, events) = download(&server, settings()).unwrap();
    assert_eq!(bytes, fixture.layer_bytes());
    let starts: Vec<Option<usize>> = server
        .asked()
        .iter()
        .filter(|asked| is(asked, &fixture.layer))
        .map(Asked::range_start)
        .collect();
    let size = bytes.len();
    assert!(starts.len() > 2, "{starts:?}");
    assert_eq!(starts[..3], [None, Some(120_000), Some(240_000)], "of {size}");
    assert!(matches!(events[..], [.., BlobEvent::Verified]));
    assert!(events.iter().any(|event| matches!(event, BlobEvent::Retrying(2, _))), "{events:?}");
}

#[test]
fn a_registry_without_ranges_starts_over_unnoticed() {
    let fixture = Fixture::new();
    let (layer, content) = (fixture.layer.clone(), fixture.layer_bytes());
    let server = serve(fixture.shelf(), move |asked| {
        is(asked, &layer).then(|| {
            let mut reply = Reply::new(200, content.clone());
            reply.cut_after = (asked.earlier == 0).then_some(100_000);
            reply
        })
    });
    let (bytes, _) = download(&server, settings()).unwrap();
    assert!(bytes == fixture.layer_bytes());
}

#[test]
fn a_line_that_is_always_cut_is_given_up() {
    let (message, server) = failing(|_, bytes| {
        let mut reply = Reply::new(200, bytes);
        reply.cut_after = Some(1000);
        reply
    });
    assert!(
        message.starts_with(
            "get blob LAYER of app from HOST: connection lost 3 times, last after 1000 bytes: "
        ),
        "{message}"
    );
    assert_eq!(server.count("/blobs/"), 1 + 3);
}

#[test]
fn flipped_bits_are_caught() {
    let (message, _) = failing(|_, mut bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        Reply::new(200, bytes)
    });
    assert!(
        message.starts_with(
            "get blob LAYER of app from HOST: content does not match its digest: expected LAYER, \
             got sha256:"
        ),
        "{message}"
    );
}

#[test]
fn another_length_than_the_manifests_is_refused_before_reading() {
    let (message, _) = failing(|_, mut bytes| {
        bytes.truncate(1000);
        Reply::new(200, bytes)
    });
    assert!(message.contains("content has the wrong size: expected "), "{message}");
    assert!(message.ends_with("bytes, got 1000"), "{message}");
}

#[test]
fn an_announced_length_that_never_comes_is_a_cut() {
    let (message, _) = failing(|asked, bytes| match asked.range_start() {
        None => {
            let mut reply = Reply::new(200, &bytes[..5000]);
            reply.announced = Some(bytes.len() as u64);
            reply
        }
        // Lies again when asked for the rest.
        Some(start) => {
            let range = format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
            let mut reply = Reply::new(206, "").with("Content-Range", &range);
            reply.announced = Some((bytes.len() - start) as u64);
            reply
        }
    });
    assert!(message.contains("connection lost 3 times, last after 5000 bytes"), "{message}");
}

#[test]
fn more_bytes_than_the_manifest_says_are_refused() {
    let (message, _) = failing(|_, mut bytes| {
        bytes.extend_from_slice(b"more");
        let mut reply = Reply::new(200, bytes);
        reply.chunked = true;
        reply
    });
    assert!(message.contains("content has the wrong size"), "{message}");
}

#[test]
fn a_range_from_elsewhere_is_refused() {
    let (message, _) = failing(|asked, bytes| {
        if asked.range_start().is_some() {
            return Reply::new(206, &bytes[2000..])
                .with("Content-Range", &format!("bytes 2000-{0}/{0}", bytes.len()));
        }
        let mut reply = Reply::new(200, bytes);
        reply.cut_after = Some(1000);
        reply
    });
    assert!(message.contains("asked to resume at byte 1000, the registry answered"), "{message}");
}

#[test]
fn a_missing_blob_is_named() {
    let (message, _) =
        failing(|_, _| Reply::refusal(404, "BLOB_UNKNOWN", "blob unknown to registry"));
    assert_eq!(
        message,
        "get blob LAYER of app from HOST: not found: blob unknown: blob unknown to registry"
    );
}

#[test]
fn silence_is_a_cut_too() {
    let fixture = Fixture::new();
    let layer = fixture.layer.clone();
    let server = serve(fixture.shelf(), move |asked| {
        if is(asked, &layer) {
            std::thread::sleep(std::time::Duration::from_secs(2));
        }
        None
    });
    let mut impatient = settings();
    impatient.read_timeout = std::time::Duration::from_millis(100);
    impatient.retry.tries = 2;
    let error = download(&server, impatient).map(|_| ()).unwrap_err();
    assert!(
        error.to_string().ends_with("connection lost 2 times, last after 0 bytes: timed out"),
        "{error}"
    );
    assert_eq!(error.kind(), Kind::Unavailable);
}

#[test]
fn credentials_stay_with_the_registry_when_it_redirects() {
    let fixture = Fixture::new();
    let shelf = fixture.shelf();
    let storage = Server::start(move |asked| shelf.answer(asked)).unwrap();
    let (layer, elsewhere) = (fixture.layer.clone(), storage.address());
    let server = serve(fixture.shelf(), move |asked| {
        if asked.header("authorization") != Some("Basic dHVnOnNlY3JldA==") {
            return Some(Reply::new(401, "").with("WWW-Authenticate", "Basic realm=x"));
        }
        let location = format!("http://{elsewhere}{}", asked.target);
        is(asked, &layer).then(|| Reply::new(307, "").with("Location", &location))
    });
    let config = docker_config(&server.address());
    let (bytes, _) = download(&server, with_config(config.path())).unwrap();
    assert!(bytes == fixture.layer_bytes());
    let asked = storage.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].header("authorization"), None);
}

#[test]
fn redirects_end() {
    let (message, _) = failing(|asked, _| Reply::new(302, "").with("Location", &asked.target));
    assert!(message.ends_with("too many redirects"), "{message}");
    let (message, _) = failing(|_, _| Reply::new(302, "").with("Location", "file:///etc/passwd"));
    assert!(
        message.ends_with("redirected to \"file:///etc/passwd\": that is no web address"),
        "{message}"
    );
}

/// Every third request fails, by turns with a 429, a reset and a 503: everything still arrives.
#[test]
fn a_flaky_registry_is_only_slow() {
    let fixture = Fixture::new();
    let (shelf, layer) = (fixture.shelf(), fixture.layer.clone());
    let count = std::sync::atomic::AtomicUsize::new(0);
    let server = serve(fixture.shelf(), move |asked| {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        match number % 9 {
            0 => Some(Reply::new(429, "").with("Retry-After", "0")),
            3 => Some(Reply::new(0, "")),
            6 => Some(Reply::new(503, "")),
            _ if is(asked, &layer) => {
                let mut reply = shelf.answer(asked);
                // Never more than a third of it in one piece.
                reply.cut_after = Some(110_000);
                Some(reply)
            }
            _ => None,
        }
    });
    let mut patient = settings();
    patient.retry.tries = 8;
    let (bytes, _) = download(&server, patient).unwrap();
    assert!(bytes == fixture.layer_bytes());
}
