use tokio::sync::Mutex;
use wsp_schemas::store::Store;
use wsp_schemas::tables::PROFILE_SNAPSHOTS;

use super::driver::REFUSED;
use crate::one_line::one_line;
use crate::tables::{OpenTable, TableError};

/// The store that an executor was given, which must be the one that a plan is about.
#[derive(Debug)]
pub(super) struct OwnStore {
    store: Store,
    /// The ledger that was last found there.
    found: Mutex<Option<String>>,
}

/// It is another one.
#[derive(Debug, thiserror::Error)]
pub(super) enum OtherStore {
    /// As its ledger says.
    #[error(
        "this node was started with another store: {store} {found}, and the job is about the one with the ledger {expected}"
    )]
    Other {
        /// This node's.
        store: String,
        /// `has the ledger …`, `has no ledger`.
        found: String,
        /// The plan's.
        expected: String,
    },
    /// It cannot be told.
    #[error("this node cannot tell whether its store is the plan's")]
    Table(#[from] TableError),
}

impl OwnStore {
    /// The store of this node.
    pub(super) fn new(store: Store) -> Self {
        Self { store, found: Mutex::new(None) }
    }

    /// Passes where the store's ledger has this id. The id of another store may have been read before it was replaced: it is read again.
    pub(super) async fn expect(&self, ledger: Option<&str>) -> Result<(), OtherStore> {
        // A trial may have made its tables in its own memory.
        let Some(expected) = ledger else { return Ok(()) };
        let mut found = self.found.lock().await;
        if found.as_deref() == Some(expected) {
            return Ok(());
        }
        let table = OpenTable::open(&self.store, &PROFILE_SNAPSHOTS, None).await?;
        *found = table.as_ref().map(OpenTable::id).transpose()?;
        if found.as_deref() == Some(expected) {
            return Ok(());
        }
        let found = found.as_ref().map_or("has no ledger".to_owned(), |id| format!("has the ledger {id}"));
        Err(OtherStore::Other { store: self.store.to_string(), found, expected: expected.to_owned() })
    }
}

impl From<OtherStore> for datafusion::error::DataFusionError {
    fn from(error: OtherStore) -> Self {
        match error {
            OtherStore::Other { .. } => Self::Execution(format!("{REFUSED}{error}")),
            // Perhaps it can be told later.
            OtherStore::Table(_) => Self::Execution(one_line(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::merge::fixture;
    use crate::tables::ProfileTables;

    #[tokio::test]
    async fn a_store_is_known_by_its_ledger() {
        let (mine, others) = (fixture::store(), fixture::store());
        let own = OwnStore::new(mine.clone());
        own.expect(None).await.unwrap();
        let error = own.expect(Some("x")).await.unwrap_err().to_string();
        assert!(error.contains("has no ledger"), "{error}");
        let tables = ProfileTables::open_or_create(&mine, 2).await.unwrap();
        let id = tables.ledger.id().unwrap();
        own.expect(Some(&id)).await.unwrap();
        let theirs = ProfileTables::open_or_create(&others, 2).await.unwrap().ledger.id().unwrap();
        let error = own.expect(Some(&theirs)).await.unwrap_err().to_string();
        assert!(error.contains(&id) && error.contains(&theirs), "{error}");
        own.expect(Some(&id)).await.unwrap();
    }
}
