use std::fs;

use wsp_schemas::image::Workload;
use wsp_schemas::keys::SnapshotId;
use wsp_schemas::snapshot::{Container, Image};

use super::*;

/// A store in a folder, and a spool beside it.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn spool(&self, limit: u64) -> Spool {
        let sink = Sink::open(self.path("store").to_str().unwrap()).unwrap().without_retries();
        Spool::open(&self.path("spool"), limit, sink).unwrap()
    }

    /// The store takes nothing until it is [`Place::open`].
    fn close(&self) {
        fs::create_dir_all(self.path("store")).unwrap();
        fs::write(self.path("store/snapshots"), "in the way").unwrap();
    }

    fn open(&self) {
        fs::remove_file(self.path("store/snapshots")).unwrap();
    }

    /// Keys in the store.
    fn stored(&self) -> Vec<String> {
        fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.path().is_dir() { walk(&entry.path(), found) } else { found.push(entry.path()) }
            }
        }
        let mut found = Vec::new();
        walk(&self.path("store/snapshots"), &mut found);
        let store = self.path("store");
        let key = |path: &PathBuf| path.strip_prefix(&store).unwrap().to_str().unwrap().to_owned();
        let mut keys: Vec<String> = found.iter().map(key).collect();
        keys.sort();
        keys
    }

    fn files(&self, part: &str) -> usize {
        fs::read_dir(self.path("spool").join(part)).unwrap().count()
    }
}

fn at(hour: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000 / 3600 * 3600 + hour * 3600, 0).unwrap()
}

fn meta(number: u128) -> SnapshotMeta {
    SnapshotMeta {
        id: SnapshotId::new(uuid::Uuid::from_u128(number)),
        image: Image { workload: Some(Workload::parse("app:1").unwrap()), digest: None },
        container: Container { id: "4f3c".repeat(16), ..Container::default() },
        host: "h".to_owned(),
        window_start: at(-1),
        window_end: at(0),
        covers_start: true,
        writer: "test".to_owned(),
        kernel: "6.1".to_owned(),
        path_rules: wsp_schemas::paths::RULES_VERSION,
        sensors: Vec::new(),
        completeness: BTreeMap::new(),
        lost: Vec::new(),
        limits_hit: Vec::new(),
    }
}

/// Uploads until nothing waits.
async fn upload(spool: &Spool) {
    tokio::select! {
        () = spool.upload() => {}
        () = spool.emptied() => {}
        () = tokio::time::sleep(Duration::from_secs(60)) => panic!("{:?}", spool.counts()),
    }
}

/// Uploads for a while.
async fn try_to_upload(spool: &Spool) {
    assert!(tokio::time::timeout(Duration::from_millis(300), spool.upload()).await.is_err());
}

#[tokio::test]
async fn what_is_put_in_comes_out_at_the_store() {
    let place = Place::new();
    let (spool, now) = (place.spool(1 << 30), Utc::now());
    for number in 0..20 {
        spool.put(&meta(number), &[], now).await.unwrap();
    }
    assert_eq!((spool.counts().waiting, place.files("waiting")), (20, 20));
    upload(&spool).await;
    let expected: Vec<String> = (0..20).map(|number| key(&meta(number), now).path()).collect();
    assert_eq!(place.stored(), expected);
    assert_eq!(spool.counts(), Counts { uploaded: 20, ..Counts::default() });
    assert_eq!((place.files("waiting"), place.files("partial"), place.files("taken")), (0, 0, 0));
}

#[tokio::test]
async fn a_store_that_is_away_and_a_crash_lose_nothing() {
    let place = Place::new();
    place.close();
    let spool = place.spool(1 << 30);
    spool.put(&meta(1), &[], Utc::now()).await.unwrap();
    try_to_upload(&spool).await;
    assert_eq!((spool.counts().waiting, spool.counts().uploaded), (1, 0));
    // It dies here, in the middle of writing another one.
    drop(spool);
    fs::write(place.path("spool/partial/x"), "half").unwrap();
    fs::write(place.path("spool/waiting/notes.txt"), "not ours").unwrap();
    let spool = place.spool(1 << 30);
    assert_eq!((spool.counts().waiting, place.files("partial")), (1, 0));
    place.open();
    upload(&spool).await;
    assert_eq!(place.stored(), [key(&meta(1), Utc::now()).path()]);
    assert_eq!(place.files("waiting"), 1, "what is not ours stays");
}

