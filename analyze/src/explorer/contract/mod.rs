//! What a page shows, as JSON: the one contract between this side and the front end (`analyze/explorer`).
//!
//! The front end's view of it, `analyze/explorer/src/contract.ts`, is made from these types by a test. What is not known is
//! null, never absent; times are RFC 3339 in UTC. Texts of containers stand as they are: the front end shows them as text.

mod decision;
mod profile;
mod profiles;
mod signals;

use serde::Serialize;

pub use decision::*;
pub use profile::*;
pub use profiles::*;
pub use signals::*;

/// Version of the contract: raised where a reader of an older one would misread this one.
pub const FORMAT: u32 = 1;

/// A page and its data.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Document {
    /// Version of the contract.
    pub format: u32,
    /// Program that wrote it, and its version.
    pub writer: String,
    /// When it was made.
    pub generated_at: String,
    /// URL of the store, without credentials.
    pub store: String,
    /// Arguments that name it to a command, quoted for a shell.
    pub store_arguments: String,
    /// Way from the page to the folder of `index.html`: empty, or `../`.
    pub root: String,
    /// How it is looked at.
    pub mode: Mode,
    /// The image that all of it is limited to, as it was named.
    pub only_image: Option<String>,
    /// What it shows.
    pub page: Page,
}

/// How a page is looked at.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Mode {
    /// As a file: there are commands to copy.
    Report,
    /// From a server.
    Live {
        /// A token allows decisions.
        may_write: bool,
    },
}

/// What a page shows.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(tag = "name", rename_all = "lowercase")]
pub enum Page {
    /// `index.html`
    Profiles(ProfilesPage),
    /// `profiles/<key>-<revision>.html`
    Profile(Box<ProfilePage>),
    /// `signals.html`
    Signals(SignalsPage),
}

/// A name and its values, for people.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Attribute {
    /// Name of the column.
    pub name: String,
    /// One value, or those of a list.
    pub values: Vec<String>,
}

#[cfg(test)]
mod tests {
    use ts_rs::{Config, TS};
    use wsp_schemas::identity::Kind;

    use super::*;
    use crate::jobs::suppress::{Common, Evidence};
    use crate::rules::Severity;

    const HEADER: &str = "// What a page shows. Made from `analyze/src/explorer/contract`, which says what everything means: \
                          WSP_BLESS=1 cargo test -p wsp-analyze contract\n";

    fn union(name: &str, values: &[&str]) -> String {
        let values: Vec<String> = values.iter().map(|value| format!("\"{value}\"")).collect();
        format!("\nexport type {name} = {};\n", values.join(" | "))
    }

    #[test]
    fn the_front_end_reads_what_is_written() {
        let config = Config::default().with_large_int("number");
        let mut text = HEADER.to_owned();
        text += &union("Kind", &Kind::ALL.map(Kind::as_str));
        text += &union("Severity", &Severity::ALL.map(Severity::as_str));
        text += &union("Phase", &["startup", "steady"]);
        macro_rules! declare {
            ($($kind:ty),* $(,)?) => { $( text += &format!("\nexport {}\n", <$kind as TS>::decl(&config)); )* };
        }
        declare!(
            Document,
            Mode,
            Page,
            Attribute,
            ProfilesPage,
            Profile,
            KindSummary,
            SignalCounts,
            ProfilePage,
            NodeSummary,
            Node,
            Halves,
            Container,
            Snapshot,
            Running,
            CurvePoint,
            Diff,
            DiffNode,
            SignalsPage,
            Rule,
            Signal,
            Suppression,
            Commands,
            Evidence,
            Common,
            DecisionRequest,
            DecisionKind,
            DecisionAnswer,
            Refusal,
        );
        // Each is one line there.
        let text = text.replace("/**\n * ", "/** ").replace("\n */\n", " */\n");
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/explorer/src/contract.ts");
        if std::env::var_os("WSP_BLESS").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        let there = std::fs::read_to_string(path).unwrap();
        assert_eq!(there, text, "{path} is another contract: WSP_BLESS=1 writes this one");
    }
}
