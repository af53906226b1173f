//! What a table needs so that it does not grow without end: checkpoints, a short log, no files that nobody reads.
//!
//! Which files those are is Delta's answer, of a vacuum that is only planned. They are deleted here: a vacuum of Delta's own
//! commits twice, and would move the versions that the commits to `profiles` name.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use deltalake_core::DeltaTableError;
use deltalake_core::operations::vacuum::VacuumMode;
use deltalake_core::protocol::checkpoints::{cleanup_expired_logs_for, create_checkpoint};
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;
use object_store::path::Path;
use wsp_schemas::keys::TABLE_LOG;

use super::{OpenTable, TableError};

impl OpenTable {
    /// Commits since the last checkpoint that the log has; all of them where it has none.
    pub async fn commits_since_checkpoint(&self) -> Result<u64, TableError> {
        let log: Vec<_> = self
            .delta
            .object_store()
            .list(Some(&Path::from(TABLE_LOG)))
            .try_collect()
            .await
            .map_err(|source| self.failed("read", DeltaTableError::ObjectStore { source }))?;
        let checkpoint = log
            .iter()
            .filter_map(|object| {
                let (version, rest) = object.location.filename()?.split_once('.')?;
                if rest.starts_with("checkpoint") { version.parse::<u64>().ok() } else { None }
            })
            .max();
        Ok(checkpoint.map_or(self.version() + 1, |checkpoint| self.version().saturating_sub(checkpoint)))
    }

    /// Writes a checkpoint of the opened version.
    pub async fn checkpoint(&self) -> Result<(), TableError> {
        create_checkpoint(&self.delta, None).await.map_err(|source| self.failed("changed", source))
    }

    /// Deletes log files from before a checkpoint, so that every version from `keep` on, and every one that was the newest at
    /// `since` or later, can still be opened. Gives how many.
    pub async fn clean_log(&self, keep: u64, since: DateTime<Utc>) -> Result<usize, TableError> {
        let log = self.delta.log_store();
        cleanup_expired_logs_for(keep, &*log, since.timestamp_millis(), None)
            .await
            .map_err(|source| self.failed("changed", source))
    }

    /// Files in the table's folder that neither the opened version nor one of `keep` needs, and that have been so for longer
    /// than `age`; one that no commit ever named counts from when it was written.
    pub async fn unreferenced(&self, keep: &[u64], age: Duration) -> Result<Vec<Path>, TableError> {
        let failed = |source| self.failed("read", source);
        let age =
            TimeDelta::from_std(age).map_err(|_| self.malformed("no file is as old as that".to_owned()))?;
        let planned = self
            .delta
            .clone()
            .vacuum()
            .with_mode(VacuumMode::Full)
            .with_retention_period(age)
            .with_enforce_retention_duration(false)
            .with_keep_versions(keep)
            .with_dry_run(true)
            .await;
        let (_, planned) = planned.map_err(failed)?;
        let planned: HashSet<String> = planned.files_deleted.into_iter().collect();
        if planned.is_empty() {
            return Ok(Vec::new());
        }
        // The log names what was taken out for some time after it was deleted.
        let objects = self.delta.object_store();
        let mut there = objects.list(None);
        let mut found = Vec::new();
        while let Some(object) =
            there.try_next().await.map_err(|source| failed(DeltaTableError::ObjectStore { source }))?
        {
            if planned.contains(object.location.as_ref()) {
                found.push(object.location);
            }
        }
        Ok(found)
    }

    /// Deletes files of the table's folder; one that is gone already is no failure.
    pub async fn delete(&self, files: Vec<Path>) -> Result<(), TableError> {
        let objects = self.delta.object_store();
        let mut deleted = objects.delete_stream(futures::stream::iter(files).map(Ok).boxed());
        while let Some(file) = deleted.next().await {
            match file {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(source) => {
                    return Err(self.failed("changed", DeltaTableError::ObjectStore { source }));
                }
            }
        }
        Ok(())
    }
}
