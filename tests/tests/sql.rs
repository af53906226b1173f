//! What the views mean, in `.slt` files over one simulated fleet. `WSP_BLESS=1` fills expected results in.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use async_trait::async_trait;
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;
use futures::TryStreamExt as _;
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner, strict_column_validator};
use wsp_analyze::jobs::compact;
use wsp_analyze::jobs::merge::{self, Options, Silent};
use wsp_analyze::views;
use wsp_datasets::{Fleet, FleetSpec};
use wsp_schemas::store::{Missing, Store, open};
use wsp_tests::faulty::Faulty;
use wsp_tests::program::root;

struct Views(Arc<SessionContext>);

#[async_trait]
impl AsyncDB for Views {
    type Error = DataFusionError;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, DataFusionError> {
        let frame = views::query(&self.0, sql).await?;
        let types = frame.schema().fields().iter().map(|field| match field.data_type() {
            kind if kind.is_integer() => DefaultColumnType::Integer,
            kind if kind.is_floating() => DefaultColumnType::FloatingPoint,
            _ => DefaultColumnType::Text,
        });
        let types = types.collect();
        let rows = frame.collect().await?.iter().flat_map(cells).collect();
        Ok(DBOutput::Rows { types, rows })
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        "wsp"
    }
}

fn cells(batch: &RecordBatch) -> Vec<Vec<String>> {
    let options = FormatOptions::default().with_null("NULL");
    let formatters: Vec<_> =
        batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
    let cell = |text: String| if text.is_empty() { "(empty)".to_owned() } else { text };
    (0..batch.num_rows())
        .map(|row| formatters.iter().map(|column| cell(column.value(row).to_string())).collect())
        .collect()
}

async fn fleet() -> (tempfile::TempDir, Store) {
    let (folder, store, as_of) = unmerged().await;
    let options = Options { as_of, ..Options::default() };
    merge::run(&store, &options, &Silent).await.unwrap();
    (folder, store)
}

async fn unmerged() -> (tempfile::TempDir, Store, chrono::DateTime<chrono::Utc>) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path().to_str().unwrap(), Missing::Create).unwrap();
    let spec = FleetSpec {
        seed: 11,
        images: 2,
        versions: 2,
        containers: 8,
        snapshots: 3,
        lossy_share: 0.05,
        late_share: 0.2,
        ..FleetSpec::default()
    };
    let as_of = spec.start + chrono_hours(24);
    let fleet = Fleet::new(spec).unwrap();
    let write = wsp_datasets::WriteOptions { jobs: 2, truth: wsp_datasets::TruthOption::Skip };
    wsp_datasets::write_fleet(&fleet, &store, &write, |_| {}).await.unwrap();
    (folder, store, as_of)
}

/// The rows of a query, as text.
async fn rows(store: &Store, sql: &str) -> Vec<Vec<String>> {
    let context = views::open(store).await.unwrap();
    let batches = views::query(&context, sql).await.unwrap().collect().await.unwrap();
    batches.iter().flat_map(cells).collect()
}

/// What a merge said of a profile before more snapshots came, `profile_at` says afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_state_is_what_a_merge_said_then() {
    let (_folder, whole, as_of) = unmerged().await;
    let growing = open("memory:///", Missing::Create).unwrap();
    let listed = whole.objects.list(None).map_ok(|object| object.location);
    let mut keys: Vec<_> = listed.try_collect().await.unwrap();
    keys.sort();
    let image = "registry.example.com/shop/web-0:1.0";
    let counted = "node_id, kind, target, commonality, commonality_low, commonality_high, container_count, \
                   eligible_containers, snapshot_count, snapshot_commonality, host_count, lossy_count, stable, rare, late, members";
    let mut then = Vec::new();
    for (at, keys) in keys.chunks(keys.len().div_ceil(3)).enumerate() {
        for key in keys {
            let file = whole.objects.get(key).await.unwrap().bytes().await.unwrap();
            growing.objects.put(key, file.into()).await.unwrap();
        }
        let folding = merge::Folding::after(0);
        merge::run(&growing, &Options { as_of, folding, ..Options::default() }, &Silent).await.unwrap();
        let count =
            rows(&growing, &format!("SELECT snapshot_count FROM profiles WHERE image = '{image}'")).await;
        let nodes = format!("SELECT {counted} FROM nodes WHERE image = '{image}' ORDER BY node_id");
        then.push((count[0][0].clone(), rows(&growing, &nodes).await));
        assert!(then[at].1.len() > 100, "{}", then[at].1.len());
    }
    for (snapshots, nodes) in &then {
        let again = format!("SELECT {counted} FROM profile_at('{image}', {snapshots}) ORDER BY node_id");
        assert_eq!(rows(&growing, &again).await, *nodes, "after {snapshots} snapshots");
    }
    assert_ne!(then[0].1, then[2].1);
}

