use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::error::ArrowError;

use crate::compare::{Change, Node};

/// One row a node that differs.
pub(super) fn batch(nodes: &[Node]) -> Result<RecordBatch, ArrowError> {
    let changed: Vec<(&Node, Change)> = nodes.iter().filter_map(|node| Some((node, node.change?))).collect();
    let text = |value: fn(&Node) -> Option<String>| -> ArrayRef {
        Arc::new(changed.iter().map(|(node, _)| value(node)).collect::<StringArray>())
    };
    let share = |value: fn(&Node, &Change) -> Option<f64>| -> ArrayRef {
        Arc::new(changed.iter().map(|(node, change)| value(node, change)).collect::<Float64Array>())
    };
    let count = |value: fn(&Node) -> u32| -> ArrayRef {
        Arc::new(changed.iter().map(|(node, _)| Some(i64::from(value(node)))).collect::<Int64Array>())
    };
    let kind = changed.iter().map(|(_, change)| Some(change.kind.as_str()));
    let certain = changed.iter().map(|(_, change)| Some(change.is_certain()));
    RecordBatch::try_from_iter_with_nullable([
        ("change", Arc::new(kind.collect::<StringArray>()) as ArrayRef, false),
        ("certain", Arc::new(certain.collect::<BooleanArray>()), false),
        ("chance", share(|_, change| Some(change.chance)), false),
        ("p_value", share(|_, change| Some(change.p_value)), false),
        ("kind", text(|node| Some(node.kind.clone())), false),
        ("target", text(|node| Some(node.target.clone())), true),
        ("exe", text(|node| node.exe.clone()), true),
        ("commonality_a", share(|node, _| node.a.commonality()), true),
        ("commonality_b", share(|node, _| node.b.commonality()), true),
        ("containers_a", count(|node| node.a.n), false),
        ("containers_b", count(|node| node.b.n), false),
        ("eligible_a", count(|node| node.a.total), false),
        ("eligible_b", count(|node| node.b.total), false),
        ("node_id", text(|node| Some(node.id.clone())), false),
        ("parent_id", text(|node| node.parent.clone()), true),
    ])
}
