//! How errors are told, and which exit code they get. The one place that prints them.

use std::error::Error;
use std::io::{ErrorKind, Write as _};

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use wsp_schemas::store::{Store, StoreError, advice};
use wsp_schemas::text::for_display;

use crate::jobs::backtest::BacktestError;
use crate::jobs::detect::DetectError;
use crate::jobs::merge::MergeError;
use crate::rules::LoadError;
use crate::tables::TableError;
use crate::views::QueryError;
use crate::views::guard::Refused;

/// A command that did not do its work.
#[derive(Debug)]
pub struct Failure {
    error: Box<dyn Error + Send + Sync>,
    hints: Vec<String>,
    code: u8,
}

/// The hint where nothing better is known of an error of a store.
const CHECK: &str = "check the URL, the network and the credentials";
const FAILED: u8 = 1;
const OUR_BUG: u8 = 70;

impl Failure {
    /// An error with what to do about it.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { error: error.into(), hints: Vec::new(), code: FAILED }
    }

    /// A bug that ended the command; `-vv` tells where.
    pub(super) fn panicked() -> Self {
        Self { code: OUR_BUG, ..Self::new("wsp ended unexpectedly; -vv tells where") }
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Says what to do where the operating system refused to work on a local store, and names its folder.
    #[must_use]
    pub(super) fn on(mut self, store: &Store) -> Self {
        let (Some(folder), Some(refused)) = (store.folder(), refused(&*self.error)) else { return self };
        let folder = folder.display();
        self.hints = vec![match refused {
            ErrorKind::PermissionDenied => format!(
                "the user that runs wsp must be able to read and write everything below `{folder}`: change its owner or \
                 its permissions, or run wsp as its owner"
            ),
            ErrorKind::ReadOnlyFilesystem => {
                format!("`{folder}` is on a file system that is mounted read-only")
            }
            _ => format!("the file system of `{folder}` is full: make room, and run the same command again"),
        }];
        self
    }

    /// Prints to standard error and gives the exit code.
    pub fn report(&self) -> u8 {
        // `wsp … | head` is no failure.
        if is_broken_pipe(&*self.error) {
            return 0;
        }
        let mut text = format!("error: {}\n", self.error);
        let mut shown = self.error.to_string();
        let mut source = self.error.source();
        while let Some(cause) = source {
            let message = cause.to_string();
            // Some libraries repeat their source in their own text.
            if !shown.contains(&message) {
                text += &format!("caused by: {message}\n");
                shown += &message;
            }
            source = cause.source();
        }
        let advice = advice(&*self.error);
        let hints = self.hints.iter().filter(|hint| advice.is_none() || *hint != CHECK);
        for hint in advice.iter().chain(hints) {
            text += &format!("hint: {hint}\n");
        }
        if self.code == OUR_BUG {
            text += "this is a bug in wsp: please report it with the command and the text above\n";
        }
        let safe: Vec<_> = text.lines().map(for_display).collect();
        let _ = writeln!(std::io::stderr().lock(), "{}", safe.join("\n"));
        self.code
    }
}

/// Whether nobody reads what is printed any more. What stands further down in an error is another pipe: a store's connection.
fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    let printing = match (error.downcast_ref::<std::io::Error>(), error.downcast_ref::<ArrowError>()) {
        (Some(error), _) | (_, Some(ArrowError::IoError(_, error))) => error,
        _ => return false,
    };
    printing.kind() == ErrorKind::BrokenPipe
}

/// Why the operating system refused, where that is something for people to change.
fn refused(error: &(dyn Error + 'static)) -> Option<ErrorKind> {
    use ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    io_kinds(error)
        .find(|kind| matches!(kind, PermissionDenied | ReadOnlyFilesystem | StorageFull | QuotaExceeded))
}

/// Kinds of the I/O errors among an error and its sources.
fn io_kinds<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = ErrorKind> + 'a {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
    .filter_map(|error| error.downcast_ref::<std::io::Error>().map(std::io::Error::kind))
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::new(error)
    }
}

