//! Falco's JSON output: <https://falco.org/docs/concepts/outputs/formatting/>, fields as in
//! <https://falco.org/docs/reference/rules/supported-fields/>. Which fields are there depends on the rule's output.

use std::borrow::Cow;
use std::net::IpAddr;

use serde::Deserialize;
use serde_json::{Map, Value};
use wsp_schemas::identity::multi_call_argv0;
use wsp_schemas::snapshot::Image;
use wsp_schemas::text::RawText;

use super::attributes::{Attributes, summary};
use super::{Alert, AlertProcess, Read, Severity, Source, Target, name};
use crate::jobs::import::{access, image, values};

/// Processes above one that are looked at.
const ANCESTORS: usize = 64;
/// Names of what starts containers, as tasks have them: they and what is above them is not in the container.
const RUNTIMES: [&[u8]; 7] =
    [b"containerd-shim", b"containerd", b"runc", b"crun", b"conmon", b"dockerd", b"docker-containe"];

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Record {
    rule: Option<String>,
    priority: Option<String>,
    time: Option<String>,
    output: Option<String>,
    output_fields: Option<Map<String, Value>>,
    hostname: Option<String>,
    source: Option<String>,
    tags: Option<Vec<String>>,
    uuid: Option<String>,
}

pub(super) fn read(id: String, record: Value) -> Result<Read, String> {
    let record = Record::deserialize(record).map_err(|error| error.to_string())?;
    let Some(rule) = record.rule.as_deref() else {
        return Ok(Read::Other("it has no rule: it is no alert of Falco"));
    };
    if record.source.as_deref() == Some("internal") {
        return Ok(Read::Other("it is about Falco itself"));
    }
    let priority = record.priority.as_deref().ok_or("it has no priority")?;
    let time = values::time("time", record.time.as_deref().ok_or("it has no time")?)?;
    let mut alert = Alert::new(Source::Falco, id, rule, severity(priority)?, time)?;
    let none = Map::new();
    let fields = Fields(record.output_fields.as_ref().unwrap_or(&none));
    alert.set_image(fields.image()?);
    alert.container_id =
        name("container.id", fields.text("container.id").as_deref().filter(|id| *id != "host"))?;
    let container = fields.text("k8s.container.name").or_else(|| fields.text("container.name"));
    alert.container_name = name("container.name", container.as_deref().filter(|name| *name != "host"))?;
    alert.host = name("hostname", record.hostname.as_deref())?;
    for (label, field) in [
        ("io.kubernetes.container.name", "k8s.container.name"),
        ("io.kubernetes.pod.name", "k8s.pod.name"),
        ("io.kubernetes.pod.namespace", "k8s.ns.name"),
        ("io.kubernetes.pod.uid", "k8s.pod.uid"),
    ] {
        alert.set_labels([(label, fields.text(field).as_deref())])?;
    }
    alert.process = fields.process()?;
    alert.target = fields.target()?;
    let output = record.output.as_deref().unwrap_or(rule);
    let commands: Vec<Cow<'_, str>> =
        fields.0.keys().filter(|key| key.contains("cmdline")).filter_map(|key| fields.text(key)).collect();
    alert.summary = summary(
        output,
        &commands.iter().map(AsRef::as_ref).collect::<Vec<_>>(),
        fields.text("fd.name").as_deref(),
    );
    let mut attributes = Attributes::default();
    attributes.add_fields(fields.0);
    attributes.add("priority", Some(priority));
    attributes.add("source", record.source.as_deref());
    attributes.add("uuid", record.uuid.as_deref());
    attributes.add("tags", record.tags.map(|tags| tags.join(" ")).as_deref());
    alert.attributes = attributes.finish();
    Ok(Read::Alert(Box::new(alert)))
}

fn severity(priority: &str) -> Result<Severity, String> {
    match priority.to_lowercase().as_str() {
        "emergency" | "alert" | "critical" => Ok(Severity::Critical),
        "error" => Ok(Severity::High),
        "warning" => Ok(Severity::Medium),
        "notice" | "informational" | "info" | "debug" => Ok(Severity::Low),
        _ => Err(format!("`{}` is no priority", values::shortened(priority, 32))),
    }
}

