//! Signals, and the page of all of them.

use std::collections::BTreeSet;

use datafusion::common::ScalarValue;

use super::{Gatherer, Row, href, of, rows};
use crate::explorer::ExplorerError;
use crate::explorer::contract::{Attribute, Profile, Rule, Signal, SignalsPage};

const SIGNALS: &str = include_str!("signals.sql");

/// Signals of the page.
const MOST: usize = 5_000;

impl Gatherer {
    /// The page of all signals.
    pub(in crate::explorer) async fn signals_page(&self) -> Result<SignalsPage, ExplorerError> {
        self.signals_page.get_or_try_init(|| self.all_signals()).await.cloned()
    }

    async fn all_signals(&self) -> Result<SignalsPage, ExplorerError> {
        let parameters = [("revision", ScalarValue::Int32(None)), ("is_newest", ScalarValue::from(true))];
        let (signals, signals_left_out) =
            self.signals(self.wanted().into_iter().chain(parameters).collect(), MOST).await?;
        let around = self.around(&signals).await?;
        let suppressions = self.suppressions().await?;
        let rules = self.rules.iter().map(|rule| Rule {
            id: rule.id.clone(),
            title: rule.title.clone(),
            severity: rule.severity.as_str().to_owned(),
            techniques: rule.techniques.clone(),
            description: rule.description.clone(),
            suppressible: rule.suppressible,
        });
        Ok(SignalsPage { signals, signals_left_out, around, suppressions, rules: rules.collect() })
    }

    /// Signals that one profile judged, and how many are left out.
    pub(super) async fn signals_of(
        &self,
        profile: &Profile,
        most: usize,
    ) -> Result<(Vec<Signal>, usize), ExplorerError> {
        let mut parameters = of(profile);
        parameters.push(("is_newest", ScalarValue::from(profile.is_newest)));
        self.signals(parameters, most).await
    }

    async fn signals(
        &self,
        mut parameters: Vec<(&'static str, ScalarValue)>,
        most: usize,
    ) -> Result<(Vec<Signal>, usize), ExplorerError> {
        parameters.push(("limit", ScalarValue::Int64(i64::try_from(most).ok())));
        let found = self.query(SIGNALS, parameters).await?;
        let mut all = 0;
        let signals = rows(&found, |row| {
            all = row.long("all_signals");
            signal(row, &self.pages)
        });
        let left_out = usize::try_from(all).unwrap_or_default().saturating_sub(signals.len());
        Ok((signals, left_out))
    }
}

fn signal(row: Row<'_>, pages: &BTreeSet<(String, i32)>) -> Signal {
    let judged_by = row.text("workload_key").zip(row.read.int32("revision", row.row));
    let attributes = row.read.text_map("attributes", row.row).into_iter();
    Signal {
        id: row.word("signal_id"),
        time: row.time("time").unwrap_or_default(),
        last_seen: row.time("last_seen"),
        severity: row.word("severity"),
        rule: row.word("rule"),
        summary: row.word("summary"),
        context: row.word("profile_context"),
        novelty: row.text("novelty"),
        suppressed_by: row.text("suppressed_by"),
        image: row.text("image"),
        profile_href: judged_by
            .as_ref()
            .filter(|judged_by| pages.contains(judged_by))
            .map(|(key, revision)| href(key, *revision)),
        profile: judged_by.map(|(key, revision)| format!("{key}-{revision}")),
        kind: row.text("kind"),
        exe: row.text("exe"),
        target: row.text("target"),
        lineage: row.read.text_list("lineage", row.row),
        commonality: row.share("commonality"),
        process_commonality: row.share("process_commonality"),
        match_: row.text("match"),
        node: row.text("profile_node_id"),
        process: row.text("profile_process_id"),
        events: row.long("events"),
        container_name: row.text("container_name"),
        container_id: row.text("container_id"),
        host: row.text("host"),
        labels: row.read.text_map("labels", row.row),
        attributes: attributes
            .map(|(name, value)| Attribute { name, values: value.lines().map(str::to_owned).collect() })
            .collect(),
        source: row.word("source"),
        snapshot: row.text("snapshot_id"),
    }
}