/// `analyze/SQL.md` names every function that is ours, and every view with every word that a column is described by.
#[tokio::test]
async fn the_reference_of_sql_is_complete() {
    let page = std::fs::read_to_string(root().join("analyze/SQL.md")).unwrap();
    let store = open("memory:///", Missing::Create).unwrap();
    let spec = FleetSpec { images: 1, versions: 1, containers: 1, snapshots: 1, ..FleetSpec::default() };
    let write = wsp_datasets::WriteOptions { jobs: 2, truth: wsp_datasets::TruthOption::Skip };
    wsp_datasets::write_fleet(&Fleet::new(spec).unwrap(), &store, &write, |_| {}).await.unwrap();
    merge::run(&store, &Options::default(), &Silent).await.unwrap();
    let context = views::open(&store).await.unwrap();
    let names = |context: &SessionContext| {
        let state = context.state();
        let (scalar, aggregate) = (state.scalar_functions().keys(), state.aggregate_functions().keys());
        scalar.chain(aggregate).chain(state.table_functions().keys()).cloned().collect::<BTreeSet<String>>()
    };
    let ours: BTreeSet<String> =
        names(&context).difference(&names(&SessionContext::new())).cloned().collect();
    assert!(ours.len() > 12, "{ours:?}");
    let missing: Vec<_> = ours.iter().filter(|name| !page.contains(&format!("`{name}("))).collect();
    assert!(missing.is_empty(), "SQL.md does not have {missing:?}");
    for view in rows(&store, "SELECT DISTINCT \"view\" FROM docs WHERE \"view\" NOT LIKE 'raw.%'").await {
        assert!(page.contains(&format!("| `{}` |", view[0])), "{view:?}");
    }
    let silent = rows(&store, "SELECT \"view\", \"column\" FROM docs WHERE description = ''").await;
    assert!(silent.is_empty(), "nothing says what these are: {silent:?}");
}

