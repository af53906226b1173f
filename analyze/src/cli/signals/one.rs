//! One signal as text, with what its profile says beside it.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use datafusion::common::ScalarValue;
use datafusion::prelude::SessionContext;
use wsp_schemas::keys::show_time;
use wsp_schemas::text::for_display;

use crate::cli::Failure;
use crate::functions::MemberSet;
use crate::rows::Reader;
use crate::views;

const ONE: &str = include_str!("one.sql");
const NODE: &str = include_str!("node.sql");
const MEMBERS: &str = include_str!("members.sql");

/// Containers and hosts that are named.
const NAMES: usize = 8;

/// `at`: arguments that name the store, for commands that are told.
pub(super) async fn show(context: &SessionContext, id: &str, at: &str) -> Result<String, Failure> {
    let frame = views::query(context, ONE).await?.with_param_values(vec![("id", ScalarValue::from(id))])?;
    let found = frame.collect().await?;
    let mut rows = found.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| (batch, row)));
    let Some((batch, row)) = rows.next() else {
        return Err(
            Failure::new(format!("there is no signal `{id}`")).hint(format!("`wsp signals {at}` lists them"))
        );
    };
    if rows.next().is_some() {
        return Err(
            Failure::new(format!("more than one signal begins with `{id}`")).hint("give more of the id")
        );
    }
    let signal = Signal { read: Reader::new(batch), row };
    let mut text = signal.head();
    text += &signal.tree();
    text += "\n\nprofile\n";
    text += &profile(context, &signal, at).await?;
    Ok(text)
}

struct Signal<'a> {
    read: Reader<'a>,
    row: usize,
}

impl Signal<'_> {
    fn text(&self, name: &str) -> String {
        for_display(self.read.text(name, self.row).unwrap_or_default()).into_owned()
    }

    fn time(&self, name: &str) -> Option<DateTime<Utc>> {
        self.read.time(name, self.row)
    }

    fn head(&self) -> String {
        let mut text = format!(
            "{}  {}  {}\n{}\n",
            self.text("severity"),
            self.text("rule"),
            self.text("signal_id"),
            self.text("summary")
        );
        let mut line = |name: &str, value: String| {
            if !value.trim().is_empty() {
                text += &format!("\n{name:<12}{value}");
            }
        };
        line("image", self.text("image"));
        line("digest", self.text("image_digest"));
        line("container", format!("{}  {}", self.text("container_name"), self.text("container_id")));
        line("host", self.text("host"));
        let labels = self.read.text_map("labels", self.row);
        let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        line("labels", for_display(&labels.join("  ")).into_owned());
        let times = [self.time("time"), self.time("last_seen")].map(|time| time.map(show_time));
        let events = self.read.int64("events", self.row).unwrap_or_default();
        line(
            "when",
            match times {
                [Some(first), Some(last)] if first != last => format!("{first} to {last}, {events} events"),
                [Some(first), _] => format!("{first}, {events} events"),
                _ => String::new(),
            },
        );
        line("snapshot", self.text("snapshot_id"));
        line("source", self.text("source"));
        line("suppressed", self.text("suppressed_by"));
        text
    }

    /// The lineage as a tree, with what was done at its end.
    fn tree(&self) -> String {
        let mut text = "\n\nprocess tree".to_owned();
        let lineage = self.read.text_list("lineage", self.row);
        for (depth, exe) in lineage.iter().enumerate() {
            text += &format!("\n  {}{}", "  ".repeat(depth), for_display(exe));
        }
        let indent = "  ".repeat(lineage.len() + 1);
        if self.text("kind") != "process" && !self.text("target").is_empty() {
            text += &format!("\n{indent}{} {}", self.text("kind"), self.text("target"));
        }
        for (name, value) in self.read.text_map("attributes", self.row) {
            let name = for_display(&name).into_owned();
            for (at, line) in value.lines().enumerate() {
                let name = if at == 0 { name.as_str() } else { "" };
                text += &format!("\n{indent}· {name:<12}{}", for_display(line));
            }
        }
        text
    }
}

