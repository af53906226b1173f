//! The session that statements run in, made anew when the tables are looked at again.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use arrow::array::{AsArray as _, Int32Array};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::context::{PgCatalogContextProvider, Role};
use datafusion_postgres::datafusion_pg_catalog::setup_pg_catalog;
use datafusion_postgres::hooks::cursor::CursorStatementHook;
use datafusion_postgres::hooks::set_show::SetShowHook;
use datafusion_postgres::hooks::transactions::TransactionStatementHook;
use datafusion_postgres::pgwire::api::Type;
use datafusion_postgres::{DfSessionService, QueryHook};
use tokio::sync::Mutex;
use wsp_schemas::store::Store;

use super::Options;
use super::guard::{Guard, Reader};
use super::workers::Workers;
use crate::one_line::one_line;
use crate::session::{self, Resources};
use crate::views::{self, QueryError};

/// A store has this long to say what its tables are now.
const LOOK: Duration = Duration::from_secs(5);

/// The catalog that clients see as their database.
const DATABASE: &str = "datafusion";

/// What runs statements.
pub(super) struct Sessions {
    store: Store,
    resources: Resources,
    /// One for all, so that all share its limits.
    runtime: Arc<RuntimeEnv>,
    workers: Workers,
    refresh: Duration,
    roles: Roles,
    now: RwLock<Opened>,
    /// Held by whoever looks at the tables.
    looking: Mutex<()>,
}

#[derive(Clone)]
struct Opened {
    service: Arc<DfSessionService>,
    at: Instant,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Sessions {
    pub(super) async fn open(store: &Store, options: &Options) -> Result<Self, QueryError> {
        let resources =
            Resources { memory: Some(options.memory), spill: Some(options.spill), ..Resources::default() };
        let runtime = session::runtime(&resources)?;
        let roles =
            Roles(options.login.as_ref().map_or_else(|| "wsp".to_owned(), |login| login.user.clone()));
        let workers = Workers::start().map_err(DataFusionError::IoError)?;
        let service = service(store, &resources, &runtime, &workers, &roles).await?;
        Ok(Self {
            store: store.clone(),
            resources,
            runtime,
            workers,
            refresh: options.refresh,
            roles,
            now: RwLock::new(Opened { service, at: Instant::now() }),
            looking: Mutex::new(()),
        })
    }

    /// Bytes that statements hold.
    pub(super) fn memory(&self) -> usize {
        self.runtime.memory_pool.reserved()
    }

    fn now(&self) -> Opened {
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The newest session that there is.
    pub(super) fn latest(&self) -> Arc<DfSessionService> {
        self.now().service
    }

    /// The session for a statement: of now, or nearly. Where the store does not answer, the one before.
    pub(super) async fn current(&self) -> Arc<DfSessionService> {
        let now = self.now();
        if now.at.elapsed() < self.refresh {
            return now.service;
        }
        // One looks, the others go on with what there is.
        let Ok(_looking) = self.looking.try_lock() else { return now.service };
        let opened = service(&self.store, &self.resources, &self.runtime, &self.workers, &self.roles);
        let shown_as_before = |why: &str| {
            tracing::warn!("the tables could not be looked at, and are shown as they were: {why}");
            Arc::clone(&now.service)
        };
        let service = match tokio::time::timeout(LOOK, opened).await {
            Ok(Ok(service)) => service,
            Ok(Err(error)) => shown_as_before(&one_line(&error)),
            Err(_) => shown_as_before("the store does not answer"),
        };
        *self.now.write().unwrap_or_else(PoisonError::into_inner) =
            Opened { service: Arc::clone(&service), at: Instant::now() };
        service
    }
}

async fn service(
    store: &Store,
    resources: &Resources,
    runtime: &Arc<RuntimeEnv>,
    workers: &Workers,
    roles: &Roles,
) -> Result<Arc<DfSessionService>, QueryError> {
    let context = session::within(resources, Arc::clone(runtime))?;
    views::fill(&context, store).await?;
    setup_pg_catalog(&context, DATABASE, roles.clone()).map_err(|error| *error)?;
    context.register_udf(version());
    context.register_udf(to_regtype());
    super::catalogue::functions().for_each(|function| context.register_udf(function));
    if let Some(rule) = workers.rule() {
        let state = context.state_ref();
        let widened = SessionStateBuilder::new_from_existing(state.read().clone());
        let widened = widened.with_physical_optimizer_rule(rule).build();
        *state.write() = widened;
    }
    let hooks: Vec<Arc<dyn QueryHook>> = vec![
        Arc::new(Guard),
        Arc::new(CursorStatementHook),
        Arc::new(SetShowHook),
        Arc::new(TransactionStatementHook),
        Arc::new(Reader),
    ];
    Ok(Arc::new(DfSessionService::new_with_hooks(Arc::new(context), hooks)))
}

/// Clients look for the version of the PostgreSQL that they talk to.
fn version() -> ScalarUDF {
    let text = concat!("PostgreSQL 16.6 (wsp ", env!("CARGO_PKG_VERSION"), ", read-only)");
    let answer = move |_: &[ColumnarValue]| Ok(ColumnarValue::Scalar(ScalarValue::from(text)));
    create_udf("version", Vec::new(), DataType::Utf8, Volatility::Immutable, Arc::new(answer))
}

/// Clients ask by name which types there are; null where there is none of that name.
fn to_regtype() -> ScalarUDF {
    let known: HashMap<String, i32> = (1..10_000_u32)
        .filter_map(|oid| Some((Type::from_oid(oid)?.name().to_owned(), i32::try_from(oid).ok()?)))
        .collect();
    let answer = move |names: &[ColumnarValue]| {
        let names = ColumnarValue::values_to_arrays(names)?;
        let names = names.first().map(|names| names.as_string::<i32>());
        let oids = names.into_iter().flatten().map(|name| known.get(name?).copied());
        Ok(ColumnarValue::Array(Arc::new(oids.collect::<Int32Array>())))
    };
    create_udf("to_regtype", vec![DataType::Utf8], DataType::Int32, Volatility::Immutable, Arc::new(answer))
}

/// The only role: it reads.
#[derive(Debug, Clone)]
struct Roles(String);

#[async_trait::async_trait]
impl PgCatalogContextProvider for Roles {
    async fn roles(&self) -> Vec<String> {
        vec![self.0.clone()]
    }

    async fn role(&self, name: &str) -> Option<Role> {
        (name == self.0).then(|| Role {
            name: self.0.clone(),
            is_superuser: false,
            can_login: true,
            can_create_db: false,
            can_create_role: false,
            can_create_user: false,
            can_replication: false,
            grants: Vec::new(),
            inherited_roles: Vec::new(),
        })
    }
}
