//! The store's rules, on a real database.

use super::*;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};
use tug_types::{ContainerId, DiffId, Digest, ImageReference};

struct Root(PathBuf);

impl Root {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("tug-store-{}-{number}", std::process::id())))
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn digest(byte: u8) -> Digest {
    Digest::from_sha256([byte; 32])
}

fn layer(byte: u8) -> LayerEntry {
    LayerEntry { diff_id: DiffId(digest(byte)), size: 10, blob: None, media_type: None }
}

fn name(text: &str) -> ImageReference {
    ImageReference::parse(text).unwrap()
}

fn image(store: &Store, id: u8, layers: &[LayerEntry], tags: &[ImageReference]) -> bool {
    let new = NewImage {
        id: digest(id),
        config: b"{}",
        manifest_digest: None,
        created: i64::from(id),
        layers,
        tags,
        digests: &[],
    };
    store.put_image(&new).unwrap()
}

fn container(store: &Store, name: Option<&str>) -> Result<ContainerId> {
    let id = ContainerId::random().unwrap();
    let new = NewContainer {
        id: &id,
        image: &digest(1),
        layers: &[DiffId(digest(9))],
        record: "{}",
        volumes: &[],
    };
    let mut count = 0;
    store.insert_container(&new, name, || {
        count += 1;
        format!("generated{count}")
    })?;
    Ok(id)
}

fn lowest(used: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
    (2..5).map(|last| Ipv4Addr::new(172, 17, 0, last)).find(|address| !used.contains(address))
}

#[test]
fn a_tag_moves_and_the_old_image_stays_untagged() {
    let root = Root::new();
    let store = Store::new(&root.0);
    assert!(image(&store, 1, &[layer(7)], &[name("a")]));
    assert!(image(&store, 2, &[layer(7), layer(8)], &[name("a")]));
    assert!(!image(&store, 2, &[layer(7), layer(8)], &[name("b")]));
    let found = store.image_by_reference(&name("a")).unwrap().unwrap();
    assert_eq!((found.id, found.size), (digest(2), 20));
    assert_eq!(found.tags, [name("a"), name("b")]);
    let old = store.images_by_prefix(&digest(1).hex()[..5]).unwrap();
    assert!(old.len() == 1 && old[0].tags.is_empty());
}

#[test]
fn forgetting_an_image_frees_only_layers_nobody_uses() {
    let root = Root::new();
    let store = Store::new(&root.0);
    image(&store, 1, &[layer(7), layer(8), layer(9)], &[name("a")]);
    image(&store, 2, &[layer(7)], &[name("b")]);
    container(&store, None).unwrap();
    let left = store.forget_image(&digest(1), &BTreeSet::new()).unwrap();
    assert_eq!(left.layers, [DiffId(digest(8))], "7 is in image 2, 9 under a container");
    assert!(store.image_by_reference(&name("a")).unwrap().is_none());
    let protected = BTreeSet::from([DiffId(digest(7))]);
    assert!(store.forget_image(&digest(2), &protected).unwrap().layers.is_empty());
}

#[test]
fn names_are_unique_and_generated_ones_skip_taken_ones() {
    let root = Root::new();
    let store = Store::new(&root.0);
    let first = container(&store, Some("web")).unwrap();
    let taken = container(&store, Some("web")).unwrap_err();
    assert!(matches!(taken, Error::NameTaken { by, .. } if by == first.as_str()));
    container(&store, None).unwrap();
    container(&store, None).unwrap();
    let names: BTreeSet<String> =
        store.containers().unwrap().into_iter().map(|row| row.name).collect();
    assert_eq!(names, BTreeSet::from(["web", "generated1", "generated2"].map(str::to_owned)));
}

#[test]
fn addresses_are_the_lowest_free_and_run_out_with_a_word() {
    let root = Root::new();
    let store = Store::new(&root.0);
    let ids: Vec<_> = (0..4).map(|_| container(&store, None).unwrap()).collect();
    let network = Some(("bridge", &lowest as containers::NextAddress<'_>));
    for (id, last) in ids.iter().zip(2..5) {
        let address = store.mark_running(id, network).unwrap();
        assert_eq!(address, Some(Ipv4Addr::new(172, 17, 0, last)));
    }
    assert!(matches!(store.mark_running(&ids[3], network), Err(Error::NoAddress { .. })));
    let ended = Outcome { started: 1, finished: 2, exit_code: 3, ..Outcome::default() };
    store.mark_ended(&ids[1], &ended).unwrap();
    assert_eq!(store.mark_running(&ids[3], network).unwrap(), Some(Ipv4Addr::new(172, 17, 0, 3)));
    let row = &store.find_containers(&ids[1].as_str()[..20]).unwrap()[0];
    assert_eq!((row.state, row.exit_code, row.address), (ContainerState::Exited, 3, None));
}

#[test]
fn a_run_that_never_started_leaves_the_container_created() {
    let root = Root::new();
    let store = Store::new(&root.0);
    let id = container(&store, Some("x")).unwrap();
    store.mark_running(&id, None).unwrap();
    let failed = Outcome { exit_code: 127, error: "no".into(), ..Outcome::default() };
    store.mark_ended(&id, &failed).unwrap();
    let row = &store.find_containers("/x").unwrap()[0];
    assert_eq!(
        (row.state, row.exit_code, row.error.as_str()),
        (ContainerState::Created, 127, "no")
    );
}

#[test]
fn an_anonymous_volume_goes_with_its_last_container() {
    let root = Root::new();
    let store = Store::new(&root.0);
    store.insert_volume(&NewVolume { name: "v", anonymous: true, ..NewVolume::default() }).unwrap();
    let ids = [ContainerId::random().unwrap(), ContainerId::random().unwrap()];
    for id in &ids {
        let new = NewContainer {
            id,
            image: &digest(1),
            layers: &[],
            record: "{}",
            volumes: &["v".to_owned()],
        };
        store.insert_container(&new, Some(id.short()), String::new).unwrap();
    }
    assert!(
        matches!(store.forget_volume("v"), Err(Error::VolumeInUse { by, .. }) if by.len() == 2)
    );
    let volumes = ["v".to_owned()];
    assert!(store.forget_container(&ids[0], &volumes).unwrap().is_empty());
    assert_eq!(store.forget_container(&ids[1], &volumes).unwrap(), volumes);
    assert!(matches!(store.forget_volume("v"), Err(Error::NoVolume { .. })));
}
