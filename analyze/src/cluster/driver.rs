//! A job's side of a cluster.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use ballista_core::config::{
    BALLISTA_CLIENT_GRPC_MAX_MESSAGE_SIZE, BALLISTA_SCHEDULER_MAX_PARTITIONS_PER_TASK,
};
use ballista_core::execution_plans::execute_physical_plan;
use ballista_core::extension::SessionConfigExt as _;
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::common::collect;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use datafusion_proto::physical_plan::AsExecutionPlan as _;
use datafusion_proto::protobuf::PhysicalPlanNode;
use uuid::Uuid;

use super::build::Build;
use super::codec::Codec;
use super::{MESSAGE_BYTES, SCHEDULER_PORT};
use crate::engine::EngineError;
use crate::one_line::one_line;
use crate::session::{self, Resources};

/// What begins the reason why a node did not take a plan.
pub(super) const REFUSED: &str = "wsp refuses the plan: ";

/// Bytes of files that one task reads: some seconds of work, so that a slow or lost executor costs little.
const TASK_BYTES: u64 = 8 << 20;

/// Tasks that work is cut into, however small it is, and at most.
const TASKS: std::ops::RangeInclusive<usize> = 16..=1024;

/// Tasks of a stage of a query, whose size nobody knows before.
pub(crate) const QUERY_PARTITIONS: usize = 16;

/// How often a plan is handed over in all: nothing is changed by running it, so that it can be run anew.
const ATTEMPTS: u32 = 3;

/// Time before the second attempt; it doubles.
const PAUSE: Duration = Duration::from_secs(5);

/// How many parts so many pieces of work, of so many bytes together, are cut into.
pub(crate) fn partitions(pieces: usize, bytes: u64) -> usize {
    let by_bytes = usize::try_from(bytes.div_ceil(TASK_BYTES)).unwrap_or(usize::MAX);
    by_bytes.clamp(*TASKS.start(), *TASKS.end()).min(pieces.max(1))
}

/// A cluster, by the address of its scheduler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    host: String,
    port: u16,
}

/// A plan that a cluster did not run. Nothing is changed by that.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// A node is not one that could run it.
    #[error("a node of the cluster {cluster} refuses the plan: {reason}")]
    Refused {
        /// The cluster.
        cluster: Cluster,
        /// What the node said.
        reason: String,
    },
    /// It was tried some times.
    #[error("the cluster {cluster} failed: {reason}")]
    Failed {
        /// The cluster.
        cluster: Cluster,
        /// What was last said.
        reason: String,
    },
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "df://{}:{}", self.host, self.port)
    }
}

impl FromStr for Cluster {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let wrong = || format!("`{text}` is no cluster: df://HOST:PORT");
        let url = url::Url::parse(text).map_err(|_| wrong())?;
        let is_bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.username().is_empty();
        let host = url.host_str().filter(|host| url.scheme() == "df" && is_bare && !host.is_empty());
        Ok(Self { host: host.ok_or_else(wrong)?.to_owned(), port: url.port().unwrap_or(SCHEDULER_PORT) })
    }
}

impl Cluster {
    /// A session whose plans executors can run.
    pub(crate) fn session(&self, resources: &Resources, partitions: usize) -> Result<SessionContext> {
        let resources = Resources { partitions, ..resources.clone() };
        let config = Build::own()?.told(configured(session::config(&resources)));
        session::with(config, session::runtime(&resources)?)
    }

    /// All rows of a plan, in no order.
    pub(crate) async fn collect(
        &self,
        rows: DataFrame,
    ) -> std::result::Result<Vec<RecordBatch>, EngineError> {
        let context = Arc::new(rows.task_ctx());
        let config = context.session_config().clone();
        let plan = rows.create_physical_plan().await?;
        // Settings and descriptions, EXPLAIN, recursion: what has no message runs here.
        if let Err(error) =
            PhysicalPlanNode::try_from_physical_plan(Arc::clone(&plan), &Codec::new(Arc::default()))
        {
            tracing::info!("executors cannot run this plan, it runs here: {error}");
            return Ok(datafusion::physical_plan::collect(plan, context).await?);
        }
        self.run(plan, &config).await
    }

