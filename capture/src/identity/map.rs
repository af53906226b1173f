//! Names that are given by hand: a file with one JSON object a line.
//!
//! ```text
//! # comments and empty lines are skipped
//! {"container": "4f3c8a91c2d7", "image": "nginx:1.25", "name": "web-1"}
//! {"cgroup": "/machine.slice/web", "image": "registry:5000/web:2", "digest": "sha256:…", "labels": {"app": "shop"}}
//! ```
//!
//! A line names a container by its id or the start of it, or all containers at and below a cgroup. Of several that fit, the one
//! that says most wins: an id before a cgroup, a longer one before a shorter one, a later line before an earlier one. So a script can
//! append to the file. The file is read again when it has changed; where it is wrong by then, the last good content stays.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use wsp_schemas::image::Workload;
use wsp_schemas::text::for_display;

use super::{Identity, State, allowed_labels, is_hex, is_id};

/// Bytes of a map.
const MAP_BYTES: u64 = 16 << 20;
/// A map that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// It cannot be read.
    #[error("the map {} cannot be read", path.display())]
    Read {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A line says nothing that can be used.
    #[error("line {line} of the map {} names no container: {reason}", path.display())]
    Line {
        /// Where.
        path: PathBuf,
        /// Which, from 1.
        line: usize,
        /// What is wrong, and what to write.
        reason: String,
    },
}

/// One line.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    container: Option<String>,
    cgroup: Option<String>,
    image: String,
    name: Option<String>,
    digest: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// Which content of the file was read: it has changed where this has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

#[derive(Debug)]
struct Content {
    entries: Vec<Entry>,
    /// None where it could not be looked at.
    version: Option<Version>,
}

/// A map, read again when it has changed.
#[derive(Debug, Clone)]
pub(super) struct Map {
    path: PathBuf,
    content: Arc<Mutex<Content>>,
}

impl Map {
    /// Reads a map.
    pub(super) fn open(path: &Path) -> Result<Self, MapError> {
        let (entries, version) = read(path)?;
        let content = Content { entries, version: Some(version) };
        Ok(Self { path: path.to_owned(), content: Arc::new(Mutex::new(content)) })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// How many lines name containers.
    pub(super) fn lines(&self) -> usize {
        self.content().entries.len()
    }

    /// Puts what the map says of a container over what else is known of it. True where the map names it.
    pub(super) fn apply(&self, cgroup: Option<&Path>, identity: &mut Identity) -> bool {
        let content = self.content();
        let best =
            content.entries.iter().filter_map(|entry| Some((entry.rank(&identity.id, cgroup)?, entry)));
        // Of equals the last.
        let Some((_, entry)) = best.max_by_key(|(rank, _)| *rank) else { return false };
        entry.lay_over(identity);
        true
    }

    /// A container by the name that the map gives it. The id may be the start of one.
    pub(super) fn named(&self, name: &str) -> Option<Identity> {
        let content = self.content();
        let of_name = |entry: &&Entry| entry.name.as_deref() == Some(name) && entry.container.is_some();
        let entry = content.entries.iter().rfind(of_name)?;
        // The map does not tell whether it runs.
        let id = entry.container.clone()?;
        let mut identity = Identity { state: State::Unstarted, ..Identity::unknown(&id) };
        entry.lay_over(&mut identity);
        Some(identity)
    }

    /// All names that the map gives.
    pub(super) fn names(&self) -> Vec<String> {
        self.content().entries.iter().filter_map(|entry| entry.name.clone()).collect()
    }

    /// The present content. What is wrong with a new one is told once.
    fn content(&self) -> MutexGuard<'_, Content> {
        // No code that holds the lock can leave it half changed.
        let mut content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        let version = fs::metadata(&self.path).ok().map(|metadata| Version::of(&metadata));
        if version == content.version {
            return content;
        }
        content.version = version;
        match read(&self.path) {
            Ok((entries, version)) => {
                tracing::info!(map = %self.path.display(), lines = entries.len(), "the map has changed");
                *content = Content { entries, version: Some(version) };
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                tracing::warn!(%error, cause, "the map has changed, and what it said before stands");
            }
        }
        content
    }
}

impl Version {
    fn of(metadata: &Metadata) -> Self {
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Self { inode: metadata.ino(), bytes: metadata.len(), modified }
    }
}

