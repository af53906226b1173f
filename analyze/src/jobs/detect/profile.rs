//! The profile that snapshots are judged by, made for looking nodes up.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher as _, Hash};
use std::sync::OnceLock;

use regex::Regex;
use serde::{Deserialize, Serialize};
use wsp_schemas::identity::{self, Kind, NodeId, RootKind};
use wsp_schemas::image::WorkloadKey;

use crate::functions::MemberSet;
use crate::jobs::merge::fold::{self, Template};
use crate::node::{Identity, target};
use crate::rows::Reader;
use crate::tables::{DataFile, FileRef, Folder, ProfileTables, Selection, TableError};

/// Columns that are read.
const COLUMNS: [&str; 27] = [
    "workload_key",
    "revision",
    "node_id",
    "parent_id",
    "kind",
    "exe",
    "path",
    "dns_name",
    "dns_type",
    "protocol",
    "address",
    "port",
    "name",
    "root_kind",
    "script",
    "shebang",
    "argv0",
    "lineage_complete",
    "container_count",
    "host_count",
    "eligible_containers",
    "commonality",
    "collapsed_into",
    "pattern",
    "overflow",
    "rare",
    "members",
];

/// One revision of a workload's profile, as its row in `profiles` says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Revision {
    pub(crate) number: i32,
    pub(crate) is_stable: bool,
    pub(crate) digests: Vec<String>,
    /// By kind: share of the containers with a lossless snapshot of it.
    pub(crate) completeness: BTreeMap<String, f64>,
    pub(crate) snapshots: i32,
    pub(crate) containers: i32,
    pub(crate) hosts: i32,
    pub(crate) coverage: Option<f64>,
}

/// More names than this of one place that look alike, one container each, are a crowd, where they are numbers and at least half of the
/// containers have one; a template is fitted on the first half of them, and must explain the second, as folds do.
const FEW: usize = 10;

/// The newest revision of every workload.
pub(crate) async fn revisions(tables: &ProfileTables) -> Result<HashMap<WorkloadKey, Revision>, TableError> {
    const COLUMNS: [&str; 9] = [
        "workload_key",
        "revision",
        "status",
        "digests",
        "completeness",
        "snapshot_count",
        "container_count",
        "host_count",
        "coverage",
    ];
    let mut revisions: HashMap<WorkloadKey, Revision> = HashMap::new();
    let select = Selection { columns: Some(&COLUMNS), workloads: None };
    for file in tables.profiles.files()? {
        for batch in tables.profiles.read(&file, select).await? {
            let read = Reader::new(&batch);
            for row in 0..batch.num_rows() {
                let key = read.text("workload_key", row).and_then(WorkloadKey::parse);
                let (Some(key), Some(number)) = (key, read.int32("revision", row)) else { continue };
                if revisions.get(&key).is_some_and(|known| known.number >= number) {
                    continue;
                }
                let revision = Revision {
                    number,
                    is_stable: read.text("status", row) == Some("stable"),
                    digests: read.text_list("digests", row),
                    completeness: read.float_map("completeness", row),
                    snapshots: read.int32("snapshot_count", row).unwrap_or_default(),
                    containers: read.int32("container_count", row).unwrap_or_default(),
                    hosts: read.int32("host_count", row).unwrap_or_default(),
                    coverage: read.float("coverage", row),
                };
                revisions.insert(key, revision);
            }
        }
    }
    Ok(revisions)
}

/// How a node was found in a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum How {
    /// By its id.
    Id,
    /// It is folded into a pattern, or its name matches one's.
    Pattern,
    /// By the executables of its lineage, as far as another tool tells them, and target.
    Lineage,
    /// By executable and target, where the lineage is not known for certain.
    Target,
}

impl How {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Pattern => "pattern",
            Self::Lineage => "lineage",
            Self::Target => "target",
        }
    }
}

