//! Kubescape's objects as they stand in a file: API form (`kubectl get -o yaml`) and the storage's internal form, which
//! differs in the capitals of its fields and has the metadata at the top. What is not imported is not read.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

/// One document of a file: an object, a `List` of objects, or an array of them.
#[derive(Debug)]
pub(super) struct Document(pub(super) Vec<Object>);

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Objects;

        impl<'de> Visitor<'de> for Objects {
            type Value = Document;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of Kubescape or a list of them")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Document, A::Error> {
                let mut objects = Vec::new();
                while let Some(object) = seq.next_element::<Object>()? {
                    objects.extend(object.flatten());
                }
                Ok(Document(objects))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Document, A::Error> {
                Ok(Document(Object::deserialize(MapAccessDeserializer::new(map))?.flatten()))
            }
        }

        deserializer.deserialize_any(Objects)
    }
}

/// One object. The fields from `name` on are those of the internal form.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Object {
    pub(super) kind: Option<String>,
    items: Option<Vec<Object>>,
    metadata: Option<Metadata>,
    #[serde(alias = "Spec")]
    pub(super) spec: Option<Container>,
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    creation_timestamp: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
}

/// What is read of an object's metadata.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Metadata {
    pub(super) name: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) uid: Option<String>,
    pub(super) creation_timestamp: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
}

/// A container's recording. The `spec` of a ContainerProfile is one; that of the other kinds only has containers.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Container {
    #[serde(alias = "Containers")]
    containers: Option<Vec<Container>>,
    #[serde(alias = "InitContainers")]
    init_containers: Option<Vec<Container>>,
    #[serde(alias = "EphemeralContainers")]
    ephemeral_containers: Option<Vec<Container>>,
    #[serde(alias = "Name")]
    pub(super) name: Option<String>,
    #[serde(rename = "imageID", alias = "ImageID")]
    pub(super) image_id: Option<String>,
    #[serde(alias = "ImageTag")]
    pub(super) image_tag: Option<String>,
    #[serde(alias = "Capabilities")]
    pub(super) capabilities: Option<Vec<String>>,
    #[serde(alias = "Execs")]
    pub(super) execs: Option<Vec<Exec>>,
    #[serde(alias = "Opens")]
    pub(super) opens: Option<Vec<Open>>,
    #[serde(alias = "Syscalls")]
    pub(super) syscalls: Option<Vec<String>>,
    #[serde(alias = "Ingress")]
    pub(super) ingress: Option<Vec<Neighbor>>,
    #[serde(alias = "Egress")]
    pub(super) egress: Option<Vec<Neighbor>>,
}

/// A program that ran.
#[derive(Debug, Deserialize)]
pub(super) struct Exec {
    #[serde(alias = "Path")]
    pub(super) path: String,
    #[serde(alias = "Args", default)]
    pub(super) args: Option<Vec<String>>,
}

/// A file that was opened, with the flags of all its opens.
#[derive(Debug, Deserialize)]
pub(super) struct Open {
    #[serde(alias = "Path")]
    pub(super) path: String,
    #[serde(alias = "Flags", default)]
    pub(super) flags: Option<Vec<String>>,
}

/// A peer.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Neighbor {
    #[serde(alias = "DNS")]
    pub(super) dns: Option<String>,
    #[serde(alias = "DNSNames")]
    pub(super) dns_names: Option<Vec<String>>,
    #[serde(alias = "Ports")]
    pub(super) ports: Option<Vec<Port>>,
    #[serde(alias = "PodSelector")]
    pub(super) pod_selector: Option<Selector>,
    #[serde(alias = "NamespaceSelector")]
    pub(super) namespace_selector: Option<Selector>,
    #[serde(alias = "IPAddress")]
    pub(super) ip_address: Option<String>,
}

/// A port of a peer.
#[derive(Debug, Deserialize)]
pub(super) struct Port {
    #[serde(alias = "Protocol")]
    pub(super) protocol: String,
    #[serde(alias = "Port", default)]
    pub(super) port: Option<u16>,
}

/// Labels that a peer has.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Selector {
    #[serde(alias = "MatchLabels")]
    pub(super) match_labels: Option<BTreeMap<String, String>>,
}

impl Object {
    /// The object itself, or the items of a list.
    fn flatten(mut self) -> Vec<Self> {
        match self.items.take() {
            Some(items) => items.into_iter().flat_map(Self::flatten).collect(),
            None => vec![self],
        }
    }

    /// The metadata, wherever it stands.
    pub(super) fn take_metadata(&mut self) -> Metadata {
        self.metadata.take().unwrap_or_else(|| Metadata {
            name: self.name.take(),
            namespace: self.namespace.take(),
            uid: self.uid.take(),
            creation_timestamp: self.creation_timestamp.take(),
            labels: self.labels.take(),
            annotations: self.annotations.take(),
        })
    }
}

impl Metadata {
    /// A label or annotation below `kubescape.io/`; none where empty.
    pub(super) fn kubescape(&self, name: &str) -> Option<&str> {
        let key = format!("kubescape.io/{name}");
        [&self.annotations, &self.labels]
            .into_iter()
            .flatten()
            .find_map(|map| map.get(&key))
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }
}

impl Container {
    /// The containers of a `spec`; what is a container itself is the only one.
    pub(super) fn flatten(mut self) -> Vec<Self> {
        let lists = [self.init_containers.take(), self.containers.take(), self.ephemeral_containers.take()];
        if lists.iter().all(Option::is_none) {
            return vec![self];
        }
        lists.into_iter().flatten().flatten().collect()
    }

    /// Most nodes that the lists can make.
    pub(super) fn entries(&self) -> usize {
        fn len<T>(list: Option<&Vec<T>>) -> usize {
            list.map_or(0, Vec::len)
        }
        let network = self.egress.iter().flatten().map(Neighbor::entries).fold(0, usize::saturating_add);
        len(self.capabilities.as_ref())
            .saturating_add(len(self.execs.as_ref()))
            .saturating_add(len(self.opens.as_ref()))
            .saturating_add(len(self.syscalls.as_ref()))
            .saturating_add(network)
    }

    /// Bytes of the longest text that stands in many nodes where the lists are long: what a peer is called.
    pub(super) fn longest_peer(&self) -> usize {
        self.egress.iter().flatten().map(Neighbor::longest_text).max().unwrap_or(0)
    }
}

impl Neighbor {
    fn entries(&self) -> usize {
        let names = 1 + self.dns_names.as_ref().map_or(0, Vec::len);
        let ports = 1 + self.ports.as_ref().map_or(0, Vec::len);
        names.saturating_mul(ports)
    }

    fn longest_text(&self) -> usize {
        let labels = |selector: &Option<Selector>| -> usize {
            let labels = selector.iter().filter_map(|selector| selector.match_labels.as_ref()).flatten();
            labels.map(|(key, value)| key.len() + value.len() + 2).sum()
        };
        let texts = self.dns_names.iter().flatten().chain(&self.dns).chain(&self.ip_address).map(String::len);
        let protocols = self.ports.iter().flatten().map(|port| port.protocol.len());
        let selectors = labels(&self.pod_selector) + labels(&self.namespace_selector);
        texts.chain(protocols).chain([selectors]).max().unwrap_or(0)
    }
}
