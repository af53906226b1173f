//! Exports hold exactly what was accepted, whatever the texts are.

use std::collections::BTreeMap;

use chrono::Utc;
use serde_json::{Value, json};
use wsp_schemas::image::Workload;
use wsp_schemas::text::escape;

use super::super::{Export, Exported, Scope, State, Suppression, columns, export};
use super::active::signal;
use super::by_hand;
use crate::jobs::detect::fixture::context;
use crate::jobs::detect::signal::to_batch;
use crate::predicate::Predicate;

const RULE: &str = "falco:Read sensitive file untrusted";

fn hostile() -> Vec<String> {
    let mut texts: Vec<String> = [
        "/plain",
        "/with space",
        "/a\"b",
        "/a'b",
        "/a''--b",
        "/a # b",
        "/a: b",
        "- a",
        "/a\\b",
        "/a\\",
        "/a\\\"b",
        "/{a, b}: [c]",
        "*anchor",
        "&anchor",
        "!tag",
        "%x",
        "@x",
        "`x`",
        "~",
        "null",
        "true",
        "1e3",
        "/ünïcödé/日本/😀",
        "\u{202e}/reversed",
        "/a\" OR @rule.name:\"*",
        "$(id)",
        "'; DROP TABLE signals; --",
        "/*",
        "*/",
    ]
    .map(str::to_owned)
    .into();
    texts.extend(["/a\u{2028}b", "\u{feff}/a"].map(str::to_owned));
    texts.push(format!("/{}", "x".repeat(4096)));
    texts
}

/// Texts with control characters: some readers see more than one line.
const LINES: [&str; 5] = ["/a\nb", "/a\r\nb", "/a\tb", "/a\u{85}b", "/a\u{7f}b"];

fn accepted(rule: &str, scope: Scope, evidence: &Value) -> Suppression {
    Suppression { state: State::Accepted, evidence: evidence.to_string(), ..by_hand(rule, scope, "true") }
}

/// Texts of an evidence are escaped as the columns of `signals` are.
fn of_file(exe: &str, parent: &str, path: &str) -> Value {
    let [exe, parent, path] = [exe, parent, path].map(|text| escape(text.as_bytes()).into_owned());
    json!({ "exe": exe, "kind": "file", "target": path, "lineage": [parent, exe], "pattern": null, "is_named": false })
}

fn workload() -> Scope {
    Scope::Workload(Workload::parse("app:1").unwrap())
}

fn exported(all: &[Suppression], to: Export) -> Exported {
    export(all, to, Utc::now())
}

/// Fields of an exception, with their comparisons and values.
type Fields = BTreeMap<String, (String, Value)>;

/// The exceptions of a file for Falco, by rule.
fn exceptions(text: &str) -> Vec<(String, Fields)> {
    let rules: Value = serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let mut found = Vec::new();
    for rule in rules.as_array().unwrap() {
        assert_eq!(rule["override"], json!({ "exceptions": "append" }));
        for exception in rule["exceptions"].as_array().unwrap() {
            let (fields, comparisons) =
                (exception["fields"].as_array().unwrap(), exception["comps"].as_array().unwrap());
            let values = exception["values"].as_array().unwrap();
            assert_eq!(values.len(), 1);
            let values = values[0].as_array().unwrap();
            assert_eq!((fields.len(), comparisons.len()), (values.len(), values.len()));
            let fields = fields.iter().zip(comparisons).zip(values).map(|((field, comparison), value)| {
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                (text(field), (text(comparison), value.clone()))
            });
            found.push((rule["rule"].as_str().unwrap().to_owned(), fields.collect()));
        }
    }
    found
}

fn equal(value: impl Into<Value>) -> (String, Value) {
    ("=".to_owned(), value.into())
}

#[test]
fn an_exception_of_falco_has_all_that_the_suppression_has() {
    let one = accepted(RULE, workload(), &of_file("/usr/bin/app", "/bin/sh", "/etc/shadow"));
    let found = exported(&[one], Export::Falco);
    assert_eq!(found.left_out, []);
    let names = json!(["docker.io/library/app", "library/app", "app"]);
    let expected = BTreeMap::from(
        [
            ("container.image.repository", ("in".to_owned(), names)),
            ("container.image.tag", equal("1")),
            ("proc.exepath", equal("/usr/bin/app")),
            ("proc.aexepath[1]", equal("/bin/sh")),
            ("fd.name", equal("/etc/shadow")),
        ]
        .map(|(field, value)| (field.to_owned(), value)),
    );
    assert_eq!(exceptions(&found.text), [("Read sensitive file untrusted".to_owned(), expected)]);
}

