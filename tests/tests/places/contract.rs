//! What the project relies on, tried on every kind of store through the one factory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use chrono::{TimeDelta, Utc};
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{
    Error, GetOptions, GetRange, ObjectStore as _, ObjectStoreExt as _, PutMode, PutPayload, WriteMultipart,
};
use wsp_schemas::store::Store;
use wsp_tests::s3::Gate;

use super::Place;

async fn put(store: &Store, key: &str, content: impl Into<Bytes>) {
    let content: Bytes = content.into();
    store.objects.put(&Path::from(key), content.into()).await.unwrap();
}

async fn get(store: &Store, key: &str) -> Bytes {
    store.objects.get(&Path::from(key)).await.unwrap().bytes().await.unwrap()
}

async fn create(store: &Store, key: &str, content: &str) -> Result<(), Error> {
    let content = PutPayload::from(content.to_owned());
    store.objects.put_opts(&Path::from(key), content, PutMode::Create.into()).await.map(drop)
}

async fn keys(store: &Store, prefix: &str) -> BTreeSet<String> {
    let listed = store.objects.list(Some(&Path::from(prefix)));
    listed.map_ok(|object| object.location.to_string()).try_collect().await.unwrap()
}

async fn what_was_written_is_read_at_once(store: &Store) {
    for round in 0..5 {
        let content = format!("content {round}").repeat(round + 1);
        put(store, "written/one", content.clone()).await;
        assert_eq!(get(store, "written/one").await, content);
        let listed: Vec<_> = store.objects.list(Some(&Path::from("written"))).try_collect().await.unwrap();
        assert_eq!(listed.iter().map(|object| object.size).collect::<Vec<_>>(), [content.len() as u64]);
    }
    put(store, "written/empty", "").await;
    assert_eq!(get(store, "written/empty").await, "");
}

async fn what_is_absent_is_told_apart(store: &Store) {
    let key = Path::from("absent/one");
    assert!(matches!(store.objects.get(&key).await, Err(Error::NotFound { .. })));
    assert!(matches!(store.objects.head(&key).await, Err(Error::NotFound { .. })));
    assert_eq!(keys(store, "absent").await, BTreeSet::new());
}

async fn the_second_writer_of_a_key_is_refused(store: &Store) {
    create(store, "created", "first").await.unwrap();
    assert!(matches!(create(store, "created", "second").await, Err(Error::AlreadyExists { .. })));
    assert_eq!(get(store, "created").await, "first");
}

/// The gate of the test server keeps its promise; without it this fails.
async fn one_of_many_writers_wins(store: &Store) {
    for round in 0..20 {
        let key = format!("contested/{round}");
        let tries = (0..8).map(|writer| {
            let (store, key) = (store.clone(), key.clone());
            tokio::spawn(
                async move { create(&store, &key, &writer.to_string()).await.is_ok().then_some(writer) },
            )
        });
        let won = futures::future::join_all(tries).await;
        let won: Vec<i32> = won.into_iter().filter_map(Result::unwrap).collect();
        assert_eq!(won.len(), 1, "round {round}: {won:?}");
        assert_eq!(get(store, &key).await, won[0].to_string(), "round {round}");
    }
}