/// Who asks for one image reads the files of its bucket, of the tables that are asked, and no other; each once.
#[tokio::test(flavor = "multi_thread")]
async fn one_image_is_read_from_its_own_files() {
    let whole = open("memory:///", Missing::Create).unwrap();
    let spec =
        FleetSpec { seed: 5, images: 20, versions: 2, containers: 2, snapshots: 2, ..FleetSpec::default() };
    let as_of = spec.start + chrono_hours(24);
    let write = wsp_datasets::WriteOptions { jobs: 2, truth: wsp_datasets::TruthOption::Skip };
    wsp_datasets::write_fleet(&Fleet::new(spec).unwrap(), &whole, &write, |_| {}).await.unwrap();
    merge::run(&whole, &Options { as_of, ..Options::default() }, &Silent).await.unwrap();
    let images = rows(&whole, "SELECT image, bucket FROM profiles ORDER BY image").await;
    assert_eq!(images.len(), 40);
    let watched = Faulty::new(Arc::clone(&whole.objects));
    let context = views::open(&watched.store()).await.unwrap();
    for image in images.iter().step_by(7) {
        let [image, bucket] = image.as_slice() else { panic!("{image:?}") };
        let (name, tag) = image.rsplit_once(':').unwrap();
        for (tables, sql) in [
            (&["profile_nodes"][..], format!("SELECT * FROM nodes WHERE image = '{image}'")),
            (
                &["profile_nodes"],
                format!("SELECT target FROM nodes WHERE '{image}' = image AND commonality > 0.5 LIMIT 5"),
            ),
            (
                &["profile_nodes"],
                format!(
                    "SELECT kind, count(*) FROM nodes WHERE image_name = '{name}' AND image_tag = '{tag}' GROUP BY 1"
                ),
            ),
            (
                &["profile_nodes"],
                format!("WITH n AS (SELECT * FROM nodes) SELECT * FROM n AS m WHERE m.image = '{image}'"),
            ),
            (&["profiles"], format!("SELECT * FROM profiles WHERE image = '{image}'")),
            (&["profile_snapshots"], format!("SELECT * FROM snapshots WHERE image = '{image}'")),
            (&["profile_nodes", "profiles"], format!("SELECT * FROM process_tree('{image}')")),
            (
                &["profile_nodes", "profiles", "profile_snapshots"],
                format!("SELECT * FROM profile_at('{image}', 2)"),
            ),
            (
                &["profile_nodes", "profiles"],
                format!(
                    "SELECT n.* FROM profiles p JOIN nodes n ON n.workload_key = p.workload_key AND n.bucket = p.bucket \
                     AND n.revision = p.revision WHERE p.image = '{image}'"
                ),
            ),
        ] {
            watched.take_operations();
            let answer = views::query(&context, &sql).await.unwrap().collect().await.unwrap();
            assert!(answer.iter().map(RecordBatch::num_rows).sum::<usize>() > 0, "{sql}");
            let operations = watched.take_operations();
            let read: BTreeSet<&str> = operations
                .iter()
                .map(|one| one.path.as_str())
                .filter(|path| path.contains("/bucket="))
                .collect();
            assert!(!read.is_empty(), "{sql}");
            for path in read {
                let of_bucket = path.contains(&format!("/bucket={bucket}/"));
                let of_tables = tables.iter().any(|table| path.contains(&format!("/{table}/")));
                assert!(of_bucket && of_tables, "{sql} reads {path}");
            }
            assert!(operations.iter().all(|one| !one.changes()), "{sql}");
        }
    }
    // What only looks like one image is not narrowed.
    let (name, tags) = (images[0][0].rsplit_once(':').unwrap().0, "'1.0' AND o.image_tag = '1.1'");
    let both = format!("o.image_name = '{name}' AND n.image_name = '{name}'");
    let paired = "SELECT count(*) FROM nodes n JOIN nodes o ON n.node_id = o.node_id WHERE";
    let one_way = rows(&whole, &format!("{paired} {both} AND n.image_tag = {tags}")).await;
    let other_way =
        rows(&whole, &format!("{paired} o.image_tag = '1.1' AND n.image_tag = '1.0' AND {both}")).await;
    assert!(one_way == other_way && one_way[0][0] != "0", "{one_way:?} {other_way:?}");
    let renamed =
        "SELECT count(*) FROM (SELECT image_name AS image, workload_key, bucket FROM nodes) WHERE image =";
    let renamed = rows(&whole, &format!("{renamed} '{name}'")).await;
    assert_ne!(renamed[0][0], "0");

    // Without an image all buckets are read: the record can see it.
    watched.take_operations();
    views::query(&context, "SELECT count(target) FROM nodes").await.unwrap().collect().await.unwrap();
    let buckets: BTreeSet<String> = watched
        .take_operations()
        .into_iter()
        .filter_map(|one| one.path.split('/').find(|part| part.starts_with("bucket=")).map(str::to_owned))
        .collect();
    assert!(buckets.len() > 8, "{buckets:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn views_mean_what_the_files_say() {
    let (_folder, store) = fleet().await;
    assert_eq!(run_files("slt", &store).await, 4);
}

/// All profiles are stable, and their snapshots are moved.
#[tokio::test(flavor = "multi_thread")]
async fn the_view_of_activity_has_what_was_moved() {
    let (_folder, store) = fleet().await;
    let as_of = FleetSpec::default().start + chrono_hours(24 * 30);
    merge::run(&store, &Options { as_of, ..Options::default() }, &Silent).await.unwrap();
    let told = compact::Options { as_of, without_detect: true, ..compact::Options::default() };
    let report = compact::run(&store, &told, &Silent).await.unwrap();
    assert_eq!((report.raw.moved, report.raw.deleted), (96, 96), "{report:?}");
    assert_eq!(run_files("slt/compacted", &store).await, 1);
}

/// Runs the files of a folder; gives how many there are.
async fn run_files(folder: &str, store: &Store) -> usize {
    let context = Arc::new(views::open(store).await.unwrap());
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.is_file());
    files.sort();
    let count = files.len();
    for file in files {
        let shared = Arc::clone(&context);
        let mut runner = Runner::new(move || {
            let shared = Arc::clone(&shared);
            async move { Ok(Views(shared)) }
        });
        if std::env::var_os("WSP_BLESS").is_some() {
            let validator = sqllogictest::default_validator;
            let normalizer = sqllogictest::default_normalizer;
            runner
                .update_test_file(&file, " ", validator, normalizer, strict_column_validator)
                .await
                .unwrap();
        } else {
            runner.run_file_async(&file).await.unwrap_or_else(|error| panic!("{}", error.display(false)));
        }
    }
    count
}

fn chrono_hours(hours: i64) -> chrono::TimeDelta {
    chrono::TimeDelta::hours(hours)
}
