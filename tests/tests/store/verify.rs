use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BinaryArray, Int32Array, Int64Array, RecordBatch, StringArray, UInt32Array,
};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{Int32Type, Int64Type};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use wsp_analyze::jobs::merge;
use wsp_analyze::jobs::store::Silent;
use wsp_analyze::jobs::store::verify::{self, Difference, Options, Report};
use wsp_datasets::{Fleet, FleetSpec, TruthOption, WriteOptions};
use wsp_schemas::image::Workload;
use wsp_schemas::store::{Missing, Store, open};
use wsp_tests::program::wsp;

struct Case {
    folder: tempfile::TempDir,
    store: Store,
}

impl Case {
    /// A small fleet, merged into one bucket so that its rows share files.
    async fn new() -> Self {
        let case = Self::unmerged().await;
        case.merge(200).await;
        case
    }

    async fn unmerged() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path().to_str().unwrap(), Missing::Create).unwrap();
        let spec = FleetSpec {
            seed: 5,
            images: 2,
            versions: 2,
            containers: 3,
            snapshots: 2,
            ..FleetSpec::default()
        };
        let write = WriteOptions { jobs: 2, truth: TruthOption::Skip };
        wsp_datasets::write_fleet(&Fleet::new(spec).unwrap(), &store, &write, |_| {}).await.unwrap();
        Self { folder, store }
    }

    async fn merge(&self, max_snapshots: u32) {
        let as_of = FleetSpec::default().start + chrono::TimeDelta::hours(24);
        let options = merge::Options { as_of, buckets: 1, max_snapshots, ..merge::Options::default() };
        let report = merge::run(&self.store, &options, &Silent).await.unwrap();
        assert!(report.admitted > 0, "{report:?}");
    }

    async fn verify(&self) -> Report {
        self.verify_with(&Options::default()).await
    }

    async fn verify_with(&self, options: &Options) -> Report {
        verify::run(&self.store, options, &Silent).await.unwrap()
    }

    fn files(&self, below: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        walk(&self.folder.path().join(below), &mut found);
        found.retain(|path| path.extension().is_some_and(|extension| extension == "parquet"));
        found.sort();
        assert!(!found.is_empty(), "no files below {below}");
        found
    }

    /// Rewrites the data file of a table that has most rows, in place.
    fn rewrite(&self, table: &str, change: impl FnOnce(&RecordBatch) -> RecordBatch) -> RecordBatch {
        let mut files = self.files(&format!("tables/{table}"));
        files.sort_by_key(|path| std::fs::metadata(path).unwrap().len());
        let path = files.pop().unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap();
        let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
        let rows = concat_batches(&batches[0].schema(), &batches).unwrap();
        let changed = change(&rows);
        let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), changed.schema(), None).unwrap();
        writer.write(&changed).unwrap();
        writer.close().unwrap();
        rows
    }
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { walk(&path, found) } else { found.push(path) }
    }
}

/// What differs, but for the size of the data file that was rewritten.
fn told(report: &Report) -> Vec<&Difference> {
    let told: Vec<_> =
        report.differences.iter().filter(|difference| difference.what != "size of the data file").collect();
    assert_eq!(report.differences.len(), told.len() + 1, "{report:?}");
    told
}

fn with(rows: &RecordBatch, column: &str, array: ArrayRef) -> RecordBatch {
    let mut columns = rows.columns().to_vec();
    columns[rows.schema().index_of(column).unwrap()] = array;
    RecordBatch::try_new(rows.schema(), columns).unwrap()
}

fn text(rows: &RecordBatch, column: &str, row: usize) -> String {
    rows[column].as_string::<i32>().value(row).to_owned()
}