/// More than a page: 1000 on S3, 5000 on Azure.
async fn a_listing_has_all_its_pages(store: &Store) {
    let count = if store.url.scheme() == "az" { 5100 } else { 1100 };
    let names: Vec<String> =
        (0..count).map(|number| format!("pages/part={}/{number:05}", number % 7)).collect();
    futures::stream::iter(&names).for_each_concurrent(32, |key| put(store, key, "x")).await;
    put(store, "pages-of-another/one", "x").await;
    let all: BTreeSet<String> = names.iter().cloned().collect();
    let listed: Vec<String> = store
        .objects
        .list(Some(&Path::from("pages")))
        .map_ok(|object| object.location.to_string())
        .try_collect()
        .await
        .unwrap();
    assert_eq!((listed.len(), listed.into_iter().collect::<BTreeSet<_>>() == all), (count, true));

    // From an offset, as a table's log and new snapshots are listed.
    for after in ["pages/part=3/00003", "pages/part=3", "pages/part=6/99999"] {
        let offset = Path::from(after);
        let listed = store.objects.list_with_offset(Some(&Path::from("pages")), &offset);
        let listed: BTreeSet<String> =
            listed.map_ok(|object| object.location.to_string()).try_collect().await.unwrap();
        let expected: BTreeSet<String> = all.iter().filter(|key| key.as_str() > after).cloned().collect();
        assert_eq!(listed.len(), expected.len(), "after {after}");
        assert!(listed == expected, "after {after}");
    }

    let folders = store.objects.list_with_delimiter(Some(&Path::from("pages"))).await.unwrap();
    assert_eq!((folders.common_prefixes.len(), folders.objects.len()), (7, 0));

    // A batch of deletions is not sent again by itself where its connection breaks or the answer takes long, as a busy server's may: what
    // is left is deleted then. The server may go on with the first batch meanwhile.
    let mut left = all;
    for attempt in 1.. {
        let doomed = futures::stream::iter(left.clone().into_iter().map(|key| Ok(Path::from(key)))).boxed();
        let deleted: object_store::Result<Vec<Path>> =
            store.objects.delete_stream(doomed).try_collect().await;
        match deleted {
            Ok(deleted) => {
                assert_eq!(deleted.len(), left.len());
                break;
            }
            Err(error) => {
                let said = format!("{error:?}");
                let is_busy =
                    ["ConnectionReset", "TimedOut", "NotFound"].iter().any(|cause| said.contains(cause));
                assert!(attempt < 8 && is_busy, "{said}");
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
        }
        left = keys(store, "pages").await;
    }
    assert_eq!(keys(store, "pages").await, BTreeSet::new());
    assert_eq!(keys(store, "pages-of-another").await.len(), 1);
}

/// Partitions have `=`, escaped text has `%` and `\`, and people name folders as they like.
async fn strange_keys_stay_what_they_are(store: &Store) {
    let names = [
        "with space",
        "equals=sign",
        "per%cent",
        "per%20cent",
        "plus+plus",
        "a&b",
        "question?mark",
        "semi;colon",
        "tilde~tilde",
        "quote'quote",
        "(brackets)",
        "ümläut",
        "日本語",
        "comma,comma",
        "at@at",
        "dollar$",
    ];
    let mut written = BTreeMap::new();
    for name in names {
        let key = Path::from_iter(["strange", name, "object"]);
        create_key(store, &key, name).await.unwrap_or_else(|error| panic!("{key}: {error}"));
        written.insert(key, name);
    }
    let listed: Vec<Path> = store
        .objects
        .list(Some(&Path::from("strange")))
        .map_ok(|object| object.location)
        .try_collect()
        .await
        .unwrap();
    let listed: BTreeSet<Path> = listed.into_iter().collect();
    assert_eq!(listed, written.keys().cloned().collect());
    for (key, name) in &written {
        assert_eq!(store.objects.get(key).await.unwrap().bytes().await.unwrap(), *name, "{key}");
        store.objects.delete(key).await.unwrap();
    }
    assert_eq!(keys(store, "strange").await, BTreeSet::new());
}

async fn create_key(store: &Store, key: &Path, content: &str) -> Result<(), Error> {
    let content = PutPayload::from(content.to_owned());
    store.objects.put_opts(key, content, PutMode::Create.into()).await.map(drop)
}

async fn ranges_are_what_was_asked_for(store: &Store) {
    let content: Bytes = (0..100_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>().into();
    put(store, "ranges", content.clone()).await;
    let key = Path::from("ranges");
    let (middle, end) = (content.len() as u64 / 2, content.len() as u64);
    let ranges = [0..4, middle..middle + 7, end - 8..end];
    let read = store.objects.get_ranges(&key, &ranges).await.unwrap();
    for (range, read) in ranges.iter().zip(read) {
        let expected =
            content.slice(usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap());
        assert_eq!(read, expected, "{range:?}");
        assert_eq!(store.objects.get_range(&key, range.clone()).await.unwrap(), expected, "{range:?}");
    }
    let suffix = GetOptions { range: Some(GetRange::Suffix(8)), ..GetOptions::default() };
    match store.objects.get_opts(&key, suffix).await {
        Ok(read) => assert_eq!(read.bytes().await.unwrap(), content.slice(content.len() - 8..)),
        // Azure has none: nothing of ours asks for one.
        Err(error) => assert!(matches!(error, Error::NotSupported { .. }), "{error}"),
    }
}

async fn what_is_deleted_is_gone(store: &Store) {
    put(store, "deleted/one", "x").await;
    let key = Path::from("deleted/one");
    store.objects.delete(&key).await.unwrap();
    assert!(matches!(store.objects.get(&key).await, Err(Error::NotFound { .. })));
    assert_eq!(keys(store, "deleted").await, BTreeSet::new());
    // Again: some say so, some do not.
    let again = store.objects.delete(&key).await;
    assert!(matches!(again, Ok(()) | Err(Error::NotFound { .. })), "{again:?}");
    create(store, "deleted/one", "anew").await.unwrap();
    assert_eq!(get(store, "deleted/one").await, "anew");
}

async fn objects_are_copied_and_moved(store: &Store) {
    put(store, "moved/from it", "x").await;
    let [from, copied, to] = ["moved/from it", "moved/copied", "moved/to"].map(Path::from);
    store.objects.copy(&from, &copied).await.unwrap();
    store.objects.rename(&from, &to).await.unwrap();
    assert_eq!(keys(store, "moved").await, ["moved/copied", "moved/to"].map(str::to_owned).into());
    assert_eq!(get(store, "moved/to").await, "x");
}

async fn a_large_object_comes_in_parts_and_at_once(store: &Store) {
    let content: Bytes = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>().into();
    let key = Path::from("large/parts");
    let mut writer = WriteMultipart::new(store.objects.put_multipart(&key).await.unwrap());
    writer.write(&content);
    writer.wait_for_capacity(0).await.unwrap();
    assert!(matches!(store.objects.get(&key).await, Err(Error::NotFound { .. })), "not before its end");
    writer.finish().await.unwrap();
    assert!(get(store, "large/parts").await == content);
    assert!(matches!(create(store, "large/parts", "x").await, Err(Error::AlreadyExists { .. })));

    put(store, "large/whole", content.clone()).await;
    assert!(get(store, "large/whole").await == content);

    let mut given_up = store.objects.put_multipart(&Path::from("large/never")).await.unwrap();
    given_up.put_part(content.slice(..6 << 20).into()).await.unwrap();
    given_up.abort().await.unwrap();
    assert!(!keys(store, "large").await.contains("large/never"));
}

async fn the_clock_is_ours(store: &Store) {
    let before = Utc::now();
    put(store, "clock", "x").await;
    let told = store.objects.head(&Path::from("clock")).await.unwrap().last_modified;
    // Some tell whole seconds.
    let (early, late) = (told - before, Utc::now() - told);
    assert!(early > -TimeDelta::seconds(2) && late > -TimeDelta::seconds(2), "{early} {late}");
}

/// All of it, each below a store of its own, and `wsp store check` where a program can go.
async fn hold(place: &Place) {
    macro_rules! hold {
        ($($name:ident),+) => { $(
            println!("{}", stringify!($name));
            $name(&place.open(stringify!($name))).await;
        )+ };
    }
    hold!(
        what_was_written_is_read_at_once,
        what_is_absent_is_told_apart,
        the_second_writer_of_a_key_is_refused,
        one_of_many_writers_wins,
        a_listing_has_all_its_pages,
        strange_keys_stay_what_they_are,
        ranges_are_what_was_asked_for,
        what_is_deleted_is_gone,
        objects_are_copied_and_moved,
        a_large_object_comes_in_parts_and_at_once,
        the_clock_is_ours
    );
    let store = place.open("checked");
    // Writers make the folder of a store, and readers do not.
    put(&store, "kept", "x").await;
    let objects = Arc::clone(&store.objects);
    let checked = place.wsp(&["store", "check", &place.at("checked"), "--rounds", "5"]);
    assert!(checked.clone().ok().contains("can be used as a store"), "{checked:?}");
    if store.url.scheme() != "memory" {
        let left: Vec<_> = objects.list(None).try_collect().await.unwrap();
        assert_eq!(left.len(), 1, "{left:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_folder() {
    hold(&Place::folder()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_memory() {
    hold(&Place::memory()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_s3() {
    hold(&Place::s3(Gate::Honest).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_azure() {
    hold(&Place::azure()).await;
}
