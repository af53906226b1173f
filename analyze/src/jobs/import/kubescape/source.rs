//! Where, when and how well a container was recorded: all that is read of an object's metadata.

use chrono::{DateTime, Datelike as _, TimeDelta, Utc};
use wsp_schemas::snapshot::Completeness;

use super::object::Metadata;
use crate::jobs::import::Cluster;

/// Length of a window whose start the object does not tell: that of a recorder's windows.
const NOMINAL_WINDOW: TimeDelta = TimeDelta::minutes(30);

/// The statuses of a recording that is going on or ended well. Of the others (`too-large`, `incomplete`, `failed`,
/// `missing-runtime`, `unauthorize`, none at all) it is not known what they miss.
const SOUND: [&str; 3] = ["initializing", "ready", "completed"];

/// What the metadata of an object say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    /// The cluster.
    pub(super) host: String,
    /// Namespace of the workload, where told.
    pub(super) namespace: Option<String>,
    /// `namespace/kind/name` of the workload.
    place: String,
    /// What tells two recordings of one place apart.
    recording: String,
    /// The container that a ContainerProfile is about.
    container: Option<String>,
    pub(super) window: Window,
    pub(super) completeness: Completeness,
}

/// Start and end of a window, whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) start: DateTime<Utc>,
    pub(super) end: DateTime<Utc>,
    /// The object is the first report of its recording, or its only one.
    first: bool,
}

/// Metadata that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SourceError {
    #[error("it has neither the annotation kubescape.io/report-timestamp nor metadata.creationTimestamp")]
    NoTime,
    #[error("{field} is no time: `{text}`")]
    Time { field: &'static str, text: String },
    #[error("its window from {start} to {end} is empty, ends before it starts, or is longer than 24 days")]
    Window { start: DateTime<Utc>, end: DateTime<Utc> },
}

impl Source {
    /// Reads the metadata of an object of the file with that name (without its extension).
    pub(super) fn read(metadata: &Metadata, stem: &str, cluster: Cluster) -> Result<Self, SourceError> {
        let wlid = metadata.kubescape("wlid").and_then(|wlid| wlid.strip_prefix("wlid://"));
        let named = wlid.and_then(|wlid| part(wlid, "cluster-")).filter(|_| cluster == Cluster::Annotation);
        let instance = metadata.kubescape("instance-id");
        let namespace = instance
            .and_then(|instance| part(instance, "namespace-"))
            .or_else(|| wlid.and_then(|wlid| part(wlid, "namespace-")))
            .or(metadata.namespace.as_deref())
            .filter(|namespace| !namespace.is_empty());
        let of_instance = instance
            .and_then(|instance| Some(format!("{}/{}", part(instance, "kind-")?, part(instance, "name-")?)));
        let workload = of_instance
            .or_else(|| wlid.and_then(|wlid| wlid.split('/').nth(2)).map(|last| last.replacen('-', "/", 1)))
            .or_else(|| metadata.name.clone())
            .unwrap_or_default();
        let window = Window::read(metadata)?;
        Ok(Self {
            host: named.unwrap_or(stem).to_owned(),
            namespace: namespace.map(str::to_owned),
            place: format!("{}/{workload}", namespace.unwrap_or_default()),
            recording: metadata
                .kubescape("report-series-id")
                .or_else(|| metadata.kubescape("workload-resource-version"))
                .unwrap_or(stem)
                .to_owned(),
            container: metadata
                .kubescape("workload-container-name")
                .or_else(|| instance.and_then(|instance| part(instance, "containerName-")))
                .map(str::to_owned),
            window,
            completeness: completeness(metadata, window),
        })
    }

    /// The name of a container of the object.
    pub(super) fn container_name(&self, own: Option<&str>) -> Option<String> {
        own.filter(|name| !name.is_empty()).map(str::to_owned).or_else(|| self.container.clone())
    }

    /// The id of a container of the object: the same for all objects about it, and for no other container of the cluster.
    pub(super) fn container_id(&self, name: Option<&str>) -> String {
        format!("{}/{}@{}", self.place, name.unwrap_or_default(), self.recording)
    }

    /// The container's first exec is in the window.
    pub(super) fn covers_start(&self) -> bool {
        self.completeness == Completeness::Complete
    }
}

impl Window {
    fn read(metadata: &Metadata) -> Result<Self, SourceError> {
        let report = time("kubescape.io/report-timestamp", metadata.kubescape("report-timestamp"))?;
        let previous =
            time("kubescape.io/previous-report-timestamp", metadata.kubescape("previous-report-timestamp"))?;
        let created = || time("metadata.creationTimestamp", metadata.creation_timestamp.as_deref());
        let (end, previous) = match report {
            Some(end) => (end, previous),
            None => (created()?.ok_or(SourceError::NoTime)?, None),
        };
        let start = previous.unwrap_or(end - NOMINAL_WINDOW);
        let length = (end - start).num_milliseconds();
        if length < 1 || i32::try_from(length).is_err() {
            return Err(SourceError::Window { start, end });
        }
        Ok(Self { start, end, first: previous.is_none() })
    }
}

/// The value of the part of a `/`-separated text that starts with a prefix.
fn part<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    text.split('/').find_map(|part| part.strip_prefix(prefix)).filter(|value| !value.is_empty())
}

/// Reads a time as Go prints or Kubernetes writes it, to whole milliseconds; Go's zero time is none.
fn time(field: &'static str, text: Option<&str>) -> Result<Option<DateTime<Utc>>, SourceError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    // Go adds the zone's name and the monotonic clock: `2025-06-24 10:29:46.810421941 +0000 UTC m=+66.976503851`.
    let go: Vec<&str> = text.split(' ').take(3).collect();
    let parsed = DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(&go.join(" "), "%Y-%m-%d %H:%M:%S%.f %z"));
    let time = parsed.map_err(|_| SourceError::Time { field, text: text.to_owned() })?.with_timezone(&Utc);
    // Object keys have years of four digits.
    if time.year() > 9999 {
        return Err(SourceError::Time { field, text: text.to_owned() });
    }
    let millis = DateTime::from_timestamp_millis(time.timestamp_millis());
    Ok(millis.filter(|time| time.timestamp_millis() > 0))
}

fn completeness(metadata: &Metadata, window: Window) -> Completeness {
    if !metadata.kubescape("status").is_some_and(|status| SOUND.contains(&status)) {
        return Completeness::Lossy;
    }
    // Later reports of one recording only have what is new.
    if metadata.kubescape("completion") == Some("complete") && window.first {
        Completeness::Complete
    } else {
        Completeness::JoinedLate
    }
}