async fn profile(context: &SessionContext, signal: &Signal<'_>, at: &str) -> Result<String, Failure> {
    let verdict = match signal.text("profile_context").as_str() {
        "known" => "known: the stable profile has it, as common as this",
        "unseen" => "unseen: the stable profile does not have it",
        "learning" => "learning: the profile is not stable yet, so that it says nothing",
        _ => "no profile of the image",
    };
    let mut text = format!("  {verdict}");
    let read = &signal.read;
    let image = [read.text("image_name", signal.row), read.text("image_tag", signal.row)];
    let ([Some(name), Some(tag)], Some(revision)) = (image, read.int32("revision", signal.row)) else {
        return Ok(text);
    };
    let parameters = |id: &str| {
        vec![
            ("name", ScalarValue::from(name)),
            ("tag", ScalarValue::from(tag)),
            ("revision", ScalarValue::Int32(Some(revision))),
            ("id", ScalarValue::from(id)),
        ]
    };
    let mut members = None;
    for (what, column) in [("process", "profile_process_id"), ("node", "profile_node_id")] {
        let Some(id) = read.text(column, signal.row) else { continue };
        if what == "node" && read.text("profile_process_id", signal.row) == Some(id) {
            continue;
        }
        let found = views::query(context, NODE).await?.with_param_values(parameters(id))?.collect().await?;
        let Some(batch) = found.iter().find(|batch| batch.num_rows() > 0) else { continue };
        let node = Reader::new(batch);
        text += &format!("\n  {what:<8}{}", common(&node));
        members = node.bytes("members", 0).map(<[u8]>::to_vec).or(members);
    }
    let how = read.text("match", signal.row).unwrap_or_default();
    if how == "target" {
        text += "\n  the match is weak: by executable and target, since the lineage is not known for certain";
    }
    if let Some(members) = members {
        let mut parameters = parameters("");
        parameters.pop();
        let ledger = views::query(context, MEMBERS).await?.with_param_values(parameters)?.collect().await?;
        text += &who(&members, &ledger);
    }
    text += &format!(
        "\n  wsp show {} --revision {revision} {}",
        for_display(&wsp_schemas::image::reference(name, tag)),
        for_display(at)
    );
    Ok(text)
}

fn common(node: &Reader<'_>) -> String {
    let count = |name: &str| node.int32(name, 0).unwrap_or_default();
    let share =
        |name: &str| node.float(name, 0).map_or_else(|| "–".to_owned(), |share| format!("{share:.2}"));
    let mut text = format!(
        "commonality {} ({} to {}): {} of {} containers, {} hosts, {} snapshots",
        share("commonality"),
        share("commonality_low"),
        share("commonality_high"),
        count("container_count"),
        count("eligible_containers"),
        count("host_count"),
        count("snapshot_count"),
    );
    if let Some(first) = node.time("first_seen", 0) {
        text += &format!("; first seen {}", show_time(first));
    }
    if let Some(pattern) = node.text("pattern", 0) {
        text += &format!("; stands for {} nodes named {}", count("collapsed_nodes"), for_display(pattern));
    }
    for (flag, word) in [("rare", "rare"), ("late", "late"), ("stable", "stable")] {
        if node.bool(flag, 0) == Some(true) {
            text += &format!("; {word}");
        }
    }
    text
}

/// The containers and hosts behind a set of ordinals.
fn who(members: &[u8], ledger: &[arrow::array::RecordBatch]) -> String {
    let Ok(set) = MemberSet::from_bytes(members) else { return String::new() };
    let ordinals: BTreeSet<u32> = set.iter().collect();
    let (mut containers, mut hosts) = (BTreeSet::new(), BTreeSet::new());
    for batch in ledger {
        let read = Reader::new(batch);
        for row in 0..batch.num_rows() {
            let ordinal = read.int32("ordinal", row).and_then(|ordinal| u32::try_from(ordinal).ok());
            if ordinal.is_some_and(|ordinal| ordinals.contains(&ordinal)) {
                let name = read.text("container_name", row).or_else(|| read.text("container_id", row));
                containers.extend(name.map(str::to_owned));
                hosts.extend(read.text("host", row).map(str::to_owned));
            }
        }
    }
    let list = |names: &BTreeSet<String>| {
        let shown: Vec<_> = names.iter().take(NAMES).map(|name| for_display(name).into_owned()).collect();
        let more = names.len().saturating_sub(NAMES);
        if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
    };
    format!("\n  containers  {}\n  hosts       {}", list(&containers), list(&hosts))
}
