//! Whether `coverage` is true: what it says of a next container against what the simulator knows of it.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::TimeDelta;
use futures::StreamExt;
use wsp_datasets::{Fleet, FleetSpec, Truth};
use wsp_tests::delta::Tables;
use wsp_tests::oracle::{Object, Settings};
use wsp_tests::value::{Value, cell_of};

use super::{faulty, merge, options, upload};

/// Containers of a profile at which it is judged.
const SIZES: [usize; 4] = [5, 10, 20, 30];
/// Nothing freezes: the learning sets are chosen here.
const SETTINGS: Settings =
    Settings { max_snapshots: 10_000, learning_time: TimeDelta::days(1000), buckets: 1, ..Settings::DEFAULT };

/// Predicted less true coverage, in points.
#[derive(Debug, Default, Clone)]
struct Errors(Vec<f64>);

impl Errors {
    fn mean(&self) -> f64 {
        self.0.iter().map(|error| error.abs()).sum::<f64>() / self.0.len() as f64
    }

    fn bias(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len() as f64
    }

    fn percentile(&self, share: f64) -> f64 {
        let mut sizes: Vec<f64> = self.0.iter().map(|error| error.abs()).collect();
        sizes.sort_by(f64::total_cmp);
        let rank = (share * sizes.len() as f64).ceil();
        sizes.into_iter().zip(1..).find(|(_, at)| f64::from(*at) >= rank).map_or(f64::NAN, |(size, _)| size)
    }

    fn line(&self) -> String {
        let (mean, p95, bias) = (self.mean(), self.percentile(0.95), self.bias());
        format!("{} profiles, mean {mean:.2}, 95th percentile {p95:.2}, bias {bias:+.2}", self.0.len())
    }
}

/// What was measured at one size: of whole profiles, and of what is in no crowd, which shows the estimate without the folding.
#[derive(Debug, Default, Clone)]
struct Measured {
    whole: Errors,
    without_crowds: Errors,
}

impl Measured {
    fn extend(&mut self, other: Self) {
        self.whole.0.extend(other.whole.0);
        self.without_crowds.0.extend(other.without_crowds.0);
    }
}

/// Merges one workload's containers as they come, and measures at every size. `depth` says how many windows a container is
/// watched for.
async fn measure(
    fleet: &Fleet,
    workload: usize,
    sizes: &[usize],
    depth: impl Fn(usize) -> usize,
) -> BTreeMap<usize, Measured> {
    let workload = fleet.workloads().nth(workload).unwrap();
    let truth = Truth::of(&workload);
    let store = faulty().store();
    let mut measured = BTreeMap::new();
    let mut from = 0;
    for size in sizes.iter().copied() {
        for container in from..size {
            for window in 0..depth(container) {
                let snapshot = workload.container(container).snapshot(window);
                let bytes = snapshot.encode().unwrap().into();
                let object = Object { key: snapshot.key.path(), bytes, stored: snapshot.meta.window_end };
                upload(&store, &object).await;
            }
        }
        from = size;
        merge(&store, &options(&SETTINGS, fleet.spec().start)).await.unwrap();
        let tables = Tables::read(&store).await.unwrap();
        let mut depths: Vec<usize> = (0..size).map(&depth).collect();
        depths.sort_unstable();
        measured.insert(size, compare(&tables, &truth, size, depths[size / 2]));
    }
    measured
}

fn compare(tables: &Tables, truth: &Truth, containers: usize, windows: usize) -> Measured {
    let hex = |value: &Value| value.to_string();
    let known: HashSet<String> = tables.nodes.iter().map(|row| hex(cell_of(row, "node_id"))).collect();
    // A crowd is known where the profile has some name of it.
    let mut crowds: HashMap<&str, &str> = HashMap::new();
    for names in truth.containers.iter().flat_map(|one| &one.snapshots).flat_map(|one| &one.names) {
        let crowd = truth.workload.crowds[names.crowd].name.as_str();
        crowds.extend(names.nodes.iter().map(|id| (id.as_str(), crowd)));
    }
    let seen: HashSet<&str> =
        crowds.iter().filter(|(id, _)| known.contains(**id)).map(|(_, name)| *name).collect();
    let points = |predicted: f64, truly: f64| 100.0 * (predicted - truly);

    let truly = truth.workload.coverage(
        windows,
        |node| known.contains(&node.id),
        |crowd| seen.contains(crowd.name.as_str()),
    );
    let Value::Float(predicted) = *cell_of(&tables.profiles[0], "coverage") else {
        panic!("no coverage: {:?}", tables.profiles)
    };
    let catalogue = {
        let mut catalogue = truth.workload.clone();
        catalogue.crowds.clear();
        catalogue
    };
    let mut incidence = wsp_analyze::stats::Incidence::default();
    for row in tables.nodes.iter().filter(|row| *cell_of(row, "pattern") == Value::Null) {
        if !crowds.contains_key(hex(cell_of(row, "node_id")).as_str()) {
            incidence.add(cell_of(row, "container_count").int().unwrap().try_into().unwrap());
        }
    }
    let (alone, _) = incidence.coverage(containers.try_into().unwrap()).unwrap();
    let alone_truly = catalogue.coverage(windows, |node| known.contains(&node.id), |_| true);
    Measured {
        whole: Errors(vec![points(predicted, truly)]),
        without_crowds: Errors(vec![points(alone, alone_truly)]),
    }
}

/// All workloads of some fleets, by size.
async fn measure_all(
    seeds: std::ops::Range<u64>,
    sizes: &'static [usize],
    depth: fn(usize) -> usize,
) -> BTreeMap<usize, Measured> {
    let (images, versions) = (10, 2);
    let fleets = seeds.map(|seed| {
        let spec = FleetSpec {
            seed,
            images,
            versions,
            containers: SIZES[3],
            snapshots: (0..SIZES[3]).map(depth).max().unwrap(),
            nodes: 150,
            ..FleetSpec::undisturbed()
        };
        Fleet::new(spec).unwrap()
    });
    let work = fleets.flat_map(|fleet| (0..images * versions).map(move |workload| (fleet.clone(), workload)));
    let mut all: BTreeMap<usize, Measured> = BTreeMap::new();
    let mut results = futures::stream::iter(work)
        .map(|(fleet, workload)| tokio::spawn(async move { measure(&fleet, workload, sizes, depth).await }))
        .buffer_unordered(2);
    while let Some(measured) = results.next().await {
        for (size, measured) in measured.unwrap() {
            all.entry(size).or_default().extend(measured);
        }
    }
    all
}

fn print(title: &str, all: &BTreeMap<usize, Measured>) {
    println!("{title}: predicted less true coverage, in points");
    for (size, measured) in all {
        println!("  {size:2} containers: {}", measured.whole.line());
        println!("     without crowds: {}", measured.without_crowds.line());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn coverage_is_true_at_equal_depth() {
    let all = measure_all(1..6, &[30], |_| 2).await;
    print("two windows a container", &all);
    let whole = &all[&30].whole;
    assert!(whole.0.len() >= 100);
    assert!(whole.mean() <= 2.0, "{}", whole.line());
    assert!(whole.percentile(0.95) <= 5.0, "{}", whole.line());
}

/// Not judged: few containers say little, and the estimate is for containers that are watched as long as each other. Printed,
/// so that it is known.
#[tokio::test(flavor = "multi_thread")]
async fn coverage_of_few_containers_and_at_unequal_depth() {
    print("two windows a container", &measure_all(6..7, &SIZES, |_| 2).await);
    print("one to four windows a container", &measure_all(7..8, &SIZES, |container| 1 + container % 4).await);
}
