//! How good detections are, on a simulated fleet whose truth is known: which attacks raise signals, how often harmless
//! behaviour does, and whether any suggestion would hide an attack.
//!
//! `cargo run --release -p wsp-analyze --example detection_quality -- --help`

#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::error::Error;

use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use chrono::{TimeDelta, Utc};
use clap::Parser;
use object_store::ObjectStoreExt as _;
use wsp_analyze::jobs::{Silent, detect, merge, suppress};
use wsp_analyze::{rules, session, views};
use wsp_datasets::truth::{FleetTruth, TRUTH, WorkloadTruth};
use wsp_datasets::{Fleet, FleetSpec, Truth, TruthOption, WriteOptions, write_fleet};
use wsp_schemas::store::{self, Missing, Store};

/// Detections on a simulated fleet, against its truth.
#[derive(Debug, Parser)]
struct Args {
    /// Images; workloads are as many times --versions
    #[arg(long, default_value_t = 100)]
    images: usize,
    /// Tags of each image
    #[arg(long, default_value_t = 2)]
    versions: usize,
    /// Containers of each tag
    #[arg(long, default_value_t = 60)]
    containers: usize,
    /// Snapshots of each container
    #[arg(long, default_value_t = 5)]
    snapshots: usize,
    /// Share of the containers that are attacked
    #[arg(long, default_value_t = 0.1)]
    attack_share: f64,
    /// Share of the containers that drift
    #[arg(long, default_value_t = 0.05)]
    drift_share: f64,
    /// Seed of the fleet
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Snapshots that a profile learns from
    #[arg(long, default_value_t = 200)]
    max_snapshots: u32,
    /// Where the fleet is written to; it is made where it is missing [default: a folder that is removed at the end]
    #[arg(long)]
    store: Option<String>,
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let folder = tempfile::tempdir()?;
    let url = args.store.clone().unwrap_or_else(|| folder.path().join("store").display().to_string());
    let store = store::open(&url, Missing::Create)?;
    if !is_made(&store).await {
        make(&store, &args).await?;
    }
    let options =
        merge::Options { max_snapshots: args.max_snapshots, as_of: Utc::now(), ..merge::Options::default() };
    let merged = merge::run(&store, &options, &Silent).await?;
    println!("{} snapshots learned, {} after the freeze", merged.admitted, merged.after_freeze);
    let context = session::new(&session::Resources::default())?;
    let rules = rules::shipped(&context)?;
    let read = std::future::ready(Ok::<_, detect::DetectError>(rules.clone()));
    let started = std::time::Instant::now();
    let report = detect::run(&store, read, &detect::Options::default(), &Silent).await?;
    println!(
        "{} snapshots judged in {:.1} s, {} signals, {} beyond the limit of a snapshot",
        report.judged,
        started.elapsed().as_secs_f64(),
        report.raised(),
        report.dropped
    );
    let truth = truths(&store).await?;
    let seen = Seen::read(&store).await?;
    let suggested = suppress::Options { dry_run: true, ..suppress::Options::default() };
    let suggested = suppress::suggest(&store, &context, &rules, &suggested, Utc::now()).await?;
    report_on(&truth, &seen, &suggested);
    Ok(())
}

async fn is_made(store: &Store) -> bool {
    store.objects.head(&format!("{TRUTH}/fleet.json").into()).await.is_ok()
}

async fn make(store: &Store, args: &Args) -> Result<()> {
    let spec = FleetSpec {
        seed: args.seed,
        images: args.images,
        versions: args.versions,
        containers: args.containers,
        snapshots: args.snapshots,
        attack_share: args.attack_share,
        drift_share: args.drift_share,
        spread: TimeDelta::hours(24).to_std()?,
        ..FleetSpec::default()
    };
    let fleet = Fleet::new(spec)?;
    println!(
        "writing {} snapshots of {} workloads",
        fleet.spec().total_snapshots(),
        fleet.spec().workloads()
    );
    write_fleet(&fleet, store, &WriteOptions { jobs: 2, truth: TruthOption::Write }, |_| {}).await?;
    Ok(())
}

