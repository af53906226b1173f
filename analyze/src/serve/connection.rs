//! One client: how it gets in, and what it may ask.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use datafusion::sql::sqlparser::ast::Statement;
use datafusion_postgres::pgwire::api::auth::noop::NoopStartupHandler;
use datafusion_postgres::pgwire::api::auth::sasl::SASLAuthStartupHandler;
use datafusion_postgres::pgwire::api::auth::sasl::scram::{SCRAM_ITERATIONS, ScramAuth, gen_salted_password};
use datafusion_postgres::pgwire::api::auth::{
    AuthSource, DefaultServerParameterProvider, LoginInfo, Password, StartupHandler,
};
use datafusion_postgres::pgwire::api::cancel::CancelHandler;
use datafusion_postgres::pgwire::api::portal::{Format, Portal};
use datafusion_postgres::pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler};
use datafusion_postgres::pgwire::api::results::{FieldInfo, Response};
use datafusion_postgres::pgwire::api::stmt::{QueryParser, StoredStatement};
use datafusion_postgres::pgwire::api::store::PortalStore;
use datafusion_postgres::pgwire::api::{
    ClientInfo, ClientPortalStore, DEFAULT_NAME, ErrorHandler, METADATA_USER, PgWireConnectionState,
    PgWireServerHandlers, Type,
};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::cancel::CancelRequest;
use datafusion_postgres::pgwire::messages::extendedquery::{
    Close, CloseComplete, Parse, ParseComplete, TARGET_TYPE_BYTE_PORTAL, TARGET_TYPE_BYTE_STATEMENT,
};
use datafusion_postgres::pgwire::messages::response::TransactionStatus;
use datafusion_postgres::pgwire::messages::startup::SecretKey;
use datafusion_postgres::pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use datafusion_postgres::{DfSessionService, Parser};
use futures::{Sink, SinkExt as _};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::guard::close_cursors;
use super::limits::Limits;
use super::{ServeError, Server, catalogue, error};
use crate::views::guard::check_text;

/// Statements that a client may have prepared.
const MOST_PREPARED: usize = 1_000;
/// Statements in one message: all of them begin before the first is read.
const MOST_STATEMENTS: usize = 16;

/// Who gets in.
#[derive(Clone)]
pub struct Login {
    /// Name.
    pub user: String,
    /// Password.
    pub password: String,
}

impl Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// What a password is checked with (SCRAM-SHA-256, RFC 7677): the password itself is not kept.
pub(super) struct Verifier {
    user: String,
    salt: Vec<u8>,
    salted: Vec<u8>,
}

impl Verifier {
    pub(super) fn of(login: &Login) -> Result<Self, ServeError> {
        let refuse = |reason| Err(ServeError::Password { reason });
        if login.password.is_empty() {
            return refuse("it is empty");
        }
        if login.password.contains(['\n', '\r', '\0']) {
            return refuse("it has more than one line");
        }
        let salt = uuid::Uuid::new_v4().into_bytes().to_vec();
        let salted = gen_salted_password(&login.password, &salt, SCRAM_ITERATIONS);
        Ok(Self { user: login.user.clone(), salt, salted })
    }
}

impl Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").field("user", &self.user).finish_non_exhaustive()
    }
}

#[expect(elided_lifetimes_in_paths, reason = "the trait leaves it out")]
#[async_trait]
impl AuthSource for Verifier {
    async fn get_password(&self, login: &LoginInfo) -> PgWireResult<Password> {
        if login.user() == Some(self.user.as_str()) {
            return Ok(Password::new(Some(self.salt.clone()), self.salted.clone()));
        }
        // Whoever it is goes all the way, with the same salt, and is told no more than that it was in vain.
        Ok(Password::new(Some(self.salt.clone()), uuid::Uuid::new_v4().into_bytes().repeat(2)))
    }
}

/// Statements that can be taken back, by the number and the secret of their connection.
#[derive(Debug, Default)]
pub(super) struct Running(Mutex<HashMap<i32, (SecretKey, CancellationToken)>>);

