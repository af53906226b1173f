use std::path::{Path, PathBuf};

use datafusion::prelude::SessionContext;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use include_dir::{Dir, include_dir};
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use wsp_schemas::keys;
use wsp_schemas::store::Store;

use super::file::{self, RuleError};
use super::{Origin, Rules};

static SHIPPED: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/rules");

/// Rule files of a folder or a store.
const MOST_FILES: usize = 10_000;
/// Objects that are fetched at the same time.
const AT_A_TIME: usize = 8;

/// A rule that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is no rule.
    #[error("the rule file `{path}` cannot be used")]
    Rule {
        /// The file or object.
        path: String,
        /// Why.
        #[source]
        source: RuleError,
    },
    /// The file cannot be read.
    #[error("`{path}` cannot be read")]
    Read {
        /// The file or folder.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The store does not give it.
    #[error("the rules of {store} cannot be read")]
    Store {
        /// The store.
        store: String,
        /// Why.
        #[source]
        source: object_store::Error,
    },
    /// Too many files.
    #[error("`{path}` holds more than {MOST_FILES} rule files")]
    TooMany {
        /// The folder or store.
        path: String,
    },
    /// Two files of one place have one id.
    #[error("`{path}` has the id `{id}`, which another file there has too")]
    Twice {
        /// The second file.
        path: String,
        /// The id.
        id: String,
    },
}

/// The rules of this program.
pub fn shipped(context: &SessionContext) -> Result<Rules, LoadError> {
    let is_rule = |file: &&include_dir::File<'_>| file.path().extension().is_some_and(|name| name == "toml");
    let files =
        SHIPPED.files().filter(is_rule).map(|file| (file.path().display().to_string(), file.contents()));
    let mut rules = Rules::default();
    add(context, &mut rules, files, &|_| Origin::Shipped)?;
    Ok(rules)
}

/// The rules of this program, of the store, and of files and folders: who comes later replaces what has the same id. All of
/// them are good, or none are given: a detection without a rule that somebody relies on is worse than none.
pub async fn load(
    context: &SessionContext,
    store: Option<&Store>,
    paths: &[PathBuf],
) -> Result<Rules, LoadError> {
    let mut rules = shipped(context)?;
    if let Some(store) = store {
        let files = of_store(store).await?;
        let files = files.iter().map(|(path, bytes)| (path.clone(), bytes.as_slice()));
        add(context, &mut rules, files, &|path| Origin::User(path.to_owned()))?;
    }
    for path in paths {
        let files = of_path(path)?;
        let files = files.iter().map(|(path, bytes)| (path.clone(), bytes.as_slice()));
        add(context, &mut rules, files, &|path| Origin::User(path.to_owned()))?;
    }
    Ok(rules)
}

fn add<'a>(
    context: &SessionContext,
    rules: &mut Rules,
    files: impl Iterator<Item = (String, &'a [u8])>,
    origin: &dyn Fn(&str) -> Origin,
) -> Result<(), LoadError> {
    let mut found = std::collections::BTreeSet::new();
    for (path, bytes) in files {
        let rule = file::parse(context, bytes, origin(&path));
        let rule = rule.map_err(|source| LoadError::Rule { path: path.clone(), source })?;
        if !found.insert(rule.id.clone()) {
            return Err(LoadError::Twice { path, id: rule.id });
        }
        rules.insert(rule);
    }
    Ok(())
}

/// Names and contents.
type Files = Vec<(String, Vec<u8>)>;

/// The rule files behind some paths, of folders those that are named `*.toml`.
pub fn files(paths: &[PathBuf]) -> Result<Files, LoadError> {
    let mut files = Vec::new();
    for path in paths {
        files.extend(of_path(path)?);
    }
    Ok(files)
}

async fn of_store(store: &Store) -> Result<Files, LoadError> {
    let failed = |source| LoadError::Store { store: store.to_string(), source };
    let mut objects: Vec<_> = store
        .objects
        .list(Some(&keys::RULES.into()))
        .try_filter(|object| std::future::ready(object.location.as_ref().ends_with(".toml")))
        .take(MOST_FILES + 1)
        .try_collect()
        .await
        .map_err(failed)?;
    if objects.len() > MOST_FILES {
        return Err(LoadError::TooMany { path: format!("{store}/{}", keys::RULES) });
    }
    objects.sort_by(|a, b| a.location.cmp(&b.location));
    stream::iter(objects)
        .map(|object| async move {
            let path = object.location.to_string();
            let too_large = || LoadError::Rule { path: path.clone(), source: RuleError::TooLarge };
            if object.size > file::MOST_BYTES as u64 {
                return Err(too_large());
            }
            let bytes = store.objects.get(&object.location).await.map_err(failed)?.bytes().await;
            Ok((path, bytes.map_err(failed)?.to_vec()))
        })
        .buffered(AT_A_TIME)
        .try_collect()
        .await
}

fn of_path(path: &Path) -> Result<Files, LoadError> {
    let shown = |path: &Path| path.display().to_string();
    let failed = |path: &Path, source| LoadError::Read { path: shown(path), source };
    let mut files = Vec::new();
    if path.is_dir() {
        for entry in std::fs::read_dir(path).map_err(|source| failed(path, source))? {
            let found = entry.map_err(|source| failed(path, source))?.path();
            if found.extension().is_some_and(|extension| extension == "toml") {
                files.push(found);
            }
            if files.len() > MOST_FILES {
                return Err(LoadError::TooMany { path: shown(path) });
            }
        }
        files.sort();
    } else {
        files.push(path.to_owned());
    }
    let read = |file: PathBuf| {
        use std::io::Read as _;
        let mut bytes = Vec::new();
        // One more than the limit, so that what is too large is seen to be.
        let read = std::fs::File::open(&file)
            .and_then(|open| open.take(file::MOST_BYTES as u64 + 1).read_to_end(&mut bytes));
        read.map_err(|source| failed(&file, source))?;
        Ok((shown(&file), bytes))
    };
    files.into_iter().map(read).collect()
}
