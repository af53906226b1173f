use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{BooleanArray, Int32Array, RecordBatch};
use arrow::datatypes::Schema;
use datafusion::logical_expr::EmitTo;
use datafusion::prelude::{SessionConfig, SessionContext};
use proptest::prelude::*;

use super::*;

fn arguments(rows: &[(Option<i32>, Option<Vec<u32>>)]) -> Vec<ArrayRef> {
    let ordinals: Int32Array = rows.iter().map(|(ordinal, _)| *ordinal).collect();
    let sets = rows.iter().map(|(_, set)| set.as_ref().map(|set| set.iter().copied().collect::<MemberSet>()));
    let sets: Vec<_> = sets.collect();
    let sets: BinaryArray = sets.iter().map(|set| set.as_ref().map(MemberSet::as_bytes)).collect();
    vec![Arc::new(ordinals), Arc::new(sets)]
}

fn ordinals(array: &ArrayRef) -> Vec<Vec<u32>> {
    let sets: &BinaryArray = array.as_binary();
    sets.iter().map(|set| MemberSet::from_bytes(set.unwrap()).unwrap().iter().collect()).collect()
}

#[test]
fn groups_with_filter_nulls_and_partial_emission() {
    let values = arguments(&[
        (Some(1), None),
        (Some(2), Some(vec![9])),
        (None, None),
        (Some(4), None),
        (Some(5), None),
    ]);
    let filter = BooleanArray::from(vec![Some(true), Some(true), Some(true), Some(false), None]);
    let mut groups = groups::MembersGroups::default();
    groups.update_batch(&values, &[0, 1, 2, 0, 0], Some(&filter), 3).unwrap();
    let full = groups.size();
    assert_eq!(ordinals(&groups.evaluate(EmitTo::First(2)).unwrap()), [vec![1], vec![2, 9]]);
    assert!(groups.size() < full);
    assert_eq!(ordinals(&groups.evaluate(EmitTo::All).unwrap()), [Vec::<u32>::new()]);
}

#[test]
fn state_converts_merges_and_counts_its_heap() {
    let values = arguments(&[(Some(800), None), (None, Some(vec![3]))]);
    let states = groups::MembersGroups::default().convert_to_state(&values, None).unwrap();
    let mut groups = groups::MembersGroups::default();
    let empty = groups.size();
    groups.merge_batch(&states, &[0, 0], 1).unwrap();
    assert!(groups.size() >= empty + 101);
    assert_eq!(ordinals(&groups.state(EmitTo::All).unwrap()[0]), [vec![3, 800]]);
}

#[test]
fn corrupt_input_is_an_error() {
    let corrupt: Vec<ArrayRef> =
        vec![Arc::new(Int32Array::from(vec![None])), Arc::new(BinaryArray::from(vec![Some(&[1_u8, 0][..])]))];
    let negative = arguments(&[(Some(-1), None)]);
    for values in [corrupt, negative] {
        assert!(MembersAccumulator::default().update_batch(&values).is_err());
        assert!(groups::MembersGroups::default().update_batch(&values, &[0], None, 1).is_err());
    }
}

async fn by_sql(rows: &[(i32, i32)], partitions: usize, batch_size: usize) -> BTreeMap<i32, BTreeSet<u32>> {
    let config = SessionConfig::new().with_target_partitions(partitions).with_batch_size(batch_size);
    let ctx = SessionContext::new_with_config(config);
    ctx.register_udaf(AggregateUDF::clone(&members_union()));
    let keys: Int32Array = rows.iter().map(|(key, _)| *key).collect();
    let mut columns: Vec<ArrayRef> = vec![Arc::new(keys)];
    columns.extend(arguments(&rows.iter().map(|(_, ordinal)| (Some(*ordinal), None)).collect::<Vec<_>>()));
    let schema = Arc::new(Schema::new(vec![
        Field::new("key", DataType::Int32, false),
        Field::new("ordinal", DataType::Int32, true),
        Field::new("members", DataType::Binary, true),
    ]));
    ctx.register_batch("t", RecordBatch::try_new(schema, columns).unwrap()).unwrap();
    let query = "select key, members_union(ordinal, members) from t group by key";
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
    let query = "select members_union(cast(null as int), cast(null as bytea)) from (select 1) where false";
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
