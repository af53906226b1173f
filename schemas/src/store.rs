//! Opens the store that a URL names: the one place that knows which URLs there are. Behind the feature `store`, so that
//! the format itself needs no runtime; opening does no I/O but making a local folder.
//!
//! Credentials, endpoints and options come from the environment, under the names that the providers' own tools use
//! (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ALLOW_HTTP`, `GOOGLE_SERVICE_ACCOUNT`,
//! `AZURE_STORAGE_ACCOUNT_NAME`, …).

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, path::Path as Key};
use url::Url;

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
}

/// Opens the store at a URL or folder.
pub fn open(location: &str, missing: Missing) -> Result<Store, StoreError> {
    let bad = || StoreError::Url { url: location.to_owned() };
    if !location.contains("://") {
        // `s3:bucket` and the like are mistyped URLs, not folders.
        if location.is_empty()
            || ["s3:", "gs:", "az:", "file:", "memory:"].iter().any(|scheme| location.starts_with(scheme))
        {
            return Err(bad());
        }
        return open_folder(Path::new(location), missing);
    }
    let url = Url::parse(location).map_err(|_| bad())?;
    match url.scheme() {
        "file" => open_folder(&url.to_file_path().map_err(|()| bad())?, missing),
        "memory" => {
            let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
            Ok(Store { objects: Arc::clone(&objects), root: objects, url: directory(url) })
        }
        "s3" | "s3a" | "gs" | "az" | "azure" | "abfs" | "abfss"
            if url.host_str().is_some_and(|host| !host.is_empty()) =>
        {
            open_cloud(location, url)
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

fn open_cloud(location: &str, url: Url) -> Result<Store, StoreError> {
    let failed = |source| StoreError::Client { url: location.to_owned(), source };
    let url = directory(url);
    let prefix = Key::from_url_path(url.path()).map_err(|error| failed(error.into()))?;
    let root = client(location, &url)?;
    let objects: Arc<dyn ObjectStore> = if prefix.as_ref().is_empty() {
        Arc::clone(&root)
    } else {
        Arc::new(PrefixStore::new(Arc::clone(&root), prefix))
    };
    Ok(Store { objects, root, url })
}

#[cfg(feature = "cloud")]
fn client(location: &str, url: &Url) -> Result<Arc<dyn ObjectStore>, StoreError> {
    use std::time::Duration;

    use object_store::RetryConfig;
    use object_store::aws::AmazonS3Builder;
    use object_store::azure::MicrosoftAzureBuilder;
    use object_store::gcp::GoogleCloudStorageBuilder;

    let failed = |source| StoreError::Client { url: location.to_owned(), source };
    // Long enough for a throttled or restarting server, short enough that an unreachable one is an error within a minute.
    let retry =
        RetryConfig { max_retries: 6, retry_timeout: Duration::from_secs(40), ..RetryConfig::default() };
    let bucket = format!("{}://{}", url.scheme(), url.authority());
    Ok(match url.scheme() {
        "s3" | "s3a" => {
            Arc::new(AmazonS3Builder::from_env().with_url(bucket).with_retry(retry).build().map_err(failed)?)
        }
        "gs" => Arc::new(
            GoogleCloudStorageBuilder::from_env()
                .with_url(bucket)
                .with_retry(retry)
                .build()
                .map_err(failed)?,
        ),
        _ => Arc::new(
            MicrosoftAzureBuilder::from_env().with_url(bucket).with_retry(retry).build().map_err(failed)?,
        ),
    })
}

#[cfg(not(feature = "cloud"))]
fn client(location: &str, _url: &Url) -> Result<Arc<dyn ObjectStore>, StoreError> {
    Err(StoreError::NotBuilt { url: location.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_store_says_what_is_one() {
        for location in ["", "s3:bucket", "http://x/y", "s3://", "s3:///x", "file:x", "ftp://a"] {
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
