//! A pull killed at any moment: the image is there whole or not at all, and the next pull succeeds
//! and sweeps what was half-done.

use super::*;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
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

/// A process killed between recording an image and giving its lease back leaves that lease; so
/// does the one that pulls the image again and finds it up to date, unless it looks.
#[test]
fn a_dead_lease_goes_although_there_is_nothing_to_pull() {
    let fixture = Fixture::new();
    let server = serve(fixture.shelf(), |_| None);
    let sandbox = Sandbox::new();
    sandbox.pull(&app(&server)).unwrap();
    let dead = sandbox.engine.store().root().join("tmp/lease-0123456789abcdef");
    std::fs::create_dir(&dead).unwrap();
    std::fs::write(dead.join("lock"), "").unwrap();
    std::fs::create_dir(dead.join("protect")).unwrap();
    let (pulled, _) = sandbox.pull(&app(&server)).unwrap();
    assert!(!pulled.newer);
    assert!(!dead.exists());
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
    for round in 0..26 {
        let sandbox = Sandbox::new();
        let mut child = start(&sandbox);
        // The first comes too early and the last too late on a machine of any speed.
        std::thread::sleep(unharmed * round / 18);
        if round == 25 {
            child.wait().unwrap();
        }
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

/// Where to begin with the moments at which pulls are killed; another one each time, and said.
fn seed() -> u64 {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).unwrap();
    let seed = u64::from_ne_bytes(bytes);
    #[expect(clippy::print_stderr, reason = "to do it again")]
    {
        eprintln!("seed {seed}");
    }
    seed
}

/// A slow line to a registry that counts what goes over it. Small socket buffers: what is under way
/// when the client dies is lost, and is to be little.
struct SlowLine {
    address: String,
    carried: Arc<AtomicU64>,
}

impl SlowLine {
    fn to(registry: &str, bytes_per_second: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let carried = Arc::new(AtomicU64::new(0));
        let (registry, count) = (registry.to_owned(), carried.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (registry, count) = (registry.clone(), count.clone());
                // A client that dies is what this is for.
                std::thread::spawn(move || {
                    drop(carry(&client, &registry, bytes_per_second, &count))
                });
            }
        });
        Self { address, carried }
    }
}

fn carry(client: &TcpStream, to: &str, speed: u64, count: &AtomicU64) -> std::io::Result<()> {
    let mut first = [0];
    // The client tries TLS first: a registry without it hangs up.
    if client.peek(&mut first)? == 0 || first[0] == 0x16 {
        return Ok(());
    }
    rustix::net::sockopt::set_socket_send_buffer_size(client, 16 << 10)?;
    client.set_nodelay(true)?;
    let server = TcpStream::connect(to)?;
    let (mut asks, mut takes) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || {
        drop(std::io::copy(&mut asks, &mut takes));
        drop(takes.shutdown(std::net::Shutdown::Both));
    });
    let (mut server, mut client) = (server, client);
    let mut piece = vec![0; 8 << 10];
    loop {
        let length = server.read(&mut piece)?;
        if length == 0 {
            return Ok(());
        }
        client.write_all(&piece[..length])?;
        count.fetch_add(length as u64, Ordering::SeqCst);
        std::thread::sleep(Duration::from_micros(length as u64 * 1_000_000 / speed));
    }
}

/// Kills two hundred pulls. Whatever a pull had when it was killed, the next one does not fetch
/// again: all that is lost is what was under way.
#[test]
#[expect(clippy::disallowed_methods, reason = "starts itself again, to be killed")]
fn two_hundred_killed_pulls_lose_only_what_was_under_way() {
    const KILLS: u64 = 200;
    // Three layers, each with a piece being carried and a full socket on both sides.
    const UNDER_WAY: u64 = 3 * (64 << 10);
    // Manifest, configuration, headers, questions for what is there.
    const TALK: u64 = 16 << 10;
    let Some(registry) = tug_test::registry::Registry::start().unwrap() else { return };
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::create(dir.path()).unwrap();
    let content = |n: u64| (0..6).flat_map(|part| noise(100 + n * 10 + part)).collect::<Vec<u8>>();
    let layers: Vec<Layer> = (0..3)
        .map(|n| file_layer(&layout, Compression::Gzip, &format!("file{n}"), &content(n)))
        .collect();
    let image = layout.image(Family::Oci, &json!({}), &layers).unwrap();
    tug_test::push::push(registry.address(), &layout, &image, "app", "latest").unwrap();
    let size: u64 = layers.iter().map(|layer| layer.size).sum();
    let line = SlowLine::to(registry.address(), 12 << 20);
    let name = reference(&format!("{}/app", line.address));
    let fixture = Fixture { dir, layout, layers, image };

    let mut sandbox = Sandbox::new();
    // How long one takes that is left alone, on this machine as it is now.
    let unharmed = Instant::now();
    Sandbox::new().pull(&name).unwrap();
    let unharmed = unharmed.elapsed().as_millis() as u64 * 3 / 2;
    let (mut whole, mut random) = (1, seed());
    for round in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "images::tests::killed::pull_to_be_killed"])
            .env(ROOT, sandbox.engine.store().root())
            .env(REFERENCE, name.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        std::thread::sleep(Duration::from_millis((random >> 33) % unharmed));
        child.kill().unwrap();
        child.wait().unwrap();
        if has_whole_image(&sandbox, &fixture, &name) {
            whole += 1;
            sandbox = Sandbox::new();
        }
        let allowed = (whole + 1) * size + (round + 1) * (UNDER_WAY + TALK);
        let carried = line.carried.load(Ordering::SeqCst);
        assert!(carried <= allowed, "round {round}: {carried} carried, {allowed} allowed");
    }
    sandbox.pull(&name).unwrap();
    assert!(has_whole_image(&sandbox, &fixture, &name));
    let carried = line.carried.load(Ordering::SeqCst);
    let lost = carried.saturating_sub((whole + 1) * size) / KILLS;
    assert!(lost <= UNDER_WAY + TALK, "{lost} bytes lost by each kill");
    assert!(whole > 1 && whole < KILLS, "{whole} pulls came to their end");
    let left = sandbox.leftovers();
    assert!(!left.iter().any(|entry| entry.starts_with("tmp/")), "{left:?}");
    #[expect(clippy::print_stderr, reason = "the figure")]
    {
        eprintln!("{whole} pulls of {size} bytes finished; {lost} bytes lost by each kill");
    }
}
