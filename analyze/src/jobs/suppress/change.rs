//! Changes of suppressions, and the marks of signals that follow from them.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use chrono::{DateTime, Utc};
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;
use deltalake_core::kernel::Transaction;
use wsp_schemas::store::Store;
use wsp_schemas::tables::{SIGNALS, SUPPRESSIONS};

use super::active::columns;
use super::{Active, Scope, State, SuppressError, Suppression, read};
use crate::jobs::retry::Patience;
use crate::predicate::Predicate;
use crate::rows::{Builder, Reader};
use crate::tables::{Change, OpenTable, ProfileTables, Selection, TableError, application, partition_value};

/// How often a change begins anew because something else was faster.
const CONFLICTS: usize = 60;
/// Application transaction of `suppressions`: the number of the last change.
const CHANGE: &str = "suppress/change";
/// Application transaction of `signals`: the number of the last change that its marks follow.
const APPLIED: &str = "suppress/applied";

/// What somebody decided.
#[derive(Debug, Clone)]
pub struct Decision {
    /// The suppression; its change number and time are given here.
    pub suppression: Suppression,
    /// What it becomes.
    pub to: State,
}

/// What came of a change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Changed {
    /// Signals that are hidden now and were not, or by another suppression.
    pub hidden: usize,
    /// Signals that are no longer hidden.
    pub shown: usize,
}

/// Writes decisions down, and marks signals accordingly. What is accepted must have a predicate that can be read.
pub async fn decide(
    store: &Store,
    context: &SessionContext,
    decisions: &[Decision],
    now: DateTime<Utc>,
) -> Result<Changed, SuppressError> {
    for decision in decisions.iter().filter(|decision| decision.to == State::Accepted) {
        Predicate::parse(context, &columns(), &decision.suppression.predicate)?;
    }
    let mut patience = Patience::new(CONFLICTS);
    let mut is_retry = false;
    while let Err(error) = write(store, decisions, is_retry, now).await {
        patience.wait(error, SuppressError::table).await?;
        is_retry = true;
    }
    refresh(store, context).await
}

async fn write(
    store: &Store,
    decisions: &[Decision],
    is_retry: bool,
    now: DateTime<Utc>,
) -> Result<(), SuppressError> {
    let buckets = ProfileTables::open(store).await?.ledger.buckets()?;
    let table = OpenTable::open_or_create(store, &SUPPRESSIONS, buckets).await?;
    let standing = read(&table).await?;
    let last = table.application(CHANGE).await?.unwrap_or(0);
    let mut rows = Vec::new();
    for (decision, number) in decisions.iter().zip(last + 1..) {
        let one = &decision.suppression;
        let state = standing.iter().find(|known| known.id == one.id).map(|known| known.state);
        // An attempt before may have written it, and whoever else suggests the same.
        let is_done = state == Some(decision.to);
        if is_done && (decision.to == State::Suggested || is_retry && decision.to != State::Accepted) {
            continue;
        }
        if !decision.to.may_follow(state) {
            let state = state.map_or("not there", State::as_str);
            return Err(SuppressError::State { id: one.id.clone(), state, to: decision.to.as_str() });
        }
        rows.push(Suppression { state: decision.to, changed_at: now, change: number, ..one.clone() });
    }
    let Some(newest) = rows.last().map(|row| row.change) else { return Ok(()) };
    let mut change = Change::default();
    change.add(&table, Vec::new(), &to_batch(&rows)?).await?;
    change.set(application(CHANGE, newest));
    // Two changes at the same time would not know of each other.
    change.commit_next(&table).await?;
    Ok(())
}

fn to_batch(suppressions: &[Suppression]) -> Result<RecordBatch, arrow::error::ArrowError> {
    let mut rows = Builder::new(suppressions.len());
    let all = || suppressions.iter();
    let text = |get: fn(&Suppression) -> Option<String>| suppressions.iter().map(get);
    rows.text("suppression_id", text(|one| Some(one.id.clone())));
    rows.time("changed_at", all().map(|one| Some(one.changed_at)));
    rows.text("state", text(|one| Some(one.state.as_str().to_owned())));
    rows.text("rule", text(|one| Some(one.rule.clone())));
    rows.text(
        "workload_key",
        text(|one| match &one.scope {
            Scope::Workload(workload) => Some(workload.key().to_string()),
            Scope::Image(_) | Scope::All => None,
        }),
    );
    rows.text("image_name", text(|one| one.scope.image_name().map(str::to_owned)));
    rows.text("image_tag", text(|one| one.scope.image_tag().map(str::to_owned)));
    rows.text("predicate", text(|one| Some(one.predicate.clone())));
    rows.text("evidence", text(|one| Some(one.evidence.clone())));
    rows.text("author", text(|one| one.author.clone()));
    rows.text("reason", text(|one| one.reason.clone()));
    rows.time("expires_at", all().map(|one| one.expires_at));
    rows.text("scope", text(|one| Some(one.scope.as_str().to_owned())));
    rows.int64("change", all().map(|one| Some(one.change)));
    rows.finish(&SUPPRESSIONS)
}