/// A node of a profile.
#[derive(Debug, Clone)]
pub(crate) struct ProfileNode {
    pub(crate) id: NodeId,
    pub(crate) commonality: Option<f64>,
    pub(crate) containers: i32,
    pub(crate) hosts: i32,
    pub(crate) eligible: i32,
    /// Of a row that stands for others: what their names look like.
    pub(crate) pattern: Option<String>,
    /// The pattern, once it was asked; none where it is none.
    regex: OnceLock<Option<Box<Regex>>>,
    lineage_complete: bool,
    collapsed_into: Option<NodeId>,
    /// What it hangs from.
    parent: Option<NodeId>,
    /// Of a process.
    exe: Option<Box<str>>,
    pub(crate) argv0: Option<Box<str>>,
    /// Of a process that a `#!` line chose.
    pub(crate) script: Option<Box<str>>,
    /// Of a root.
    pub(crate) root_kind: Option<RootKind>,
}

/// Siblings of one kind below one process (none: roots): the place among them.
type Place = (Kind, Option<NodeId>, String, String);

/// A profile.
#[derive(Debug)]
pub(crate) struct Profile {
    pub(crate) revision: Revision,
    nodes: Vec<ProfileNode>,
    // Keys are hashes, or come from containers: seeded at random.
    by_id: HashMap<NodeId, usize, foldhash::fast::RandomState>,
    patterns: HashMap<Place, Vec<usize>>,
    /// The same whatever process they hang from.
    loose_patterns: HashMap<(Kind, String, String), Vec<usize>>,
    by_target: HashMap<u64, Vec<usize>, foldhash::fast::RandomState>,
    /// What names of siblings look like where nearly each container has one of its own, in crowds that are too small to be folded.
    expected: HashMap<Place, Vec<Template>>,
    /// Files and names that one container had, until the crowds among them are known.
    rare: HashMap<Place, Vec<(String, u32)>>,
    /// Places of which the profile does not keep all siblings.
    overflowed: HashSet<Place>,
    /// Processes by their executables.
    programs: HashMap<String, Vec<usize>>,
    folders: HashSet<u64, foldhash::fast::RandomState>,
    state: foldhash::fast::RandomState,
}

/// What a sibling is called among the others of its place.
pub(crate) struct Sibling<'a> {
    pub(crate) identity: Identity<'a>,
    /// Of a process.
    pub(crate) root_kind: Option<&'a str>,
    pub(crate) script: Option<&'a str>,
}

impl Profile {
    fn new(revision: Revision) -> Self {
        Self {
            revision,
            nodes: Vec::new(),
            by_id: HashMap::default(),
            patterns: HashMap::new(),
            loose_patterns: HashMap::new(),
            by_target: HashMap::default(),
            expected: HashMap::new(),
            rare: HashMap::new(),
            overflowed: HashSet::new(),
            programs: HashMap::new(),
            folders: HashSet::default(),
            state: foldhash::fast::RandomState::default(),
        }
    }

    fn reserve(&mut self, rows: usize) {
        self.nodes.reserve(rows);
        self.by_id.reserve(rows);
        self.by_target.reserve(rows);
    }

