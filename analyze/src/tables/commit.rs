use std::collections::HashMap;

use arrow::array::RecordBatch;
use deltalake_core::DeltaTableError;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties, TransactionError};
use deltalake_core::kernel::{Action, Transaction};
use deltalake_core::protocol::{DeltaOperation, SaveMode};

use super::{OpenTable, TableError, file};

/// What one commit does to a table.
#[derive(Debug, Default)]
pub struct Change {
    actions: Vec<Action>,
    predicates: Vec<String>,
    transactions: Vec<Transaction>,
    metadata: Vec<(String, serde_json::Value)>,
}

impl Change {
    /// Takes the present files of a partition out.
    pub fn remove(
        &mut self,
        table: &OpenTable,
        select: impl Fn(&HashMap<String, Option<String>>) -> bool,
    ) -> Result<(), TableError> {
        let files = table.state()?.log_data();
        let removed = files.iter().filter(|file| select(&file.partition_values_map()));
        self.actions.extend(removed.map(|file| Action::Remove(file.remove_action(true))));
        Ok(())
    }

    /// Writes a data file and adds it. A batch without rows adds nothing.
    pub async fn add(
        &mut self,
        table: &OpenTable,
        partition: Vec<(String, Option<String>)>,
        batch: &RecordBatch,
    ) -> Result<(), TableError> {
        if batch.num_rows() > 0 {
            self.actions.push(Action::Add(file::write(table, partition, batch).await?));
        }
        Ok(())
    }

    /// Says that a bucket stands at a batch after this commit. Two commits for one bucket conflict.
    pub fn advance(&mut self, bucket: i32, transaction: Transaction) {
        self.predicates.push(format!("bucket = {bucket}"));
        self.transactions.push(transaction);
    }

    /// Adds commit metadata.
    pub fn note(&mut self, metadata: Vec<(String, serde_json::Value)>) {
        self.metadata.extend(metadata);
    }

    /// Commits, and gives the table at the new version.
    pub async fn commit(self, table: &OpenTable) -> Result<OpenTable, TableError> {
        let properties = CommitProperties::default()
            .with_application_transactions(self.transactions)
            .with_metadata(self.metadata);
        // Without a predicate Delta would not check the added files for conflicts at all.
        let operation = DeltaOperation::Write {
            mode: SaveMode::Overwrite,
            partition_by: Some(table.declared.partitions.iter().map(|name| (*name).to_owned()).collect()),
            predicate: Some(self.predicates.join(" OR ")),
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
            Err(source) => Err(table.failed("changed", source)),
        }
    }
}

impl Change {
    /// Nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.transactions.is_empty()
    }
}
