//! Docker Hub's mirrors: order, fallback, what is told when all fail. Nothing here reaches the
//! network: Docker Hub itself is never in line, or cannot be connected to.

use crate::support::*;
use tug_registry::{Error, Settings};
use tug_test::scripted::{Reply, Server};
use tug_types::{Explain, ImageReference};

fn mirrored(mirrors: &[&Server]) -> Settings {
    let urls = mirrors.iter().map(|server| format!("http://{}", server.address())).collect();
    Settings { mirrors: urls, connect_timeout: std::time::Duration::from_secs(2), ..settings() }
}

fn app() -> ImageReference {
    ImageReference::parse("app").unwrap()
}

#[test]
fn the_first_mirror_that_has_it_serves_it() {
    let fixture = Fixture::new();
    let empty = Server::start(|_| Reply::new(404, "")).unwrap();
    let full = serve(fixture.shelf(), |_| None);
    let unasked = Server::start(|_| Reply::new(500, "")).unwrap();
    let (client, resolved) = resolve(mirrored(&[&empty, &full, &unasked]), &app()).unwrap();
    let (bytes, _) = read_layer(&client, &resolved).unwrap();
    assert!(bytes == fixture.layer_bytes());
    assert_eq!(empty.count("/v2/library/app/manifests/latest"), 1);
    assert_eq!(empty.count("/blobs/"), 0, "layers are taken where the manifest was");
    assert_eq!(unasked.asked().len(), 0);
}

#[test]
fn a_layer_the_mirror_lost_comes_from_the_next() {
    let fixture = Fixture::new();
    let layer = fixture.layer.clone();
    let lossy = serve(fixture.shelf(), move |asked| {
        asked.target.ends_with(&layer).then(|| Reply::new(404, ""))
    });
    let full = serve(fixture.shelf(), |_| None);
    let (client, resolved) = resolve(mirrored(&[&lossy, &full]), &app()).unwrap();
    let (bytes, _) = read_layer(&client, &resolved).unwrap();
    assert!(bytes == fixture.layer_bytes());
    assert_eq!(full.asked().len(), 1);
}

#[test]
fn a_download_cut_at_one_mirror_goes_on_at_the_next() {
    let fixture = Fixture::new();
    let (layer, content) = (fixture.layer.clone(), fixture.layer_bytes());
    let cutting = serve(fixture.shelf(), move |asked| {
        asked.target.ends_with(&layer).then(|| match asked.earlier {
            0 => {
                let mut reply = Reply::new(200, content.clone());
                reply.cut_after = Some(100_000);
                reply
            }
            _ => Reply::new(503, ""),
        })
    });
    let full = serve(fixture.shelf(), |_| None);
    let (client, resolved) = resolve(mirrored(&[&cutting, &full]), &app()).unwrap();
    let (bytes, _) = read_layer(&client, &resolved).unwrap();
    assert!(bytes == fixture.layer_bytes());
    assert_eq!(full.asked()[0].range_start(), Some(100_000));
}

#[test]
fn when_all_fail_each_is_named() {
    let mirror = Server::start(|_| Reply::new(500, "")).unwrap();
    let error = resolve(mirrored(&[&mirror]), &app()).map(|_| ()).unwrap_err();
    let Error::Exhausted { last, .. } = &error else { panic!("{error:?}") };
    let failure = named(&error, &mirror);
    let tail = "; tried before: http://HOST: get manifest latest of library/app from HOST: HTTP 500 \
                Internal Server Error";
    assert!(failure.message.ends_with(tail), "{}", failure.message);
    assert!(failure.message.starts_with(&last.to_string()), "{}", failure.message);
    assert!(last.to_string().contains("docker.io"), "{last}");
}

#[test]
fn docker_hub_out_of_reach_is_said_soon_and_in_words() {
    let settings =
        Settings { connect_timeout: std::time::Duration::from_secs(2), ..Settings::default() };
    let started = std::time::Instant::now();
    let error = resolve(settings, &app()).map(|_| ());
    let took = started.elapsed();
    let Err(error) = error else {
        eprintln!("SKIPPED: Docker Hub is in reach and has an image `app`");
        return;
    };
    let Error::Unreachable { .. } = &error else {
        eprintln!("SKIPPED: Docker Hub is in reach: {error}");
        return;
    };
    assert!(took.as_secs() < 12, "took {took:?}");
    let failure = error.failure();
    let head = "get manifest latest of library/app from docker.io: cannot connect: \
                https://registry-1.docker.io: ";
    assert!(failure.message.starts_with(head), "{}", failure.message);
    assert!(failure.hint.is_some());
}

#[test]
fn any_registry_has_mirrors_before_and_fallbacks_after_it() {
    let fixture = Fixture::new();
    let (mirror, own) = (
        Server::start(|_| Reply::new(503, "")).unwrap(),
        Server::start(|_| Reply::new(404, "")).unwrap(),
    );
    let fallback = serve(fixture.shelf(), |_| None);
    let file = format!(
        r#"{{"registries":{{"{}":{{"mirrors":["http://{}/cache"],"fallbacks":["{}"]}}}}}}"#,
        own.address(),
        mirror.address(),
        fallback.address()
    );
    let registries = tug_registry::Registries::parse(file.as_bytes()).unwrap();
    let app = ImageReference::parse(&format!("{}/team/app", own.address())).unwrap();
    let settings = Settings { registries, ..settings() };
    let (client, resolved) = resolve(settings, &app).unwrap();
    read_layer(&client, &resolved).unwrap();
    assert_eq!(mirror.count("/cache/v2/team/app/manifests/latest"), 3, "as often as it is patient");
    assert_eq!(own.asked().len(), 1);
    assert_eq!(client.tags(&app).map_err(|error| error.kind()), Err(tug_types::Kind::Denied));
    // A push goes to the registry itself, never to a mirror of it.
    let before = (mirror.asked().len(), fallback.asked().len());
    let to = client.destination(&app).unwrap();
    let digest = tug_types::Digest::from_sha256([1; 32]);
    assert_eq!(client.probe(&to, digest).unwrap(), None);
    assert_eq!((mirror.asked().len(), fallback.asked().len()), before);
}