    fn add(&mut self, read: &Reader<'_>, row: usize) {
        let id = |name| read.bytes(name, row).and_then(|bytes| bytes.try_into().ok()).map(NodeId::from_bytes);
        let kind = read.text("kind", row).and_then(Kind::parse);
        let (Some(node_id), Some(kind)) = (id("node_id"), kind) else { return };
        let text = |name| read.text(name, row);
        let is_process = kind == Kind::Process;
        let is_shebang = read.bool("shebang", row) == Some(true);
        let identity = Identity::read(kind, text, is_shebang, read.int32("port", row));
        let sibling = Sibling { identity, root_kind: text("root_kind"), script: text("script") };
        let at = self.nodes.len();
        self.nodes.push(ProfileNode {
            id: node_id,
            commonality: read.float("commonality", row),
            containers: read.int32("container_count", row).unwrap_or_default(),
            hosts: read.int32("host_count", row).unwrap_or_default(),
            eligible: read.int32("eligible_containers", row).unwrap_or_default(),
            pattern: text("pattern").map(str::to_owned),
            regex: OnceLock::new(),
            lineage_complete: read.bool("lineage_complete", row).unwrap_or_default(),
            collapsed_into: id("collapsed_into"),
            parent: id("parent_id"),
            exe: identity.exe.filter(|_| is_process).map(Into::into),
            argv0: identity.argv0.map(Into::into),
            script: identity.script.map(Into::into),
            root_kind: text("root_kind").and_then(RootKind::parse),
        });
        self.by_id.insert(node_id, at);
        let place = || sibling.place(id("parent_id"));
        if read.int64("overflow", row).is_some()
            && let Some((place, _)) = place()
        {
            self.overflowed.insert(place);
        }
        match text("pattern") {
            Some(_) => {
                // What is folded below several folded processes is found by its id.
                if let Some((place, _)) = place() {
                    let loose = (place.0, identity.exe.unwrap_or_default().to_owned(), place.3.clone());
                    let loose = if is_process { (place.0, String::new(), place.3.clone()) } else { loose };
                    self.loose_patterns.entry(loose).or_default().push(at);
                    self.patterns.entry(place).or_default().push(at);
                }
            }
            None => {
                let is_rare = read.bool("rare", row) == Some(true) && id("collapsed_into").is_none();
                if is_rare
                    && matches!(kind, Kind::File | Kind::Dns)
                    && let Some(Ok(members)) = read.bytes("members", row).map(MemberSet::from_bytes)
                    && let Some((place, name)) = place()
                {
                    let first = members.iter().next().unwrap_or_default();
                    self.rare.entry(place).or_default().push((name.to_owned(), first));
                }
                self.by_target.entry(self.target_hash(&identity)).or_default().push(at);
                if let Some(exe) = identity.exe.filter(|_| is_process) {
                    self.programs.entry(exe.to_owned()).or_default().push(at);
                }
                if let Some(folder) = folder_of(&identity) {
                    self.folders.insert(self.hash(&(identity.exe, folder)));
                }
            }
        }
    }

    /// To be called once all rows are in.
    fn finish(mut self) -> Self {
        let half = u32::try_from(self.revision.snapshots / 2).unwrap_or_default();
        for (place, names) in std::mem::take(&mut self.rare) {
            let siblings: Vec<fold::Sibling<'_>> = names
                .iter()
                .map(|(name, first)| fold::Sibling { name, is_rare: true, first: *first })
                .collect();
            let of_each = usize::try_from(self.revision.containers / 2).unwrap_or_default();
            let templates: Vec<Template> = fold::crowds(&siblings, half, FEW)
                .into_iter()
                .filter(|(template, names)| template.is_of_numbers() && names.len() >= of_each)
                .map(|(template, _)| template)
                .collect();
            if !templates.is_empty() {
                self.expected.insert(place, templates);
            }
        }
        self
    }

    /// Whether a file or a name is one of a crowd of which nearly each container has one of its own.
    pub(crate) fn is_expected(&self, sibling: &Sibling<'_>, parent: Option<NodeId>) -> bool {
        let Some((place, name)) = sibling.place(parent) else { return false };
        self.expected.get(&place).is_some_and(|templates| templates.iter().any(|one| one.matches(name)))
    }

    fn hash(&self, value: &impl Hash) -> u64 {
        self.state.hash_one(value)
    }

    fn target_hash(&self, identity: &Identity<'_>) -> u64 {
        self.hash(&(identity.kind, identity.exe, target(identity)))
    }

    /// A node, by its place in the profile.
    pub(crate) fn node(&self, at: usize) -> &ProfileNode {
        &self.nodes[at]
    }

    /// The row that speaks for a node: what it is folded into, where it is.
    fn speaker(&self, at: usize) -> (usize, How) {
        let into = self.nodes[at].collapsed_into.and_then(|id| self.by_id.get(&id));
        into.map_or((at, How::Id), |into| (*into, How::Pattern))
    }

    /// The row of an id.
    pub(crate) fn by_id(&self, id: NodeId) -> Option<(usize, How)> {
        self.by_id.get(&id).map(|at| self.speaker(*at))
    }

