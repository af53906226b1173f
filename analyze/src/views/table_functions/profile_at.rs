//! `profile_at('IMAGE:TAG', N)`: what was in a profile, and how common it was, after its first N snapshots. Which nodes are
//! folded into a pattern, and in which phase they are, is as of now.

use std::sync::Arc;

use arrow::array::UInt32Array;
use arrow::array::{
    Array as _, ArrayRef, AsArray as _, BinaryArray, BooleanArray, Float64Array, Int32Array, RecordBatch,
};
use arrow::compute::{cast, concat_batches, take};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, plan_err};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::collect;
use datafusion::prelude::Expr;
use wsp_schemas::identity::Kind;
use wsp_schemas::image::WorkloadKey;

use super::{of_image, text};
use crate::functions::MemberSet;
use crate::jobs::merge::{Course, Earlier, Score};
use crate::tables::OpenTable;
use crate::views::made::{Made, Rows};

pub(super) const NAME: &str = "profile_at";

/// Columns that are as in `nodes`.
const KEPT: [&str; 8] = ["image", "kind", "exe", "target", "phase", "node_id", "parent_id", "pattern"];

/// The function.
#[derive(Debug)]
pub(super) struct ProfileAt {
    nodes: LogicalPlan,
    ledger: Option<OpenTable>,
    schema: SchemaRef,
}

impl ProfileAt {
    pub(super) fn new(nodes: LogicalPlan, ledger: Option<OpenTable>) -> Self {
        let kept = KEPT.map(|name| Field::new(name, DataType::Utf8, true));
        let scores = COLUMNS.map(|(name, kind, _)| Field::new(name, kind, true));
        let members = Field::new("members", DataType::Binary, false);
        let snapshots = Field::new("snapshots", DataType::Int32, false);
        let fields: Vec<Field> = kept.into_iter().chain(scores).chain([members, snapshots]).collect();
        Self { nodes, ledger, schema: Arc::new(Schema::new(fields)) }
    }
}

impl TableFunctionImpl for ProfileAt {
    fn call_with_args(&self, args: TableFunctionArgs<'_, '_>) -> Result<Arc<dyn TableProvider>> {
        let [image, snapshots] = args.exprs() else { return wrong() };
        let Some(image) = text(image) else { return wrong() };
        let snapshots = match snapshots {
            Expr::Literal(ScalarValue::Int64(Some(snapshots)), _) => u32::try_from(*snapshots).ok(),
            _ => None,
        };
        let Some(snapshots) = snapshots.filter(|snapshots| *snapshots > 0) else { return wrong() };
        Ok(Arc::new(Made(At {
            nodes: of_image(&self.nodes, image)?,
            ledger: self.ledger.clone(),
            snapshots,
            schema: Arc::clone(&self.schema),
        })))
    }
}

fn wrong<T>() -> Result<T> {
    plan_err!(
        "`{NAME}` takes name and tag of an image as a text, and a number of snapshots above 0: {NAME}('…', 50)"
    )
}

/// A profile as it was.
#[derive(Debug)]
struct At {
    nodes: LogicalPlan,
    ledger: Option<OpenTable>,
    snapshots: u32,
    schema: SchemaRef,
}

/// Makes a column of scores.
type Column = fn(&[Score]) -> ArrayRef;

/// Columns of a score.
const COLUMNS: [(&str, DataType, Column); 12] = [
    ("commonality", DataType::Float64, |scores| float(scores, |score| score.commonality)),
    ("commonality_low", DataType::Float64, |scores| float(scores, |score| Some(score.interval?.0))),
    ("commonality_high", DataType::Float64, |scores| float(scores, |score| Some(score.interval?.1))),
    ("container_count", DataType::Int32, |scores| count(scores, |score| score.container_count)),
    ("eligible_containers", DataType::Int32, |scores| count(scores, |score| score.eligible_containers)),
    ("snapshot_count", DataType::Int32, |scores| count(scores, |score| score.snapshot_count)),
    ("snapshot_commonality", DataType::Float64, |scores| float(scores, |score| score.snapshot_commonality)),
    ("host_count", DataType::Int32, |scores| count(scores, |score| score.host_count)),
    ("lossy_count", DataType::Int32, |scores| count(scores, |score| score.lossy_count)),
    ("stable", DataType::Boolean, |scores| flag(scores, |score| score.stable)),
    ("rare", DataType::Boolean, |scores| flag(scores, |score| Some(score.rare))),
    ("late", DataType::Boolean, |scores| flag(scores, |score| score.late)),
];

