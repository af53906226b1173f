//! Accepted suppressions in the words of other tools.
//!
//! Only what a tool can say exactly is written: a suppression that would hide more there than here is left out, with the reason.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use wsp_schemas::keys::show_time;
use wsp_schemas::text::unescape;

use super::{Scope, State, Suppression};

/// For whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Export {
    /// `exceptions:` of Falco's rules: <https://falco.org/docs/concepts/rules/exceptions/>
    Falco,
    /// One condition a suppression, over the table `signals`.
    Sql,
    /// One query a suppression: <https://docs.datadoghq.com/security/suppressions/>
    Datadog,
}

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exported {
    /// The file.
    pub text: String,
    /// Suppressions that are not in it, and why.
    pub left_out: Vec<(String, String)>,
}

/// What rules of Falco are named with.
const FALCO: &str = "falco:";

/// Writes those that are accepted and have not expired.
pub fn export(all: &[Suppression], to: Export, now: DateTime<Utc>) -> Exported {
    let mut found = Exported::default();
    let holds =
        |one: &&Suppression| one.state == State::Accepted && one.expires_at.is_none_or(|end| end > now);
    // Falco takes all exceptions of a rule together.
    let mut rules: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for one in all.iter().filter(holds) {
        let written = match to {
            Export::Falco => falco(one).map(|text| rules.entry(&one.rule).or_default().push(text)),
            Export::Sql => sql(one).map(|text| found.text += &text),
            Export::Datadog => datadog(one).map(|text| found.text += &text),
        };
        if let Err(reason) = written {
            found.left_out.push((one.id.clone(), reason));
        }
    }
    for (rule, exceptions) in rules {
        let rule = rule.strip_prefix(FALCO).unwrap_or(rule);
        found.text += &format!(
            "- rule: {}\n  exceptions:\n{}  override:\n    exceptions: append\n",
            quoted(rule),
            exceptions.concat()
        );
    }
    found
}

/// What an evidence says of process and target; none where there is none, or it is an example of several.
struct Exact {
    exe: String,
    /// Those above it, the nearest first.
    above: Vec<String>,
    target: Target,
}

enum Target {
    Process,
    File(String),
    Address(String, u16),
    Name(String),
}

fn exact(one: &Suppression) -> Result<Exact, String> {
    let evidence: Value = serde_json::from_str(&one.evidence).unwrap_or_default();
    let text = |name: &str| evidence.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let (Some(exe), Some(kind), Some(target)) = (text("exe"), text("kind"), text("target")) else {
        return Err(
            "its predicate is of its own: only what was suggested is known by process and target".to_owned()
        );
    };
    if text("pattern").is_some() {
        return Err("it is about a pattern of names".to_owned());
    }
    if evidence.get("is_named").and_then(Value::as_bool) != Some(false) {
        return Err("which process it is, a name or a script says, not the executable".to_owned());
    }
    // Columns are escaped; other tools have the bytes.
    let plain = |text: &str| {
        let text = unescape(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        text.ok_or_else(|| "a text of it is not UTF-8".to_owned())
    };
    let (exe, target) = (plain(exe)?, plain(target)?);
    let lineage = evidence.get("lineage").and_then(Value::as_array);
    let above = lineage.into_iter().flatten().rev().skip(1).filter_map(Value::as_str);
    let above = above.map(plain).collect::<Result<Vec<String>, String>>()?;
    if above.is_empty() {
        return Err("its process is the first one of the container, which others cannot tell from one that is started by hand".to_owned());
    }
    let is_plain = |text: &str| !text.contains(|c: char| c.is_control() || c == '<');
    if ![&exe, &target].into_iter().chain(&above).all(|text| is_plain(text)) {
        return Err(
            "a path of it has a part that differs from container to container, or control characters"
                .to_owned(),
        );
    }
    let mut parts = target.split(' ');
    let target = match (kind, parts.next(), parts.next(), parts.next(), parts.next()) {
        ("process", ..) => Target::Process,
        ("file", ..) => Target::File(target.clone()),
        ("dns", Some(name), ..) => Target::Name(name.to_owned()),
        ("connect" | "listen", Some(protocol), Some(address), Some(port), None) if protocol != "unix" => {
            let is_address = address.parse::<std::net::IpAddr>().is_ok();
            match port.parse() {
                Ok(port) if is_address => Target::Address(address.to_owned(), port),
                _ => return Err("it is about a name that others resolve anew".to_owned()),
            }
        }
        _ => return Err(format!("it is about a {kind}")),
    };
    Ok(Exact { exe, above, target })
}

fn falco(one: &Suppression) -> Result<String, String> {
    if !one.rule.starts_with(FALCO) {
        return Err("its rule is none of Falco".to_owned());
    }
    let exact = exact(one)?;
    let (mut fields, mut comparisons, mut values) = (Vec::new(), Vec::new(), Vec::new());
    let mut add = |field: &str, comparison: &'static str, value: Value| {
        fields.push(quoted(field));
        comparisons.push(comparison);
        values.push(value);
    };
    if let Some(name) = one.scope.image_name() {
        // Runtimes shorten names of Docker's registry, each in its own way.
        let short = name.strip_prefix("docker.io/");
        let names: Vec<&str> = [Some(name), short, short.and_then(|short| short.strip_prefix("library/"))]
            .into_iter()
            .flatten()
            .collect();
        add("container.image.repository", "in", json!(names));
    }
    match one.scope.image_tag() {
        Some(tag) if tag.starts_with('@') => add("container.image.digest", "=", json!(tag[1..])),
        Some(tag) => add("container.image.tag", "=", json!(tag)),
        None => {}
    }
    add("proc.exepath", "=", json!(exact.exe));
    for (at, exe) in exact.above.iter().enumerate() {
        add(&format!("proc.aexepath[{}]", at + 1), "=", json!(exe));
    }
    match &exact.target {
        Target::Process => {}
        Target::File(path) => add("fd.name", "=", json!(path)),
        Target::Address(address, port) => {
            add("fd.sip", "=", json!(address));
            add("fd.sport", "=", json!(port));
        }
        Target::Name(_) => return Err("Falco's rules do not see names".to_owned()),
    }
    let list = |items: Vec<String>| format!("[{}]", items.join(", "));
    Ok(format!(
        "    - name: wsp_{}\n      fields: {}\n      comps: {}\n      values:\n        - {}\n",
        one.id,
        list(fields),
        list(comparisons.iter().map(|comparison| (*comparison).to_owned()).collect()),
        list(values.iter().map(yaml).collect()),
    ))
}