async fn truths(store: &Store) -> Result<Vec<Truth>> {
    let read = async |key: String| -> Result<Vec<u8>> {
        Ok(store.objects.get(&key.into()).await?.bytes().await?.to_vec())
    };
    let fleet: FleetTruth = serde_json::from_slice(&read(format!("{TRUTH}/fleet.json")).await?)?;
    let mut truths = Vec::new();
    for workload in &fleet.workloads {
        let [catalogue, containers] = WorkloadTruth::keys(&workload.workload_key);
        truths.push(Truth::from_json(&read(catalogue).await?, &read(containers).await?)?);
    }
    Ok(truths)
}

type Place = (String, String, String, String);

/// One signal, as far as it matters here.
#[derive(Debug)]
struct Signal {
    rule: String,
    novelty: Option<String>,
    nodes: [Option<String>; 2],
    /// Rule, image, and the profile's rows for process and node: what a suggestion is about. None where the match is weak.
    place: Option<Place>,
}

/// What stands in the tables.
#[derive(Debug, Default)]
struct Seen {
    signals: HashMap<String, Vec<Signal>>,
    /// Snapshots that were judged after their profile's freeze.
    late: HashSet<String>,
    admitted: HashSet<String>,
}

impl Seen {
    async fn read(store: &Store) -> Result<Self> {
        let context = views::open(store).await?;
        let mut seen = Self::default();
        let sql = "SELECT snapshot_id, rule, novelty, node_id, process_id, image, profile_process_id, profile_node_id, match FROM signals";
        for batch in views::query(&context, sql).await?.collect().await? {
            let columns = texts(&batch, 9)?;
            let text = |column: usize, row: usize| {
                columns[column].is_valid(row).then(|| columns[column].value(row).to_owned())
            };
            for row in 0..batch.num_rows() {
                let rule = text(1, row).unwrap_or_default();
                let place = match (text(5, row), text(6, row), text(7, row)) {
                    (Some(image), Some(process), Some(node)) if text(8, row).as_deref() != Some("target") => {
                        Some((rule.clone(), image, process, node))
                    }
                    _ => None,
                };
                seen.signals.entry(text(0, row).unwrap_or_default()).or_default().push(Signal {
                    novelty: text(2, row),
                    nodes: [text(3, row), text(4, row)],
                    place,
                    rule,
                });
            }
        }
        let sql = "SELECT snapshot_id, is_novel FROM raw.detections WHERE outcome = 'judged'";
        for batch in views::query(&context, sql).await?.collect().await? {
            let (ids, is_late) = (texts(&batch, 1)?, batch.column(1).as_boolean());
            for row in 0..batch.num_rows() {
                let id = ids[0].value(row).to_owned();
                if is_late.value(row) {
                    seen.late.insert(id)
                } else {
                    seen.admitted.insert(id)
                };
            }
        }
        Ok(seen)
    }
}

/// The first columns of a batch, as texts.
fn texts(batch: &RecordBatch, columns: usize) -> Result<Vec<StringArray>> {
    let cast = |column: &ArrayRef| Ok(arrow::compute::cast(column, &DataType::Utf8)?.as_string().clone());
    batch.columns()[..columns].iter().map(cast).collect()
}

#[derive(Debug, Default)]
struct Kind {
    after: (usize, usize),
    while_learning: (usize, usize),
    rules: BTreeSet<String>,
}

