//! Tetragon's JSON export, `GetEventsResponse` of `api/v1/tetragon` in its repository: what is read of it. Content of reads and
//! writes, environments and stacks are not.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// One record. At most one of the events is there.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::jobs::import) struct Record {
    process_exec: Option<Event>,
    process_exit: Option<Event>,
    process_kprobe: Option<Event>,
    process_tracepoint: Option<Event>,
    process_lsm: Option<Event>,
    process_uprobe: Option<Event>,
    process_usdt: Option<Event>,
    process_loader: Option<Event>,
    process_connect: Option<Event>,
    process_accept: Option<Event>,
    process_listen: Option<Event>,
    process_close: Option<Event>,
    process_dns: Option<Event>,
    pub(in crate::jobs::import) rate_limit_info: Option<Dropped>,
    process_throttle: Option<serde::de::IgnoredAny>,
    pub(in crate::jobs::import) node_name: Option<String>,
    pub(in crate::jobs::import) cluster_name: Option<String>,
    pub(in crate::jobs::import) time: Option<String>,
    aggregation_info: Option<Aggregation>,
}

/// What an event is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::jobs::import) enum Kind {
    Exec,
    Exit,
    Kprobe,
    Tracepoint,
    Lsm,
    Uprobe,
    Usdt,
    Loader,
    Connect,
    Accept,
    Listen,
    Close,
    Dns,
}

/// An event of any kind: each has some of the fields.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::jobs::import) struct Event {
    pub(in crate::jobs::import) process: Option<Process>,
    pub(in crate::jobs::import) parent: Option<Process>,
    /// From the parent's parent up.
    pub(in crate::jobs::import) ancestors: Option<Vec<Process>>,
    pub(in crate::jobs::import) policy_name: Option<String>,
    pub(in crate::jobs::import) function_name: Option<String>,
    pub(in crate::jobs::import) subsys: Option<String>,
    pub(in crate::jobs::import) event: Option<String>,
    pub(in crate::jobs::import) path: Option<String>,
    pub(in crate::jobs::import) symbol: Option<String>,
    pub(in crate::jobs::import) message: Option<String>,
    pub(in crate::jobs::import) action: Option<String>,
    pub(in crate::jobs::import) return_action: Option<String>,
    pub(in crate::jobs::import) tags: Option<Vec<String>>,
    pub(in crate::jobs::import) args: Option<Vec<Argument>>,
    pub(in crate::jobs::import) destination_ip: Option<String>,
    pub(in crate::jobs::import) destination_port: Option<u32>,
    pub(in crate::jobs::import) destination_names: Option<Vec<String>>,
    pub(in crate::jobs::import) source_ip: Option<String>,
    pub(in crate::jobs::import) source_port: Option<u32>,
    pub(in crate::jobs::import) ip: Option<String>,
    pub(in crate::jobs::import) port: Option<u32>,
    pub(in crate::jobs::import) protocol: Option<String>,
    pub(in crate::jobs::import) dns: Option<Dns>,
}