impl Running {
    fn map(&self) -> MutexGuard<'_, HashMap<i32, (SecretKey, CancellationToken)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One client.
pub(super) struct Connection {
    server: Arc<Server>,
    is_in: AtomicBool,
    place: Mutex<Option<OwnedSemaphorePermit>>,
    closed: CancellationToken,
    /// The session of a transaction: it sees the tables as they were when it began.
    pinned: tokio::sync::Mutex<Option<Arc<DfSessionService>>>,
    /// Its number, once it is in.
    number: Mutex<Option<i32>>,
    /// Statements that it prepared.
    prepared: AtomicUsize,
    /// The session that the last statement was planned in, and that of each prepared one, by its name.
    planned_last: Mutex<Weak<DfSessionService>>,
    planned: Mutex<HashMap<String, Weak<DfSessionService>>>,
}

impl Connection {
    pub(super) fn new(server: Arc<Server>, closed: CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            server,
            is_in: AtomicBool::new(false),
            place: Mutex::default(),
            closed,
            pinned: tokio::sync::Mutex::default(),
            number: Mutex::default(),
            prepared: AtomicUsize::new(0),
            planned_last: Mutex::default(),
            planned: Mutex::default(),
        })
    }

    /// Whether its client is logged in.
    pub(super) fn is_in(&self) -> bool {
        self.is_in.load(Ordering::Acquire)
    }

    pub(super) fn close(&self) {
        self.closed.cancel();
    }

    pub(super) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    fn admit<C: ClientInfo>(&self, client: &C) -> PgWireResult<()> {
        let is_near = client.socket_addr().ip().to_canonical().is_loopback();
        if self.server.options.tls.is_some() && !client.is_secure() && !is_near {
            return Err(error::fatal("28000", "connections from other hosts need SSL"));
        }
        let place = Arc::clone(&self.server.places).try_acquire_owned().map_err(|_| {
            self.server.metrics.refused.inc();
            error::fatal("53300", "sorry, too many clients already")
        })?;
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = Some(place);
        Ok(())
    }

    /// The session that a statement runs in.
    async fn service(&self, status: TransactionStatus) -> Arc<DfSessionService> {
        let mut pinned = self.pinned.lock().await;
        match (status, &*pinned) {
            (TransactionStatus::Idle, _) | (_, None) => {
                let current = self.server.sessions.current().await;
                *pinned = Some(Arc::clone(&current));
                current
            }
            (_, Some(pinned)) => Arc::clone(pinned),
        }
    }

    fn planned(&self) -> MutexGuard<'_, HashMap<String, Weak<DfSessionService>>> {
        self.planned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn planned_last(&self) -> MutexGuard<'_, Weak<DfSessionService>> {
        self.planned_last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_login(&self) -> PgWireResult<()> {
        if self.is_in() { Ok(()) } else { Err(error::fatal("28000", "no statement before the login")) }
    }

    fn begin<C: ClientInfo>(self: &Arc<Self>, client: &C) -> PgWireResult<Arc<Limits>> {
        self.check_login()?;
        let cancelled = CancellationToken::new();
        let (number, secret) = client.pid_and_secret_key();
        self.server.running.map().insert(number, (secret, cancelled.clone()));
        let most = self.server.options.statement_timeout;
        // What `datafusion-postgres` keeps of SET statement_timeout.
        let own = client.metadata().get("statement_timeout_ms").and_then(|time| time.parse().ok());
        let time = own.map(Duration::from_millis).map_or(most, |own| own.min(most));
        Ok(Limits::begin(self, &self.server.turns, &self.server.metrics, time, cancelled))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(number) = *self.number.lock().unwrap_or_else(PoisonError::into_inner) {
            self.server.running.map().remove(&number);
            self.server.metrics.connections.dec();
        }
    }
}

/// What `pgwire` asks of a connection.
pub(super) struct Handlers(pub(super) Arc<Connection>);

impl PgWireServerHandlers for Handlers {
    fn simple_query_handler(&self) -> Arc<impl SimpleQueryHandler> {
        Arc::new(Statements(Arc::clone(&self.0)))
    }

    fn extended_query_handler(&self) -> Arc<impl ExtendedQueryHandler> {
        Arc::new(Statements(Arc::clone(&self.0)))
    }

    fn startup_handler(&self) -> Arc<impl StartupHandler> {
        let by_password = self.0.server.login.as_ref().map(|login| {
            let login: Arc<dyn AuthSource> = Arc::clone(login) as Arc<dyn AuthSource>;
            SASLAuthStartupHandler::new(Arc::new(parameters())).with_scram(ScramAuth::new(login))
        });
        Arc::new(Door { connection: Arc::clone(&self.0), by_password })
    }

    fn cancel_handler(&self) -> Arc<impl CancelHandler> {
        Arc::new(Cancel(Arc::clone(&self.0.server)))
    }

