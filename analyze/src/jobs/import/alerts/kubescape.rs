//! Alerts of Kubescape's node agent, as its standard output and its exporters have them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use wsp_schemas::identity::multi_call_argv0;
use wsp_schemas::snapshot::Image;
use wsp_schemas::text::RawText;

use super::attributes::{Attributes, summary};
use super::falco::is_runtime;
use super::{Alert, AlertProcess, Read, Severity, Source, Target, name};
use crate::jobs::import::{access, image, values};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Record {
    #[serde(rename = "BaseRuntimeMetadata")]
    base: Option<Base>,
    #[serde(rename = "RuleID")]
    rule: Option<String>,
    #[serde(rename = "RuntimeK8sDetails")]
    place: Option<Place>,
    #[serde(rename = "RuntimeProcessDetails")]
    processes: Option<Processes>,
    event: Option<Event>,
    message: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Base {
    alert_name: Option<String>,
    arguments: Option<Map<String, Value>>,
    #[serde(rename = "infectedPID")]
    infected_pid: Option<u32>,
    severity: Option<i64>,
    timestamp: Option<String>,
    #[serde(rename = "uniqueID")]
    unique_id: Option<String>,
    md5_hash: Option<String>,
    sha1_hash: Option<String>,
    profile_metadata: Option<Profile>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Profile {
    name: Option<String>,
    status: Option<String>,
    completion: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Place {
    cluster_name: Option<String>,
    container_name: Option<String>,
    #[serde(rename = "containerID")]
    container_id: Option<String>,
    namespace: Option<String>,
    pod_namespace: Option<String>,
    pod_name: Option<String>,
    #[serde(rename = "podUID")]
    pod_uid: Option<String>,
    node_name: Option<String>,
    image: Option<String>,
    image_digest: Option<String>,
    workload_name: Option<String>,
    workload_kind: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Processes {
    process_tree: Option<Process>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Process {
    pid: Option<u32>,
    cmdline: Option<String>,
    comm: Option<String>,
    pcomm: Option<String>,
    uid: Option<u32>,
    cwd: Option<String>,
    path: Option<String>,
    /// By name and pid.
    #[serde(rename = "childrenMap")]
    children_map: Option<BTreeMap<String, Process>>,
    /// Of older versions.
    children: Option<Vec<Process>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Event {
    k8s: Option<Kubernetes>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Kubernetes {
    node: Option<String>,
}

pub(super) fn read(id: String, record: Value) -> Result<Read, String> {
    let record = Record::deserialize(record).map_err(|error| error.to_string())?;
    let Some(base) = &record.base else {
        return Ok(Read::Other("it is no alert: a line of the agent's log"));
    };
    alert(id, &record, base).map(|alert| Read::Alert(Box::new(alert)))
}

fn alert(id: String, record: &Record, base: &Base) -> Result<Alert, String> {
    let rule = record.rule.as_deref().filter(|rule| !rule.is_empty()).or(base.alert_name.as_deref());
    let rule = rule.ok_or("it has neither a rule's id nor a name")?;
    let time = values::time("timestamp", base.timestamp.as_deref().ok_or("it has no timestamp")?)?;
    let mut alert = Alert::new(Source::Kubescape, id, rule, severity(base.severity.unwrap_or(0)), time)?;
    let empty = Place::default();
    let place = record.place.as_ref().unwrap_or(&empty);
    alert.set_image(image_of(place)?);
    alert.container_id = name("containerID", place.container_id.as_deref())?;
    alert.container_name = name("containerName", place.container_name.as_deref())?;
    let node = record.event.as_ref().and_then(|event| event.k8s.as_ref()?.node.as_deref());
    alert.host = name("the node's name", place.node_name.as_deref().or(node))?;
    alert.set_labels([
        ("io.kubernetes.container.name", place.container_name.as_deref()),
        ("io.kubernetes.pod.name", place.pod_name.as_deref()),
        ("io.kubernetes.pod.namespace", place.pod_namespace.as_deref().or(place.namespace.as_deref())),
        ("io.kubernetes.pod.uid", place.pod_uid.as_deref()),
    ])?;
    let none = Map::new();
    let arguments = base.arguments.as_ref().unwrap_or(&none);
    let tree = record.processes.as_ref().and_then(|processes| processes.process_tree.as_ref());
    let line = tree.map(|tree| lineage(tree, base.infected_pid)).unwrap_or_default();
    alert.process = process(&line, arguments)?;
    alert.target = target(arguments)?;
    let text = record.message.as_deref().or(base.alert_name.as_deref()).unwrap_or(rule);
    let commands: Vec<&str> = line.iter().filter_map(|process| process.cmdline.as_deref()).collect();
    alert.summary = summary(text, &commands, arguments.get("path").and_then(Value::as_str));
    alert.attributes = attributes(base, place, arguments);
    Ok(alert)
}

/// Its priorities are 1, 5, 8 and 10, with some in between.
fn severity(priority: i64) -> Severity {
    match priority {
        10.. => Severity::Critical,
        8.. => Severity::High,
        5.. => Severity::Medium,
        _ => Severity::Low,
    }
}

/// The digest beside the image is, with some runtimes, the id of its configuration: only one that stands in the reference is taken.
fn image_of(place: &Place) -> Result<Image, String> {
    image::told(&[place.image.as_deref()])
}

/// From the top of the tree down to the process that did it; nothing where that is not in it.
fn lineage(tree: &Process, pid: Option<u32>) -> Vec<&Process> {
    let Some(pid) = pid else { return Vec::new() };
    let mut line = Vec::new();
    // The parser bounds the depth.
    fn find<'a>(process: &'a Process, pid: u32, line: &mut Vec<&'a Process>) -> bool {
        line.push(process);
        let by_name = process.children_map.iter().flat_map(BTreeMap::values);
        let found = process.pid == Some(pid)
            || by_name.chain(process.children.iter().flatten()).any(|child| find(child, pid, line));
        if !found {
            line.pop();
        }
        found
    }
    find(tree, pid, &mut line);
    line
}

fn process(line: &[&Process], arguments: &Map<String, Value>) -> Result<Option<AlertProcess>, String> {
    let Some((process, above)) = line.split_last() else { return Ok(None) };
    let path = |text: Option<&str>| values::path("a process's path", text.unwrap_or_default());
    let task = |text: Option<&str>| {
        let name = values::raw("a process's name", text.unwrap_or_default(), values::NAME_BYTES)?;
        Ok::<_, String>(Some(name).filter(|name| !name.is_empty()))
    };
    let exe = path(process.path.as_deref())?;
    // An exec is told with its arguments one by one.
    let told: Option<Vec<RawText>> = arguments
        .get("args")
        .filter(|_| arguments.contains_key("exec"))
        .and_then(Value::as_array)
        .map(|args| args.iter().filter_map(Value::as_str).map(Into::into).collect());
    let argv = match told {
        Some(argv) if !argv.is_empty() => argv,
        _ => values::words("a command line", process.cmdline.as_deref().unwrap_or_default())?,
    };
    let mut ancestors = Vec::new();
    let outside = line.first().and_then(|top| top.pcomm.as_deref());
    let outside = task(outside)?;
    let mut is_whole = outside.as_ref().is_some_and(is_runtime);
    ancestors.extend(outside.filter(|_| !is_whole));
    for process in above {
        let known = path(process.path.as_deref())?;
        let known = if known.is_none() { task(process.comm.as_deref())? } else { known };
        match known {
            Some(known) => ancestors.push(known),
            // What is above it does not follow on what is below.
            None => {
                ancestors.clear();
                is_whole = false;
            }
        }
    }
    let argv0 = exe.as_ref().zip(argv.first());
    Ok(Some(AlertProcess {
        ancestors: values::folded(ancestors, exe.as_ref()),
        root: None,
        is_whole,
        argv0: argv0.and_then(|(exe, argv0)| multi_call_argv0(exe.as_bytes(), argv0.as_bytes())),
        args: values::command_line(&argv),
        name: task(process.comm.as_deref())?,
        uid: process.uid,
        cwd: path(process.cwd.as_deref())?,
        exe,
    }))
}

fn target(arguments: &Map<String, Value>) -> Result<Option<Target>, String> {
    let text = |key: &str| arguments.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    if text("exec").is_some() {
        return Ok(None);
    }
    if let Some(path) = text("path") {
        let flags = arguments.get("flags").and_then(Value::as_array);
        let access = access::of_flags(flags.into_iter().flatten().filter_map(Value::as_str));
        return Ok(values::path("the file's path", path)?.map(|path| Target::File { path, access }));
    }
    if let Some(capability) = text("capability") {
        let capability = capability.strip_prefix("CAP_").unwrap_or(capability);
        return Ok(values::name("the capability", capability, 64)?.map(Target::Capability));
    }
    if let Some(domain) = text("domain") {
        let domain = domain.strip_suffix('.').unwrap_or(domain).to_lowercase();
        let name = values::raw("the domain", &domain, values::NAME_BYTES)?;
        return Ok(Some(Target::Dns { name, rtype: None }));
    }
    if let Some(ip) = text("ip").or_else(|| text("dstIP")) {
        let ip: std::net::IpAddr =
            ip.parse().map_err(|_| format!("`{}` is no address", values::shortened(ip, 64)))?;
        let port = arguments.get("port").or_else(|| arguments.get("dstPort"));
        let port = port.and_then(Value::as_u64).unwrap_or(0);
        let port = u16::try_from(port).map_err(|_| format!("{port} is no port"))?;
        let protocol = text("proto").or_else(|| text("protocol")).unwrap_or("unknown").to_lowercase();
        let protocol = values::name("the protocol", &protocol, 32)?.unwrap_or_default();
        let address = ip.to_canonical().to_string().as_str().into();
        return Ok(Some(Target::Connect { protocol, address, port }));
    }
    Ok(text("syscall")
        .map(|name| values::name("the system call", name, 64))
        .transpose()?
        .flatten()
        .map(Target::Syscall))
}

fn attributes(base: &Base, place: &Place, arguments: &Map<String, Value>) -> BTreeMap<String, String> {
    let mut attributes = Attributes::default();
    attributes.add_fields(arguments);
    let profile = base.profile_metadata.as_ref();
    for (key, value) in [
        ("alertName", base.alert_name.as_deref()),
        ("uniqueID", base.unique_id.as_deref()),
        ("md5Hash", base.md5_hash.as_deref()),
        ("sha1Hash", base.sha1_hash.as_deref()),
        ("severity", base.severity.map(|severity| severity.to_string()).as_deref()),
        ("profile", profile.and_then(|profile| profile.name.as_deref())),
        ("profileStatus", profile.and_then(|profile| profile.status.as_deref())),
        ("profileCompletion", profile.and_then(|profile| profile.completion.as_deref())),
        ("imageDigest", place.image_digest.as_deref()),
        ("clusterName", place.cluster_name.as_deref()),
        ("workloadName", place.workload_name.as_deref()),
        ("workloadKind", place.workload_kind.as_deref()),
    ] {
        attributes.add(key, value);
    }
    attributes.finish()
}