/// The fields of the output.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    /// A field that is told, as text.
    fn text(self, key: &str) -> Option<Cow<'a, str>> {
        let text = match self.0.get(key)? {
            Value::String(text) => Cow::Borrowed(text.as_str()),
            Value::Number(number) => Cow::Owned(number.to_string()),
            Value::Bool(value) => Cow::Borrowed(if *value { "true" } else { "false" }),
            Value::Null | Value::Array(_) | Value::Object(_) => return None,
        };
        (!text.is_empty() && text != "<NA>" && text != "N/A").then_some(text)
    }

    fn first(self, keys: &[&str]) -> Option<Cow<'a, str>> {
        keys.iter().find_map(|key| self.text(key))
    }

    /// Falco's digest is of the manifest; its `container.image` may have a tag.
    fn image(self) -> Result<Image, String> {
        let digest = self.text("container.image.digest").filter(|digest| image::is_digest(digest));
        let Some(repository) = self.text("container.image.repository") else {
            let whole = self.text("container.image");
            let mut image = image::told(&[whole.as_deref()])?;
            image.digest = image.digest.or_else(|| digest.map(Cow::into_owned));
            return Ok(image);
        };
        let tagged = self.text("container.image.tag").map(|tag| format!("{repository}:{tag}"));
        let by_digest = digest.map(|digest| format!("{repository}@{digest}"));
        // Only for its being a reference where it stands alone.
        image::told(&[tagged.as_deref(), by_digest.as_deref(), Some(&repository)])
    }

    fn process(self) -> Result<Option<AlertProcess>, String> {
        let exe =
            self.text("proc.exepath").map(|path| values::path("proc.exepath", &path)).transpose()?.flatten();
        let task = self
            .text("proc.name")
            .map(|name| values::raw("proc.name", &name, values::NAME_BYTES))
            .transpose()?;
        if exe.is_none() && task.is_none() {
            return Ok(None);
        }
        let argv = values::words("proc.cmdline", &self.text("proc.cmdline").unwrap_or_default())?;
        let called =
            self.text("proc.exe").map(|exe| values::raw("proc.exe", &exe, values::PATH_BYTES)).transpose()?;
        let called = called.as_ref().or(argv.first()).or(task.as_ref());
        let argv0 = exe
            .as_ref()
            .zip(called)
            .and_then(|(exe, argv0)| multi_call_argv0(exe.as_bytes(), argv0.as_bytes()));
        let (ancestors, is_whole) = self.ancestors()?;
        Ok(Some(AlertProcess {
            ancestors: values::folded(ancestors, exe.as_ref()),
            root: None,
            is_whole,
            argv0,
            args: values::command_line(&argv),
            uid: self.text("user.uid").and_then(|uid| uid.parse().ok()),
            cwd: self.text("proc.cwd").map(|cwd| values::path("proc.cwd", &cwd)).transpose()?.flatten(),
            name: task,
            exe,
        }))
    }

    /// Up to the first one that is not told, or that is not in the container; and whether it was the latter.
    fn ancestors(self) -> Result<(Vec<RawText>, bool), String> {
        let (mut found, mut is_whole) = (Vec::new(), false);
        for at in 1..=ANCESTORS {
            let of_parent = |key: &'static str| if at == 1 { self.text(key) } else { None };
            let path = self.text(&format!("proc.aexepath[{at}]")).or_else(|| of_parent("proc.pexepath"));
            let task = self.text(&format!("proc.aname[{at}]")).or_else(|| of_parent("proc.pname"));
            let known = match (path, task) {
                (Some(path), _) => values::path("proc.aexepath", &path)?,
                (None, Some(task)) => Some(values::raw("proc.aname", &task, values::NAME_BYTES)?),
                (None, None) => None,
            };
            let Some(known) = known else { break };
            is_whole = is_runtime(&known);
            if is_whole {
                break;
            }
            found.push(known);
        }
        found.reverse();
        Ok((found, is_whole))
    }

    fn target(self) -> Result<Option<Target>, String> {
        let call = self.text("evt.type").unwrap_or_default();
        if call.starts_with("exec") || call.starts_with("clone") || call.contains("fork") {
            return Ok(None);
        }
        let kind = self.first(&["fd.typechar", "fd.type"]).unwrap_or_default();
        let is_ip = matches!(kind.as_ref(), "4" | "6" | "ipv4" | "ipv6")
            || self.first(&["fd.l4proto", "fd.sip", "fd.rip"]).is_some();
        if is_ip {
            return self.socket(&call);
        }
        let named =
            self.first(&["fd.name", "fs.path.name", "evt.arg.path", "evt.arg.pathname", "evt.arg.name"]);
        let path = |text: &str| values::path("the file's path", text);
        if matches!(kind.as_ref(), "u" | "unix") {
            // Kernel addresses of both ends may stand before it.
            let socket = named.as_deref().and_then(|name| name.split(' ').find(|word| word.starts_with('/')));
            let Some(address) = socket.map(path).transpose()?.flatten() else { return Ok(None) };
            let protocol = "unix".to_owned();
            return Ok(Some(if self.listens(&call) {
                Target::Listen { protocol, address, port: 0 }
            } else {
                Target::Connect { protocol, address, port: 0 }
            }));
        }
        if let Some(file) = named.as_deref().filter(|name| name.starts_with('/'))
            && let Some(path) = path(file)?
        {
            return Ok(Some(Target::File { path, access: self.access(&call) }));
        }
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let is_call = !call.is_empty() && call.len() <= 64 && call.bytes().all(is_name);
        let untold =
            ["open", "container", "procexit", "pluginevent"].iter().any(|name| call.starts_with(name));
        Ok((is_call && !untold).then(|| Target::Syscall(call.into_owned())))
    }

    fn listens(self, call: &str) -> bool {
        ["accept", "listen", "bind"].iter().any(|word| call.starts_with(word))
            || self.text("fd.is_server").is_some_and(|value| value == "true")
    }

    /// `client:port->server:port` where the single fields are not told.
    fn socket(self, call: &str) -> Result<Option<Target>, String> {
        let protocol =
            self.text("fd.l4proto").map_or_else(|| "unknown".to_owned(), |name| name.to_lowercase());
        let protocol = values::name("fd.l4proto", &protocol, 32)?.unwrap_or_default();
        let connection = self.text("fd.name");
        let server = connection
            .as_deref()
            .and_then(|name| name.rsplit("->").next())
            .and_then(|end| end.rsplit_once(':'));
        let listens = self.listens(call);
        let (ips, ports) = if listens {
            (["fd.lip", "fd.sip"], ["fd.lport", "fd.sport"])
        } else {
            (["fd.rip", "fd.sip"], ["fd.rport", "fd.sport"])
        };
        let ip = self.first(&ips).or_else(|| Some(Cow::Owned(server?.0.trim_matches(['[', ']']).to_owned())));
        let port = self.first(&ports).or_else(|| Some(Cow::Owned(server?.1.to_owned())));
        let Some(ip) = ip.and_then(|ip| ip.parse::<IpAddr>().ok()).map(|ip| ip.to_canonical()) else {
            return Ok(None);
        };
        let port = port.as_deref().unwrap_or("0");
        let port: u16 = port.parse().map_err(|_| format!("`{}` is no port", values::shortened(port, 32)))?;
        Ok(Some(if listens {
            let same_everywhere = ip.is_unspecified() || ip.is_loopback();
            let address = if same_everywhere { ip.to_string() } else { "self".to_owned() };
            Target::Listen { protocol, address: address.as_str().into(), port }
        } else {
            Target::Connect { protocol, address: ip.to_string().as_str().into(), port }
        }))
    }

    fn access(self, call: &str) -> Vec<&'static str> {
        if call == "creat" {
            return vec!["create", "truncate", "write"];
        }
        if !call.starts_with("open") {
            return access::of_call(call).into_iter().collect();
        }
        let flags = self.first(&["evt.arg.flags", "evt.arg[flags]"]).unwrap_or_default();
        let mut words = access::of_flags(flags.split(['|', ' ']));
        for (field, word) in
            [("evt.is_open_read", "read"), ("evt.is_open_write", "write"), ("evt.is_open_create", "create")]
        {
            if self.text(field).is_some_and(|value| value == "true") {
                words.push(word);
            }
        }
        words.sort_unstable();
        words.dedup();
        words
    }
}

/// By its name or the last part of its path.
pub(super) fn is_runtime(text: &RawText) -> bool {
    let name = text.as_bytes().rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    RUNTIMES.contains(&name) || name.starts_with(b"containerd-shim-")
}
