//! `tree_place(id, parent_id) OVER (ORDER BY …)`: where a row stands in the tree that rows make by naming their parents, depth first.
//!
//! Siblings stand as the window orders them. A row whose parent is not among the rows is a root; one whose ancestors go in a circle is
//! in no tree, and has no place.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, Int64Array, StructArray, UInt64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{PartitionEvaluator, Signature, Volatility, WindowUDF, WindowUDFImpl};

/// The function.
pub(super) fn tree_place() -> Arc<WindowUDF> {
    Arc::new(WindowUDF::from(TreePlace { signature: Signature::any(2, Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TreePlace {
    signature: Signature,
}

/// The position counts from 1, the depth from 0.
fn fields() -> Fields {
    Fields::from(vec![
        Field::new("position", DataType::UInt64, true),
        Field::new("depth", DataType::Int64, true),
    ])
}

impl WindowUDFImpl for TreePlace {
    fn name(&self) -> &'static str {
        "tree_place"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn partition_evaluator(&self, _: PartitionEvaluatorArgs<'_>) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Places))
    }

    fn field(&self, args: WindowUDFFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(args.name(), DataType::Struct(fields()), false)))
    }
}

#[derive(Debug)]
struct Places;

impl PartitionEvaluator for Places {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let [ids, parents] = values else { return exec_err!("tree_place takes an id and a parent's id") };
        // Texts and bytes alike.
        let (ids, parents) = (cast(ids, &DataType::Binary)?, cast(parents, &DataType::Binary)?);
        let (ids, parents) = (ids.as_binary::<i32>(), parents.as_binary::<i32>());
        let numbers: HashMap<&[u8], usize> =
            (0..rows).rev().filter(|row| ids.is_valid(*row)).map(|row| (ids.value(row), row)).collect();
        let mut children = vec![Vec::new(); rows];
        let mut open = Vec::new();
        // Last ones first: what is pushed last is taken first.
        for row in (0..rows).rev() {
            let parent = parents.is_valid(row).then(|| numbers.get(parents.value(row))).flatten();
            match parent {
                Some(parent) => children[*parent].push(row),
                None => open.push((row, 0)),
            }
        }
        let mut places = vec![(None, None); rows];
        let mut position = 0_u64;
        while let Some((row, depth)) = open.pop() {
            position += 1;
            places[row] = (Some(position), Some(depth));
            open.extend(std::mem::take(&mut children[row]).into_iter().map(|child| (child, depth + 1)));
        }
        let (positions, depths): (Vec<Option<u64>>, Vec<Option<i64>>) = places.into_iter().unzip();
        let columns: Vec<ArrayRef> =
            vec![Arc::new(UInt64Array::from(positions)), Arc::new(Int64Array::from(depths))];
        Ok(Arc::new(StructArray::try_new(fields(), columns, None)?))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    async fn places(rows: &str) -> Vec<String> {
        let mut context = SessionContext::new();
        crate::functions::register(&mut context).unwrap();
        let query = format!(
            "SELECT id, place['position'] AS p, place['depth'] AS d
            FROM (SELECT id, tree_place(id, up) OVER (ORDER BY id) AS place FROM (VALUES {rows}) AS t (id, up))
            ORDER BY p, id"
        );
        let mut found = Vec::new();
        for batch in context.sql(&query).await.unwrap().collect().await.unwrap() {
            let shown =
                |column: usize, row| arrow::util::display::array_value_to_string(batch.column(column), row);
            for row in 0..batch.num_rows() {
                let texts: Vec<String> = (0..3).map(|column| shown(column, row).unwrap()).collect();
                found.push(texts.join(" "));
            }
        }
        found
    }

    #[tokio::test]
    async fn rows_stand_below_their_parents_in_the_order_of_the_window() {
        let rows = "('a', NULL), ('c', 'a'), ('b', 'a'), ('d', 'b'), ('e', 'gone'), ('f', 'c')";
        assert_eq!(places(rows).await, ["a 1 0", "b 2 1", "d 3 2", "c 4 1", "f 5 2", "e 6 0"]);
    }

    #[tokio::test]
    async fn what_goes_in_a_circle_has_no_place_and_ends_all_the_same() {
        let rows = "('a', NULL), ('x', 'y'), ('y', 'x'), ('z', 'z'), ('b', 'x')";
        assert_eq!(places(rows).await, ["a 1 0", "b  ", "x  ", "y  ", "z  "]);
    }
}