#[test]
fn hostile_texts_stay_in_the_values_of_falco() {
    for text in hostile() {
        let one = accepted(
            &format!("falco:Rule {text}"),
            Scope::Image(text.clone()),
            &of_file(&text, &text, &text),
        );
        let two = accepted("falco:Other rule", Scope::All, &of_file("/b", "/c", "/d"));
        let found = exported(&[one, two], Export::Falco);
        assert_eq!(found.left_out, [], "{text:?}");
        let exceptions = exceptions(&found.text);
        assert_eq!(exceptions.len(), 2);
        let (rule, fields) = exceptions.iter().find(|(rule, _)| rule != "Other rule").unwrap();
        assert_eq!(*rule, format!("Rule {text}"));
        for field in ["proc.exepath", "proc.aexepath[1]", "fd.name"] {
            assert_eq!(fields[field], equal(text.as_str()), "{field}");
        }
        assert_eq!(fields["container.image.repository"].1[0], json!(text));
        assert_eq!(fields.len(), 4);
    }
}

#[test]
fn control_characters_do_not_stand_in_a_file_for_falco() {
    for text in LINES {
        let path = accepted(RULE, workload(), &of_file("/a", "/b", text));
        assert_eq!(exported(&[path], Export::Falco).left_out.len(), 1, "{text:?}");
        // Rules are named by who wrote them.
        let rule = accepted(
            &format!("falco:Rule {text}"),
            Scope::Image(text.to_owned()),
            &of_file("/a", "/b", "/c"),
        );
        let found = exported(&[rule], Export::Falco);
        assert!(found.text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}: {:?}", found.text);
        let (rule, fields) = exceptions(&found.text).remove(0);
        assert_eq!(
            (rule, &fields["container.image.repository"].1[0]),
            (format!("Rule {text}"), &json!(text))
        );
    }
}

#[test]
fn addresses_and_digests_are_told_to_falco() {
    let evidence = json!({ "exe": "/a", "kind": "connect", "target": "tcp 10.0.0.1 443", "lineage": ["/b", "/a"], "is_named": false });
    let digest = format!("sha256:{}", "0".repeat(64));
    let scope =
        Scope::Workload(Workload::from_columns("docker.io/library/app", &format!("@{digest}")).unwrap());
    let found = exported(&[accepted(RULE, scope, &evidence)], Export::Falco);
    let fields = &exceptions(&found.text)[0].1;
    assert_eq!(fields["fd.sip"], equal("10.0.0.1"));
    assert_eq!(fields["fd.sport"], equal(443));
    assert_eq!(fields["container.image.digest"], equal(digest));
    assert!(!fields.contains_key("container.image.tag"));
}

#[test]
fn what_a_tool_cannot_say_is_left_out_with_the_reason() {
    let file = of_file("/a", "/b", "/c");
    let with = |key: &str, value: Value| {
        let mut evidence = file.clone();
        evidence[key] = value;
        accepted(RULE, workload(), &evidence)
    };
    let by_name = json!({ "exe": "/a", "kind": "connect", "target": "tcp db.example.com 443", "lineage": ["/b", "/a"], "is_named": false });
    for (suppression, tools, reason) in [
        (accepted("exec_session", workload(), &file), &[Export::Falco][..], "its rule is none of Falco"),
        (
            accepted(RULE, workload(), &json!({})),
            &[Export::Falco, Export::Datadog],
            "its predicate is of its own",
        ),
        (with("pattern", json!("x[0-9]+")), &[Export::Falco, Export::Datadog], "a pattern of names"),
        (
            accepted(RULE, workload(), &by_name),
            &[Export::Falco, Export::Datadog],
            "a name that others resolve anew",
        ),
        (with("kind", json!("capability")), &[Export::Falco, Export::Datadog], "it is about a capability"),
        (with("target", json!("/\\xff")), &[Export::Falco, Export::Datadog], "not UTF-8"),
        (with("is_named", json!(true)), &[Export::Falco, Export::Datadog], "a name or a script says"),
        (with("is_named", Value::Null), &[Export::Falco, Export::Datadog], "a name or a script says"),
        (with("lineage", json!(["/a"])), &[Export::Falco, Export::Datadog], "the first one of the container"),
        (
            with("target", json!("/proc/<pid>/environ")),
            &[Export::Falco, Export::Datadog],
            "differs from container to container",
        ),
    ] {
        for tool in tools {
            let found = exported(std::slice::from_ref(&suppression), *tool);
            assert_eq!(found.left_out.len(), 1, "{reason}");
            assert!(found.left_out[0].1.contains(reason), "{reason}: {}", found.left_out[0].1);
            assert_eq!(found.text, "");
        }
    }
}

#[test]
fn only_what_holds_is_exported() {
    let file = of_file("/a", "/b", "/c");
    let mut all: Vec<Suppression> = [State::Suggested, State::Rejected, State::Removed]
        .map(|state| Suppression { state, ..accepted(RULE, workload(), &file) })
        .into();
    all.push(Suppression { expires_at: Some(Utc::now()), ..accepted(RULE, workload(), &file) });
    for to in [Export::Falco, Export::Sql, Export::Datadog] {
        assert_eq!(exported(&all, to), Exported::default());
    }
}

