//! A pull killed at any moment: the image is there whole or not at all, and the next pull succeeds
//! and sweeps what was half-done.

use super::*;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Instant;

const ROOT: &str = "TUG_TEST_KILLED_ROOT";
const REFERENCE: &str = "TUG_TEST_KILLED_REFERENCE";

/// Started by the test below in a process of its own.
#[test]
#[ignore = "runs inside a_killed_pull_leaves_all_or_nothing"]
#[expect(clippy::disallowed_methods, reason = "how the parent tells what to pull")]
fn pull_to_be_killed() {
    let root = PathBuf::from(std::env::var_os(ROOT).unwrap());
    let reference = reference(&std::env::var(REFERENCE).unwrap());
    let mut sandbox = Sandbox::new();
    let settings = Settings { data_root: root, ..sandbox.engine.settings().clone() };
    sandbox.engine = Engine::new(settings);
    sandbox.pull(&reference).unwrap();
}

/// Whether the data root holds the image, which then must be whole.
fn has_whole_image(sandbox: &Sandbox, fixture: &Fixture, name: &ImageReference) -> bool {
    let store = sandbox.engine.store();
    let Some(row) = store.image_by_reference(name).unwrap() else { return false };
    assert_eq!(row.id.to_string(), fixture.image.config);
    for layer in store.image_layers(&row.id).unwrap() {
        store.layers().verify(&layer.diff_id).unwrap();
    }
    assert_eq!(store.blobs().read(&row.id).unwrap(), row.config);
    store.blobs().read(&row.manifest_digest.unwrap()).unwrap();
    true
}

#[test]
#[expect(clippy::disallowed_methods, reason = "starts itself again, to be killed")]
fn a_killed_pull_leaves_all_or_nothing() {
    let fixture = Fixture::new();
    let shelf = fixture.shelf();
    let server = Server::start(move |asked| {
        // Slow enough to be killed in each of its phases.
        std::thread::sleep(Duration::from_millis(8));
        shelf.answer(asked)
    })
    .unwrap();
    let start = |sandbox: &Sandbox| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "images::tests::killed::pull_to_be_killed"])
            .env(ROOT, sandbox.engine.store().root())
            .env(REFERENCE, app(&server).to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let unharmed = Instant::now();
    assert!(start(&Sandbox::new()).wait().unwrap().success());
    let unharmed = unharmed.elapsed();

    let (mut whole, mut nothing) = (0, 0);
    for round in 0..24 {
        let sandbox = Sandbox::new();
        let mut child = start(&sandbox);
        std::thread::sleep(unharmed * round / 18);
        child.kill().unwrap();
        child.wait().unwrap();
        let mut output = String::new();
        child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
        assert!(!output.contains("FAILED"), "{output}");
        match has_whole_image(&sandbox, &fixture, &app(&server)) {
            true => whole += 1,
            false => nothing += 1,
        }
        sandbox.pull(&app(&server)).unwrap();
        assert!(has_whole_image(&sandbox, &fixture, &app(&server)));
        let left = sandbox.leftovers();
        assert!(!left.iter().any(|entry| entry.starts_with("tmp/")), "round {round}: {left:?}");
    }
    assert!(nothing > 0, "no round was killed early enough");
    assert!(whole > 0, "no round was let to its end");
}