    /// The pattern that a name matches, below a process as it is shown.
    pub(crate) fn by_pattern(&self, sibling: &Sibling<'_>, parent: Option<NodeId>) -> Option<usize> {
        let (place, name) = sibling.place(parent)?;
        self.matching(self.patterns.get(&place)?, name)
    }

    /// Whether the profile does not keep all siblings of a place, so that it says nothing about others.
    pub(crate) fn is_overflowed(&self, sibling: &Sibling<'_>, parent: Option<NodeId>) -> bool {
        !self.overflowed.is_empty()
            && sibling.place(parent).is_some_and(|(place, _)| self.overflowed.contains(&place))
    }

    /// A row with the same executable and target, wherever it hangs. Where the lineage is known for certain, only one whose own
    /// is not.
    pub(crate) fn by_target(&self, sibling: &Sibling<'_>, lineage_complete: bool) -> Option<usize> {
        // How a root entered is certain, however late it was seen.
        let root = sibling.root_kind.and_then(RootKind::parse);
        let may = |at: &usize| {
            (!lineage_complete || !self.nodes[*at].lineage_complete)
                && (root.is_none() || self.nodes[*at].root_kind.is_none_or(|kind| Some(kind) == root))
        };
        let rows = self.by_target.get(&self.target_hash(&sibling.identity));
        let rows = rows.into_iter().flatten().copied().filter(may).map(|at| self.speaker(at).0);
        // Of several, the least common one: it claims the least.
        let share = |at: &usize| self.nodes[*at].commonality.unwrap_or_default();
        if let Some(at) = rows.min_by(|a, b| share(a).total_cmp(&share(b))) {
            return Some(at);
        }
        let (place, name) = sibling.place(None)?;
        let exe = match sibling.identity.kind {
            Kind::Process => String::new(),
            _ => sibling.identity.exe.unwrap_or_default().to_owned(),
        };
        self.matching(self.loose_patterns.get(&(place.0, exe, place.3))?, name).filter(may)
    }

    /// The first of some patterns that a name matches.
    fn matching(&self, patterns: &[usize], name: &str) -> Option<usize> {
        patterns.iter().copied().find(|at| self.nodes[*at].matches(name))
    }

    /// Processes of an executable, with what is above each, the nearest first.
    pub(crate) fn processes(&self, exe: &str) -> impl Iterator<Item = (usize, Vec<&ProfileNode>)> {
        let rows = self.programs.get(exe).into_iter().flatten();
        rows.map(|at| (*at, self.above(*at)))
    }

    fn above(&self, at: usize) -> Vec<&ProfileNode> {
        let parent = |at: usize| self.by_id.get(&self.nodes[at].parent?).copied();
        // Ids are hashes over their parents': there are no circles; a bound costs nothing.
        let rows = std::iter::successors(parent(at), |at| parent(*at)).take(identity::MAX_DEPTH as usize + 2);
        rows.map(|at| &self.nodes[at]).collect()
    }

    /// What a process did: the row of it, or of the pattern that its name matches.
    pub(crate) fn fact_of(&self, process: usize, sibling: &Sibling<'_>) -> Option<usize> {
        let process = self.nodes[process].id;
        let rows = self.by_target.get(&self.target_hash(&sibling.identity));
        let own = rows.into_iter().flatten().find(|at| self.nodes[**at].parent == Some(process));
        own.map(|at| self.speaker(*at).0).or_else(|| self.by_pattern(sibling, Some(process)))
    }

    /// Whether it saw a kind of node at all.
    pub(crate) fn sees(&self, kind: Kind) -> bool {
        self.revision.completeness.get(kind.as_str()).is_some_and(|share| *share > 0.0)
    }

    /// Whether a program ran in it, wherever in the tree.
    pub(crate) fn has_program(&self, exe: &str) -> bool {
        self.programs.contains_key(exe)
    }

    /// Whether a program used another file of the same folder.
    pub(crate) fn has_folder(&self, identity: &Identity<'_>) -> bool {
        folder_of(identity).is_some_and(|folder| self.folders.contains(&self.hash(&(identity.exe, folder))))
    }
}