#[test]
fn hostile_texts_stay_in_the_literals_of_sql() {
    let context = context();
    for text in hostile() {
        let literal = text.replace('\'', "''");
        let one = Suppression {
            predicate: format!("exe = '{literal}' -- {text:.9}"),
            ..accepted(&text, Scope::Image(text.clone()), &json!({}))
        };
        let found = exported(&[one], Export::Sql);
        assert_eq!(found.left_out, []);
        let condition = found.text.trim_end().strip_suffix(';').unwrap();
        if text.len() > 2000 {
            // More than a predicate may have.
            continue;
        }
        let parsed = Predicate::parse(&context, &columns(), condition);
        let parsed = parsed.unwrap_or_else(|error| panic!("{text:?}: {error}\n{condition}"));
        let looked_at: Vec<&str> = parsed.columns().iter().map(String::as_str).collect();
        assert_eq!(looked_at, ["exe", "image_name", "rule"], "{text:?}");
        let rows =
            to_batch(&[signal(&text, Some("app:1"), &text), signal("other", Some("app:1"), &text)]).unwrap();
        assert_eq!(parsed.holds(&rows).unwrap().true_count(), 0, "{text:?} is no name of these images");
    }
}

#[test]
fn a_comment_in_a_predicate_ends_where_its_line_ends() {
    for end in ["\n", "\r", "\r\n", "\u{85}", "\u{b}"] {
        let one = Suppression {
            predicate: format!("exe = 'x' -- why{end} OR true"),
            ..accepted("r", workload(), &json!({}))
        };
        // What one reader takes for the end of a line, another does not.
        let found = exported(&[one], Export::Sql);
        assert_eq!(found.left_out.len(), usize::from(end != "\n"), "{end:?}");
    }
}

#[test]
fn a_condition_in_sql_holds_for_what_is_hidden() {
    let one = Suppression {
        predicate: "exe = '/bin/a' OR exe = '/bin/b' -- two".to_owned(),
        ..accepted("it's", workload(), &json!({}))
    };
    let found = exported(&[one], Export::Sql);
    let condition = found.text.trim_end().strip_suffix(';').unwrap();
    let parsed = Predicate::parse(&context(), &columns(), condition).unwrap();
    let rows = to_batch(&[
        signal("it's", Some("app:1"), "/bin/a"),
        signal("it's", Some("app:1"), "/bin/b"),
        signal("it's", Some("app:1"), "/bin/c"),
        signal("it's", Some("app:2"), "/bin/b"),
        signal("other", Some("app:1"), "/bin/b"),
        signal("it's", None, "/bin/b"),
    ])
    .unwrap();
    let holds = parsed.holds(&rows).unwrap();
    assert_eq!(holds.values().set_indices().collect::<Vec<_>>(), [0, 1]);
}

/// The terms of a query: `name:"text"` or `name:number`, between spaces.
fn terms(line: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let (name, value) = rest.split_once(':').unwrap();
        let mut text = String::new();
        let mut chars = value.char_indices();
        let end = if value.starts_with('"') {
            chars.next();
            loop {
                match chars.next().unwrap() {
                    (_, '\\') => text.push(chars.next().unwrap().1),
                    (at, '"') => break at + 1,
                    (_, c) => text.push(c),
                }
            }
        } else {
            let end = value.find(' ').unwrap_or(value.len());
            text.push_str(&value[..end]);
            end
        };
        found.push((name.to_owned(), text));
        rest = &value[end..];
        rest = rest.strip_prefix(' ').unwrap_or(rest);
    }
    found
}

#[test]
fn hostile_texts_stay_in_the_values_of_datadog() {
    for text in hostile() {
        let one = accepted(&text, Scope::Image(text.clone()), &of_file(&text, &text, &text));
        let found = exported(&[one], Export::Datadog);
        assert_eq!(found.left_out, [], "{text:?}");
        assert_eq!(found.text.lines().count(), 1);
        let names = [
            "@rule.name",
            "image_name",
            "@process.executable.path",
            "@process.ancestors.executable.path",
            "@file.path",
        ];
        let expected: Vec<_> = names.into_iter().map(|name| (name.to_owned(), text.clone())).collect();
        assert_eq!(terms(found.text.trim_end_matches('\n')), expected);
    }
    for text in LINES {
        // A query is a line.
        let one = accepted(RULE, workload(), &of_file("/a", "/b", text));
        let found = exported(&[one], Export::Datadog);
        assert_eq!((found.text.as_str(), found.left_out.len()), ("", 1), "{text:?}");
    }
}