/// The suppressions that hold now, for whoever writes signals.
#[derive(Debug, Default)]
pub struct Current {
    /// Those that are accepted.
    pub active: Active,
    last: i64,
}

/// The table `signals`, made where it is missing, whose marks follow the suppressions that are given beside it: for whoever
/// adds to it, and says so by [`Current::applied`].
pub async fn open_signals(
    store: &Store,
    context: &SessionContext,
    buckets: u32,
) -> Result<(OpenTable, Current), SuppressError> {
    for _ in 0..2 {
        let signals = OpenTable::open_or_create(store, &SIGNALS, buckets).await?;
        let hides = current(store, context).await?;
        if signals.application(APPLIED).await?.unwrap_or(0) == hides.last {
            return Ok((signals, hides));
        }
        // A change whose marks were not made, since whoever made it stopped, is done now.
        refresh(store, context).await?;
    }
    Err(TableError::Conflict { table: SIGNALS.name, store: store.to_string() }.into())
}

/// The suppressions that hold now.
async fn current(store: &Store, context: &SessionContext) -> Result<Current, TableError> {
    let Some(table) = OpenTable::open(store, &SUPPRESSIONS, None).await? else {
        return Ok(Current::default());
    };
    let last = table.application(CHANGE).await?.unwrap_or(0);
    Ok(Current { active: Active::new(context, &read(&table).await?), last })
}

impl Current {
    /// Rows of `signals` with the suppressions that hide them, and how many are hidden.
    pub fn mark(&self, signals: &RecordBatch) -> Result<(RecordBatch, usize), DataFusionError> {
        if self.active.is_empty() {
            return Ok((signals.clone(), 0));
        }
        let hiding = self.active.hiding(signals)?;
        let hidden = hiding.iter().flatten().count();
        Ok((with_marks(signals, hiding)?, hidden))
    }

    /// Says, with a commit of signals, which change their marks follow. One that another change overtook conflicts.
    pub fn applied(&self) -> Transaction {
        application(APPLIED, self.last)
    }
}

/// Marks all signals as the suppressions say. Does nothing where that was done for the last change.
pub async fn refresh(store: &Store, context: &SessionContext) -> Result<Changed, SuppressError> {
    let mut patience = Patience::new(CONFLICTS);
    loop {
        match mark(store, context).await {
            Ok(changed) => return Ok(changed),
            Err(error) => patience.wait(error, SuppressError::table).await?,
        }
    }
}

async fn mark(store: &Store, context: &SessionContext) -> Result<Changed, SuppressError> {
    let mut changed = Changed::default();
    let Some(suppressions) = OpenTable::open(store, &SUPPRESSIONS, None).await? else { return Ok(changed) };
    let Some(signals) = OpenTable::open(store, &SIGNALS, None).await? else { return Ok(changed) };
    let last = suppressions.application(CHANGE).await?.unwrap_or(0);
    if signals.application(APPLIED).await? >= Some(last) {
        return Ok(changed);
    }
    let active = Active::new(context, &read(&suppressions).await?);
    let mut change = Change::default();
    for file in signals.files()? {
        let batches = signals.read(&file, Selection::default()).await?;
        let mut marked = Vec::with_capacity(batches.len());
        let mut differs = false;
        for batch in batches {
            let (batch, found) = marked_anew(&active, &batch)?;
            differs |= found != Changed::default();
            changed.hidden += found.hidden;
            changed.shown += found.shown;
            marked.push(batch);
        }
        let Some(first) = marked.first().filter(|_| differs) else { continue };
        let rows = arrow::compute::concat_batches(first.schema_ref(), &marked)?;
        let bucket = file.bucket().unwrap_or_default();
        change.remove(&file);
        change.add(&signals, vec![partition_value("bucket", &bucket)], &rows).await?;
    }
    change.set(application(APPLIED, last));
    // Signals that a detection adds meanwhile would not be marked: it begins anew, or this does.
    change.commit_next(&signals).await?;
    Ok(changed)
}

fn marked_anew(active: &Active, batch: &RecordBatch) -> Result<(RecordBatch, Changed), SuppressError> {
    let hiding = active.hiding(batch)?;
    let read = Reader::new(batch);
    let mut changed = Changed::default();
    for (row, hides) in hiding.iter().enumerate() {
        match (hides.as_deref(), read.text("suppressed_by", row)) {
            (Some(now), before) if before != Some(now) => changed.hidden += 1,
            (None, Some(_)) => changed.shown += 1,
            _ => {}
        }
    }
    Ok((with_marks(batch, hiding)?, changed))
}

/// The same rows, with these values of `suppressed_by`.
fn with_marks(
    batch: &RecordBatch,
    marks: Vec<Option<String>>,
) -> Result<RecordBatch, arrow::error::ArrowError> {
    let marks: ArrayRef = Arc::new(StringArray::from(marks));
    let schema = batch.schema();
    let columns = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, values)| Arc::clone(if field.name() == "suppressed_by" { &marks } else { values }));
    RecordBatch::try_new(Arc::clone(&schema), columns.collect())
}
