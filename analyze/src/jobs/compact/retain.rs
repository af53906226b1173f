//! Short logs, and no files that no version needs that somebody may still read.

use chrono::{TimeDelta, Utc};

use super::pack::Tables;
use super::{CompactError, Deleted, Options, Progress, Report};
use crate::tables::OpenTable;

/// Commits after which a log gets a checkpoint: without one it cannot be shortened.
const CHECKPOINT_AFTER: u64 = 10;

/// A table, and the oldest of its versions that must stay whatever its age.
struct Kept {
    name: &'static str,
    table: OpenTable,
    version: u64,
}

/// Shortens logs and deletes files.
pub(super) async fn run(
    tables: Tables,
    options: &Options,
    progress: &dyn Progress,
    report: &mut Report,
) -> Result<(), CompactError> {
    progress.stage("deleting what nobody needs");
    let mut kept = Vec::new();
    if let Some(tables) = tables.of_profiles
        // Until a batch names versions, all are needed.
        && let Some(pins) = tables.profiles.pinned().await?
    {
        kept.extend([
            Kept { name: "profile_snapshots", table: tables.ledger, version: pins.ledger },
            Kept { name: "profile_nodes", table: tables.nodes, version: pins.nodes },
            // Readers look for the newest commit that names versions.
            Kept { name: "profiles", table: tables.profiles, version: pins.at },
        ]);
    }
    if let Some(table) = tables.activity {
        let version = table.version();
        kept.push(Kept { name: "activity", table, version });
    }
    for Kept { name, table, version } in kept {
        // The opened version is kept anyway.
        let named = if version == table.version() || name == "profiles" { Vec::new() } else { vec![version] };
        let files = table.unreferenced(&named, options.keep_versions).await?;
        let mut deleted = Deleted { data_files: files.len() as u64, log_files: 0 };
        if !options.dry_run {
            table.delete(files).await?;
            if table.commits_since_checkpoint().await? >= CHECKPOINT_AFTER {
                table.checkpoint().await?;
            }
            let age = TimeDelta::from_std(options.keep_versions).unwrap_or(TimeDelta::MAX);
            if let Some(since) = Utc::now().checked_sub_signed(age) {
                deleted.log_files = table.clean_log(version, since).await? as u64;
            }
        }
        if deleted != Deleted::default() {
            report.deleted.insert(name, deleted);
        }
    }
    Ok(())
}
