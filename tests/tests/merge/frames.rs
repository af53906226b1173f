//! The second oracle is one: it finds every cell that is not what it must be, and names it.

use std::sync::Mutex;

use wsp_tests::delta::Tables;
use wsp_tests::frames::Expected;
use wsp_tests::oracle::Settings;
use wsp_tests::value::{Row, Value, cell_of};

use super::block_on;
use super::compare::{Batch, by_key, compare};
use super::fleets::{Shot, epoch};

/// Columns that it takes from the tables or leaves to the other oracle.
const NODES_NOT_COMPUTED: [&str; 5] = ["bucket", "collapsed_into", "collapsed_nodes", "overflow", "pattern"];
const PROFILES_NOT_COMPUTED: [&str; 8] =
    ["batch", "bucket", "content_hash", "overflow", "path_rules", "stable_at", "stable_reason", "updated_at"];

/// Another value of the same type.
fn changed(cell: &Value) -> Value {
    match cell {
        Value::Null => 7_i64.into(),
        Value::Bool(yes) => (!yes).into(),
        Value::Int(number) => (number + 1).into(),
        Value::Float(number) => (number - 0.001).into(),
        Value::Text(text) => format!("{text}x").into(),
        Value::Bytes(bytes) => Value::Bytes(bytes.iter().copied().chain([1]).collect()),
        Value::List(items) => Value::List(items.iter().cloned().chain([Value::Null]).collect()),
        Value::Map(cells) => {
            let more = [("x".to_owned(), Value::Null)];
            Value::Map(cells.iter().map(|(key, cell)| (key.clone(), cell.clone())).chain(more).collect())
        }
    }
}

/// Changes the cells of one row, one at a time.
fn change_each(
    expected: &Expected,
    tables: &Tables,
    not_computed: &[&str],
    row_of: impl Fn(&mut Tables) -> &mut Row,
) {
    let row = row_of(&mut tables.clone()).clone();
    for (name, cell) in &row {
        let mut forged = tables.clone();
        row_of(&mut forged).insert(name.clone(), changed(cell));
        let text = expected.differences(&forged);
        if not_computed.contains(&name.as_str()) {
            continue;
        }
        let text = text.unwrap_or_else(|| panic!("{name} was changed from {cell:?}, and nothing is wrong"));
        let named = text.contains(&format!(": {name}: expected"));
        assert!(named || text.contains("not expected") && text.contains("missing"), "{name}: {text}");
        assert!(text.contains("docker.io/library/app-"), "{text}");
    }
}

#[test]
fn a_changed_cell_is_found_and_named() {
    let shots = (0..60_u8)
        .map(|n| Shot { ran: i64::from(n % 3), ..Shot::plain(0, n, i64::from(n), &[1, 9, 11, 14, 16]) });
    let objects: Vec<_> = shots.map(|shot| shot.object()).collect();
    let settings = Settings { buckets: 2, ..Settings::DEFAULT };
    let batches = [Batch::of(&settings, objects.clone(), epoch())];
    let tables = block_on(compare(&batches, &Mutex::default()));
    let expected = block_on(async { Expected::of(&tables, &by_key(&objects)) }).unwrap();
    assert_eq!(expected.differences(&tables), None);

    for kind in ["process", "file", "dns", "connect", "capability"] {
        let is_it =
            |row: &Row| cell_of(row, "kind").text() == Some(kind) && *cell_of(row, "pattern") == Value::Null;
        let at = tables.nodes.iter().position(is_it).unwrap();
        change_each(&expected, &tables, &NODES_NOT_COMPUTED, |tables| &mut tables.nodes[at]);
    }
    change_each(&expected, &tables, &PROFILES_NOT_COMPUTED, |tables| &mut tables.profiles[0]);
    let pattern = tables.nodes.iter().position(|row| *cell_of(row, "pattern") != Value::Null).unwrap();
    for name in
        ["members", "phase", "container_count", "eligible_containers", "commonality", "rare", "stable"]
    {
        let mut forged = tables.clone();
        let cell = cell_of(&forged.nodes[pattern], name).clone();
        forged.nodes[pattern].insert(name.to_owned(), changed(&cell));
        let text = expected.differences(&forged).unwrap();
        assert!(text.contains(&format!(": {name}: expected")), "{text}");
    }
    for gone in [Tables { profiles: Vec::new(), ..tables.clone() }, Tables { nodes: Vec::new(), ..tables }] {
        assert!(expected.differences(&gone).unwrap().contains("missing"));
    }
}
