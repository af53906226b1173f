//! `relearn`: a new revision of a stable profile, on purpose and by name.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use wsp_schemas::image::Workload;
use wsp_schemas::store::Store;

use super::apply::{self, Behind};
use super::ledger::{self, Ledger, LedgerRow, Outcome};
use super::{CONFLICTS, MergeError, Options, Patience, Report, Silent, commit_ledger, recover, wave};
use crate::tables::{Change, ProfileTables, TableError, transaction};

/// A revision that was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relearned {
    /// Its number.
    pub revision: i32,
    /// Windows that start before are not of it.
    pub since: DateTime<Utc>,
}

/// Opens a new revision of a stable profile: it learns from snapshots whose windows start at `since` or later. The old
/// revision stays as it is.
pub async fn relearn(
    store: &Store,
    workload: &Workload,
    since: DateTime<Utc>,
    options: &Options,
) -> Result<Relearned, MergeError> {
    let mut patience = Patience::new(CONFLICTS);
    loop {
        match attempt(store, workload, since, options).await {
            Err(error) => patience.wait(error, MergeError::table).await?,
            opened => return opened,
        }
    }
}

async fn attempt(
    store: &Store,
    workload: &Workload,
    since: DateTime<Utc>,
    options: &Options,
) -> Result<Relearned, MergeError> {
    if !ProfileTables::are_made(store).await? {
        return Err(TableError::NoProfiles { store: store.to_string() }.into());
    }
    let mut tables = ProfileTables::open_or_create(store, options.buckets).await?;
    let mut report = Report::default();
    let batches = ledger::batches(&tables.ledger).await?;
    let behind = apply::behind(&tables, &batches).await?;
    let mut stopped = BTreeSet::new();
    if !behind.is_empty() {
        (tables, stopped) = recover(store, tables, behind, options, &Silent, &mut report).await?;
    }
    let key = workload.key();
    let bucket = key.bucket(tables.ledger.buckets()?);
    let refused =
        |reason: &str| MergeError::NotStable { image: workload.to_string(), reason: reason.to_owned() };
    if stopped.contains(&bucket) {
        return Err(refused("an earlier merge of its bucket is not finished; `wsp merge` says why"));
    }
    let mut ledger = Ledger::read(&tables.ledger, &[key].into()).await?;
    let rows = ledger.rows(key);
    let newest = wave::revision(rows);
    if !rows.iter().any(|row| row.outcome.is_of_a_profile()) {
        return Err(refused("there is none"));
    }
    if !rows.iter().any(|row| row.outcome == Outcome::Frozen && row.revision == Some(newest)) {
        return Err(refused(&format!("revision {newest} is still learning")));
    }
    let revision = newest + 1;
    let before = batches.get(&bucket).copied().unwrap_or(0);
    let row = LedgerRow {
        workload_key: Some(key),
        workload: Some(workload.clone()),
        revision: Some(revision),
        outcome: Outcome::Opened,
        batch: before + 1,
        at: Some(since),
        ..wave::empty(bucket, options)
    };
    let mut change = Change::default();
    change.advance(bucket, transaction(bucket, before + 1));
    tables.ledger = commit_ledger(&tables.ledger, std::slice::from_ref(&row), change, 1, &mut report).await?;
    ledger.extend(vec![row]);
    let stands = BTreeMap::from([(bucket, Behind { ledger: before + 1, nodes: before, profiles: before })]);
    apply::run(tables, &ledger, &stands, HashMap::new(), None, options, &mut report).await?;
    Ok(Relearned { revision, since })
}
