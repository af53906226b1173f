//! Tables whose rows are made when somebody asks for them.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::{MemTable, TableType};
use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::Expr;

/// What makes them.
#[async_trait]
pub(super) trait Rows: Debug + Send + Sync + 'static {
    /// Their columns.
    fn schema(&self) -> SchemaRef;

    /// All of them.
    async fn rows(&self, session: &dyn Session) -> Result<RecordBatch>;
}

/// The table.
#[derive(Debug)]
pub(super) struct Made<R>(pub(super) R);

#[async_trait]
impl<R: Rows> TableProvider for Made<R> {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = self.0.rows(session).await?;
        let table = MemTable::try_new(self.0.schema(), vec![vec![rows]])?;
        table.scan(session, projection, filters, limit).await
    }
}
