//! Kubescape's ApplicationProfiles, ContainerProfiles and NetworkNeighborhoods become snapshots, one a container.
//!
//! | snapshot | from |
//! |---|---|
//! | host | the cluster in `kubescape.io/wlid`; the file's name where there is none, or where asked for |
//! | container id | `namespace/kind/name/container@recording`, after `kubescape.io/instance-id` (else the wlid, else the object's name). Recording: `kubescape.io/report-series-id`, else the label `kubescape.io/workload-resource-version`, else the file's name. So an ApplicationProfile and the NetworkNeighborhood beside it are about one container, reports of one series too, and clusters of one name stay apart |
//! | image | `imageTag`, else `imageID`. A NetworkNeighborhood names none: it takes that of the same container in another object of the same import |
//! | window | from `kubescape.io/previous-report-timestamp` to `report-timestamp`; without them, 30 minutes up to `creationTimestamp` |
//! | completeness | `complete` for a first report with `kubescape.io/completion: complete`, else `joined_late`; `lossy` where `kubescape.io/status` is not one of a sound recording. For the kinds whose lists are there: null means not recorded |
//! | nodes | `execs`, `opens`, `syscalls`, `capabilities`, `egress`; see `nodes` |
//!
//! An ApplicationProfile stands for all replicas of its workload: it counts as one container.

mod document;
mod image;
mod nodes;
mod object;
mod source;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::PathBuf;

use wsp_schemas::paths;
use wsp_schemas::snapshot::{self as format, Image, Node, Sensor, SnapshotMeta};
use wsp_schemas::store::Store;

use self::object::{Container, Object};
use self::source::Source;
use super::snapshot::{File, NO_ID, completeness, put};
use super::{ImportError, Input, Limits, Options, Problem, Report, files};

/// What the ids of these snapshots are hashed with.
const DOMAIN: &str = "wsp.import.kubescape.v1";
/// Kinds of object that are imported. The internal form has none.
const KINDS: [&str; 3] = ["ApplicationProfile", "ContainerProfile", "NetworkNeighborhood"];

/// Imports files, and the files of folders.
pub async fn run(store: &Store, paths: &[PathBuf], options: &Options) -> Result<Report, ImportError> {
    let mut report = Report::default();
    let mut batch = Batch::default();
    for input in files::find(paths, files::OBJECTS, &mut report.failed) {
        let (file, limit) = (input.clone(), options.limits.file_bytes);
        // Parsing is work, and a panic in a parser must cost one file only.
        let read = tokio::task::spawn_blocking(move || {
            let bytes = file.read(limit)?;
            Ok(document::parse(&bytes))
        });
        let document = match read.await {
            Ok(Ok(document)) => document,
            Ok(Err(reason)) => {
                let reason: String = reason;
                report.failed.push(input.problem(None, &reason));
                continue;
            }
            Err(_) => {
                report.failed.push(input.problem(None, "the file makes the parser fail"));
                continue;
            }
        };
        report.files += 1;
        report.failed.extend(document.errors.into_iter().map(|reason| input.problem(None, &reason)));
        for object in document.objects {
            report.objects += 1;
            batch.object(&input, object, options, &mut report)?;
        }
        put(store, std::mem::take(&mut batch.ready), options.concurrency, &mut report).await?;
    }
    batch.finish(&mut report)?;
    put(store, batch.ready, options.concurrency, &mut report).await?;
    Ok(report)
}

/// What is known between files.
#[derive(Default)]
struct Batch {
    ready: Vec<File>,
    /// Images of the containers that objects name them for.
    images: HashMap<(String, String), Image>,
    /// Recordings whose image another object may name.
    waiting: Vec<(Problem, SnapshotMeta, Vec<Node>)>,
}

impl Batch {
    fn object(
        &mut self,
        input: &Input,
        mut object: Object,
        options: &Options,
        report: &mut Report,
    ) -> Result<(), ImportError> {
        let metadata = object.take_metadata();
        let kind = object.kind.as_deref().unwrap_or("object");
        let name = [metadata.namespace.as_deref(), metadata.name.as_deref()];
        let name: Vec<&str> = name.into_iter().flatten().collect();
        let label =
            format!("{kind} {}", if name.is_empty() { "without a name".to_owned() } else { name.join("/") });
        if object.kind.as_deref().is_some_and(|kind| !KINDS.contains(&kind)) {
            let reason = format!("only {} are imported", KINDS.join(", "));
            report.skipped.push(input.problem(Some(label), &reason));
            return Ok(());
        }
        let Some(spec) = object.spec else {
            report.failed.push(input.problem(Some(label), "it has no `spec`: it is no object of Kubescape"));
            return Ok(());
        };
        let source = match Source::read(&metadata, &input.stem, options.cluster) {
            Ok(source) => source,
            Err(error) => {
                report.failed.push(input.problem(Some(label), &error));
                return Ok(());
            }
        };
        let containers = spec.flatten();
        if containers.is_empty() {
            report.skipped.push(input.problem(Some(label.clone()), "it has no containers"));
        }
        for container in containers {
            self.container(input, &label, &source, &container, options.limits, report)?;
        }
        Ok(())
    }