    /// All rows of a plan that executors can run, in no order.
    pub(super) async fn run(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &SessionConfig,
    ) -> std::result::Result<Vec<RecordBatch>, EngineError> {
        let codec = Codec::new(Arc::default());
        let settings = config.ballista_config();
        let mut attempts = 1;
        let mut pause = PAUSE;
        loop {
            let handed_over = execute_physical_plan::<PhysicalPlanNode>(
                format!("http://{}:{}", self.host, self.port),
                &settings,
                Arc::clone(&plan),
                &codec,
                Uuid::new_v4().to_string(),
                config.clone(),
            );
            let error = match async { collect(handed_over.await?).await }.await {
                Ok(rows) => return Ok(rows),
                Err(error) => self.explained(&error),
            };
            // What a node refuses it refuses again.
            if attempts == ATTEMPTS || matches!(error, JobError::Refused { .. }) {
                return Err(error.into());
            }
            tracing::warn!("{error}; trying again");
            tokio::time::sleep(pause).await;
            (attempts, pause) = (attempts + 1, pause * 2);
        }
    }

    fn explained(&self, error: &DataFusionError) -> JobError {
        let cluster = self.clone();
        let text = one_line(error);
        match text.split_once(REFUSED) {
            // It stands in what the engine wrapped around it, as it prints such things.
            Some((_, reason)) => {
                let end = reason.find(['"', '\\']).unwrap_or(reason.len());
                JobError::Refused { cluster, reason: reason[..end].to_owned() }
            }
            None => JobError::Failed { cluster, reason: message(&text) },
        }
    }
}

/// What a status or an error of the network says, where a text shows it in its debug form.
fn message(text: &str) -> String {
    let Some((_, rest)) = text.split_once("message: \"") else { return text.to_owned() };
    let mut said = String::new();
    let mut letters = rest.chars();
    while let Some(letter) = letters.next().filter(|letter| *letter != '"') {
        match letter {
            '\\' => said.extend(letters.next().map(|escaped| if escaped == 'n' { ' ' } else { escaped })),
            letter => said.push(letter),
        }
    }
    said
}

/// Settings that hold for all nodes and the driver.
pub(super) fn configured(config: SessionConfig) -> SessionConfig {
    config
        .upgrade_for_ballista()
        .set_u64(BALLISTA_CLIENT_GRPC_MAX_MESSAGE_SIZE, u64::from(MESSAGE_BYTES))
        // A task of its own for each part: who is faster takes more of them.
        .set_u64(BALLISTA_SCHEDULER_MAX_PARTITIONS_PER_TASK, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let cluster = |text: &str| text.parse::<Cluster>().map(|cluster| cluster.to_string());
        assert_eq!(cluster("df://10.0.0.1:1234").unwrap(), "df://10.0.0.1:1234");
        assert_eq!(cluster("df://scheduler.wsp").unwrap(), "df://scheduler.wsp:50050");
        assert_eq!(cluster("df://[::1]:7").unwrap(), "df://[::1]:7");
        for wrong in ["", "10.0.0.1:1234", "http://x:1", "df://", "df://x/y", "df://u@x:1", "df://x?y"] {
            assert!(cluster(wrong).unwrap_err().contains("df://HOST:PORT"), "{wrong}");
        }
    }

    #[test]
    fn errors_of_the_network_are_told_as_text() {
        let refused = r#"x: ConnectError("tcp", Os { code: 111, kind: ConnectionRefused, message: "Connection refused" })"#;
        assert_eq!(message(refused), "Connection refused");
        assert_eq!(message(r#"Status { message: "no \"x\"\nand \\", metadata: {} }"#), r#"no "x" and \"#);
        assert_eq!(message("Job 7 failed"), "Job 7 failed");
        assert_eq!(message(r#"message: "cut"#), "cut");
    }

    #[test]
    fn work_is_cut_by_bytes_and_never_into_more_than_there_is() {
        assert_eq!(partitions(0, 0), 1);
        assert_eq!(partitions(3, 1 << 40), 3);
        assert_eq!(partitions(100, 1), 16);
        assert_eq!(partitions(100, 30 * TASK_BYTES - 1), 30);
        assert_eq!(partitions(5000, 1 << 40), 1024);
    }
}
