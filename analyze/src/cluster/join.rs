use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::Schema;
use ballista_core::error::BallistaError;
use ballista_core::extension::SessionConfigExt as _;
use ballista_core::serde::protobuf::execute_query_params::Query;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::protobuf::{ExecuteQueryParams, KeyValuePair};
use ballista_core::utils::{GrpcClientConfig, create_grpc_client_endpoint};
use ballista_core::version::insert_version_header;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::prelude::SessionConfig;
use datafusion_proto::physical_plan::AsExecutionPlan as _;
use datafusion_proto::protobuf::PhysicalPlanNode;
use uuid::Uuid;

use super::ClusterError;
use super::build::Build;
use super::codec::Codec;
use super::driver::{REFUSED, configured};

/// How long an executor waits for its scheduler.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks the scheduler whether it takes nodes of a build, as a job of that build asks: with a plan of nothing, which costs next to nothing.
/// An executor of another one would fail each job that it gets a task of, and could not even say why.
pub(super) async fn ask(address: &str, build: Build) -> Result<(), ClusterError> {
    let config = build.told(configured(SessionConfig::new()));
    let grpc = GrpcClientConfig::from(&config.ballista_config());
    let failed = |error: String| ClusterError::NoScheduler {
        address: address.to_owned(),
        source: Box::new(BallistaError::GrpcConnectionError(error)),
    };
    let endpoint = create_grpc_client_endpoint(format!("http://{address}"), Some(&grpc));
    let endpoint = endpoint.map_err(|error| failed(error.to_string()))?;
    let started = Instant::now();
    let channel = loop {
        match endpoint.connect().await {
            Ok(channel) => break channel,
            Err(error) if started.elapsed() > PATIENCE => {
                return Err(failed(crate::one_line::one_line(&error)));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(500)).await,
        }
    };
    let mut scheduler = SchedulerGrpcClient::new(channel);
    let mut request = tonic::Request::new(ExecuteQueryParams {
        query: Some(Query::PhysicalPlan(nothing()?)),
        settings: config
            .options()
            .entries()
            .into_iter()
            .map(|entry| KeyValuePair { key: entry.key, value: entry.value })
            .collect(),
        session_id: Uuid::new_v4().to_string(),
        operation_id: Uuid::new_v4().to_string(),
    });
    insert_version_header(request.metadata_mut());
    match scheduler.execute_query(request).await {
        Ok(_) => Ok(()),
        Err(status) => match status.message().split_once(REFUSED) {
            Some((_, reason)) => {
                let end = reason.find(['"', '\\']).unwrap_or(reason.len());
                Err(ClusterError::Refused { address: address.to_owned(), reason: reason[..end].to_owned() })
            }
            None => Err(failed(status.message().to_owned())),
        },
    }
}

fn nothing() -> Result<Vec<u8>, DataFusionError> {
    let plan = Arc::new(EmptyExec::new(Arc::new(Schema::empty())));
    let mut message = Vec::new();
    PhysicalPlanNode::try_from_physical_plan(plan, &Codec::new(Arc::default()))?.try_encode(&mut message)?;
    Ok(message)
}