/// A YAML scalar.
fn quoted(text: &str) -> String {
    yaml(&json!(text))
}

/// JSON is YAML, but for control characters that only JSON takes as they are.
fn yaml(value: &Value) -> String {
    let mut text = String::new();
    for c in value.to_string().chars() {
        if c.is_control() {
            text += &format!("\\u{:04x}", u32::from(c));
        } else {
            text.push(c);
        }
    }
    text
}

fn sql(one: &Suppression) -> Result<String, String> {
    if one.predicate.contains(|c: char| c.is_control() && c != '\n') {
        return Err("its predicate has control characters".to_owned());
    }
    let literal = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let scope = match &one.scope {
        Scope::Workload(workload) => {
            format!(
                " AND image_name = {} AND image_tag = {}",
                literal(workload.name()),
                literal(workload.tag())
            )
        }
        Scope::Image(name) => format!(" AND image_name = {}", literal(name)),
        Scope::All => String::new(),
    };
    // A comment in the predicate must not reach over the bracket.
    let until = one.expires_at.map(|end| format!(", until {}", show_time(end))).unwrap_or_default();
    Ok(format!("-- {}{until}\nrule = {}{scope} AND (\n{}\n);\n", one.id, literal(&one.rule), one.predicate))
}

fn datadog(one: &Suppression) -> Result<String, String> {
    let exact = exact(one)?;
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut terms = vec![format!("@rule.name:{}", quoted(&one.rule))];
    terms.extend(one.scope.image_name().map(|name| format!("image_name:{}", quoted(name))));
    terms.extend(one.scope.image_tag().map(|tag| format!("image_tag:{}", quoted(tag))));
    terms.push(format!("@process.executable.path:{}", quoted(&exact.exe)));
    terms.extend(exact.above.iter().map(|exe| format!("@process.ancestors.executable.path:{}", quoted(exe))));
    match exact.target {
        Target::Process => {}
        Target::File(path) => terms.push(format!("@file.path:{}", quoted(&path))),
        Target::Address(address, port) => {
            terms.push(format!(
                "@network.destination.ip:{} @network.destination.port:{port}",
                quoted(&address)
            ));
        }
        Target::Name(name) => terms.push(format!("@dns.question.name:{}", quoted(&name))),
    }
    Ok(format!("{}\n", terms.join(" ")))
}
