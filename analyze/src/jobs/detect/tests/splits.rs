//! However the work is cut, the signals are the same.

use std::collections::BTreeSet;

use proptest::prelude::*;
use wsp_schemas::store::Store;

use super::super::Options;
use super::super::fixture::{
    Program, Shot, app, copied, detect_with, late, learned, program, rows, rule_set, shot,
};
use crate::rules::Rules;
use crate::session::Resources;

const THINGS: u8 = 6;

fn tree(things: u8) -> Program {
    let mut app = app();
    for thing in (0..THINGS).filter(|thing| things & 1 << thing != 0) {
        app = match thing {
            0 => app.reads(&["/etc/x"]),
            1 => app.reads(&["/srv/a", "/srv/b"]),
            2 => app.connects("192.0.2.7", 4444),
            3 => app.child(program("/bin/sh").reads(&["/etc/shadow"])),
            4 => app.asks(&["a.example.com", "b.example.com", "c.example.com"]),
            _ => app.child(program("/usr/bin/helper").args("helper --fast")),
        };
    }
    app
}

fn rules() -> Rules {
    rule_set(&[
        ("config", "path = '/etc/app.conf' AND session = 'init'"),
        ("shadow", "path = '/etc/shadow' AND parent_exe = '/usr/bin/app'"),
        ("names", "kind = 'process' AND dns_names >= 3"),
        ("late", "kind = 'container' AND NOT covers_start"),
        ("fast", "any_like(args, '%--fast')"),
    ])
}

#[derive(Debug, Clone)]
struct Split {
    things: Vec<(u8, bool, u32)>,
    /// Snapshots that are there when each run begins.
    runs: BTreeSet<usize>,
    files_per_batch: usize,
    partitions: usize,
    concurrency: usize,
}

fn split() -> impl Strategy<Value = Split> {
    let things = prop::collection::vec((0..1_u8 << THINGS, any::<bool>(), 0..4_u32), 1..14);
    let runs = prop::collection::btree_set(0..14_usize, 0..4);
    (things, runs, 1..6_usize, 1..5_usize, 0..4_usize).prop_map(
        |(things, runs, files_per_batch, partitions, concurrency)| Split {
            things,
            runs,
            files_per_batch,
            partitions,
            concurrency,
        },
    )
}

impl Split {
    fn shots(&self) -> Vec<Shot> {
        (0..)
            .zip(&self.things)
            .map(|(at, (things, covers_start, container))| Shot {
                covers_start: *covers_start,
                ..shot("app:1", 50 + container, 600 + 30 * at, &[tree(*things)])
            })
            .collect()
    }
}

async fn signals(store: &Store) -> Vec<String> {
    rows(store, "select signal_id, rule, container_name, target, nodes, profile_context, match from signals order by 1").await
}

#[test]
fn the_signals_do_not_depend_on_how_the_work_is_cut() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let base = runtime.block_on(async {
        let store = learned(&vec![vec![app()]; 6]).await;
        // What makes the tables is the same for all.
        detect_with(&store, &rules(), &Options::default()).await;
        store
    });
    proptest!(ProptestConfig::with_cases(16), |(split in split())| {
        let (whole, cut) = runtime.block_on(async {
            let (whole, cut) = (copied(&base).await, copied(&base).await);
            let one = Options { resources: Resources { partitions: 1, memory: None, spill: None }, ..Options::default() };
            let other = Options {
                files_per_batch: split.files_per_batch,
                concurrency: split.concurrency,
                resources: Resources { partitions: split.partitions, memory: None, spill: None },
                ..Options::default()
            };
            for (at, shot) in split.shots().into_iter().enumerate() {
                if split.runs.contains(&at) {
                    detect_with(&cut, &rules(), &other).await;
                }
                shot.put(&whole).await;
                shot.put(&cut).await;
            }
            detect_with(&whole, &rules(), &one).await;
            detect_with(&cut, &rules(), &other).await;
            (signals(&whole).await, signals(&cut).await)
        });
        prop_assert_eq!(whole, cut);
    });
}

/// More snapshots than are judged together: a later part must not win over an earlier one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_snapshots_of_one_workload_give_what_few_at_a_time_give() {
    let store = learned(&vec![vec![app()]; 6]).await;
    for at in 0..300_u32 {
        Shot { start: 600 + i64::from(at), ..late(50 + at % 40, &[tree(u8::try_from(at % 64).unwrap())]) }
            .put(&store)
            .await;
    }
    let by_ten = copied(&store).await;
    detect_with(&store, &rules(), &Options::default()).await;
    let ten = Options { files_per_batch: 10, ..Options::default() };
    detect_with(&by_ten, &rules(), &ten).await;
    assert_eq!(signals(&store).await, signals(&by_ten).await);
}
