use arrow::array::RecordBatch;
use deltalake_core::DeltaTableError;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties, TransactionError};
use deltalake_core::kernel::{Action, Add, Remove, Transaction};
use deltalake_core::protocol::{DeltaOperation, SaveMode};

use super::file::DataFile;
use super::writer::{Encoded, Written};
use super::{OpenTable, Partition, TableError};

/// What one commit does to a table.
#[derive(Debug, Default)]
pub struct Change {
    actions: Vec<Action>,
    predicates: Vec<String>,
    transactions: Vec<Transaction>,
    metadata: Vec<(String, serde_json::Value)>,
    bytes: u64,
    /// Values stay as they are: only files change.
    is_rewrite: bool,
}

impl Change {
    /// A change of files that changes no value.
    pub fn rewrite() -> Self {
        Self { is_rewrite: true, ..Self::default() }
    }

    /// Takes a file out.
    pub fn remove(&mut self, file: &DataFile) {
        self.actions.push(Action::Remove(Remove { data_change: !self.is_rewrite, ..file.remove() }));
    }

    /// Writes a data file and adds it. A batch without rows adds nothing.
    pub async fn add(
        &mut self,
        table: &OpenTable,
        partition: Partition,
        batch: &RecordBatch,
    ) -> Result<(), TableError> {
        if batch.num_rows() > 0 {
            self.add_written(Encoded::of(table.declared, partition, batch)?.write(&table.folder()).await?);
        }
        Ok(())
    }

    /// Adds a data file that was written for it.
    pub fn add_written(&mut self, file: Written) {
        self.bytes += file.bytes();
        let Written(add) = file;
        self.actions.push(Action::Add(Add { data_change: !self.is_rewrite, ..add }));
    }

    /// Bytes of the files that it adds.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Says that a bucket stands at a batch after this commit. Two commits for one bucket conflict.
    pub fn advance(&mut self, bucket: i32, transaction: Transaction) {
        self.predicates.push(format!("bucket = {bucket}"));
        self.transactions.push(transaction);
    }

    /// Sets another application transaction. Two commits that set the same one conflict.
    pub fn set(&mut self, transaction: Transaction) {
        self.transactions.push(transaction);
    }

    /// Adds commit metadata.
    pub fn note(&mut self, metadata: Vec<(String, serde_json::Value)>) {
        self.metadata.extend(metadata);
    }

    /// Commits, and gives the table at the new version.
    pub async fn commit(self, table: &OpenTable) -> Result<OpenTable, TableError> {
        self.commit_with(table, CommitProperties::default()).await
    }

    /// As [`Change::commit`], but conflicts with any other commit: the new version is the one that follows the opened one.
    pub async fn commit_next(self, table: &OpenTable) -> Result<OpenTable, TableError> {
        self.commit_with(table, CommitProperties::default().with_max_retries(0)).await
    }

    async fn commit_with(
        self,
        table: &OpenTable,
        properties: CommitProperties,
    ) -> Result<OpenTable, TableError> {
        let properties =
            properties.with_application_transactions(self.transactions).with_metadata(self.metadata);
        // Without a predicate Delta would not check the added files for conflicts at all.
        let operation = DeltaOperation::Write {
            mode: SaveMode::Overwrite,
            partition_by: Some(table.declared.partitions.iter().map(|name| (*name).to_owned()).collect()),
            predicate: Some(if self.predicates.is_empty() {
                "false".to_owned()
            } else {
                self.predicates.join(" OR ")
            }),
        };
        let state = table.state()?;
        let committed = CommitBuilder::from(properties)
            .with_actions(self.actions)
            .build(Some(state), table.delta.log_store(), operation)
            .await;
        match committed {
            Ok(committed) => {
                let mut next = table.clone();
                next.delta.state = Some(committed.snapshot());
                Ok(next)
            }
            Err(DeltaTableError::Transaction {
                source: TransactionError::CommitConflict(_) | TransactionError::MaxCommitAttempts(_),
            }) => Err(TableError::Conflict { table: table.declared.name, store: table.store.to_string() }),
            // The store may have taken the commit all the same: who goes on must look.
            Err(source) => Err(TableError::Uncertain {
                table: table.declared.name,
                store: table.store.to_string(),
                source: Box::new(source),
            }),
        }
    }
}

impl Change {
    /// Nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.transactions.is_empty()
    }
}
