//! Events of Tetragon's policies.
//!
//! Tetragon grades nothing: what a policy only reports is `medium`, what it acted on is `high`.

use serde::Deserialize as _;
use serde_json::Value;
use wsp_schemas::identity::RootKind;

use super::attributes::{Attributes, summary};
use super::{Alert, AlertProcess, Read, Severity, Source, Target, name};
use crate::jobs::import::tetragon::event::{Event, Kind, Process, Record};
use crate::jobs::import::tetragon::facts::facts;
use crate::jobs::import::tetragon::program::Program;
use crate::jobs::import::{access, image, values};

pub(super) fn read(id: String, record: Value) -> Result<Read, String> {
    let mut record = Record::deserialize(record).map_err(|error| error.to_string())?;
    let Some((kind, event)) = record.take_event() else {
        let reason = if record.is_about_itself() {
            "it is about Tetragon itself"
        } else {
            "it is no event of Tetragon"
        };
        return Ok(Read::Other(reason));
    };
    if !matches!(kind, Kind::Kprobe | Kind::Lsm | Kind::Tracepoint | Kind::Uprobe | Kind::Usdt) {
        return Ok(Read::Other("the event is not of a policy"));
    }
    alert(id, &record, kind, &event).map(|alert| Read::Alert(Box::new(alert)))
}

fn alert(id: String, record: &Record, kind: Kind, event: &Event) -> Result<Alert, String> {
    let told = |text: &Option<String>| text.as_deref().filter(|text| !text.is_empty()).map(str::to_owned);
    let tracepoint =
        event.subsys.as_ref().zip(event.event.as_ref()).map(|(subsys, event)| format!("{subsys}/{event}"));
    let hook = told(&event.function_name).or(tracepoint).or_else(|| told(&event.symbol));
    let rule = told(&event.policy_name)
        .or_else(|| hook.clone())
        .ok_or("it names neither a policy nor a function")?;
    let process = event.process.as_ref().ok_or("it has no process")?;
    let acts = |action: &Option<String>| {
        let passive = ["KPROBE_ACTION_POST", "KPROBE_ACTION_UNKNOWN", "KPROBE_ACTION_NOPOST", ""];
        action.as_deref().is_some_and(|action| !passive.contains(&action))
    };
    let severity =
        if acts(&event.action) || acts(&event.return_action) { Severity::High } else { Severity::Medium };
    let time = record.time.as_deref().ok_or("it has no time")?;
    let mut alert = Alert::new(Source::Tetragon, id, &rule, severity, values::time("time", time)?)?;
    alert.set_image(image::told(&process.references())?);
    alert.container_id = name("the container's id", process.container_id())?;
    alert.container_name =
        name("the container's name", process.container().and_then(|container| container.name.as_deref()))?;
    alert.host = name("the node's name", record.node_name.as_deref())?;
    alert.set_labels(process.labels().into_iter().map(|(key, value)| (key, Some(value))))?;
    let program = Program::of(process)?;
    let cwd = program.as_ref().map(|program| program.cwd.clone()).unwrap_or_default();
    alert.target = facts(kind, event, cwd.as_bytes())?.into_iter().next().and_then(Target::of);
    if alert.target.is_none() {
        alert.target = hook.as_deref().and_then(syscall);
    }
    let shown = program.as_ref().map(|program| program.exe.to_escaped());
    let message = told(&event.message).unwrap_or_else(|| {
        let who = shown.as_deref().unwrap_or("a process");
        format!("{who} in {}{}", hook.as_deref().unwrap_or(&rule), about(alert.target.as_ref()))
    });
    alert.summary = summary(&message, &[process.arguments.as_deref().unwrap_or_default()], None);
    alert.attributes = attributes(record, event, hook.as_deref());
    if let Some(program) = program {
        let (ancestors, root) = lineage(event, process)?;
        alert.process = Some(AlertProcess {
            ancestors: values::folded(ancestors, Some(&program.exe)),
            is_whole: root.is_some(),
            root,
            exe: Some(program.exe),
            name: Some(program.comm),
            argv0: program.argv0,
            args: program.args,
            uid: program.uid,
            cwd: Some(program.cwd).filter(|cwd| !cwd.is_empty()),
        });
    }
    Ok(alert)
}

/// A system call is its own target where its arguments tell of nothing else; of an exec it is the process.
fn syscall(function: &str) -> Option<Target> {
    let call = access::call_name(function);
    let is_call = call != function && !call.starts_with("exec");
    (is_call && call.len() <= 64).then(|| Target::Syscall(call.to_owned()))
}

fn about(target: Option<&Target>) -> String {
    match target {
        Some(Target::File { path, .. }) => format!(" on {}", path.to_escaped()),
        Some(Target::Connect { protocol, address, port }) => {
            format!(" to {protocol} {} {port}", address.to_escaped())
        }
        Some(Target::Listen { protocol, address, port }) => {
            format!(" at {protocol} {} {port}", address.to_escaped())
        }
        Some(Target::Dns { name, .. }) => format!(" for {}", name.to_escaped()),
        Some(Target::Capability(name)) => format!(" with {name}"),
        Some(Target::Syscall(_)) | None => String::new(),
    }
}

/// The executables above a process in its container, from the top, and how the lineage begins.
fn lineage(
    event: &Event,
    process: &Process,
) -> Result<(Vec<wsp_schemas::text::RawText>, Option<RootKind>), String> {
    let mut below = process;
    let mut found = Vec::new();
    let init = |process: &Process| process.number() == Some(1);
    let mut root = init(process).then_some(RootKind::Init);
    for above in event.parent.iter().chain(event.ancestors.iter().flatten()) {
        if root.is_some() {
            break;
        }
        if !above.shares_container(process) {
            // What came in from outside: the init task is known by its number, where that is told.
            root = below.number().map(|_| RootKind::ExecSession);
            break;
        }
        // An exec in place: the same task ran that before.
        let replaced = above.pid.is_some() && above.pid == below.pid;
        if !replaced && let Some(program) = Program::of(above)? {
            found.push(program.exe);
        }
        root = init(above).then_some(RootKind::Init);
        below = above;
    }
    found.reverse();
    Ok((found, root))
}

fn attributes(
    record: &Record,
    event: &Event,
    hook: Option<&str>,
) -> std::collections::BTreeMap<String, String> {
    let mut attributes = Attributes::default();
    let pod = event.process.as_ref().and_then(|process| process.pod.as_ref());
    for (key, value) in [
        ("policy_name", event.policy_name.as_deref()),
        ("function_name", hook),
        ("action", event.action.as_deref()),
        ("return_action", event.return_action.as_deref()),
        ("path", event.path.as_deref()),
        ("cluster_name", record.cluster_name.as_deref()),
        ("workload", pod.and_then(|pod| pod.workload.as_deref())),
        ("workload_kind", pod.and_then(|pod| pod.workload_kind.as_deref())),
        ("flags", event.process.as_ref().and_then(|process| process.flags.as_deref())),
    ] {
        attributes.add(key, value);
    }
    if let Some(tags) = &event.tags {
        attributes.add("tags", Some(&tags.join(" ")));
    }
    for (at, arg) in event.args.iter().flatten().take(16).enumerate() {
        let key = format!("arg{at}");
        attributes.add(&key, arg.string_arg.as_deref());
        attributes.add(&key, arg.int_arg.map(|number| number.to_string()).as_deref());
        let paths = [&arg.file_arg, &arg.path_arg, &arg.linux_binprm_arg];
        attributes.add(&key, paths.into_iter().flatten().find_map(|path| path.path.as_deref()));
    }
    attributes.finish()
}
