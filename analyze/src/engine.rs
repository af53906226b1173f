//! Where the heavy part of a job runs: in this process, or on a cluster.

use arrow::array::RecordBatch;
use datafusion::error::{DataFusionError, Result};
use datafusion::prelude::{DataFrame, SessionContext};

use crate::session::{self, Resources};

/// Runs plans.
#[derive(Debug, Clone, Default)]
pub enum Engine {
    /// This process.
    #[default]
    Here,
    /// Executors elsewhere.
    #[cfg(feature = "distributed")]
    Cluster(crate::cluster::Cluster),
}

/// A plan that was not run.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Here.
    #[error(transparent)]
    Here(#[from] DataFusionError),
    /// By a cluster.
    #[cfg(feature = "distributed")]
    #[error(transparent)]
    Cluster(#[from] crate::cluster::JobError),
}

impl Engine {
    /// How many parts work is cut into that consists of so many pieces, of so many bytes together.
    #[cfg_attr(not(feature = "distributed"), expect(unused_variables, reason = "a cluster is cut for"))]
    pub(crate) fn partitions(&self, resources: &Resources, pieces: usize, bytes: u64) -> usize {
        match self {
            Self::Here => resources.partitions(),
            #[cfg(feature = "distributed")]
            Self::Cluster(_) => crate::cluster::partitions(pieces, bytes),
        }
    }

    /// How many parts a query is cut into; 0 for one a core of this machine.
    pub(crate) fn queries_in(&self) -> usize {
        match self {
            Self::Here => 0,
            #[cfg(feature = "distributed")]
            Self::Cluster(_) => crate::cluster::QUERY_PARTITIONS,
        }
    }

    /// A session whose plans [`Self::collect`] can run.
    pub(crate) fn session(&self, resources: &Resources, partitions: usize) -> Result<SessionContext> {
        match self {
            Self::Here => session::new(&Resources { partitions, ..resources.clone() }),
            #[cfg(feature = "distributed")]
            Self::Cluster(cluster) => cluster.session(resources, partitions),
        }
    }

    /// Says which store a session's plans are about, by the id of its ledger: executors of another one refuse them.
    #[cfg_attr(
        not(feature = "distributed"),
        expect(unused_variables, reason = "here there is one store only")
    )]
    pub(crate) fn bind(&self, context: &SessionContext, ledger: &str) {
        #[cfg(feature = "distributed")]
        if let Self::Cluster(_) = self {
            crate::cluster::bind(context, ledger);
        }
    }

    /// All rows, in no order.
    pub(crate) async fn collect(&self, rows: DataFrame) -> Result<Vec<RecordBatch>, EngineError> {
        match self {
            Self::Here => Ok(rows.collect().await?),
            #[cfg(feature = "distributed")]
            Self::Cluster(cluster) => cluster.collect(rows).await,
        }
    }
}

/// Deals pieces of work, each with what it weighs, to so many parts: the heaviest first, each to the part that has least.
pub(crate) fn deal<T>(mut pieces: Vec<(u64, T)>, parts: usize) -> Vec<Vec<T>> {
    pieces.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    let mut dealt: Vec<(u64, Vec<T>)> =
        std::iter::repeat_with(|| (0, Vec::new())).take(parts.max(1)).collect();
    for (weight, piece) in pieces {
        if let Some((total, mine)) = dealt.iter_mut().min_by_key(|(total, _)| *total) {
            *total += weight;
            mine.push(piece);
        }
    }
    dealt.into_iter().map(|(_, pieces)| pieces).collect()
}
