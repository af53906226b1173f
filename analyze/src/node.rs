//! What a node is: its identity but for what it hangs from, its name among its siblings, and one text for people.

use std::borrow::Cow;

use wsp_schemas::identity::{self, Kind, NodeId, Parent};
use wsp_schemas::snapshot::{NodeColumn, Scan};
use wsp_schemas::text::unescape_cow;

/// What identifies a node, beside what it hangs from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Identity<'a> {
    pub(crate) kind: Kind,
    pub(crate) exe: Option<&'a str>,
    pub(crate) argv0: Option<&'a str>,
    /// Of a shebang process only.
    pub(crate) script: Option<&'a str>,
    /// Path, name or address.
    pub(crate) name: Option<&'a str>,
    /// Record type or protocol.
    pub(crate) form: Option<&'a str>,
    pub(crate) port: Option<i32>,
}

const EXE: NodeColumn = NodeColumn::named("exe");
const ARGV0: NodeColumn = NodeColumn::named("argv0");
const SCRIPT: NodeColumn = NodeColumn::named("script");
const SHEBANG: NodeColumn = NodeColumn::named("shebang");
const PATH: NodeColumn = NodeColumn::named("path");
const DNS_NAME: NodeColumn = NodeColumn::named("dns_name");
const DNS_TYPE: NodeColumn = NodeColumn::named("dns_type");
const PROTOCOL: NodeColumn = NodeColumn::named("protocol");
const ADDRESS: NodeColumn = NodeColumn::named("address");
const PORT: NodeColumn = NodeColumn::named("port");
const NAME: NodeColumn = NodeColumn::named("name");

impl<'a> Identity<'a> {
    /// Of a row whose text columns `text` gives.
    pub(crate) fn read(
        kind: Kind,
        text: impl Fn(&'static str) -> Option<&'a str>,
        is_shebang: bool,
        port: Option<i32>,
    ) -> Self {
        let (name, form) = match kind {
            Kind::Process => (None, None),
            Kind::File => (text("path"), None),
            Kind::Dns => (text("dns_name"), text("dns_type")),
            Kind::Connect | Kind::Listen => (text("address"), text("protocol")),
            Kind::Syscall | Kind::Capability => (text("name"), None),
        };
        let of_process = |name| if kind == Kind::Process { text(name) } else { None };
        Self {
            kind,
            exe: text("exe"),
            argv0: of_process("argv0"),
            script: of_process("script").filter(|_| is_shebang),
            name,
            form,
            port: port.filter(|_| matches!(kind, Kind::Connect | Kind::Listen)),
        }
    }

    /// Of a row of a snapshot.
    pub(crate) fn of(scan: &'a Scan, row: usize) -> Self {
        let text = |name| {
            let column = match name {
                "exe" => EXE,
                "argv0" => ARGV0,
                "script" => SCRIPT,
                "path" => PATH,
                "dns_name" => DNS_NAME,
                "dns_type" => DNS_TYPE,
                "protocol" => PROTOCOL,
                "address" => ADDRESS,
                _ => NAME,
            };
            scan.text(column, row)
        };
        let is_shebang = scan.bool(SHEBANG, row) == Some(true);
        Self::read(scan.kind(row), text, is_shebang, scan.int32(PORT, row))
    }
}

impl<'a> Identity<'a> {
    /// The id that the node has below a process.
    pub(crate) fn id_below(&self, parent: NodeId) -> NodeId {
        let name = bytes(self.name.unwrap_or_default());
        let form = self.form.unwrap_or_default();
        match self.kind {
            Kind::Process => {
                let exe = bytes(self.exe.unwrap_or_default());
                let (argv0, script) = (self.argv0.map(bytes), self.script.map(bytes));
                identity::process_id(Parent::Process(parent), &exe, argv0.as_deref(), script.as_deref())
            }
            Kind::File => identity::file_id(Some(parent), &name),
            Kind::Dns => identity::dns_id(Some(parent), &name, form),
            Kind::Connect | Kind::Listen => {
                let port = self.port.and_then(|port| u16::try_from(port).ok()).unwrap_or_default();
                identity::socket_id(self.kind, Some(parent), form, &name, port)
            }
            Kind::Syscall | Kind::Capability => {
                identity::name_id(self.kind, Some(parent), self.name.unwrap_or_default())
            }
        }
    }

    /// Where its siblings are, and its name among them; none for what is never folded. `script` counts for processes without
    /// a `#!` line, too.
    pub(crate) fn sibling(&self, script: Option<&str>) -> Option<(Cow<'a, str>, &'a str)> {
        match self.kind {
            Kind::Process => {
                let place = format!("{}\0{}", self.argv0.unwrap_or_default(), script.unwrap_or_default());
                Some((place.into(), self.exe?))
            }
            Kind::File => {
                let (folder, name) = self.name?.rsplit_once('/')?;
                Some((folder.into(), name))
            }
            Kind::Dns => {
                let (name, below) = below_three_labels(self.name?)?;
                Some((format!("{below}\0{}", self.form.unwrap_or_default()).into(), name))
            }
            Kind::Connect => {
                let protocol = self.form.filter(|protocol| *protocol != "unix")?;
                Some((format!("{protocol}\0{}", self.port.unwrap_or_default()).into(), self.name?))
            }
            Kind::Listen | Kind::Syscall | Kind::Capability => None,
        }
    }
}

/// The bytes that an escaped text stands for.
fn bytes(text: &str) -> Cow<'_, [u8]> {
    unescape_cow(text).unwrap_or(Cow::Borrowed(text.as_bytes()))
}

/// `a.b.example.com` is `a.` below `b.example.com`; a name of three labels is below nothing.
pub(crate) fn below_three_labels(name: &str) -> Option<(&str, &str)> {
    let dot = name.rmatch_indices('.').nth(2)?.0;
    Some((&name[..dot], &name[dot + 1..]))
}

/// What a node is, in one text: as the views `nodes` and `activity` say it.
pub(crate) fn target(node: &Identity<'_>) -> String {
    let exe = node.exe.unwrap_or_default();
    let name = node.name.unwrap_or_default();
    match node.kind {
        Kind::Process => match (node.argv0, node.script) {
            (Some(argv0), _) => format!("{argv0} ({exe})"),
            (None, Some(script)) => format!("{exe} {script}"),
            (None, None) => exe.to_owned(),
        },
        Kind::File | Kind::Syscall | Kind::Capability => name.to_owned(),
        Kind::Dns => format!("{name} {}", node.form.unwrap_or_default()),
        Kind::Connect | Kind::Listen => match node.form.unwrap_or_default() {
            "unix" => format!("unix {name}"),
            protocol => format!("{protocol} {name} {}", node.port.unwrap_or_default()),
        },
    }
}
