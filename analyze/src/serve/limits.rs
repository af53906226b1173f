//! Ends statements that take too long, that nobody reads, or that their client takes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use datafusion_postgres::pgwire::api::results::QueryResponse;
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use futures::{StreamExt as _, stream};
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::connection::Connection;
use super::error;
use super::metrics::Metrics;

/// How long a client that does not read its rows may keep a statement after its time.
const UNREAD: Duration = Duration::from_secs(10);

/// A statement, from its beginning to its last row.
pub(super) struct Limits {
    deadline: tokio::time::Instant,
    cancelled: CancellationToken,
    metrics: Arc<Metrics>,
    begun: Instant,
    failed: AtomicBool,
    /// Who computes has one of these; not who waits for its client to read.
    turns: Arc<Semaphore>,
    /// Ends the watch over it.
    _watch: DropGuard,
}

pub(super) fn timed_out() -> PgWireError {
    error::error("57014", "canceling statement due to statement timeout")
}

impl Limits {
    /// Begins.
    pub(super) fn begin(
        connection: &Arc<Connection>,
        turns: &Arc<Semaphore>,
        metrics: &Arc<Metrics>,
        time: Duration,
        cancelled: CancellationToken,
    ) -> Arc<Self> {
        let begun = Instant::now();
        let deadline = tokio::time::Instant::now() + time;
        let watch = CancellationToken::new();
        tokio::spawn({
            let (over, connection) = (watch.clone(), Arc::downgrade(connection));
            async move {
                let late = tokio::time::timeout_at(deadline + UNREAD, over.cancelled()).await.is_err();
                if let Some(connection) = connection.upgrade().filter(|_| late) {
                    tracing::warn!("a client does not read its rows: its connection is closed");
                    connection.close();
                }
            }
        });
        Arc::new(Self {
            deadline,
            cancelled,
            metrics: Arc::clone(metrics),
            begun,
            failed: AtomicBool::new(false),
            turns: Arc::clone(turns),
            _watch: watch.drop_guard(),
        })
    }

    /// Waits for its turn, and for something of the statement, as long as it has.
    pub(super) async fn within<T>(&self, work: impl Future<Output = PgWireResult<T>>) -> PgWireResult<T> {
        let work = async {
            let _turn = self.turns.acquire().await.map_err(|_| error::fatal("57P01", "the server stops"))?;
            work.await
        };
        let done = tokio::select! {
            biased;
            () = self.cancelled.cancelled() => Err(PgWireError::QueryCanceled),
            done = tokio::time::timeout_at(self.deadline, work) => done.unwrap_or_else(|_| Err(timed_out())),
        };
        if done.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        done
    }

    /// Rows that come while the statement may run. The first is waited for, so that what fails fails before any row is sent.
    pub(super) async fn rows(self: Arc<Self>, mut response: QueryResponse) -> PgWireResult<QueryResponse> {
        let first = self.within(async { response.data_rows.next().await.transpose() }).await?;
        let rest = stream::unfold(Some((self, response.data_rows)), async |state| {
            let (limits, mut rest) = state?;
            match limits.within(async { rest.next().await.transpose() }).await {
                Ok(Some(row)) => Some((Ok(row), Some((limits, rest)))),
                Ok(None) => None,
                // What failed is over.
                Err(error) => Some((Err(error), None)),
            }
        });
        response.data_rows = Box::pin(stream::iter(first.map(Ok)).chain(rest));
        Ok(response)
    }
}

impl Drop for Limits {
    fn drop(&mut self) {
        self.metrics.statement(!*self.failed.get_mut(), self.begun.elapsed());
    }
}
