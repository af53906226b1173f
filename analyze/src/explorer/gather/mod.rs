//! What pages show, read from the views of a store at one batch.

mod around;
mod curve;
mod nodes;
mod profile;
mod profiles;
mod signals;
mod suppressions;

use std::collections::BTreeSet;

use arrow::array::RecordBatch;
use chrono::{DateTime, SecondsFormat, Utc};
use datafusion::common::ScalarValue;
use datafusion::prelude::SessionContext;
use tokio::sync::OnceCell;
use wsp_schemas::identity::Kind;
use wsp_schemas::image::Workload;
use wsp_schemas::store::Store;

use super::{ExplorerError, Source, contract};
use crate::functions::MemberSet;
use crate::jobs::newest::Newest;
use crate::jobs::suppress::Scope;
use crate::rows::Reader;
use crate::rules::{self, Rules};
use crate::tables::{OpenTable, ProfileTables, TableError};
use crate::{session, views};

const IMAGES: &str = "SELECT DISTINCT image FROM profiles ORDER BY image";

/// What pages are limited to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Only {
    /// All tags of an image.
    Name(String),
    /// One image and tag.
    Workload(Workload),
}

impl Only {
    fn name(&self) -> &str {
        match self {
            Self::Name(name) => name,
            Self::Workload(workload) => workload.name(),
        }
    }

    fn tag(&self) -> Option<&str> {
        match self {
            Self::Name(_) => None,
            Self::Workload(workload) => Some(workload.tag()),
        }
    }

    fn has(&self, name: &str, tag: &str) -> bool {
        name == self.name() && self.tag().is_none_or(|only| tag == only)
    }

    /// Whether pages that are limited so show suppressions of a scope.
    pub(super) fn shows(only: Option<&Self>, scope: &Scope) -> bool {
        let Some(only) = only else { return true };
        match scope {
            Scope::Workload(workload) => only.has(workload.name(), workload.tag()),
            Scope::Image(name) => name == only.name(),
            Scope::All => true,
        }
    }
}

/// A store's profiles and signals, as of one moment.
pub(in crate::explorer) struct Gatherer {
    store: Store,
    /// Name the store to a command.
    arguments: Vec<String>,
    context: SessionContext,
    ledger: Option<OpenTable>,
    only: Option<Only>,
    rules: Rules,
    newest: Newest,
    /// All profiles that have a page, and other tags of their images.
    profiles: Vec<contract::Profile>,
    /// Key and revision of those that have a page.
    pages: BTreeSet<(String, i32)>,
    /// Made when it is first asked for.
    signals_page: OnceCell<contract::SignalsPage>,
}

impl std::fmt::Debug for Gatherer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gatherer")
            .field("store", &self.store)
            .field("only", &self.only)
            .finish_non_exhaustive()
    }
}