impl Entry {
    fn parse(text: &str) -> Result<Self, String> {
        let entry: Self = serde_json::from_str(text).map_err(|error| {
            let error = error.to_string().replace(" at line 1 column ", " at column ");
            format!(
                "{error}; write one JSON object a line, like {{\"container\": \"ID\", \"image\": \"nginx:1.25\"}}"
            )
        })?;
        match (&entry.container, &entry.cgroup) {
            (Some(id), None) if !is_id(id) => {
                let id = for_display(id);
                return Err(format!("`{id}` is not the start of an id: give 12 to 64 lower-case hex digits"));
            }
            (None, Some(cgroup)) if !cgroup.starts_with('/') || cgroup.trim_matches('/').is_empty() => {
                return Err(format!(
                    "`{}` is not the path of a cgroup: begin it with `/`, below the mount, like /machine.slice/web",
                    for_display(cgroup)
                ));
            }
            (Some(_), Some(_)) | (None, None) => {
                return Err("give either `container` or `cgroup`".to_owned());
            }
            _ => {}
        }
        Workload::parse(&entry.image).map_err(|error| format!("{error}; write it like nginx:1.25"))?;
        if let Some(digest) = entry.digest.as_deref().filter(|digest| !is_digest(digest)) {
            let digest = for_display(digest);
            return Err(format!("`{digest}` is not a digest: write sha256: and 64 lower-case hex digits"));
        }
        Ok(entry)
    }

    /// How much it says about which container it means; none where it means another one.
    fn rank(&self, id: &str, cgroup: Option<&Path>) -> Option<(bool, usize)> {
        if let Some(start) = &self.container {
            return id.starts_with(start.as_str()).then_some((true, start.len()));
        }
        let top = Path::new(self.cgroup.as_deref()?.trim_matches('/'));
        let cgroup = cgroup?;
        cgroup.strip_prefix("/").unwrap_or(cgroup).starts_with(top).then(|| (false, top.components().count()))
    }

    fn lay_over(&self, identity: &mut Identity) {
        if identity.image.as_ref() != Some(&self.image) || self.digest.is_some() {
            // Another image has another digest.
            identity.digest.clone_from(&self.digest);
        }
        identity.image = Some(self.image.clone());
        if self.name.is_some() {
            identity.name.clone_from(&self.name);
        }
        identity.labels.extend(allowed_labels(self.labels.clone()));
    }
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|digits| digits.len() == 64 && is_hex(digits))
}

