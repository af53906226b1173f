use std::collections::BTreeMap;

use arrow::array::{BinaryArray, BooleanArray, Int32Array, RecordBatch};
use arrow::datatypes::{Int32Type, Schema};
use datafusion::logical_expr::EmitTo;
use datafusion::prelude::{SessionConfig, SessionContext};
use proptest::prelude::*;

use super::*;

fn arguments(rows: &[(Option<i32>, Option<&str>)]) -> Vec<ArrayRef> {
    let values: Int32Array = rows.iter().map(|(value, _)| *value).collect();
    let keys: BinaryArray = rows.iter().map(|(_, key)| key.map(str::as_bytes)).collect();
    vec![Arc::new(values), Arc::new(keys)]
}

fn values(array: &ArrayRef) -> Vec<Option<i32>> {
    array.as_primitive::<Int32Type>().iter().collect()
}

#[test]
fn groups_with_filter_nulls_and_partial_emission() {
    let rows = arguments(&[
        (Some(1), Some("b")),
        (None, Some("a")),
        (Some(3), None),
        (Some(4), Some("c")),
        (Some(5), Some("a")),
        (Some(6), Some("0")),
    ]);
    let filter = BooleanArray::from(vec![Some(true), Some(true), Some(true), Some(true), Some(true), None]);
    let mut groups = groups::ArgMinGroups::new(DataType::Int32);
    groups.update_batch(&rows, &[0, 1, 2, 0, 3, 0], Some(&filter), 4).unwrap();
    let full = groups.size();
    assert_eq!(values(&groups.evaluate(EmitTo::First(2)).unwrap()), [Some(1), None]);
    assert!(groups.size() < full);
    groups.update_batch(&arguments(&[(Some(9), Some("0"))]), &[1], None, 2).unwrap();
    assert_eq!(values(&groups.evaluate(EmitTo::All).unwrap()), [None, Some(9)]);
}

#[test]
fn states_merge_and_what_is_not_the_smallest_is_let_go() {
    let filter = BooleanArray::from(vec![false, true]);
    let rows = arguments(&[(Some(1), Some("a")), (Some(2), Some("b"))]);
    let states = groups::ArgMinGroups::new(DataType::Int32).convert_to_state(&rows, Some(&filter)).unwrap();
    let mut groups = groups::ArgMinGroups::new(DataType::Int32);
    groups.merge_batch(&states, &[0, 0], 1).unwrap();
    for round in 0..20_000 {
        groups.update_batch(&arguments(&[(Some(round), Some("c"))]), &[0], None, 1).unwrap();
    }
    assert!(groups.size() < 2 << 20, "{}", groups.size());
    let state = groups.state(EmitTo::All).unwrap();
    assert_eq!((values(&state[0]), state[1].as_binary::<i32>().value(0)), (vec![Some(2)], &b"b"[..]));
}

#[test]
fn slices_of_one_array_are_not_each_counted_as_the_whole() {
    let rows: Vec<(Option<i32>, Option<&str>)> = (0..8000).map(|n| (Some(n), Some("a"))).collect();
    let whole = arguments(&rows);
    let numbers: Vec<usize> = (0..rows.len()).collect();
    let mut groups = groups::ArgMinGroups::new(DataType::Int32);
    for of_slice in numbers.chunks(100) {
        let (start, end) = (of_slice[0], of_slice[0] + of_slice.len());
        let slice: Vec<ArrayRef> = whole.iter().map(|array| array.slice(start, end - start)).collect();
        groups.update_batch(&slice, of_slice, None, end).unwrap();
    }
    assert!(groups.size() < 1 << 20, "{}", groups.size());
}

async fn by_sql(
    rows: &[(i32, i32, i32)],
    partitions: usize,
    batch_size: usize,
) -> BTreeMap<i32, Option<i32>> {
    let config = SessionConfig::new().with_target_partitions(partitions).with_batch_size(batch_size);
    let ctx = SessionContext::new_with_config(config);
    ctx.register_udaf(AggregateUDF::clone(&arg_min()));
    let column = |get: fn(&(i32, i32, i32)) -> i32| -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(get(row))).collect::<Int32Array>())
    };
    let keys: BinaryArray = rows.iter().map(|row| Some(row.2.to_be_bytes())).collect();
    let columns: Vec<ArrayRef> = vec![column(|row| row.0), column(|row| row.1), Arc::new(keys)];
    let schema = Arc::new(Schema::new(vec![
        Field::new("name", DataType::Int32, false),
        Field::new("value", DataType::Int32, false),
        Field::new("key", DataType::Binary, false),
    ]));
    ctx.register_batch("t", RecordBatch::try_new(schema, columns).unwrap()).unwrap();
    let mut out = BTreeMap::new();
    let query = "select name, arg_min(value, key) from t group by name";
    for batch in ctx.sql(query).await.unwrap().collect().await.unwrap() {
        out.extend(
            batch.column(0).as_primitive::<Int32Type>().values().iter().copied().zip(values(batch.column(1))),
        );
    }
    out
}

#[tokio::test]
async fn no_rows_give_null_and_other_keys_are_refused() {
    let ctx = SessionContext::new();
    ctx.register_udaf(AggregateUDF::clone(&arg_min()));
    let query = "select arg_min(1, cast('a' as bytea)) from (select 1) where false";
    let batches = ctx.sql(query).await.unwrap().collect().await.unwrap();
    assert_eq!(batches[0].column(0).null_count(), 1);
    let error = ctx.sql("select arg_min(1, 2)").await.unwrap_err();
    assert!(error.to_string().contains("must be Binary"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn the_same_answer_however_it_is_split(rows in proptest::collection::vec((0..5, 0..1000), 0..200)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let rows: Vec<(i32, i32, i32)> = rows.iter().zip(0..).map(|((name, key), at)| (*name, at, key * 1000 + at)).collect();
        let mut expected: BTreeMap<i32, (i32, i32)> = BTreeMap::new();
        for (name, value, key) in &rows {
            let best = expected.entry(*name).or_insert((*key, *value));
            *best = (*best).min((*key, *value));
        }
        let expected: BTreeMap<i32, Option<i32>> = expected.into_iter().map(|(name, (_, value))| (name, Some(value))).collect();
        for (partitions, batch_size) in [(1, 8192), (8, 8192), (8, 1)] {
            prop_assert_eq!(&runtime.block_on(by_sql(&rows, partitions, batch_size)), &expected);
        }
    }
}
