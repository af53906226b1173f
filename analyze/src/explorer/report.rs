//! Static pages in a folder: to look at from there, to mail, or to put into a bucket.

use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use wsp_schemas::image::WorkloadKey;

use super::contract::{Document, FORMAT, Mode, Page};
use super::gather::Gatherer;
use super::{ExplorerError, Source, page};
use crate::jobs::Progress;

/// Profiles whose pages are made at the same time.
const AT_A_TIME: usize = 2;
/// Bytes within which a page says that it is one.
const MARK_WITHIN: u64 = 1024;
/// Pages, by their names in the folder.
pub(super) const PROFILES: &str = "index.html";
pub(super) const SIGNALS: &str = "signals.html";
pub(super) const FOLDER: &str = "profiles";

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Pages.
    pub pages: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// Writes the pages of a source into a folder that is new, empty, or holds an earlier report.
pub async fn write(
    source: &Source,
    folder: &Path,
    now: DateTime<Utc>,
    progress: &dyn Progress,
) -> Result<Written, ExplorerError> {
    let old = own_pages(folder)?;
    progress.stage("reading profiles");
    let gatherer = Gatherer::open(source).await?;
    // Not before there is something to write; what follows replaces what was there.
    prepare(folder, &old)?;
    let profiles: Vec<(String, i32)> =
        gatherer.profiles().map(|profile| (profile.key.clone(), profile.revision)).collect();
    progress.total(profiles.len() as u64 + 2, "pages");
    let document = |root: &str, page| document(source, gatherer.only(), root, Mode::Report, now, page);
    let mut written = Written::default();
    let mut count = |bytes: u64| {
        written.pages += 1;
        written.bytes += bytes;
        progress.done(1);
    };
    let mut pages = stream::iter(&profiles)
        .map(|(key, revision)| {
            let (gatherer, document) = (&gatherer, &document);
            async move {
                let Some(page) = gatherer.profile_page(key, *revision).await? else { return Ok(0) };
                let name = format!("{key}-{revision}.html");
                save(&folder.join(FOLDER).join(name), &document("../", Page::Profile(Box::new(page)))).await
            }
        })
        .buffer_unordered(AT_A_TIME);
    while let Some(bytes) = pages.try_next().await? {
        count(bytes);
    }
    drop(pages);
    let signals = gatherer.signals_page().await?;
    count(save(&folder.join(SIGNALS), &document("", Page::Signals(signals))).await?);
    // Last: a folder with it is a whole report.
    count(save(&folder.join(PROFILES), &document("", Page::Profiles(gatherer.profiles_page()))).await?);
    Ok(written)
}

/// A page with what all pages say.
pub(super) fn document(
    source: &Source,
    only_image: Option<String>,
    root: &str,
    mode: Mode,
    now: DateTime<Utc>,
    page: Page,
) -> Document {
    Document {
        format: FORMAT,
        writer: concat!("wsp ", env!("CARGO_PKG_VERSION")).to_owned(),
        generated_at: super::gather::rfc3339(now),
        store: source.store.to_string(),
        store_arguments: shlex::try_join(source.arguments.iter().map(String::as_str)).unwrap_or_default(),
        root: root.to_owned(),
        mode,
        only_image,
        page,
    }
}

/// The pages of an earlier report. A folder that holds anything else is refused, and nothing of it touched.
fn own_pages(folder: &Path) -> Result<Vec<PathBuf>, ExplorerError> {
    let mut old = Vec::new();
    for (of, is_own, below) in [
        (folder.to_owned(), (|name| [PROFILES, SIGNALS].contains(&name)) as fn(&str) -> bool, FOLDER),
        (folder.join(FOLDER), |name| page_name(name).is_some(), ""),
    ] {
        let entries = match std::fs::read_dir(&of) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(&of)(error)),
        };
        for entry in entries {
            let entry = entry.map_err(failed(&of))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            // A link is neither: what it leads to is somebody else's.
            let kind = entry.file_type().map_err(failed(&of))?;
            if kind.is_file() && is_own(&name) && is_page(&entry.path()).map_err(failed(&entry.path()))? {
                old.push(entry.path());
            } else if !(kind.is_dir() && name == below) {
                let (folder, other) = (of.display().to_string(), name.into_owned());
                return Err(ExplorerError::Occupied { folder, other });
            }
        }
    }
    Ok(old)
}

/// Whether a file begins as our pages do.
fn is_page(path: &Path) -> std::io::Result<bool> {
    let mut start = Vec::new();
    std::fs::File::open(path)?.take(MARK_WITHIN).read_to_end(&mut start)?;
    Ok(String::from_utf8_lossy(&start).contains(page::MARK))
}

/// Makes the folders, without the pages of profiles that are no longer there, and without the mark that a report is whole.
fn prepare(folder: &Path, old: &[PathBuf]) -> Result<(), ExplorerError> {
    let pages = folder.join(FOLDER);
    std::fs::create_dir_all(&pages).map_err(failed(&pages))?;
    old.iter().try_for_each(|path| std::fs::remove_file(path).map_err(failed(path)))
}

/// Key and revision of the profile that a page is of.
pub(super) fn page_name(name: &str) -> Option<(WorkloadKey, i32)> {
    let (key, revision) = name.strip_suffix(".html")?.split_once('-')?;
    let (key, revision) = (WorkloadKey::parse(key)?, revision.parse().ok()?);
    // One page has one name.
    (name == format!("{key}-{revision}.html")).then_some((key, revision))
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> ExplorerError {
    let path = path.display().to_string();
    move |source| ExplorerError::Write { path: path.clone(), source }
}

async fn save(path: &Path, document: &Document) -> Result<u64, ExplorerError> {
    let text = page::html(document)?;
    let bytes = text.len() as u64;
    tokio::fs::write(path, text).await.map_err(failed(path))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_something_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let report = folder.path().join("report");
        let page = format!("<!doctype html>{}", page::MARK);
        let (index, profile) = (report.join(PROFILES), report.join(FOLDER).join("00112233445566ff-1.html"));
        prepare(&report, &own_pages(&report).unwrap()).unwrap();
        let make = || [&index, &profile].map(|path| std::fs::write(path, &page).unwrap());
        make();
        prepare(&report, &own_pages(&report).unwrap()).unwrap();
        assert!(!index.exists() && !profile.exists());
        make();
        for other in [
            "thesis.txt",
            "signals.html",
            "profiles/nginx.conf",
            "profiles/00112233445566ff-2.html",
            "profiles/00112233445566ff-01.html",
            "more/x",
        ] {
            let other = report.join(other);
            std::fs::create_dir_all(other.parent().unwrap()).unwrap();
            std::fs::write(&other, "years of work").unwrap();
            let refused = own_pages(&report).unwrap_err().to_string();
            assert!(refused.contains("which is of no report"), "{refused}");
            std::fs::remove_file(&other).unwrap();
            let _ = std::fs::remove_dir(report.join("more"));
        }
        assert_eq!(own_pages(&report).unwrap().len(), 2);
        // Nothing is made in a folder that is refused, and links are not followed.
        let elsewhere = folder.path().join("elsewhere");
        std::fs::create_dir(&elsewhere).unwrap();
        std::os::unix::fs::symlink(&report, elsewhere.join(FOLDER)).unwrap();
        assert!(own_pages(&elsewhere).unwrap_err().to_string().contains(FOLDER));
        assert!(!elsewhere.join(PROFILES).exists());
    }
}