    fn error_handler(&self) -> Arc<impl ErrorHandler> {
        Arc::new(Errors)
    }
}

fn parameters() -> DefaultServerParameterProvider {
    let mut parameters = DefaultServerParameterProvider::default();
    parameters.is_superuser = false;
    parameters.default_transaction_read_only = true;
    parameters
}

/// The login.
struct Door {
    connection: Arc<Connection>,
    by_password: Option<SASLAuthStartupHandler<DefaultServerParameterProvider>>,
}

/// A login without a password.
struct Open;

#[async_trait]
impl NoopStartupHandler for Open {}

#[async_trait]
impl StartupHandler for Door {
    async fn on_startup<C>(&self, client: &mut C, message: PgWireFrontendMessage) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        if matches!(message, PgWireFrontendMessage::Startup(_)) {
            self.connection.admit(client)?;
        }
        let done = match &self.by_password {
            Some(door) => door.on_startup(client, message).await,
            None => Open.on_startup(client, message).await,
        };
        // `pgwire` lets a client go on after an error that does not end its connection, and one of the login must.
        done.map_err(|failed| {
            self.connection.server.metrics.failed_logins.inc();
            error::of_login(failed)
        })?;
        if matches!(client.state(), PgWireConnectionState::ReadyForQuery) {
            let (number, _) = client.pid_and_secret_key();
            *self.connection.number.lock().unwrap_or_else(PoisonError::into_inner) = Some(number);
            self.connection.is_in.store(true, Ordering::Release);
            self.connection.server.metrics.connections.inc();
            let user = client.metadata().get(METADATA_USER).map_or("", String::as_str);
            tracing::debug!(peer = %client.socket_addr(), user = user.escape_debug().to_string(), "a client is in");
        }
        Ok(())
    }
}

/// Takes a statement back.
struct Cancel(Arc<Server>);

#[async_trait]
impl CancelHandler for Cancel {
    async fn on_cancel_request(&self, request: CancelRequest) {
        let running = self.0.running.map();
        // By value: the connection that takes back knows no protocol version yet, and so not the kind of key.
        let asked = running.get(&request.pid).filter(|(secret, _)| secret.eq_value(&request.secret_key));
        if let Some((_, cancelled)) = asked {
            cancelled.cancel();
        }
    }
}

struct Errors;

impl ErrorHandler for Errors {
    fn on_error<C: ClientInfo>(&self, client: &C, failed: &mut PgWireError) {
        error::translate(failed);
        tracing::debug!(peer = %client.socket_addr(), "statement failed: {failed}");
    }
}

/// Its statements.
struct Statements(Arc<Connection>);

/// A statement that is planned.
type Planned = <DfSessionService as ExtendedQueryHandler>::Statement;

impl Statements {
    /// A prepared query, planned again where the tables were looked at since: a plan holds them as they were.
    async fn replanned<C>(
        &self,
        client: &C,
        portal: &Portal<Planned>,
        service: &Arc<DfSessionService>,
    ) -> PgWireResult<Option<Portal<Planned>>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let statement = &portal.statement;
        let (text, Some((Statement::Query(_), _))) = &statement.statement else { return Ok(None) };
        let planned_in = self.0.planned().get(&statement.id).and_then(Weak::upgrade);
        if planned_in.is_some_and(|planned_in| Arc::ptr_eq(&planned_in, service)) {
            return Ok(None);
        }
        let parser = service.query_parser();
        let Some(planned) = parser.parse_sql(client, text, &statement.parameter_types).await? else {
            return Ok(None);
        };
        let planned = StoredStatement::new(statement.id.clone(), planned, statement.parameter_types.clone());
        let mut again = Portal::<Planned>::default();
        again.name.clone_from(&portal.name);
        again.statement = Arc::new(planned);
        again.parameter_format = portal.parameter_format.clone();
        again.parameters.clone_from(&portal.parameters);
        again.result_column_format = portal.result_column_format.clone();
        again.state = Arc::clone(&portal.state);
        Ok(Some(again))
    }
}

#[async_trait]
impl SimpleQueryHandler for Statements {
    async fn do_query<C>(&self, client: &mut C, query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let statements = check_text(query).map_err(|refused| error::refused(&refused))?;
        if statements > MOST_STATEMENTS {
            let text =
                format!("{statements} statements stand in one message; at most {MOST_STATEMENTS} are run");
            return Err(error::error("54000", text));
        }
        let limits = self.0.begin(client)?;
        let service = self.0.service(client.transaction_status()).await;
        let query = catalogue::plannable(query);
        let run = SimpleQueryHandler::do_query(service.as_ref(), client, &query);
        let done = limits.within(run).await;
        let done = done.inspect_err(|_| close_cursors(client))?;
        let mut responses = Vec::new();
        for response in done {
            responses.push(match response {
                Response::Query(query) => Response::Query(Arc::clone(&limits).rows(query).await?),
                response => response,
            });
        }
        Ok(responses)
    }
}