impl Gatherer {
    /// Reads what all pages need.
    pub(in crate::explorer) async fn open(source: &Source) -> Result<Self, ExplorerError> {
        let store = &source.store;
        let context = views::open(store).await?;
        let ledger = match ProfileTables::open(store).await {
            Ok(tables) => Some(tables.ledger),
            // Signals of other tools alone.
            Err(TableError::NoProfiles { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let rules = rules::load(&session::new(&session::Resources::default())?, Some(store), &[]).await?;
        let mut gatherer = Self {
            store: store.clone(),
            arguments: source.arguments.clone(),
            context,
            ledger,
            only: source.only.clone(),
            rules,
            newest: Newest::list(store, Utc::now()).await?,
            profiles: Vec::new(),
            pages: BTreeSet::new(),
            signals_page: OnceCell::new(),
        };
        gatherer.profiles = gatherer.all_profiles().await?;
        gatherer.pages = gatherer.profiles().map(|profile| (profile.key.clone(), profile.revision)).collect();
        match gatherer.only() {
            Some(wanted) if gatherer.profiles().next().is_none() => {
                let images = rows(&gatherer.query(IMAGES, Vec::new()).await?, |row| row.word("image"));
                Err(ExplorerError::NoProfile { wanted, there: images })
            }
            _ => Ok(gatherer),
        }
    }

    /// Profiles that have a page.
    pub(in crate::explorer) fn profiles(&self) -> impl Iterator<Item = &contract::Profile> {
        self.profiles.iter().filter(|profile| profile.href.is_some())
    }

    /// The page of all profiles.
    pub(in crate::explorer) fn profiles_page(&self) -> contract::ProfilesPage {
        contract::ProfilesPage { profiles: self.profiles().cloned().collect() }
    }

    /// What the pages are limited to, for people.
    pub(in crate::explorer) fn only(&self) -> Option<String> {
        self.only.as_ref().map(|only| match only {
            Only::Name(name) => name.clone(),
            Only::Workload(workload) => workload.to_string(),
        })
    }

    async fn query(
        &self,
        sql: &str,
        parameters: Vec<(&'static str, ScalarValue)>,
    ) -> Result<Vec<RecordBatch>, ExplorerError> {
        let frame = views::query(&self.context, sql).await?.with_param_values(parameters)?;
        Ok(frame.collect().await?)
    }

    /// Name and tag that are asked for, as parameters of a query.
    fn wanted(&self) -> Vec<(&'static str, ScalarValue)> {
        let text = |text: Option<&str>| ScalarValue::Utf8(text.map(str::to_owned));
        let only = self.only.as_ref();
        vec![("name", text(only.map(Only::name))), ("tag", text(only.and_then(Only::tag)))]
    }
}

/// One revision, as parameters of a query.
fn of(profile: &contract::Profile) -> Vec<(&'static str, ScalarValue)> {
    vec![
        ("name", ScalarValue::from(profile.image_name.as_str())),
        ("tag", ScalarValue::from(profile.image_tag.as_str())),
        ("revision", ScalarValue::from(profile.revision)),
    ]
}

/// Address of a profile's page, from the folder of `index.html`.
fn href(key: &str, revision: i32) -> String {
    format!("profiles/{key}-{revision}.html")
}

pub(super) fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// A row of a query's answer.
#[derive(Debug, Clone, Copy)]
struct Row<'a> {
    read: &'a Reader<'a>,
    row: usize,
}

impl Row<'_> {
    fn text(self, name: &str) -> Option<String> {
        self.read.text(name, self.row).map(str::to_owned)
    }

    /// A text that is never null.
    fn word(self, name: &str) -> String {
        self.text(name).unwrap_or_default()
    }

    fn time(self, name: &str) -> Option<String> {
        self.read.time(name, self.row).map(rfc3339)
    }

    fn int(self, name: &str) -> i32 {
        self.read.int32(name, self.row).unwrap_or_default()
    }

    fn long(self, name: &str) -> i64 {
        self.read.int64(name, self.row).unwrap_or_default()
    }

    fn share(self, name: &str) -> Option<f64> {
        self.read.float(name, self.row)
    }

    fn flag(self, name: &str) -> Option<bool> {
        self.read.bool(name, self.row)
    }

    fn is_startup(self) -> bool {
        self.read.text("phase", self.row) == Some("startup")
    }

    fn members(self) -> Option<MemberSet> {
        MemberSet::from_bytes(self.read.bytes("members", self.row)?).ok()
    }

    fn kind(self) -> Option<Kind> {
        Kind::parse(self.read.text("kind", self.row)?)
    }
}

/// Reads all rows of an answer.
fn rows<T>(batches: &[RecordBatch], mut read_row: impl FnMut(Row<'_>) -> T) -> Vec<T> {
    let mut found = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
    for batch in batches {
        let read = Reader::new(batch);
        found.extend((0..batch.num_rows()).map(|row| read_row(Row { read: &read, row })));
    }
    found
}