/// A process.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(in crate::jobs::import) struct Process {
    pub(in crate::jobs::import) exec_id: Option<String>,
    pub(in crate::jobs::import) parent_exec_id: Option<String>,
    pub(in crate::jobs::import) pid: Option<u32>,
    pub(in crate::jobs::import) uid: Option<u32>,
    pub(in crate::jobs::import) cwd: Option<String>,
    pub(in crate::jobs::import) binary: Option<String>,
    pub(in crate::jobs::import) arguments: Option<String>,
    pub(in crate::jobs::import) flags: Option<String>,
    pub(in crate::jobs::import) start_time: Option<String>,
    pub(in crate::jobs::import) pod: Option<Pod>,
    /// The start of the container's id.
    pub(in crate::jobs::import) docker: Option<String>,
    pub(in crate::jobs::import) process_credentials: Option<Credentials>,
    pub(in crate::jobs::import) in_init_tree: Option<bool>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(in crate::jobs::import) struct Credentials {
    pub(in crate::jobs::import) uid: Option<u32>,
    pub(in crate::jobs::import) euid: Option<u32>,
    pub(in crate::jobs::import) egid: Option<u32>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(in crate::jobs::import) struct Pod {
    pub(in crate::jobs::import) namespace: Option<String>,
    pub(in crate::jobs::import) name: Option<String>,
    pub(in crate::jobs::import) uid: Option<String>,
    pub(in crate::jobs::import) workload: Option<String>,
    pub(in crate::jobs::import) workload_kind: Option<String>,
    pub(in crate::jobs::import) container: Option<Container>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(in crate::jobs::import) struct Container {
    pub(in crate::jobs::import) id: Option<String>,
    pub(in crate::jobs::import) name: Option<String>,
    pub(in crate::jobs::import) image: Option<Image>,
    pub(in crate::jobs::import) start_time: Option<String>,
    /// Of the process, in the container's namespace.
    pub(in crate::jobs::import) pid: Option<u32>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(in crate::jobs::import) struct Image {
    pub(in crate::jobs::import) id: Option<String>,
    pub(in crate::jobs::import) name: Option<String>,
}

/// An argument of a function: one of these, or something that is not read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::jobs::import) struct Argument {
    pub(in crate::jobs::import) string_arg: Option<String>,
    pub(in crate::jobs::import) int_arg: Option<i64>,
    pub(in crate::jobs::import) path_arg: Option<PathArgument>,
    pub(in crate::jobs::import) file_arg: Option<PathArgument>,
    pub(in crate::jobs::import) linux_binprm_arg: Option<PathArgument>,
    pub(in crate::jobs::import) sock_arg: Option<SockArgument>,
    pub(in crate::jobs::import) sockaddr_arg: Option<AddressArgument>,
    pub(in crate::jobs::import) capability_arg: Option<CapabilityArgument>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::jobs::import) struct PathArgument {
    pub(in crate::jobs::import) mount: Option<String>,
    pub(in crate::jobs::import) path: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::jobs::import) struct SockArgument {
    #[serde(rename = "type")]
    pub(in crate::jobs::import) kind: Option<String>,
    pub(in crate::jobs::import) protocol: Option<String>,
    pub(in crate::jobs::import) saddr: Option<String>,
    pub(in crate::jobs::import) daddr: Option<String>,
    pub(in crate::jobs::import) sport: Option<u32>,
    pub(in crate::jobs::import) dport: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::jobs::import) struct AddressArgument {
    pub(in crate::jobs::import) addr: Option<String>,
    pub(in crate::jobs::import) port: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::jobs::import) struct CapabilityArgument {
    pub(in crate::jobs::import) name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::jobs::import) struct Dns {
    pub(in crate::jobs::import) question_types: Option<Vec<u32>>,
    pub(in crate::jobs::import) query: Option<String>,
    pub(in crate::jobs::import) response: Option<bool>,
}

/// Events that Tetragon did not export.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::jobs::import) struct Dropped {
    #[serde(deserialize_with = "count")]
    pub(in crate::jobs::import) number_of_dropped_process_events: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Aggregation {
    #[serde(deserialize_with = "count")]
    count: u64,
}

/// A 64-bit number, which protobuf's JSON has as a text.
fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Count {
        Number(u64),
        Text(String),
    }
    match Count::deserialize(deserializer)? {
        Count::Number(number) => Ok(number),
        Count::Text(text) => text.parse().map_err(serde::de::Error::custom),
    }
}

impl Record {
    /// The event, taken out.
    pub(in crate::jobs::import) fn take_event(&mut self) -> Option<(Kind, Event)> {
        let events = [
            (Kind::Exec, &mut self.process_exec),
            (Kind::Exit, &mut self.process_exit),
            (Kind::Kprobe, &mut self.process_kprobe),
            (Kind::Tracepoint, &mut self.process_tracepoint),
            (Kind::Lsm, &mut self.process_lsm),
            (Kind::Uprobe, &mut self.process_uprobe),
            (Kind::Usdt, &mut self.process_usdt),
            (Kind::Loader, &mut self.process_loader),
            (Kind::Connect, &mut self.process_connect),
            (Kind::Accept, &mut self.process_accept),
            (Kind::Listen, &mut self.process_listen),
            (Kind::Close, &mut self.process_close),
            (Kind::Dns, &mut self.process_dns),
        ];
        events.into_iter().find_map(|(kind, event)| Some((kind, event.take()?)))
    }

    /// It tells about Tetragon, not about a process.
    pub(in crate::jobs::import) fn is_about_itself(&self) -> bool {
        self.rate_limit_info.is_some() || self.process_throttle.is_some()
    }

    /// How often the event happened.
    pub(in crate::jobs::import) fn times(&self) -> u64 {
        self.aggregation_info.as_ref().map_or(1, |aggregation| aggregation.count.max(1))
    }
}

impl Process {
    /// The container's id as far as it is told; none for a process of the host.
    pub(in crate::jobs::import) fn container_id(&self) -> Option<&str> {
        let full = self.container().and_then(|container| container.id.as_deref());
        let full = full.map(|id| id.split_once("://").map_or(id, |(_, id)| id));
        full.or(self.docker.as_deref()).filter(|id| !id.is_empty())
    }

    /// The container, where Kubernetes knows it.
    pub(in crate::jobs::import) fn container(&self) -> Option<&Container> {
        self.pod.as_ref()?.container.as_ref()
    }

    /// Its number in its container.
    pub(in crate::jobs::import) fn number(&self) -> Option<u32> {
        self.container()?.pid
    }

    /// It runs in the same container as another one: one id may be the start of the other.
    pub(in crate::jobs::import) fn shares_container(&self, other: &Self) -> bool {
        match (self.container_id(), other.container_id()) {
            (Some(a), Some(b)) => a.starts_with(b) || b.starts_with(a),
            _ => false,
        }
    }

    /// The image's references: the tag that the pod asks for, and what the runtime made of it.
    pub(in crate::jobs::import) fn references(&self) -> [Option<&str>; 2] {
        let image = self.container().and_then(|container| container.image.as_ref());
        [image.and_then(|image| image.name.as_deref()), image.and_then(|image| image.id.as_deref())]
    }

    /// Labels under the keys that a recorder has.
    pub(in crate::jobs::import) fn labels(&self) -> BTreeMap<&'static str, &str> {
        let Some(pod) = &self.pod else { return BTreeMap::new() };
        let name = self.container().and_then(|container| container.name.as_deref());
        [
            ("io.kubernetes.container.name", name),
            ("io.kubernetes.pod.name", pod.name.as_deref()),
            ("io.kubernetes.pod.namespace", pod.namespace.as_deref()),
            ("io.kubernetes.pod.uid", pod.uid.as_deref()),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value.filter(|value| !value.is_empty())?)))
        .collect()
    }
}