#[async_trait]
impl ExtendedQueryHandler for Statements {
    type Statement = Planned;
    type QueryParser = Planner;

    fn query_parser(&self) -> Arc<Planner> {
        let latest = self.0.server.sessions.latest().query_parser();
        Arc::new(Planner { connection: Arc::clone(&self.0), latest })
    }

    async fn do_query<C>(
        &self,
        client: &mut C,
        portal: &Portal<Self::Statement>,
        most_rows: usize,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let limits = self.0.begin(client)?;
        let service = self.0.service(client.transaction_status()).await;
        let replanned = limits.within(self.replanned(client, portal, &service)).await?;
        let portal = replanned.as_ref().unwrap_or(portal);
        let run = ExtendedQueryHandler::do_query(service.as_ref(), client, portal, most_rows);
        let done = limits.within(run).await;
        Ok(match done.inspect_err(|_| close_cursors(client))? {
            Response::Query(query) => Response::Query(limits.rows(query).await?),
            response => response,
        })
    }

    async fn on_parse<C>(&self, client: &mut C, message: Parse) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.clone().unwrap_or_else(|| DEFAULT_NAME.to_owned());
        let is_new = client.portal_store().get_statement(&name).is_none();
        let kept = self.0.prepared.load(Ordering::Relaxed) + usize::from(is_new);
        if kept > MOST_PREPARED {
            let text = format!("at most {MOST_PREPARED} statements can be prepared by one connection");
            return Err(error::error("53400", text));
        }
        match StoredStatement::parse(client, &message, self.query_parser()).await? {
            Some(statement) => client.portal_store().put_statement(Arc::new(statement)),
            None => client.portal_store().put_empty_statement(&name),
        }
        self.0.prepared.store(kept, Ordering::Relaxed);
        let planned_in = self.0.planned_last().clone();
        self.0.planned().insert(name, planned_in);
        client.send(PgWireBackendMessage::ParseComplete(ParseComplete::new())).await?;
        Ok(())
    }

    async fn on_close<C>(&self, client: &mut C, message: Close) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        match message.target_type {
            TARGET_TYPE_BYTE_STATEMENT => {
                let was_there = client.portal_store().get_statement(name).is_some();
                client.portal_store().rm_statement(name);
                self.0.planned().remove(name);
                let kept = self.0.prepared.load(Ordering::Relaxed);
                self.0.prepared.store(kept.saturating_sub(usize::from(was_there)), Ordering::Relaxed);
            }
            TARGET_TYPE_BYTE_PORTAL => client.portal_store().rm_portal(name),
            _ => {}
        }
        client.send(PgWireBackendMessage::CloseComplete(CloseComplete::new())).await?;
        Ok(())
    }
}

/// Plans statements that come with parameters.
struct Planner {
    connection: Arc<Connection>,
    latest: Arc<Parser>,
}

#[async_trait]
impl QueryParser for Planner {
    type Statement = Planned;

    async fn parse_sql<C>(
        &self,
        client: &C,
        sql: &str,
        types: &[Option<Type>],
    ) -> PgWireResult<Option<Self::Statement>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        self.connection.check_login()?;
        check_text(sql).map_err(|refused| error::refused(&refused))?;
        let service = self.connection.service(client.transaction_status()).await;
        *self.connection.planned_last() = Arc::downgrade(&service);
        let parser = service.query_parser();
        let sql = catalogue::plannable(sql);
        let parsed = parser.parse_sql(client, &sql, types);
        let time = self.connection.server.options.statement_timeout;
        tokio::time::timeout(time, parsed).await.unwrap_or_else(|_| Err(super::limits::timed_out()))
    }

    fn get_parameter_types(&self, statement: &Self::Statement) -> PgWireResult<Vec<Type>> {
        self.latest.get_parameter_types(statement)
    }

    fn get_result_schema(
        &self,
        statement: &Self::Statement,
        format: Option<&Format>,
    ) -> PgWireResult<Vec<FieldInfo>> {
        self.latest.get_result_schema(statement, format)
    }
}
