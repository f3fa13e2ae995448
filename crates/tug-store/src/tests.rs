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
        tagged: false,
        layers,
        tags,
        digests: &[],
        index: None,
        platform: "linux/amd64",
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
    let volume = NewVolume { name: "v", anonymous: true, ..NewVolume::default() };
    let ids = [ContainerId::random().unwrap(), ContainerId::random().unwrap()];
    for id in &ids {
        let new = NewContainer {
            id,
            image: &digest(1),
            layers: &[],
            record: "{}",
            volumes: std::slice::from_ref(&volume),
        };
        store.insert_container(&new, Some(id.short()), String::new).unwrap();
    }
    assert!(
        matches!(store.forget_volume("v"), Err(Error::VolumeInUse { by, .. }) if by.len() == 2)
    );
    let data = store.volume_data("v");
    std::fs::create_dir_all(&data).unwrap();
    let owned = ["v".to_owned()];
    assert!(store.forget_container(&ids[0], &owned).unwrap().is_empty());
    assert!(data.exists() && store.volume("v").unwrap().is_some(), "somebody uses it");
    let discarded = store.forget_container(&ids[1], &owned).unwrap();
    assert!(!data.exists(), "out of its place before its files are deleted");
    assert!(store.has_leftovers().unwrap());
    discarded.delete().unwrap();
    assert!(!store.has_leftovers().unwrap());
    assert!(matches!(store.forget_volume("v"), Err(Error::NoVolume { .. })));
}

/// A layer and a blob as a command leaves them that was killed before its image was recorded.
fn orphans(root: &Path) -> (DiffId, Digest) {
    let lease = Lease::create(root).unwrap();
    let layers = Layers::new(root);
    let empty_tar = vec![0u8; 1024];
    let layer = layers.unpack(&lease, empty_tar.as_slice(), None).unwrap().diff_id;
    let blob = Blobs::new(root).put(&lease, b"{}").unwrap();
    (layer, blob)
}

#[test]
fn what_nothing_refers_to_is_collected_once_it_is_old() {
    let root = Root::new();
    let store = Store::new(&root.0);
    let (layer, blob) = orphans(&root.0);
    let kept = store.collect(std::time::Duration::from_secs(3600)).unwrap();
    assert!(kept.is_empty() && kept.blobs.is_empty(), "{kept:?}");
    assert!(store.layers().contains(&layer) && store.blobs().contains(&blob));
    let gone = store.collect(std::time::Duration::ZERO).unwrap();
    assert_eq!((&gone.layers, &gone.blobs), (&vec![layer], &vec![blob]));
    assert!(store.has_leftovers().unwrap());
    gone.delete().unwrap();
    assert!(!store.has_leftovers().unwrap());
    assert!(!store.layers().contains(&layer) && !store.blobs().contains(&blob));
}

#[test]
fn rows_and_living_leases_hold_what_is_collected_otherwise() {
    let root = Root::new();
    let store = Store::new(&root.0);
    let (layer, blob) = orphans(&root.0);
    let lease = Lease::create(&root.0).unwrap();
    lease.protect(&layer).unwrap();
    lease.protect_blob(&blob).unwrap();
    let nothing = store.discard(&[layer], &[blob]).unwrap();
    assert!(nothing.is_empty() && nothing.blobs.is_empty());
    drop(lease);
    let entry = LayerEntry { diff_id: layer, size: 0, blob: None, media_type: None };
    let index = ImageReference::parse("a").unwrap().with_digest(blob);
    let new = NewImage {
        id: digest(1),
        config: b"{}",
        manifest_digest: Some(digest(2)),
        created: 0,
        tagged: false,
        layers: &[entry],
        tags: &[name("a")],
        digests: &[index],
        index: Some(blob),
        platform: "linux/amd64",
    };
    store.put_image(&new).unwrap();
    let nothing = store.collect(std::time::Duration::ZERO).unwrap();
    assert!(nothing.is_empty() && nothing.blobs.is_empty(), "{nothing:?}");
    let left = store.forget_image(&digest(1), &BTreeSet::new()).unwrap();
    assert!(left.layers.contains(&layer) && left.blobs.contains(&blob), "{left:?}");
    let gone = store.discard(&left.layers, &left.blobs).unwrap().delete().unwrap();
    assert_eq!(gone, Collected { layers: vec![layer], blobs: vec![blob] });
}

