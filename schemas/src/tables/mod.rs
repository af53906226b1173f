//! Every table of the store.

mod activity;
mod behaviour;
mod profiles;
mod signals;
mod snapshot;

pub use activity::ACTIVITY;
pub use behaviour::BEHAVIOUR;
pub use profiles::{PROFILE_NODES, PROFILE_SNAPSHOTS, PROFILES};
pub use signals::{DETECTIONS, SIGNALS, SUPPRESSIONS};
pub(crate) use snapshot::LABELS;
pub use snapshot::{CONSTANT_COLUMNS, SNAPSHOT};

use crate::paths::{self, Rule};
use crate::table::Table;

/// All of them: the file of one snapshot first, then the Delta tables, last what is not stored.
pub const ALL: [&Table; 9] = [
    &SNAPSHOT,
    &PROFILES,
    &PROFILE_NODES,
    &PROFILE_SNAPSHOTS,
    &ACTIVITY,
    &SIGNALS,
    &DETECTIONS,
    &SUPPRESSIONS,
    &BEHAVIOUR,
];

/// The reference page of all tables and path rules.
pub fn reference_page() -> String {
    let mut page = String::from(
        "# Tables\n\nGenerated from the declarations in `schemas/src/tables`; `cargo test -p wsp-schemas` checks that it is \
         current, and `WSP_BLESS=1 cargo test -p wsp-schemas` writes it anew.\n\nText that comes from the kernel stands in a reversible \
         escape: a byte that is not UTF-8 is `\\xNN`, a backslash is `\\\\`. Columns are only ever added, nullable.\n\n",
    );
    for table in ALL {
        page += &table.markdown();
        page.push('\n');
    }
    page += &format!(
        "## Path rules, version {}\n\n| path component | becomes | what it was | since |\n|---|---|---|---|\n",
        paths::RULES_VERSION
    );
    for Rule { since, component, becomes, what } in paths::RULES {
        page += &format!("| {component} | {becomes} | {what} | {since} |\n");
    }
    page
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_and_names_are_unique_and_partitions_exist() {
        for table in ALL {
            let ids: BTreeSet<_> = table.columns.iter().map(|column| column.id).collect();
            let names: BTreeSet<_> = table.columns.iter().map(|column| column.name).collect();
            assert_eq!(
                (ids.len(), names.len()),
                (table.columns.len(), table.columns.len()),
                "{}",
                table.name
            );
            assert!(table.partitions.iter().all(|name| names.contains(name)), "{}", table.name);
            assert!(table.columns.iter().all(|column| !column.doc.is_empty()), "{}", table.name);
        }
    }

    #[test]
    fn the_reference_page_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/TABLES.md");
        let page = reference_page();
        if std::env::var_os("WSP_BLESS").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            stored == page,
            "schemas/TABLES.md is not current: WSP_BLESS=1 cargo test -p wsp-schemas writes it"
        );
    }

    #[test]
    fn declared_columns_never_change() {
        let mut lines = String::new();
        for table in ALL {
            for column in table.columns {
                let null = if column.nullable { " null" } else { "" };
                lines += &format!("{}.{} #{} {:?}{null}\n", table.name, column.name, column.id, column.kind);
            }
        }
        insta::assert_snapshot!(lines);
    }
}