fn report_on(truths: &[Truth], seen: &Seen, suggested: &suppress::Suggested) {
    let mut attacks: BTreeMap<&str, Kind> = BTreeMap::new();
    let mut harmless: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut noise: BTreeMap<String, usize> = BTreeMap::new();
    let suggestions: HashSet<Place> = suggested
        .suggestions
        .iter()
        .map(|one| {
            let (process, node) = (&one.evidence.process.id, &one.evidence.node.id);
            (one.rule.clone(), one.image.clone(), process.clone(), node.clone())
        })
        .collect();
    let (mut covered, mut common) = (BTreeMap::<&str, usize>::new(), 0);
    for truth in truths {
        let learning = truth.containers.iter().filter(|container| {
            container.snapshots.iter().any(|snapshot| seen.admitted.contains(&snapshot.id))
        });
        let learning: Vec<_> = learning.collect();
        for container in &truth.containers {
            let mut disturbed = HashSet::new();
            for attack in &container.attacks {
                disturbed.insert(attack.snapshot_id.as_str());
                let nodes: HashSet<&str> = attack.nodes.iter().map(String::as_str).collect();
                let kind = attacks.entry(&attack.name).or_default();
                let is_late = seen.late.contains(&attack.snapshot_id);
                let place = if is_late { &mut kind.after } else { &mut kind.while_learning };
                place.1 += 1;
                let found: Vec<&Signal> = seen
                    .signals
                    .get(&attack.snapshot_id)
                    .into_iter()
                    .flatten()
                    .filter(|signal| signal.nodes.iter().flatten().any(|id| nodes.contains(id.as_str())))
                    .collect();
                place.0 += usize::from(!found.is_empty());
                kind.rules.extend(found.iter().map(|signal| signal.rule.clone()));
                let share = learning.iter().filter(|container| {
                    container
                        .attacks
                        .iter()
                        .any(|other| other.name == attack.name && seen.admitted.contains(&other.snapshot_id))
                });
                let is_common = share.count() * 5 >= learning.len() * 4;
                if found
                    .iter()
                    .filter_map(|signal| signal.place.as_ref())
                    .any(|place| suggestions.contains(place))
                {
                    if is_common { common += 1 } else { *covered.entry(&attack.name).or_default() += 1 }
                }
            }
            let drifts: HashMap<&str, &str> = container
                .drifts
                .iter()
                .map(|drift| (drift.snapshot_id.as_str(), drift.name.as_str()))
                .collect();
            for snapshot in container.snapshots.iter().filter(|snapshot| {
                seen.late.contains(&snapshot.id) && !disturbed.contains(snapshot.id.as_str())
            }) {
                let drift = drifts.get(snapshot.id.as_str());
                let what = drift.map_or_else(|| "nothing".to_owned(), |name| format!("drift: {name}"));
                let signals = seen.signals.get(&snapshot.id).into_iter().flatten();
                let new: Vec<_> = signals.filter_map(|signal| signal.novelty.clone()).collect();
                let counts = harmless.entry(what).or_default();
                counts.0 += 1;
                counts.1 += new.len();
                new.into_iter().for_each(|novelty| *noise.entry(novelty).or_default() += 1);
            }
        }
    }
    println!("\nattacks                 after the freeze   while learning   raised by");
    let (mut found, mut all) = (0, 0);
    for (name, Kind { after, while_learning, rules }) in &attacks {
        (found, all) = (found + after.0, all + after.1);
        let rules: Vec<_> = rules.iter().map(String::as_str).collect();
        println!(
            "{name:<24}{:>7} of {:<7}{:>7} of {:<7}{}",
            after.0,
            after.1,
            while_learning.0,
            while_learning.1,
            rules.join(" ")
        );
    }
    println!("recall after the freeze: {found} of {all}, {:.4}", share(found, all));
    println!("\nsnapshots without attacks     snapshots   novelty signals   a snapshot");
    let (mut snapshots, mut signals) = (0, 0);
    for (what, (count, raised)) in &harmless {
        (snapshots, signals) = (snapshots + count, signals + raised);
        println!("{what:<30}{count:>9}{raised:>18}{:>13.4}", share(*raised, *count));
    }
    println!("{:<30}{snapshots:>9}{signals:>18}{:>13.4}", "all", share(signals, snapshots));
    println!("what they were: {noise:?}");
    println!(
        "\nsuggestions: {}; attacks that one would hide: {:?}; of attacks that at least 80 % of the learning containers show: {common}",
        suggested.suggestions.len(),
        covered
    );
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for refusal in &suggested.refused {
        let reason = refusal.reason.split(':').next().unwrap_or_default();
        *reasons.entry(reason).or_default() += refusal.signals;
    }
    println!("signals without a suggestion, by reason: {reasons:#?}");
}

fn share(part: usize, whole: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let share = part as f64 / whole.max(1) as f64;
    share
}
