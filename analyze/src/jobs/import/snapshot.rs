//! Puts imported snapshots into a store.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::path::Path;
use object_store::{ObjectStore as _, PutMode, PutOptions};
use uuid::Uuid;
use wsp_schemas::identity::Kind;
use wsp_schemas::image::WorkloadKey;
use wsp_schemas::keys::{SnapshotId, SnapshotKey};
use wsp_schemas::snapshot::{Completeness, EncodeError, Fact, Node, SnapshotMeta, encode};
use wsp_schemas::store::Store;

use super::{ImportError, Report};

/// A snapshot as it will stand in the store.
#[derive(Debug)]
pub(super) struct File {
    key: String,
    bytes: Vec<u8>,
}

impl File {
    /// Gives the snapshot the id that follows from its content, and encodes it.
    pub(super) fn new(domain: &str, mut meta: SnapshotMeta, nodes: &[Node]) -> Result<Self, EncodeError> {
        meta.id = id(domain, &meta, nodes);
        let key = SnapshotKey {
            uploaded: meta.window_end,
            workload: meta.image.workload.as_ref().map_or(WorkloadKey::UNKEYED, |workload| workload.key()),
            window_end_ms: meta.window_end.timestamp_millis(),
            id: meta.id,
        };
        Ok(Self { key: key.path(), bytes: encode(&meta, nodes)? })
    }
}

/// Writes snapshots, some at a time. One that is there has the same content, for its id is in its key.
pub(super) async fn put(
    store: &Store,
    files: Vec<File>,
    concurrency: usize,
    report: &mut Report,
) -> Result<(), ImportError> {
    let mut results = stream::iter(files)
        .map(|File { key, bytes }| async move {
            let options = PutOptions::from(PutMode::Create);
            match store.objects.put_opts(&Path::from(key.as_str()), bytes.into(), options).await {
                Ok(_) => Ok(true),
                Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
                Err(source) => Err(ImportError::Store { store: store.to_string(), key, source }),
            }
        })
        .buffer_unordered(concurrency.max(1));
    while let Some(new) = results.try_next().await? {
        report.written += usize::from(new);
        report.present += usize::from(!new);
    }
    Ok(())
}

/// A UUID (version 8) of BLAKE3 over everything that the snapshot says. `domain` names the importer, and changes when
/// the same recording comes to mean something else.
fn id(domain: &str, meta: &SnapshotMeta, nodes: &[Node]) -> SnapshotId {
    let mut hash = Hasher(blake3::Hasher::new());
    hash.field(domain.as_bytes());
    for text in [&meta.host, &meta.container.id] {
        hash.field(text.as_bytes());
    }
    for text in [&meta.container.name, &meta.image.digest] {
        hash.list(text.iter().map(String::as_bytes));
    }
    let workload = meta.image.workload.as_ref().map(ToString::to_string);
    hash.list(workload.iter().map(String::as_bytes));
    for time in [meta.window_start, meta.window_end] {
        hash.field(&time.timestamp_millis().to_le_bytes());
    }
    hash.field(&[u8::from(meta.covers_start)]);
    for (key, value) in &meta.container.labels {
        hash.field(key.as_bytes());
        hash.field(value.as_bytes());
    }
    for (kind, state) in &meta.completeness {
        hash.field(kind.as_bytes());
        hash.field(state.as_str().as_bytes());
    }
    for node in nodes {
        hash.field(node.id().as_bytes());
        hash.field(&node.events.to_le_bytes());
        match &node.fact {
            Fact::Process(process) => hash.list(process.args.iter().map(|args| args.as_bytes())),
            Fact::File(file) => {
                hash.list(file.path_raw.iter().map(|path| path.as_bytes()));
                hash.list(file.access.iter().map(|word| word.as_bytes()));
            }
            Fact::Connect(socket) | Fact::Listen(socket) => {
                hash.list(socket.remote_ips.iter().map(String::as_bytes));
            }
            Fact::Dns { .. } | Fact::Syscall(_) | Fact::Capability(_) => {}
        }
    }
    let mut bytes = [0; 16];
    hash.0.finalize_xof().fill(&mut bytes);
    SnapshotId::new(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

/// Fields and lists of fields, each with its length before it, so that none can be shifted into another.
struct Hasher(blake3::Hasher);

impl Hasher {
    fn field(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    }

    fn list<'a>(&mut self, fields: impl ExactSizeIterator<Item = &'a [u8]>) {
        self.0.update(&(fields.len() as u64).to_le_bytes());
        fields.for_each(|field| self.field(field));
    }
}

/// The same completeness for some kinds, as the metadata have it.
pub(super) fn completeness(
    kinds: &[Kind],
    state: Completeness,
) -> std::collections::BTreeMap<String, Completeness> {
    kinds.iter().map(|kind| (kind.as_str().to_owned(), state)).collect()
}

/// Addresses that are kept behind a name, as in a recorder's files.
const REMOTE_IPS: usize = 16;

/// Adds what a second sighting says of the same node. Which of two comes first does not matter.
pub(super) fn unite(known: &mut Fact, more: Fact) {
    match (known, more) {
        (Fact::File(known), Fact::File(more)) => {
            known.access.extend(more.access);
            known.access.sort_unstable();
            known.access.dedup();
            known.path_raw = match (known.path_raw.take(), more.path_raw) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        (Fact::Connect(known), Fact::Connect(more)) => {
            known.remote_ips.extend(more.remote_ips);
            known.remote_ips.sort_unstable();
            known.remote_ips.dedup();
            known.remote_ips.truncate(REMOTE_IPS);
        }
        _ => {}
    }
}

/// The id that a snapshot has until its content is known.
pub(super) const NO_ID: SnapshotId = SnapshotId::new(Uuid::nil());