/// The image of a row, as differences name it.
fn image(rows: &RecordBatch, row: usize) -> Option<String> {
    Some(format!("{}:{}", text(rows, "image_name", row), text(rows, "image_tag", row)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_store_verifies() {
    let deep = Options { deep: true, ..Options::default() };
    // Stable after five of six snapshots.
    let stable = Case::unmerged().await;
    stable.merge(5).await;
    let report = stable.verify_with(&deep).await;
    assert!(report.is_ok(), "{report:?}");
    assert_eq!((report.profiles, report.objects, report.objects_hashed), (4, 20, 20));

    let case = Case::new().await;
    let report = case.verify_with(&deep).await;
    assert!(report.is_ok(), "{report:?}");
    assert_eq!((report.profiles, report.objects, report.objects_hashed), (4, 24, 24));

    assert_eq!(case.verify().await.objects_hashed, 0);

    // One image, by name.
    let rows = case.rewrite("profiles", RecordBatch::clone);
    let image = image(&rows, 0).unwrap();
    let options =
        Options { workload: Some(Workload::parse(&image).unwrap()), deep: true, ..Options::default() };
    let one = case.verify_with(&options).await;
    assert_eq!((one.profiles, told(&one).len()), (1, 0), "{one:?}");
    assert!(one.nodes < report.nodes);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_in_another_order_are_the_same_profile() {
    let case = Case::new().await;
    let rows = case.rewrite("profile_nodes", |rows| {
        // Rows of all profiles in turn: no two neighbours stay neighbours.
        let rows_total = u32::try_from(rows.num_rows()).unwrap();
        let order: UInt32Array =
            (0..7).flat_map(|first| (first..rows_total).step_by(7)).collect::<Vec<_>>().into();
        take_record_batch(rows, &order).unwrap()
    });
    assert!(rows.num_rows() > 100);
    assert_eq!(told(&case.verify().await), Vec::<&Difference>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_node_row_is_named() {
    let case = Case::new().await;
    let rows = case.rewrite("profile_nodes", |rows| {
        let events = rows["events"].as_primitive::<Int64Type>();
        let changed: Int64Array =
            (0..events.len()).map(|row| Some(events.value(row) + i64::from(row == 3))).collect();
        with(rows, "events", Arc::new(changed))
    });
    let report = case.verify().await;
    let [difference] = told(&report)[..] else { panic!("{report:?}") };
    assert_eq!((&difference.profile, difference.what.as_str()), (&image(&rows, 3), "content_hash"));
    assert_eq!(difference.revision, Some(1));
    assert_ne!(difference.expected, difference.found);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_node_and_a_member_that_nobody_is_are_named() {
    let case = Case::new().await;
    let rows = case.rewrite("profile_nodes", |rows| rows.slice(1, rows.num_rows() - 1));
    let lost = case.verify().await;
    let whats: Vec<_> = told(&lost).iter().map(|difference| difference.what.clone()).collect();
    assert_eq!(whats, ["nodes", "content_hash"]);
    assert_eq!(told(&lost)[0].profile, image(&rows, 0));

    let case = Case::new().await;
    case.rewrite("profile_nodes", |rows| {
        let members: &BinaryArray = rows["members"].as_binary();
        let changed: BinaryArray = members
            .iter()
            .enumerate()
            .map(|(row, set)| if row == 0 { Some(&[0, 1][..]) } else { set })
            .collect();
        with(rows, "members", Arc::new(changed))
    });
    let beyond = case.verify().await;
    let members = told(&beyond).into_iter().find(|difference| difference.what == "members of nodes").unwrap();
    let node: String =
        rows["node_id"].as_binary::<i32>().value(0).iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(members.found.contains(&node), "{members:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_row_that_says_something_else_is_named() {
    let case = Case::new().await;
    let rows = case.rewrite("profiles", |rows| {
        let hashes: StringArray = rows["content_hash"]
            .as_string::<i32>()
            .iter()
            .enumerate()
            .map(|(row, hash)| if row == 1 { Some("00") } else { hash })
            .collect();
        let hosts = rows["host_count"].as_primitive::<Int32Type>();
        let hosts: Int32Array =
            (0..hosts.len()).map(|row| Some(hosts.value(row) + i32::from(row == 2))).collect();
        with(&with(rows, "content_hash", Arc::new(hashes)), "host_count", Arc::new(hosts))
    });
    let report = case.verify().await;
    let mut told: Vec<_> =
        told(&report).into_iter().map(|found| (found.profile.clone(), found.what.clone())).collect();
    told.sort_by(|a, b| a.1.cmp(&b.1));
    let expected = [(image(&rows, 1), "content_hash".to_owned()), (image(&rows, 2), "host_count".to_owned())];
    assert_eq!(told, expected);

    let case = Case::new().await;
    case.rewrite("profiles", |rows| rows.slice(1, rows.num_rows() - 1));
    let report = case.verify().await;
    let [gone] = told_one(&report);
    assert_eq!((gone.what.as_str(), gone.revision), ("row in `profiles`", Some(1)));
}

fn told_one(report: &Report) -> [&Difference; 1] {
    told(report).try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_in_the_ordinals_is_named() {
    let case = Case::new().await;
    let rows = case.rewrite("profile_snapshots", |rows| {
        let ordinals = rows["ordinal"].as_primitive::<Int32Type>();
        let changed: Int32Array = ordinals
            .iter()
            .enumerate()
            .map(|(row, ordinal)| if row == 1 { Some(0) } else { ordinal })
            .collect();
        with(rows, "ordinal", Arc::new(changed))
    });
    let report = case.verify().await;
    let [gap] = told_one(&report);
    assert_eq!(
        (gap.profile.clone(), gap.what.as_str()),
        (image(&rows, 1), "ordinals in the ledger, without gap")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_that_do_not_belong_together_are_named() {
    let case = Case::unmerged().await;
    // Half of the snapshots come later.
    let later: Vec<_> = case.files("snapshots").into_iter().step_by(2).collect();
    let contents: Vec<_> = later.iter().map(|path| std::fs::read(path).unwrap()).collect();
    later.iter().for_each(|path| std::fs::remove_file(path).unwrap());
    case.merge(200).await;
    later.iter().zip(contents).for_each(|(path, content)| std::fs::write(path, content).unwrap());
    case.merge(200).await;
    assert!(case.verify().await.is_ok());

    let log = case.folder.path().join("tables/profiles/_delta_log/00000000000000000002.json");
    let commit = std::fs::read_to_string(&log).unwrap();
    let changed = commit.replace("\"wsp.profileNodesVersion\":2", "\"wsp.profileNodesVersion\":1");
    assert_ne!(commit, changed);
    std::fs::write(&log, changed).unwrap();
    let report = case.verify().await;
    let batch = report.differences.iter().find(|found| found.what.starts_with("batch of bucket 0")).unwrap();
    assert_eq!((batch.expected.as_str(), batch.found.as_str()), ("2", "1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_compared_with_the_ledger() {
    let case = Case::new().await;
    let snapshots = case.files("snapshots");
    let key = |path: &Path| path.strip_prefix(case.folder.path()).unwrap().display().to_string();
    // One is longer, one has other content of the same length, one is gone.
    let mut longer = std::fs::read(&snapshots[0]).unwrap();
    longer.push(0);
    std::fs::write(&snapshots[0], longer).unwrap();
    let mut other = std::fs::read(&snapshots[1]).unwrap();
    other[10] ^= 1;
    std::fs::write(&snapshots[1], other).unwrap();
    std::fs::remove_file(&snapshots[2]).unwrap();

    let report = case.verify().await;
    assert_eq!(report.objects_gone, 1);
    let [size] = &report.differences[..] else { panic!("{report:?}") };
    assert_eq!((size.object.clone(), size.what.as_str()), (Some(key(&snapshots[0])), "object_size"));

    let deep = case.verify_with(&Options { deep: true, ..Options::default() }).await;
    let mut objects: Vec<_> =
        deep.differences.iter().map(|found| (found.object.clone().unwrap(), found.what.as_str())).collect();
    objects.sort_unstable();
    let expected = [
        (key(&snapshots[0]), "content_hash"),
        (key(&snapshots[0]), "object_size"),
        (key(&snapshots[1]), "content_hash"),
    ];
    assert_eq!(objects, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_data_file_is_named_and_the_rest_verified() {
    let case = Case::new().await;
    for damage in [&b"PAR1 no Parquet PAR1"[..], b""] {
        let file = case.files("tables/profile_nodes").remove(0);
        std::fs::write(&file, damage).unwrap();
        let report = case.verify().await;
        let name = file.file_name().unwrap().to_str().unwrap();
        let named = report.differences.iter().filter(|found| {
            found.what == "data file" && found.object.as_ref().is_some_and(|object| object.ends_with(name))
        });
        assert_eq!(named.count(), 1, "{report:?}");
        assert_eq!(report.profiles, 4);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn differences_are_bounded_and_all_counted() {
    let case = Case::new().await;
    case.rewrite("profiles", |rows| {
        let hashes: StringArray = (0..rows.num_rows()).map(|row| Some(row.to_string())).collect();
        with(rows, "content_hash", Arc::new(hashes))
    });
    let report = case.verify_with(&Options { max_differences: 2, ..Options::default() }).await;
    assert_eq!((report.differences.len(), report.further_differences), (2, 3));
    assert!(!report.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_tells_by_table_json_and_exit_code() {
    let case = Case::new().await;
    let dir = case.folder.path().to_str().unwrap().to_owned();
    let rows = case.rewrite("profiles", |rows| {
        let hashes: StringArray = (0..rows.num_rows()).map(|_| Some("\u{1b}[31m")).collect();
        with(rows, "content_hash", Arc::new(hashes))
    });
    tokio::task::spawn_blocking(move || {
        let ended = wsp(["store", "verify", &dir]);
        assert_eq!(ended.code, 1, "{}", ended.stderr);
        assert!(ended.stdout.contains(&image(&rows, 0).unwrap()), "{}", ended.stdout);
        assert!(!ended.stdout.contains('\u{1b}'), "{}", ended.stdout);
        let ended = wsp(["store", "verify", "--store", &dir, "--json"]);
        let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!((ended.code, report["differences"].as_array().unwrap().len()), (1, 5), "{report}");
        let unknown = wsp(["store", "verify", &dir, "--image", "nobody:1"]);
        assert_eq!(unknown.code, 1);
        assert!(unknown.stderr.contains("no profile of docker.io/library/nobody:1"), "{}", unknown.stderr);
    })
    .await
    .unwrap();
}