/// One side records images over the same layer again and again, the other removes them: a recorded
/// image never lacks its layer.
#[test]
fn removing_a_layer_and_recording_it_anew_do_not_miss_each_other() {
    let root = Root::new();
    let (layer, _) = orphans(&root.0);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let store = Store::new(&root.0);
            while !done.load(Ordering::Relaxed) {
                store.forget_image(&digest(1), &BTreeSet::new()).unwrap();
                store.discard(&[layer], &[]).unwrap().delete().unwrap();
            }
        });
        let store = Store::new(&root.0);
        let tar = vec![0u8; 1024];
        for _ in 0..300 {
            let lease = Lease::create(&root.0).unwrap();
            store.layers().unpack(&lease, tar.as_slice(), Some(layer)).unwrap();
            let entry = LayerEntry { diff_id: layer, size: 0, blob: None, media_type: None };
            image(&store, 1, &[entry], &[]);
            assert!(store.layers().contains(&layer), "taken away although protected");
            drop(lease);
            // Asked in one transaction, so that the other side cannot come in between.
            store
                .write(|transaction| {
                    let recorded = crate::images::is_referenced(transaction, &layer)?;
                    assert!(!recorded || store.layers().contains(&layer), "a row without files");
                    Ok(())
                })
                .unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn the_platforms_of_an_index_are_found_by_any_of_its_names() {
    let root = Root::new();
    let store = Store::new(&root.0);
    let put = |id: u8, platform: &str| {
        let new = NewImage {
            id: digest(id),
            config: b"{}",
            manifest_digest: Some(digest(id + 100)),
            created: 0,
            tagged: false,
            layers: &[],
            tags: &[name("a")],
            digests: &[name("a").with_digest(digest(50))],
            index: Some(digest(50)),
            platform,
        };
        store.put_image(&new).unwrap();
    };
    put(1, "linux/amd64");
    put(2, "linux/arm64");
    assert_eq!(store.image_by_reference(&name("a")).unwrap().unwrap().id, digest(2));
    store.tag_image(&digest(2), &name("b")).unwrap();
    for known in [name("a"), name("b"), name("a").with_digest(digest(50))] {
        let target = store.target(&known).unwrap();
        assert_eq!(target, Some(digest(50)), "{known}");
        let mut found = store.variants(&target.unwrap()).unwrap();
        found.sort_by_key(|variant| variant.image);
        assert_eq!(found[0].platform, "linux/amd64");
        assert_eq!((found[1].image, found[1].manifest), (digest(2), digest(102)));
    }
    store.forget_image(&digest(2), &BTreeSet::new()).unwrap();
    assert_eq!(store.variants(&digest(50)).unwrap().len(), 1);
    assert_eq!(store.target(&name("b")).unwrap(), None);
}

#[test]
fn usage_counts_shared_layers_once() {
    let root = Root::new();
    let store = Store::new(&root.0);
    image(&store, 1, &[layer(7), layer(8), layer(8)], &[name("a")]);
    image(&store, 2, &[layer(7)], &[name("b")]);
    image(&store, 3, &[], &[name("c")]);
    container(&store, None).unwrap();
    let usage = store.usage().unwrap();
    let figures: Vec<_> =
        usage.images.iter().map(|i| (i.id, i.size, i.shared, i.unique(), i.containers)).collect();
    assert_eq!(
        figures,
        [(digest(1), 30, 10, 20, 1), (digest(2), 10, 10, 0, 0), (digest(3), 0, 0, 0, 0)]
    );
    assert_eq!((usage.layers, usage.reclaimable), (20, 0));
}

#[test]
fn a_store_of_the_first_version_is_brought_up_to_date() {
    let root = Root::new();
    std::fs::create_dir_all(&root.0).unwrap();
    db::make_version(&root.0, 1);
    let store = Store::new(&root.0);
    image(&store, 1, &[layer(7)], &[name("a")]);
    assert_eq!(store.target(&name("a")).unwrap(), None);
    assert!(store.variants(&digest(1)).unwrap().is_empty());
}

/// After this the machine has crashed as far as the store can tell.
fn crash(store: &Store, root: &Path) {
    store
        .write(|transaction| {
            assert!(transaction.execute("UPDATE unsettled SET boot = 'another'", [])? > 0);
            Ok(())
        })
        .unwrap();
    for layer in store.layers().list().unwrap() {
        let record = root.join("layers").join(layer.0.hex()).join("layer.json");
        let text = std::fs::read_to_string(&record).unwrap();
        let boot = text.split("\"boot\":\"").nth(1).unwrap().split('"').next().unwrap();
        std::fs::write(&record, text.replace(boot, "another")).unwrap();
    }
}

fn recorded_image(root: &Path) -> (Store, DiffId) {
    let store = Store::new(root);
    let lease = Lease::create(root).unwrap();
    let mut tar = tar_of("file", b"content");
    tar.extend([0; 1024]);
    let layer = store.layers().unpack(&lease, tar.as_slice(), None).unwrap().diff_id;
    let entry = LayerEntry { diff_id: layer, size: 7, blob: None, media_type: None };
    image(&store, 1, &[entry], &[name("a")]);
    (store, layer)
}

fn tar_of(name: &str, content: &[u8]) -> Vec<u8> {
    let size = content.len() as u64;
    let header = tug_archive::member::file_header(name, size);
    [&header[..], content, tug_archive::member::padding(size)].concat()
}

#[test]
fn settling_marks_layers_and_strikes_images_off() {
    let root = Root::new();
    let (store, layer) = recorded_image(&root.0);
    assert!(store.is_unsettled(std::time::Duration::ZERO).unwrap());
    assert!(!store.is_unsettled(std::time::Duration::from_secs(60)).unwrap());
    assert!(!store.layers().is_settled(&layer));
    store.settle().unwrap();
    assert!(store.layers().is_settled(&layer));
    assert!(!store.is_unsettled(std::time::Duration::ZERO).unwrap());
    // Recorded again over settled layers: nothing to wait for.
    let entry = LayerEntry { diff_id: layer, size: 7, blob: None, media_type: None };
    image(&store, 2, &[entry], &[]);
    assert!(!store.is_unsettled(std::time::Duration::ZERO).unwrap());
}

#[test]
fn after_a_crash_what_is_whole_stays() {
    let root = Root::new();
    let (store, layer) = recorded_image(&root.0);
    crash(&store, &root.0);
    assert!(!store.layers().contains(&layer));
    let store = Store::new(&root.0);
    assert!(store.image_by_reference(&name("a")).unwrap().is_some());
    assert!(store.layers().contains(&layer));
    assert!(!store.is_unsettled(std::time::Duration::ZERO).unwrap());
}

#[test]
fn after_a_crash_what_lost_its_content_is_forgotten_whole() {
    let root = Root::new();
    let (store, layer) = recorded_image(&root.0);
    crash(&store, &root.0);
    std::fs::write(store.layers().tree(&layer).join("file"), "").unwrap();
    let store = Store::new(&root.0);
    assert!(store.image_by_reference(&name("a")).unwrap().is_none());
    assert!(store.images().unwrap().is_empty());
    assert_eq!(store.layers().list().unwrap(), []);
    assert!(!store.has_leftovers().unwrap());
}

#[test]
fn a_figure_holds_until_somebody_may_have_written() {
    let root = Root::new();
    let store = Store::new(&root.0);
    let volume = NewVolume { name: "v", ..NewVolume::default() };
    store.insert_volume(&volume).unwrap();
    let id = ContainerId::random().unwrap();
    let new = NewContainer {
        id: &id,
        image: &digest(1),
        layers: &[],
        record: "{}",
        volumes: std::slice::from_ref(&volume),
    };
    store.insert_container(&new, Some("one"), String::new).unwrap();
    let known = || store.volume_figures().unwrap()["v"];
    assert_eq!(known(), VolumeFigure { last: None, uses: 0, links: 1, in_use: false });
    let figure = Figure { size: 7, stamp: 0, changed: 1, counted: 2 };
    let gone = ContainerId::random().unwrap();
    let counted = [(id.clone(), figure), (gone, figure)];
    store.keep_figures(&counted, &[("v".to_owned(), figure), ("gone".to_owned(), figure)]).unwrap();
    assert_eq!(known().last, Some(figure));
    assert_eq!(store.container_figures().unwrap(), [(id.to_string(), figure)].into());
    // Made, started, ended: each may have changed what is in the volume.
    store.set_container_state(&id, &[ContainerState::Creating], ContainerState::Created).unwrap();
    store.mark_running(&id, None).unwrap();
    assert_eq!((known().uses, known().in_use), (2, true));
    store.mark_ended(&id, &Outcome { started: 1, finished: 2, ..Outcome::default() }).unwrap();
    assert_eq!((known().uses, known().in_use), (3, false));
    store.forget_container(&id, &[]).unwrap().delete().unwrap();
    assert!(store.container_figures().unwrap().is_empty());
    assert_eq!((known().links, known().last), (0, Some(figure)));
    store.forget_volume("v").unwrap().delete().unwrap();
    assert!(store.volume_figures().unwrap().is_empty());
    let alone = store.count_alone().unwrap();
    assert!(alone.is_some() && store.count_alone().unwrap().is_none());
}
