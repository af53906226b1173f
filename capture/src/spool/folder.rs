//! The folder of a spool.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use wsp_schemas::keys::SnapshotKey;

use super::SpoolError;
use crate::sink::own_folder;

const WAITING: &str = "waiting";
const PARTIAL: &str = "partial";
const TAKEN: &str = "taken";

/// It is locked as long as this lives, and after a crash no longer.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Opens it, and gives what waits in it, with sizes. What is none of ours stays where it is.
    pub(super) fn open(path: &Path) -> Result<(Self, BTreeMap<SnapshotKey, u64>), SpoolError> {
        let failed = |source| SpoolError::Folder { folder: path.to_owned(), source };
        own_folder(path).map_err(failed)?;
        let lock =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path.join("lock"));
        let lock = lock.map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(SpoolError::InUse { folder: path.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        for part in [WAITING, PARTIAL, TAKEN] {
            own_folder(&path.join(part)).map_err(failed)?;
        }
        let found = Self::found(path).map_err(failed)?;
        Ok((Self { path: path.to_owned(), _lock: lock }, found))
    }

    fn found(path: &Path) -> io::Result<BTreeMap<SnapshotKey, u64>> {
        for entry in fs::read_dir(path.join(PARTIAL))? {
            fs::remove_file(entry?.path())?;
        }
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(path.join(WAITING))? {
            let entry = entry?;
            let key = entry.file_name().to_str().and_then(key_of);
            match (key, entry.file_type()?.is_file()) {
                (Some(key), true) => {
                    found.insert(key, entry.metadata()?.len());
                }
                _ => {
                    tracing::warn!(file = %entry.path().display(), "this is no snapshot: it stays in the spool");
                }
            }
        }
        Ok(found)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file that is there whole or not at all, whatever fails.
    pub(super) fn write(&self, key: &SnapshotKey, file: &[u8]) -> io::Result<()> {
        let partial = self.path.join(PARTIAL).join(name_of(key));
        let written = (|| {
            let mut out =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
            out.write_all(file)?;
            out.sync_all()?;
            fs::rename(&partial, self.waiting(key))?;
            self.sync(WAITING)
        })();
        if written.is_err() {
            // A full disk needs the room; what cannot be removed either goes at the next start.
            let _ = fs::remove_file(&partial);
        }
        written
    }

    /// Writes a page, which a full disk does not take, and removes it.
    pub(super) fn try_writing(&self) -> io::Result<()> {
        let trial = self.path.join(PARTIAL).join("trial");
        let written = fs::write(&trial, [0; 4096]);
        let removed = fs::remove_file(&trial);
        written.and(removed)
    }

    /// How many files are set aside, and their bytes.
    pub(super) fn taken(&self) -> io::Result<(u64, u64)> {
        let mut sum = (0, 0);
        for entry in fs::read_dir(self.path.join(TAKEN))? {
            sum = (sum.0 + 1, sum.1 + entry?.metadata()?.len());
        }
        Ok(sum)
    }

    pub(super) fn read(&self, key: &SnapshotKey) -> io::Result<Vec<u8>> {
        fs::read(self.waiting(key))
    }

    pub(super) fn rename(&self, key: &SnapshotKey, renewed: &SnapshotKey) -> io::Result<()> {
        fs::rename(self.waiting(key), self.waiting(renewed))?;
        self.sync(WAITING)
    }

    pub(super) fn remove(&self, key: &SnapshotKey) -> io::Result<()> {
        fs::remove_file(self.waiting(key))
    }

    /// Moves it out of the way, and says where to.
    pub(super) fn set_aside(&self, key: &SnapshotKey) -> io::Result<PathBuf> {
        let to = self.path.join(TAKEN).join(name_of(key));
        fs::rename(self.waiting(key), &to)?;
        Ok(to)
    }

    fn waiting(&self, key: &SnapshotKey) -> PathBuf {
        self.path.join(WAITING).join(name_of(key))
    }

    /// A rename is on disk once its folder is.
    fn sync(&self, part: &str) -> io::Result<()> {
        File::open(self.path.join(part))?.sync_all()
    }
}

fn name_of(key: &SnapshotKey) -> String {
    key.path().replace('/', "~")
}

fn key_of(name: &str) -> Option<SnapshotKey> {
    SnapshotKey::parse(&name.replace('~', "/")).ok()
}

/// What must hold of any name and folder: see [`crate::fuzz`].
#[cfg(all(feature = "ebpf", any(test, feature = "fuzz")))]
pub(super) mod check {
    use super::{Folder, Path, key_of, name_of};

    pub(crate) fn check_name(name: &str) {
        if let Some(key) = key_of(name) {
            assert_eq!(name_of(&key), name, "a file that is found would not be there");
        }
    }

    pub(crate) fn check_folder(path: &Path) {
        let opened = Folder::open(path);
        assert!(opened.is_ok(), "a folder of this user is refused: {opened:?}");
        if let Ok((folder, found)) = opened {
            for (key, bytes) in found {
                assert_eq!(folder.read(&key).ok().map(|file| file.len() as u64), Some(bytes));
            }
        }
    }
}
