//! Opens the store that a URL names: the one place that knows which URLs there are. Behind the feature `store`, so that
//! the format itself needs no runtime; opening does no I/O but making a local folder.
//!
//! How an object store is reached, [`Access`] says first; what it leaves open, the environment says, under the names that the
//! providers' own tools use (`AWS_ENDPOINT_URL`, `AWS_REGION`, `GOOGLE_SERVICE_ACCOUNT`, `AZURE_STORAGE_CONNECTION_STRING`, …).
//! Credentials come from the environment only.

mod access;
mod advice;
#[cfg(feature = "cloud")]
mod cloud;
mod ordered;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, path::Path as Key};
use url::Url;

use self::ordered::Ordered;

pub use self::access::{Access, Addressing};
pub use self::advice::{advice, advice_on, are_credentials_wrong, is_bucket_missing};

/// An opened store. Keys are relative to its root.
#[derive(Clone, Debug)]
pub struct Store {
    /// The objects, by keys relative to the store's root.
    pub objects: Arc<dyn ObjectStore>,
    /// The same objects, by keys relative to the root of the bucket or file system: what Delta tables are opened with.
    pub root: Arc<dyn ObjectStore>,
    /// The root, for messages and for table locations; always ends in `/`.
    pub url: Url,
}

/// A store that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not a URL of a kind that is known.
    #[error(
        "`{url}` is not a store: give a folder, file:///FOLDER, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX"
    )]
    Url {
        /// As it was given.
        url: String,
    },
    /// A kind of store that this program was built without.
    #[error("`{url}`: this program was built without cloud stores; build it with the feature `cloud`")]
    NotBuilt {
        /// As it was given.
        url: String,
    },
    /// A folder that cannot be made or opened.
    #[error("the folder `{path}` cannot be used as a store")]
    Folder {
        /// The folder.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// An option that a store of this kind has no use for.
    #[error(
        "`{option}` means nothing for the store `{url}`: {reason}; leave out the option, or {variable} in the environment"
    )]
    Option {
        /// As it is typed.
        option: &'static str,
        /// The same in the environment.
        variable: &'static str,
        /// The store, as it was given.
        url: String,
        /// Why not.
        reason: &'static str,
    },
    /// An endpoint that is no server's address.
    #[error("the endpoint `{endpoint}` of the store `{url}` {reason}")]
    Endpoint {
        /// As it was given.
        endpoint: String,
        /// The store, as it was given.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The provider's client refused its options.
    #[error("the store `{url}` cannot be opened; check the provider's environment variables")]
    Client {
        /// As it was given.
        url: String,
        /// Why.
        #[source]
        source: object_store::Error,
    },
}

/// Whether a folder that does not exist is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// It is made: for writers.
    Create,
    /// It is an error: for readers, where a mistyped path would look like an empty store.
    Refuse,
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.url.as_str().trim_end_matches('/');
        f.write_str(if text.ends_with(':') { self.url.as_str() } else { text })
    }
}

impl Store {
    /// The folder that it is, where it is one.
    pub fn folder(&self) -> Option<PathBuf> {
        (self.url.scheme() == "file").then(|| self.url.to_file_path().ok()).flatten()
    }

    /// The objects that Delta tables are opened with, and the URL of the store in them.
    ///
    /// Engines take escapes in URLs for names, and names for escapes: `a%20b` would become `a b`. Where a store's own URL has
    /// escapes that they would mistake, it is opened as if it were all there is, in an order that only folders do not keep.
    pub fn for_tables(&self) -> (Arc<dyn ObjectStore>, Url) {
        const ALONE: &str = "memory:///";
        let is_file = self.url.scheme() == "file";
        let mistaken = if is_file { "%25" } else { "%" };
        match Url::parse(ALONE) {
            Ok(alone) if self.url.path().contains(mistaken) => {
                let objects = Arc::clone(&self.objects);
                (if is_file { Arc::new(Ordered(objects)) } else { objects }, alone)
            }
            _ => (Arc::clone(&self.root), self.url.clone()),
        }
    }
}

