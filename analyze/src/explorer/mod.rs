//! Profiles and signals where people would rather look than read: static pages, and the same pages from a server that can also
//! decide on suppressions.
//!
//! `gather` reads what a page shows into the types of [`contract`]; `page` puts them, as JSON, into one self-contained HTML file
//! with the front end (`analyze/explorer`); [`report`] writes such files, [`server`] answers with them. Nothing of a container is
//! ever part of the HTML but as that JSON.

pub mod contract;
mod decide;
mod gather;
mod page;
pub mod report;
pub mod server;

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use wsp_schemas::store::Store;

use crate::jobs::merge::MergeError;
use crate::jobs::suppress::SuppressError;
use crate::rules::LoadError;
use crate::tables::TableError;
use crate::views::QueryError;

pub use gather::Only;

/// What pages are of.
#[derive(Debug, Clone)]
pub struct Source {
    /// The store.
    pub store: Store,
    /// Arguments that name it to a command, as in `--store URL`.
    pub arguments: Vec<String>,
    /// What the pages are limited to.
    pub only: Option<Only>,
}

/// Pages that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ExplorerError {
    /// The views.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// A table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The engine refused or failed.
    #[error("the query failed")]
    Engine(#[from] DataFusionError),
    /// Rows of an answer.
    #[error("an answer of the views cannot be read")]
    Rows(#[from] ArrowError),
    /// Rules.
    #[error(transparent)]
    Rules(#[from] LoadError),
    /// The ledger or the newest snapshots.
    #[error(transparent)]
    Snapshots(#[from] MergeError),
    /// Suppressions.
    #[error(transparent)]
    Suppress(#[from] SuppressError),
    /// The image that pages shall be limited to has no profile.
    #[error("the store has no profile of {wanted}")]
    NoProfile {
        /// The image.
        wanted: String,
        /// Images that have one.
        there: Vec<String>,
    },
    /// A page cannot be written as JSON.
    #[error("a page cannot be made")]
    Page(#[from] serde_json::Error),
    /// The report's folder holds something else.
    #[error("`{folder}` holds `{other}`, which is of no report")]
    Occupied {
        /// The folder.
        folder: String,
        /// What is in it.
        other: String,
    },
    /// A file of the report.
    #[error("`{path}` cannot be written")]
    Write {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Work ended before it was done.
    #[error("a page ended unexpectedly")]
    Stopped,
    /// The server cannot listen.
    #[error("nothing can listen on {address}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}