fn float(scores: &[Score], get: impl Fn(&Score) -> Option<f64>) -> ArrayRef {
    Arc::new(scores.iter().map(get).collect::<Float64Array>())
}

fn count(scores: &[Score], get: impl Fn(&Score) -> u32) -> ArrayRef {
    Arc::new(scores.iter().map(|score| i32::try_from(get(score)).ok()).collect::<Int32Array>())
}

fn flag(scores: &[Score], get: impl Fn(&Score) -> Option<bool>) -> ArrayRef {
    Arc::new(scores.iter().map(get).collect::<BooleanArray>())
}

impl At {
    /// The nodes that there were then.
    fn scored(&self, nodes: &RecordBatch, earlier: &Earlier) -> Result<RecordBatch> {
        let damaged = |what: &str| exec_datafusion_err!("a node of the profile has a damaged {what}");
        let (kinds, phases) = (nodes["kind"].as_string::<i32>(), nodes["phase"].as_string::<i32>());
        let mut scorer = earlier.scorer();
        let (mut kept, mut scores, mut sets) = (Vec::new(), Vec::new(), Vec::new());
        for (row, members) in (0_u32..).zip(nodes["members"].as_binary::<i32>()) {
            let at = row as usize;
            let members =
                MemberSet::from_bytes(members.unwrap_or_default()).map_err(|_| damaged("set of members"))?;
            let then: MemberSet =
                members.iter().take_while(|ordinal| *ordinal < earlier.snapshots()).collect();
            if then.iter().next().is_none() {
                continue;
            }
            let kind = Kind::parse(kinds.value(at)).ok_or_else(|| damaged("kind"))?;
            let is_startup = phases.is_valid(at) && phases.value(at) == "startup";
            let score = scorer.score(kind, is_startup, &then).ok_or_else(|| damaged("set of members"))?;
            kept.push(row);
            scores.push(score);
            sets.push(then);
        }
        let rows = UInt32Array::from(kept);
        let same = KEPT.iter().map(|name| Ok(take(&nodes[*name], &rows, None)?));
        let mut columns = same.collect::<Result<Vec<ArrayRef>>>()?;
        columns.extend(COLUMNS.map(|(_, _, column)| column(&scores)));
        columns.push(Arc::new(BinaryArray::from_iter_values(sets.iter().map(MemberSet::as_bytes))));
        let snapshots = i32::try_from(earlier.snapshots()).unwrap_or(i32::MAX);
        columns.push(Arc::new(Int32Array::from_value(snapshots, scores.len())));
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

/// Texts and bytes of one type each, whichever the engine reads them as.
fn plainly_typed(nodes: &RecordBatch) -> Result<RecordBatch> {
    let plain = |kind: &DataType| match kind {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        kind => kind.clone(),
    };
    let columns = nodes.columns().iter().map(|column| cast(column, &plain(column.data_type())));
    let columns = columns.collect::<std::result::Result<Vec<_>, _>>()?;
    let fields = nodes.schema_ref().fields().iter().zip(&columns);
    let fields = fields.map(|(field, column)| Field::new(field.name(), column.data_type().clone(), true));
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns)?)
}

#[async_trait]
impl Rows for At {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    async fn rows(&self, session: &dyn Session) -> Result<RecordBatch> {
        let plan = session.create_physical_plan(&self.nodes).await?;
        let schema = plan.schema();
        let nodes = plainly_typed(&concat_batches(&schema, &collect(plan, session.task_ctx()).await?)?)?;
        let (Some(ledger), true) = (&self.ledger, nodes.num_rows() > 0) else {
            return Ok(RecordBatch::new_empty(Arc::clone(&self.schema)));
        };
        let key = WorkloadKey::parse(nodes["workload_key"].as_string::<i32>().value(0));
        let key = key.ok_or_else(|| exec_datafusion_err!("a node of the profile has a damaged key"))?;
        let revision = nodes["revision"].as_primitive::<Int32Type>().value(0);
        let course = Course::read(ledger, key, revision).await;
        let course = course.map_err(|error| DataFusionError::External(Box::new(error)))?;
        self.scored(&nodes, &course.first(self.snapshots))
    }
}