/// Opens the store at a URL or folder, as the environment says.
pub fn open(location: &str, missing: Missing) -> Result<Store, StoreError> {
    Access::default().open(location, missing)
}

fn open_with(location: &str, access: &Access, missing: Missing) -> Result<Store, StoreError> {
    let bad = || StoreError::Url { url: location.to_owned() };
    if !location.contains("://") {
        // `s3:bucket` and the like are mistyped URLs, not folders.
        if location.is_empty()
            || ["s3:", "gs:", "az:", "file:", "memory:"].iter().any(|scheme| location.starts_with(scheme))
        {
            return Err(bad());
        }
        access.check("file", location)?;
        return open_folder(Path::new(location), missing);
    }
    // What follows `?` or `#` would be left out without a word; in a name these are `%3F` and `%23`.
    let url = Url::parse(location).ok().filter(|url| url.query().is_none() && url.fragment().is_none());
    let url = url.ok_or_else(bad)?;
    access.check(url.scheme(), location)?;
    match url.scheme() {
        "file" => open_folder(&url.to_file_path().map_err(|()| bad())?, missing),
        "memory" => {
            let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
            Ok(Store { objects: Arc::clone(&objects), root: objects, url: directory(url) })
        }
        "s3" | "s3a" | "gs" | "az" | "azure" | "abfs" | "abfss"
            if url.host_str().is_some_and(|host| !host.is_empty()) =>
        {
            open_cloud(location, url, access)
        }
        _ => Err(bad()),
    }
}

fn open_folder(path: &Path, missing: Missing) -> Result<Store, StoreError> {
    let failed = |source| StoreError::Folder { path: path.display().to_string(), source };
    if missing == Missing::Create {
        std::fs::create_dir_all(path).map_err(failed)?;
    }
    let path = path.canonicalize().map_err(failed)?;
    if !path.is_dir() {
        return Err(failed(std::io::ErrorKind::NotADirectory.into()));
    }
    let url =
        Url::from_directory_path(&path).map_err(|()| failed(std::io::ErrorKind::InvalidFilename.into()))?;
    // object_store 0.13, which DataFusion 55 holds us to, cannot sync what it writes; 0.14 can (`with_fsync`). Until then a
    // machine that loses power may lose a local store's last seconds: a reader then finds a file cut off, and says so.
    let objects = LocalFileSystem::new_with_prefix(&path)
        .map_err(|source| StoreError::Client { url: url.to_string(), source })?;
    Ok(Store { objects: Arc::new(objects), root: Arc::new(LocalFileSystem::new()), url })
}

fn directory(mut url: Url) -> Url {
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    url
}

fn open_cloud(location: &str, url: Url, access: &Access) -> Result<Store, StoreError> {
    let url = directory(url);
    let prefix = Key::from_url_path(url.path())
        .map_err(|error| StoreError::Client { url: location.to_owned(), source: error.into() })?;
    let root = client(location, &url, access)?;
    let objects: Arc<dyn ObjectStore> = if prefix.as_ref().is_empty() {
        Arc::clone(&root)
    } else {
        Arc::new(PrefixStore::new(Arc::clone(&root), prefix))
    };
    Ok(Store { objects, root, url })
}

#[cfg(feature = "cloud")]
use cloud::client;

#[cfg(not(feature = "cloud"))]
fn client(location: &str, _: &Url, _: &Access) -> Result<Arc<dyn ObjectStore>, StoreError> {
    Err(StoreError::NotBuilt { url: location.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_store_says_what_is_one() {
        for location in [
            "",
            "s3:bucket",
            "http://x/y",
            "s3://",
            "s3:///x",
            "file:x",
            "ftp://a",
            "s3://a/b?c",
            "memory:///#x",
        ] {
            let error = open(location, Missing::Create).unwrap_err();
            assert!(error.to_string().contains("s3://BUCKET/PREFIX"), "{location}: {error}");
        }
    }

    #[test]
    fn a_reader_does_not_make_a_mistyped_folder() {
        let path = std::env::temp_dir().join("wsp-no-such-store-here");
        assert!(matches!(open(&path.display().to_string(), Missing::Refuse), Err(StoreError::Folder { .. })));
        assert!(!path.exists());
    }
}
