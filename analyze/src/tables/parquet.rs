//! A table as the list of its data files, which the engine itself reads: a plan over it can go to other machines.

use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, ScalarValue, exec_datafusion_err, project_schema};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use object_store::ObjectMeta;
use wsp_schemas::keys;

use super::{DataFile, OpenTable, TableError};
use crate::session::store_url;

/// Features of a table whose files do not hold its rows as they are.
const FEATURES: [&str; 2] = ["delta.enableDeletionVectors", "delta.columnMapping.mode"];

impl OpenTable {
    /// As a DataFusion table that is a list of Parquet files, at the opened version. Which files may have what is asked for is decided
    /// where the query is planned, by the log.
    pub fn as_files(&self) -> std::result::Result<Arc<dyn TableProvider>, TableError> {
        let configuration = self.state()?.metadata().configuration();
        let is_on =
            |name: &&&str| configuration.get(**name).is_some_and(|value| value != "false" && value != "none");
        if let Some(feature) = FEATURES.iter().find(is_on) {
            return Err(self.malformed(format!("its files cannot be read as they are: `{feature}` is set")));
        }
        let declared = self.declared.arrow_schema();
        let is_partition = |field: &&FieldRef| self.declared.partitions.contains(&field.name().as_str());
        let (partitions, columns): (Vec<&FieldRef>, Vec<&FieldRef>) =
            declared.fields().iter().partition(is_partition);
        let columns = Schema::new(columns.into_iter().cloned().collect::<Vec<_>>());
        let partitions = partitions.into_iter().cloned().collect::<Vec<_>>();
        let files = TableSchema::builder(Arc::new(columns)).with_table_partition_cols(partitions).build();
        Ok(Arc::new(FileTable { table: self.clone(), schema: Arc::new(declared), files }))
    }
}

#[derive(Debug)]
struct FileTable {
    table: OpenTable,
    /// Columns in the order of the table.
    schema: SchemaRef,
    /// In the order of the engine: those of the files, then partitions.
    files: TableSchema,
}

impl FileTable {
    /// Files that may have rows for which the condition holds.
    fn files(&self, condition: Option<&Arc<dyn PhysicalExpr>>) -> Result<Vec<DataFile>> {
        let all = self.table.files().map_err(|error| exec_datafusion_err!("{error}"))?;
        let Some(condition) = condition else { return Ok(all) };
        let predicate = PruningPredicateBuilder::new()
            .with_file_schema(Arc::clone(self.files.table_schema()))
            .build(Arc::clone(condition));
        let Some(predicate) = predicate else { return Ok(all) };
        let state = self.table.state().map_err(|error| exec_datafusion_err!("{error}"))?;
        let keep = predicate.prune(&state.log_data())?;
        Ok(all.into_iter().zip(keep).filter_map(|(file, keep)| keep.then_some(file)).collect())
    }

    fn partitioned(&self, file: &DataFile) -> Result<PartitionedFile> {
        let values = self.files.table_partition_cols().iter().map(|column| {
            match file.file.partition.get(column.name()).and_then(Option::as_ref) {
                Some(value) => ScalarValue::try_from_string(value.clone(), column.data_type()),
                None => ScalarValue::try_from(column.data_type()),
            }
        });
        let location = format!("{}/{}", keys::table(self.table.declared.name), file.path());
        let meta = ObjectMeta {
            location: object_store::path::Path::parse(&location)?,
            last_modified: chrono::DateTime::UNIX_EPOCH,
            size: file.size,
            e_tag: None,
            version: None,
        };
        Ok(PartitionedFile::new_from_meta(meta).with_partition_values(values.collect::<Result<_>>()?))
    }
}

#[async_trait]
impl TableProvider for FileTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all = self.files.table_schema();
        let schema = DFSchema::try_from(Arc::clone(all))?;
        let wanted = project_schema(&self.schema, projection)?;
        let wanted = wanted.fields().iter().map(|field| all.index_of(field.name()));
        let wanted = wanted.collect::<Result<Vec<_>, _>>()?;
        let condition = conjunction(filters.iter().cloned());
        let condition = condition.map(|filter| session.create_physical_expr(filter, &schema)).transpose()?;
        // The largest first, each to the group that has least.
        let mut files = self.files(condition.as_ref())?;
        files.sort_by_key(|file| std::cmp::Reverse(file.size));
        let groups = session.config().target_partitions().min(files.len()).max(1);
        let mut groups = vec![(0, Vec::new()); groups];
        for file in &files {
            if let Some((total, mine)) = groups.iter_mut().min_by_key(|(total, _)| *total) {
                *total += file.size;
                mine.push(self.partitioned(file)?);
            }
        }
        let mut source = ParquetSource::new(self.files.clone());
        if let Some(condition) = condition {
            source = source.with_predicate(condition);
        }
        let config = FileScanConfigBuilder::new(store_url()?, Arc::new(source))
            .with_file_groups(groups.into_iter().map(|(_, files)| FileGroup::new(files)).collect())
            .with_projection_indices(Some(wanted))?
            .with_limit(limit.filter(|_| filters.is_empty()))
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}