fn folder_of<'a>(identity: &Identity<'a>) -> Option<&'a str> {
    if identity.kind != Kind::File {
        return None;
    }
    Some(identity.name?.rsplit_once('/')?.0)
}

impl ProfileNode {
    /// Whether a name is like those that a pattern stands for.
    fn matches(&self, name: &str) -> bool {
        let compile = || Regex::new(&format!("^(?:{})$", self.pattern.as_deref()?)).ok().map(Box::new);
        self.regex.get_or_init(compile).as_ref().is_some_and(|regex| regex.is_match(name))
    }

    /// Executable of a process.
    pub(crate) fn exe(&self) -> &str {
        self.exe.as_deref().unwrap_or_default()
    }
}

impl<'a> Sibling<'a> {
    fn place(&self, parent: Option<NodeId>) -> Option<(Place, &'a str)> {
        let (place, name) = self.identity.sibling(self.script)?;
        let root = self.root_kind.unwrap_or_default().to_owned();
        Some(((self.identity.kind, parent, root, place.into_owned()), name))
    }
}

/// Of the files of `profile_nodes` those that may hold some workloads of a bucket.
pub(crate) fn files_of(files: &[DataFile], bucket: i32, keys: &BTreeSet<String>) -> Vec<FileRef> {
    let of_bucket = files.iter().filter(|file| file.bucket() == Some(bucket));
    of_bucket.filter(|file| file.may_hold("workload_key", keys)).map(|file| file.file.clone()).collect()
}

/// The profiles of some workloads: the given revisions, from the files that hold their nodes.
pub(crate) async fn load(
    nodes: &Folder,
    files: &[FileRef],
    wanted: &BTreeMap<WorkloadKey, Revision>,
) -> Result<HashMap<WorkloadKey, Profile>, TableError> {
    let keys: BTreeSet<String> = wanted.keys().map(ToString::to_string).collect();
    let mut profiles: HashMap<WorkloadKey, Profile> =
        wanted.iter().map(|(key, revision)| (*key, Profile::new(revision.clone()))).collect();
    let select = Selection { columns: Some(&COLUMNS), workloads: Some(&keys) };
    for file in files {
        for batch in nodes.read(file, select).await? {
            let read = Reader::new(&batch);
            let mut rows: HashMap<&str, Vec<usize>> = HashMap::new();
            for row in 0..batch.num_rows() {
                if let Some(key) = read.text("workload_key", row) {
                    rows.entry(key).or_default().push(row);
                }
            }
            for (key, mut rows) in rows {
                let Some(profile) = WorkloadKey::parse(key).and_then(|key| profiles.get_mut(&key)) else {
                    continue;
                };
                rows.retain(|row| read.int32("revision", *row) == Some(profile.revision.number));
                profile.reserve(rows.len());
                rows.into_iter().for_each(|row| profile.add(&read, row));
            }
        }
    }
    Ok(profiles.into_iter().map(|(key, profile)| (key, profile.finish())).collect())
}

/// The profiles of some workloads, as far as there are any: the newest revisions.
pub(crate) async fn of_workloads(
    tables: &ProfileTables,
    keys: impl Iterator<Item = WorkloadKey>,
) -> Result<HashMap<WorkloadKey, Profile>, TableError> {
    let buckets = tables.ledger.buckets()?;
    let revisions = revisions(tables).await?;
    let mut wanted: BTreeMap<i32, BTreeMap<WorkloadKey, Revision>> = BTreeMap::new();
    for key in keys {
        if let Some(revision) = revisions.get(&key) {
            wanted.entry(key.bucket(buckets)).or_default().insert(key, revision.clone());
        }
    }
    let mut profiles = HashMap::new();
    let files = tables.nodes.files()?;
    for (bucket, wanted) in wanted {
        let keys = wanted.keys().map(ToString::to_string).collect();
        let files = files_of(&files, bucket, &keys);
        profiles.extend(load(&tables.nodes.folder(), &files, &wanted).await?);
    }
    Ok(profiles)
}
