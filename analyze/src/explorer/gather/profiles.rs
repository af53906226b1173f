//! The list of profiles.

use wsp_schemas::identity::Kind;

use super::{Gatherer, Row, href, rows};
use crate::explorer::ExplorerError;
use crate::explorer::contract::{KindSummary, Profile, SignalCounts};
use crate::jobs::merge;

const PROFILES: &str = include_str!("profiles.sql");

impl Gatherer {
    /// All profiles of the images that are asked for, whatever their tag.
    pub(super) async fn all_profiles(&self) -> Result<Vec<Profile>, ExplorerError> {
        let mut parameters = self.wanted();
        parameters.truncate(1);
        let found = self.query(PROFILES, parameters).await?;
        let mut profiles = rows(&found, profile);
        for profile in &mut profiles {
            let has_page =
                self.only.as_ref().is_none_or(|only| only.has(&profile.image_name, &profile.image_tag));
            profile.href = has_page.then(|| href(&profile.key, profile.revision));
        }
        Ok(profiles)
    }
}

fn profile(row: Row<'_>) -> Profile {
    let limits = merge::Options::default();
    Profile {
        key: row.word("workload_key"),
        revision: row.int("revision"),
        is_newest: row.flag("is_newest") == Some(true),
        image: row.word("image"),
        image_name: row.word("image_name"),
        image_tag: row.word("image_tag"),
        status: row.word("status"),
        stable_reason: row.text("stable_reason"),
        stable_at: row.time("stable_at"),
        snapshots: row.int("snapshot_count"),
        containers: row.int("container_count"),
        hosts: row.int("host_count"),
        nodes: row.long("nodes"),
        kinds: kinds(row),
        commonality: row.share("commonality"),
        coverage: row.share("coverage"),
        expected_novel_nodes: row.share("expected_novel_nodes"),
        overflow: row.long("overflow"),
        digests: row.read.text_list("digests", row.row),
        tag_reused: row.flag("tag_reused") == Some(true),
        first_window_start: row.time("first_window_start"),
        last_window_end: row.time("last_window_end"),
        updated_at: row.time("updated_at"),
        stable_snapshots: limits.max_snapshots,
        stable_hours: u32::try_from(limits.learning_time.as_secs() / 3600).unwrap_or(u32::MAX),
        signals: SignalCounts {
            critical: row.long("critical"),
            high: row.long("high"),
            medium: row.long("medium"),
            low: row.long("low"),
            suppressed: row.long("suppressed"),
        },
        href: None,
    }
}

fn kinds(row: Row<'_>) -> Vec<KindSummary> {
    let nodes = row.read.int_map("nodes_by_kind", row.row);
    let commonality = row.read.float_map("commonality_by_kind", row.row);
    let completeness = row.read.float_map("completeness", row.row);
    let kinds = Kind::ALL.into_iter().map(Kind::as_str);
    kinds
        .filter(|kind| nodes.contains_key(*kind) || completeness.contains_key(*kind))
        .map(|kind| KindSummary {
            kind: kind.to_owned(),
            nodes: nodes.get(kind).copied().unwrap_or_default(),
            commonality: commonality.get(kind).copied(),
            completeness: completeness.get(kind).copied(),
        })
        .collect()
}
