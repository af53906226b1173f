//! Static pages in a folder: to look at from there, to mail, or to put into a bucket.

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
    prepare(folder)?;
    progress.stage("reading profiles");
    let gatherer = Gatherer::open(source).await?;
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
        root: root.to_owned(),
        mode,
        only_image,
        page,
    }
}

/// Makes the folder. One that holds anything else than a report is refused, and nothing of it touched.
fn prepare(folder: &Path) -> Result<(), ExplorerError> {
    let pages = folder.join(FOLDER);
    std::fs::create_dir_all(&pages).map_err(failed(&pages))?;
    let mut old = own_files(folder, |name| [PROFILES, SIGNALS].contains(&name), FOLDER)?;
    old.extend(own_files(&pages, |name| page_name(name).is_some(), "")?);
    // Pages of profiles that are no longer there, and the mark that a report is whole.
    old.iter().try_for_each(|path| std::fs::remove_file(path).map_err(failed(path)))
}

/// The files of a folder, which are all of a report; `folder` may be there beside them.
fn own_files(of: &Path, is_own: impl Fn(&str) -> bool, folder: &str) -> Result<Vec<PathBuf>, ExplorerError> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(of).map_err(failed(of))? {
        let entry = entry.map_err(failed(of))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_file = entry.file_type().map_err(failed(of))?.is_file();
        match (is_file, &*name) {
            (true, name) if is_own(name) => files.push(entry.path()),
            (false, name) if name == folder => {}
            (_, name) => {
                return Err(ExplorerError::Occupied {
                    folder: of.display().to_string(),
                    other: name.to_owned(),
                });
            }
        }
    }
    Ok(files)
}

/// Key and revision of the profile that a page is of.
pub(super) fn page_name(name: &str) -> Option<(WorkloadKey, i32)> {
    let (key, revision) = name.strip_suffix(".html")?.split_once('-')?;
    Some((WorkloadKey::parse(key)?, revision.parse().ok()?))
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
        prepare(&report).unwrap();
        let (index, page) = (report.join(PROFILES), report.join(FOLDER).join("00112233445566ff-1.html"));
        let make = || [&index, &page].map(|path| std::fs::write(path, "old").unwrap());
        make();
        prepare(&report).unwrap();
        assert!(!index.exists() && !page.exists());
        for other in [report.join("thesis.txt"), report.join(FOLDER).join("nginx.conf"), report.join("more")]
        {
            make();
            if other.extension().is_some() {
                std::fs::write(&other, "years of work").unwrap();
            } else {
                std::fs::create_dir(&other).unwrap();
            }
            let name = other.file_name().unwrap().to_str().unwrap();
            assert!(prepare(&report).unwrap_err().to_string().contains(name));
            assert!(index.exists() && page.exists() && other.exists());
            let _ = std::fs::remove_file(&other);
        }
    }
}
