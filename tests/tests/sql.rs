//! What the views mean, in `.slt` files over one simulated fleet. `WSP_BLESS=1` fills expected results in.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use async_trait::async_trait;
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner, strict_column_validator};
use wsp_analyze::jobs::compact;
use wsp_analyze::jobs::merge::{self, Options, Silent};
use wsp_analyze::views;
use wsp_datasets::{Fleet, FleetSpec};
use wsp_schemas::store::{Missing, Store, open};

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
    let options = Options { as_of, ..Options::default() };
    merge::run(&store, &options, &Silent).await.unwrap();
    (folder, store)
}

#[tokio::test(flavor = "multi_thread")]
async fn views_mean_what_the_files_say() {
    let (_folder, store) = fleet().await;
    assert_eq!(run_files("slt", &store).await, 3);
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
