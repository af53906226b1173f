use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{BooleanArray, Int32Array, RecordBatch};
use arrow::datatypes::{Int32Type, Schema};
use datafusion::logical_expr::EmitTo;
use datafusion::prelude::{SessionConfig, SessionContext};
use proptest::prelude::*;

use super::*;

fn arguments(rows: &[Option<Vec<u32>>]) -> Vec<ArrayRef> {
    let sets = rows.iter().map(|set| set.as_ref().map(|set| set.iter().copied().collect::<MemberSet>()));
    let sets: Vec<_> = sets.collect();
    let sets: BinaryArray = sets.iter().map(|set| set.as_ref().map(MemberSet::as_bytes)).collect();
    vec![Arc::new(sets)]
}

fn ordinals(array: &ArrayRef) -> Vec<Vec<u32>> {
    let sets: &BinaryArray = array.as_binary();
    sets.iter().map(|set| MemberSet::from_bytes(set.unwrap()).unwrap().iter().collect()).collect()
}

#[test]
fn groups_with_filter_nulls_and_partial_emission() {
    let set = |ordinals: &[u32]| Some(ordinals.to_vec());
    let values = arguments(&[set(&[1]), set(&[2, 900]), None, set(&[4]), set(&[5])]);
    let filter = BooleanArray::from(vec![Some(true), Some(true), Some(true), Some(false), None]);
    let mut groups = groups::MembersGroups::new();
    groups.update_batch(&values, &[0, 1, 2, 0, 0], Some(&filter), 3).unwrap();
    assert_eq!(ordinals(&groups.evaluate(EmitTo::First(2)).unwrap()), [vec![1], vec![2, 900]]);
    assert_eq!(ordinals(&groups.evaluate(EmitTo::All).unwrap()), [Vec::<u32>::new()]);
}

#[test]
fn state_converts_merges_and_counts_its_heap() {
    let values = arguments(&[Some(vec![800]), Some(vec![3]), Some(vec![7])]);
    let filter = BooleanArray::from(vec![true, true, false]);
    let states = groups::MembersGroups::new().convert_to_state(&values, Some(&filter)).unwrap();
    let mut groups = groups::MembersGroups::new();
    let empty = groups.size();
    groups.merge_batch(&states, &[0, 0, 0], 1).unwrap();
    assert!(groups.size() >= empty + 101);
    assert_eq!(ordinals(&groups.state(EmitTo::All).unwrap()[0]), [vec![3, 800]]);
}

#[test]
fn corrupt_input_is_an_error() {
    let corrupt: Vec<ArrayRef> = vec![Arc::new(BinaryArray::from(vec![Some(&[1_u8, 0][..])]))];
    assert!(MembersAccumulator::default().update_batch(&corrupt).is_err());
    assert!(groups::MembersGroups::new().update_batch(&corrupt, &[0], None, 1).is_err());
}

async fn by_sql(rows: &[(i32, i32)], partitions: usize, batch_size: usize) -> BTreeMap<i32, BTreeSet<u32>> {
    let config = SessionConfig::new().with_target_partitions(partitions).with_batch_size(batch_size);
    let ctx = SessionContext::new_with_config(config);
    ctx.register_udaf(AggregateUDF::clone(&members_union()));
    let keys: Int32Array = rows.iter().map(|(key, _)| *key).collect();
    let mut columns: Vec<ArrayRef> = vec![Arc::new(keys)];
    let set = |ordinal: i32| Some(vec![u32::try_from(ordinal).unwrap()]);
    columns.extend(arguments(&rows.iter().map(|(_, ordinal)| set(*ordinal)).collect::<Vec<_>>()));
    let schema = Arc::new(Schema::new(vec![
        Field::new("key", DataType::Int32, false),
        Field::new("members", DataType::Binary, true),
    ]));
    ctx.register_batch("t", RecordBatch::try_new(schema, columns).unwrap()).unwrap();
    let query = "select key, members_union(members) from t group by key";
    let mut out = BTreeMap::new();
    for batch in ctx.sql(query).await.unwrap().collect().await.unwrap() {
        for (key, set) in
            batch.column(0).as_primitive::<Int32Type>().values().iter().zip(ordinals(batch.column(1)))
        {
            out.insert(*key, set.into_iter().collect());
        }
    }
    out
}

#[tokio::test]
async fn no_rows_give_the_empty_set() {
    let ctx = SessionContext::new();
    ctx.register_udaf(AggregateUDF::clone(&members_union()));
    let query = "select members_union(cast(null as bytea)) from (select 1) where false";
    let batches = ctx.sql(query).await.unwrap().collect().await.unwrap();
    assert_eq!(ordinals(batches[0].column(0)), [Vec::<u32>::new()]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn the_same_answer_however_it_is_split(rows in proptest::collection::vec((0..5, 0..400), 0..200)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut expected: BTreeMap<i32, BTreeSet<u32>> = BTreeMap::new();
        for (key, ordinal) in &rows {
            expected.entry(*key).or_default().insert(u32::try_from(*ordinal).unwrap());
        }
        for (partitions, batch_size) in [(1, 8192), (8, 8192), (8, 1)] {
            prop_assert_eq!(&runtime.block_on(by_sql(&rows, partitions, batch_size)), &expected);
        }
    }
}
