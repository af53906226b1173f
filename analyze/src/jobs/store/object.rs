use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use wsp_schemas::store::Store;

use super::revision::Admitted;

/// What the store has of a snapshot.
pub(super) enum Look {
    There { size: u64, content_hash: Option<String> },
    Gone,
    Unreadable(String),
}

/// Looks at an admitted snapshot's object; `deep` reads it piece by piece.
pub(super) async fn look(store: &Store, row: &Admitted, deep: bool) -> Look {
    let Some(key) = &row.object_key else { return Look::Unreadable("the ledger has no key".to_owned()) };
    let looked = async {
        let key = Path::parse(key)?;
        if !deep {
            return Ok((store.objects.head(&key).await?.size, None));
        }
        let object = store.objects.get(&key).await?;
        let size = object.meta.size;
        let mut hash = blake3::Hasher::new();
        let mut content = object.into_stream();
        while let Some(part) = content.try_next().await? {
            hash.update(&part);
        }
        Ok((size, Some(hash.finalize().to_hex().to_string())))
    };
    match looked.await {
        Ok((size, content_hash)) => Look::There { size, content_hash },
        Err(object_store::Error::NotFound { .. }) => Look::Gone,
        Err(error) => Look::Unreadable(error.to_string()),
    }
}