fn read(path: &Path) -> Result<(Vec<Entry>, Version), MapError> {
    let failed = |source| MapError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let version = Version::of(&file.metadata().map_err(failed)?);
    let mut text = String::new();
    let bytes = file.take(MAP_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if bytes as u64 > MAP_BYTES {
        let reason = format!("larger than {} MiB", MAP_BYTES >> 20);
        return Err(failed(io::Error::new(io::ErrorKind::FileTooLarge, reason)));
    }
    let lines = text.lines().enumerate().map(|(number, line)| (number + 1, line.trim()));
    let entries = lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(line, text)| {
            Entry::parse(text).map_err(|reason| MapError::Line { path: path.to_owned(), line, reason })
        })
        .collect::<Result<_, _>>()?;
    Ok((entries, version))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("map.jsonl");
        fs::write(&path, text).unwrap();
        (folder, path)
    }

    fn image(map: &Map, id: &str, cgroup: Option<&str>) -> Option<String> {
        let mut identity = Identity::unknown(id);
        map.apply(cgroup.map(Path::new), &mut identity).then_some(identity.image).flatten()
    }

    #[test]
    fn the_line_that_says_most_wins() {
        let (_folder, path) = written(
            r#"
            # by hand
            {"container": "4f3c4f3c4f3c4f3c", "image": "longer:1"}
            {"container": "4f3c4f3c4f3c", "image": "shorter:1"}
            {"cgroup": "/machine.slice/web", "image": "web:1"}
            {"cgroup": "/machine.slice", "image": "any:1"}
            {"cgroup": "/machine.slice/web/", "image": "web:2"}
            "#,
        );
        let map = Map::open(&path).unwrap();
        let (id, other) = ("4f3c".repeat(16), "ab".repeat(32));
        assert_eq!(map.lines(), 5);
        assert_eq!(image(&map, &id, Some("/machine.slice/web")).as_deref(), Some("longer:1"));
        assert_eq!(
            image(&map, &format!("4f3c4f3c4f3c{}", "0".repeat(52)), None).as_deref(),
            Some("shorter:1")
        );
        for (cgroup, image_of) in [
            ("/machine.slice/web/x", Some("web:2")),
            ("machine.slice/web", Some("web:2")),
            ("/machine.slice/webs", Some("any:1")),
            ("/system.slice", None),
        ] {
            assert_eq!(image(&map, &other, Some(cgroup)).as_deref(), image_of, "{cgroup}");
        }
    }

    #[test]
    fn what_the_map_does_not_say_stays() {
        let (_folder, path) = written(&format!(
            r#"{{"container": "{}", "image": "nginx:1", "labels": {{"app": "shop", "secret": "x"}}}}"#,
            "ab".repeat(32)
        ));
        let map = Map::open(&path).unwrap();
        let before = Identity {
            name: Some("web".to_owned()),
            image: Some("other:1".to_owned()),
            digest: Some("sha256:other".to_owned()),
            labels: [("io.kubernetes.pod.name".to_owned(), "p".to_owned())].into(),
            ..Identity::unknown(&"ab".repeat(32))
        };
        let mut after = before.clone();
        assert!(map.apply(None, &mut after));
        let labels = [("app", "shop"), ("io.kubernetes.pod.name", "p")];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        // The digest was that of another image.
        let expected = Identity { image: Some("nginx:1".to_owned()), digest: None, labels, ..before };
        assert_eq!(after, expected);
        let mut same =
            Identity { image: Some("nginx:1".to_owned()), digest: Some("d".to_owned()), ..expected };
        assert!(map.apply(None, &mut same));
        assert_eq!(same.digest.as_deref(), Some("d"));
    }

    #[test]
    fn wrong_lines_are_told_with_number_and_fix() {
        let error = |line: &str| {
            let (_folder, path) = written(&format!("# map\n\n{line}\n"));
            let text = Map::open(&path).unwrap_err().to_string();
            text.replace(&path.display().to_string(), "m")
        };
        let id = "ab".repeat(32);
        let errors = [
            "nginx".to_owned(),
            format!(r#"{{"container": "{id}"}}"#),
            format!(r#"{{"container": "{id}", "image": "a", "tag": "b"}}"#),
            r#"{"container": "web", "image": "nginx"}"#.to_owned(),
            r#"{"image": "nginx"}"#.to_owned(),
            r#"{"cgroup": "machine.slice", "image": "nginx"}"#.to_owned(),
            r#"{"cgroup": "/x", "image": "no such:image"}"#.to_owned(),
            r#"{"cgroup": "/x", "image": "nginx", "digest": "sha256:1"}"#.to_owned(),
        ]
        .map(|line| error(&line));
        insta::assert_snapshot!(errors.join("\n"), @r#"
        line 3 of the map m names no container: expected ident at column 2; write one JSON object a line, like {"container": "ID", "image": "nginx:1.25"}
        line 3 of the map m names no container: missing field `image` at column 81; write one JSON object a line, like {"container": "ID", "image": "nginx:1.25"}
        line 3 of the map m names no container: unknown field `tag`, expected one of `container`, `cgroup`, `image`, `name`, `digest`, `labels` at column 101; write one JSON object a line, like {"container": "ID", "image": "nginx:1.25"}
        line 3 of the map m names no container: `web` is not the start of an id: give 12 to 64 lower-case hex digits
        line 3 of the map m names no container: give either `container` or `cgroup`
        line 3 of the map m names no container: `machine.slice` is not the path of a cgroup: begin it with `/`, below the mount, like /machine.slice/web
        line 3 of the map m names no container: `no such:image` is not an image reference: invalid reference format; write it like nginx:1.25
        line 3 of the map m names no container: `sha256:1` is not a digest: write sha256: and 64 lower-case hex digits
        "#);
        let missing = Map::open(Path::new("/nowhere/map")).unwrap_err();
        assert_eq!(missing.to_string(), "the map /nowhere/map cannot be read");
    }

    #[test]
    fn a_changed_map_is_read_again_and_a_wrong_one_is_not_taken() {
        let (_folder, path) = written("");
        let map = Map::open(&path).unwrap();
        let id = "ab".repeat(32);
        assert_eq!(image(&map, &id, None), None);
        fs::write(&path, format!(r#"{{"container": "{id}", "image": "nginx:1"}}"#)).unwrap();
        assert_eq!(image(&map, &id, None).as_deref(), Some("nginx:1"));
        fs::write(&path, "half a li").unwrap();
        assert_eq!(image(&map, &id, None).as_deref(), Some("nginx:1"));
        fs::remove_file(&path).unwrap();
        assert_eq!(image(&map, &id, None).as_deref(), Some("nginx:1"));
        fs::write(&path, format!(r#"{{"container": "{id}", "image": "nginx:22"}}"#)).unwrap();
        assert_eq!(image(&map, &id, None).as_deref(), Some("nginx:22"));
    }
}