#[tokio::test]
async fn an_upload_whose_answer_was_lost_is_not_doubled() {
    let place = Place::new();
    let spool = place.spool(1 << 30);
    // Long ago: the store is asked first. And just now: the key is kept.
    for (number, hour) in [(1, at(0)), (2, Utc::now())] {
        spool.put(&meta(number), &[], hour).await.unwrap();
        let key = key(&meta(number), hour).path();
        let path = place.path("store").join(&key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(place.path("spool/waiting").join(key.replace('/', "~")), path).unwrap();
    }
    upload(&spool).await;
    assert_eq!(place.stored().len(), 2);
    assert_eq!(spool.counts(), Counts { uploaded: 2, ..Counts::default() });
}

#[tokio::test]
async fn what_waited_for_long_gets_a_key_of_the_present_hour() {
    let place = Place::new();
    let spool = place.spool(1 << 30);
    let (long_ago, recently) = (Utc::now() - TimeDelta::hours(14), Utc::now() - TimeDelta::hours(10));
    spool.put(&meta(1), &[], long_ago).await.unwrap();
    spool.put(&meta(2), &[], recently).await.unwrap();
    upload(&spool).await;
    let mut expected = [key(&meta(1), Utc::now()).path(), key(&meta(2), recently).path()];
    expected.sort();
    assert_eq!(place.stored(), expected);
}

#[tokio::test]
async fn a_file_with_a_new_key_is_tried_again_too() {
    let place = Place::new();
    place.close();
    let spool = place.spool(1 << 30);
    spool.put(&meta(1), &[], at(0)).await.unwrap();
    let uploading = tokio::spawn({
        let spool = spool.clone();
        async move { spool.upload().await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    place.open();
    tokio::time::timeout(Duration::from_secs(60), spool.emptied()).await.unwrap();
    uploading.abort();
    assert_eq!(place.stored(), [key(&meta(1), Utc::now()).path()]);
}

#[tokio::test]
async fn files_that_fail_hold_up_no_others() {
    let place = Place::new();
    let (spool, now) = (place.spool(1 << 30), Utc::now());
    for number in 0..30 {
        spool.put(&meta(number), &[], now).await.unwrap();
        if number < 20 {
            // It cannot be read.
            let name = key(&meta(number), now).path().replace('/', "~");
            let path = place.path("spool/waiting").join(name);
            fs::remove_file(&path).unwrap();
            fs::create_dir(path).unwrap();
        }
    }
    tokio::select! {
        () = spool.upload() => {}
        () = tokio::time::sleep(Duration::from_secs(60)) => panic!("{:?}", spool.counts()),
        () = async { while spool.counts().uploaded < 10 { tokio::time::sleep(Duration::from_millis(20)).await } } => {}
    }
    assert_eq!((place.stored().len(), spool.counts().waiting), (10, 20));
}

#[tokio::test]
async fn where_there_is_no_more_room_the_oldest_are_dropped() {
    let place = Place::new();
    place.close();
    let one = encode(&meta(0), &[]).unwrap().len() as u64;
    let spool = place.spool(3 * one + 10);
    for (number, hours) in (0..5).zip([8, 7, 6, 5, 4]) {
        spool.put(&meta(number), &[], Utc::now() - TimeDelta::hours(hours)).await.unwrap();
    }
    assert_eq!((spool.counts().dropped, spool.counts().waiting, place.files("waiting")), (2, 3, 3));
    assert!(spool.counts().waiting_bytes <= 3 * one + 10);
    place.open();
    upload(&spool).await;
    let left = place.stored();
    assert!(
        left.iter()
            .all(|key| !key.contains(&meta(0).id.to_string()) && !key.contains(&meta(1).id.to_string()))
    );
    drop(spool);
    let error = place.spool(10).put(&meta(9), &[], Utc::now()).await.unwrap_err();
    assert!(error.to_string().contains("and 10 may wait in the spool: it is lost"), "{error}");
}

#[tokio::test]
async fn a_key_with_other_content_is_set_aside() {
    let place = Place::new();
    let spool = place.spool(1 << 30);
    let now = Utc::now();
    spool.put(&meta(1), &[], now).await.unwrap();
    spool.put(&meta(2), &[], now).await.unwrap();
    let path = place.path("store").join(key(&meta(1), now).path());
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "another one").unwrap();
    upload(&spool).await;
    assert_eq!(spool.counts(), Counts { uploaded: 1, taken: 1, ..Counts::default() });
    assert_eq!((fs::read(path).unwrap(), place.files("taken")), (b"another one".to_vec(), 1));
}

#[tokio::test]
async fn a_disk_that_takes_nothing_does_not_lose_what_the_store_takes() {
    let place = Place::new();
    let spool = place.spool(1 << 30);
    fs::remove_dir(place.path("spool/partial")).unwrap();
    spool.put(&meta(1), &[], at(0)).await.unwrap();
    assert_eq!((place.stored(), spool.counts().uploaded), (vec![key(&meta(1), at(0)).path()], 1));
    assert_eq!((spool.refused(), spool.counts().dropped), (1, 0));
    fs::remove_dir_all(place.path("store")).unwrap();
    place.close();
    let error = spool.put(&meta(2), &[], at(0)).await.unwrap_err();
    assert!(matches!(error, SpoolError::Lost { .. }), "{error}");
    assert_eq!(spool.counts().dropped, 1);
}

#[tokio::test]
async fn one_daemon_has_a_spool() {
    let place = Place::new();
    let spool = place.spool(1 << 30);
    let sink = Sink::open(place.path("store").to_str().unwrap()).unwrap();
    let error = Spool::open(&place.path("spool"), 1, sink).unwrap_err();
    assert!(error.to_string().contains("in use by another"), "{error}");
    drop(spool);
    place.spool(1);
}