    fn container(
        &mut self,
        input: &Input,
        object: &str,
        source: &Source,
        container: &Container,
        limits: Limits,
        report: &mut Report,
    ) -> Result<(), ImportError> {
        let name = source.container_name(container.name.as_deref());
        let about = match &name {
            Some(name) => format!("{object}, container {name}"),
            None => object.to_owned(),
        };
        let id = source.container_id(name.as_deref());
        let image = match image::image(container.image_tag.as_deref(), container.image_id.as_deref()) {
            Ok(image) => image,
            Err(error) => {
                report.failed.push(input.problem(Some(about), &error));
                return Ok(());
            }
        };
        // Also where it holds nothing: another object about the container may.
        if let Some(image) = &image {
            self.images.insert((source.host.clone(), id.clone()), image.clone());
        }
        if let Some(reason) = too_large(container, [&source.host, &id], limits) {
            report.failed.push(input.problem(Some(about), &reason));
            return Ok(());
        }
        let length = source.window.end - source.window.start;
        let nodes = nodes::nodes(container, i32::try_from(length.num_milliseconds()).unwrap_or(i32::MAX));
        if nodes.is_empty() {
            let listed = image.is_none() && nodes::kinds(container).is_empty();
            let reason = if listed {
                "its `spec` is empty: Kubescape leaves it out of listings, so get each object by its name"
            } else {
                "nothing is recorded in it"
            };
            report.skipped.push(input.problem(Some(about), reason));
            return Ok(());
        }
        let meta = meta(source, container, id, name, image);
        if meta.image.workload.is_some() {
            self.ready.push(File::new(DOMAIN, meta, &nodes)?);
        } else {
            let reason = "it names no image, and no imported object about the same container does: import its \
                 ApplicationProfile with it";
            self.waiting.push((input.problem(Some(about), reason), meta, nodes));
        }
        Ok(())
    }

    /// Gives images to what waits for them.
    fn finish(&mut self, report: &mut Report) -> Result<(), ImportError> {
        for (problem, mut meta, nodes) in std::mem::take(&mut self.waiting) {
            match self.images.get(&(meta.host.clone(), meta.container.id.clone())) {
                Some(image) => {
                    meta.image = image.clone();
                    self.ready.push(File::new(DOMAIN, meta, &nodes)?);
                }
                None => report.skipped.push(problem),
            }
        }
        Ok(())
    }
}

/// What would make a snapshot much larger than its object.
fn too_large(container: &Container, own: [&str; 2], limits: Limits) -> Option<String> {
    let entries = container.entries();
    if entries > limits.entries {
        return Some(format!("its lists make up to {entries} nodes, which is more than {}", limits.entries));
    }
    let longest = own.into_iter().map(str::len).chain([container.longest_peer()]).max()?;
    (longest > limits.name_bytes)
        .then(|| format!("a name in it has {longest} bytes, which is more than {}", limits.name_bytes))
}

fn meta(
    source: &Source,
    container: &Container,
    id: String,
    name: Option<String>,
    image: Option<Image>,
) -> SnapshotMeta {
    let kinds = nodes::kinds(container);
    let sensor = |kind: &wsp_schemas::identity::Kind| Sensor {
        kind: kind.as_str().to_owned(),
        hook: "kubescape".to_owned(),
    };
    let labels = [
        ("io.kubernetes.container.name", name.clone()),
        ("io.kubernetes.pod.namespace", source.namespace.clone()),
    ];
    SnapshotMeta {
        id: NO_ID,
        image: image.unwrap_or_default(),
        container: format::Container {
            id,
            name,
            started: None,
            labels: labels.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect(),
        },
        host: source.host.clone(),
        window_start: source.window.start,
        window_end: source.window.end,
        covers_start: source.covers_start(),
        writer: concat!("wsp import kubescape ", env!("CARGO_PKG_VERSION")).to_owned(),
        kernel: String::new(),
        path_rules: paths::RULES_VERSION,
        sensors: kinds.iter().map(sensor).collect(),
        completeness: completeness(&kinds, source.completeness),
        lost: Vec::new(),
        limits_hit: Vec::new(),
    }
}