impl From<TableError> for Failure {
    fn from(error: TableError) -> Self {
        let hint = table_hint(&error);
        let failure = Self::new(error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

fn table_hint(error: &TableError) -> Option<String> {
    match error {
        TableError::NoProfiles { store } => Some(format!(
            "`wsp merge --store {store}` makes them from its snapshots, if it is the store that wsp-capture writes to"
        )),
        TableError::Conflict { .. } => Some("run the same command again".to_owned()),
        TableError::Uncertain { .. } => Some(
            "check the store; the same command again finds out what was done, and goes on from there"
                .to_owned(),
        ),
        TableError::Dishonest { store, .. } => Some(format!(
            "two merges at the same time would both commit there, and profiles would lose snapshots without a word: take a store with \
             conditional writes (`If-None-Match: *`); `wsp store check {store}` says what else is wrong"
        )),
        TableError::Delta { .. } | TableError::Write { .. } | TableError::Untried { .. } => {
            Some(CHECK.to_owned())
        }
        TableError::File { .. } | TableError::Malformed { .. } => None,
    }
}

impl From<MergeError> for Failure {
    fn from(error: MergeError) -> Self {
        match error {
            MergeError::Table(error) => error.into(),
            error @ MergeError::List { .. } => Self::new(error).hint(CHECK).hint("nothing was changed"),
            MergeError::Engine(error) if is_exhausted(&error) => {
                Self::new(error.strip_backtrace()).hint("give it more --memory; nothing is lost or half done")
            }
            #[cfg(feature = "distributed")]
            MergeError::Cluster(error) => error.into(),
            error @ (MergeError::Engine(_) | MergeError::Rows(_)) => {
                Self { code: OUR_BUG, ..Self::new(error) }
            }
            error => Self::new(error),
        }
    }
}

impl From<DetectError> for Failure {
    fn from(error: DetectError) -> Self {
        match error {
            DetectError::Table(error) => error.into(),
            error @ DetectError::List { .. } => Self::new(error).hint(CHECK),
            error @ DetectError::Rows(_) => Self { code: OUR_BUG, ..Self::new(error) },
            error @ DetectError::Engine(_) => Self::new(error),
            #[cfg(feature = "distributed")]
            DetectError::Cluster(error) => error.into(),
        }
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        let is_store = matches!(error, LoadError::Store { .. });
        let failure = Self::new(error);
        if is_store {
            failure.hint(CHECK)
        } else {
            failure.hint("`wsp rules check FILE…` says what is wrong with rule files; without all rules nothing is judged")
        }
    }
}

fn is_exhausted(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::ResourcesExhausted(_))
}

impl From<BacktestError> for Failure {
    fn from(error: BacktestError) -> Self {
        match error {
            BacktestError::Merge(error) => error.into(),
            BacktestError::Query(error) => error.into(),
            error @ BacktestError::NoSnapshots { .. } => {
                Self::new(error).hint("is this the store that wsp-capture writes to?")
            }
            error @ BacktestError::Store { .. } => Self::new(error).hint(CHECK),
            error @ BacktestError::Members { .. } => Self { code: OUR_BUG, ..Self::new(error) },
            error @ BacktestError::Unknown { .. } => Self::new(error),
        }
    }
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Table(error) => error.into(),
            QueryError::Engine(error) => error.into(),
            #[cfg(feature = "distributed")]
            QueryError::Cluster(error) => error.into(),
        }
    }
}

#[cfg(feature = "serve")]
impl From<crate::serve::ServeError> for Failure {
    fn from(error: crate::serve::ServeError) -> Self {
        use crate::serve::ServeError;
        match error {
            ServeError::Query(error) => error.into(),
            error @ ServeError::Listen { .. } => {
                Self::new(error).hint("another address or port: --listen; port 0 takes a free one")
            }
            error @ ServeError::Tls(_) => {
                Self::new(error).hint("nothing is served without the encryption that was asked for")
            }
            error @ ServeError::Password { .. } => {
                Self::new(error).hint("the first line of --password-file is the password")
            }
        }
    }
}

impl From<DataFusionError> for Failure {
    fn from(error: DataFusionError) -> Self {
        // What a statement may not be is no matter of the engine.
        if let Some(refused) = refused_statement(&error) {
            return Self::new(refused);
        }
        // The engine shows a parser's error in its debug form.
        if let DataFusionError::SQL(error, _) = error.find_root() {
            return Self::new(error.to_string());
        }
        let internal = matches!(error.find_root(), DataFusionError::Internal(_));
        let failure = Self::new(error.strip_backtrace());
        if internal { Self { code: OUR_BUG, ..failure } } else { failure }
    }
}

fn refused_statement(error: &DataFusionError) -> Option<String> {
    let DataFusionError::External(error) = error.find_root() else { return None };
    error.downcast_ref::<Refused>().map(ToString::to_string)
}

impl From<ArrowError> for Failure {
    fn from(error: ArrowError) -> Self {
        Self { code: OUR_BUG, ..Self::new(error) }
    }
}

impl From<parquet::errors::ParquetError> for Failure {
    fn from(error: parquet::errors::ParquetError) -> Self {
        Self { code: OUR_BUG, ..Self::new(error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_pipe_that_is_printed_to_ends_in_silence() {
        let pipe = || std::io::Error::from(ErrorKind::BrokenPipe);
        assert!(is_broken_pipe(&pipe()));
        assert!(is_broken_pipe(&ArrowError::IoError("written".to_owned(), pipe())));
        assert!(!is_broken_pipe(&object_store::Error::Generic { store: "S3", source: Box::new(pipe()) }));
        assert!(!is_broken_pipe(&std::io::Error::from(ErrorKind::NotFound)));
    }
}
