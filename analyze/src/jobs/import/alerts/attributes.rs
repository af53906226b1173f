//! What a tool told beside what has a place of its own: flat, bounded, without what looks like a secret.

use std::collections::BTreeMap;

use serde_json::Value;

use super::SUMMARY_BYTES;
use crate::jobs::import::values;

/// Attributes of an alert.
const ENTRIES: usize = 64;
/// Bytes of one's name.
const KEY_BYTES: usize = 128;
/// Bytes of one's value.
const VALUE_BYTES: usize = 1024;
/// What Falco writes for a value that there is none of.
const NOT_KNOWN: [&str; 3] = ["", "<NA>", "N/A"];
/// Fields that hold what a process read, wrote or had in its environment: never kept.
const CONTENT: [&str; 9] = [
    "evt.buffer",
    "evt.rawarg",
    "evt.arg.data",
    "evt.arg.env",
    "evt.arg.environ",
    "proc.env",
    "proc.penv",
    "proc.aenv",
    "evt.args.env",
];

#[derive(Debug, Default)]
pub(super) struct Attributes(BTreeMap<String, String>);

impl Attributes {
    /// Adds a value that is told. What is too much is left out, and counted.
    pub(super) fn add(&mut self, key: &str, value: Option<&str>) {
        let Some(value) = value.filter(|value| !NOT_KNOWN.contains(value)) else { return };
        if CONTENT.iter().any(|content| key.starts_with(content)) {
            return;
        }
        let value = values::shortened(&values::scrubbed(value), VALUE_BYTES);
        self.0.insert(values::shortened(key, KEY_BYTES), value);
    }

    /// Adds the fields of an object under their names; lists and objects in it as JSON.
    pub(super) fn add_fields<'a>(&mut self, fields: impl IntoIterator<Item = (&'a String, &'a Value)>) {
        for (key, value) in fields {
            match value {
                Value::Null => {}
                Value::String(text) => self.add(key, Some(text)),
                Value::Array(items) if items.iter().all(Value::is_string) => {
                    let words: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
                    self.add(key, Some(&words.join(" ")));
                }
                other => self.add(key, Some(&other.to_string())),
            }
        }
    }

    /// The first of them by name; how many more there were stands under `…`.
    pub(super) fn finish(mut self) -> BTreeMap<String, String> {
        if let Some(first_out) = self.0.keys().nth(ENTRIES - 1).cloned()
            && self.0.len() > ENTRIES
        {
            let out = self.0.split_off(&first_out);
            self.0.insert("…".to_owned(), format!("{} more", out.len()));
        }
        self.0
    }
}

/// One line for people. `commands` are command lines that may stand in it: as one of its words a secret is better known by the program
/// that it is given to. `path` is that of the target, which is no secret even where it stands behind the word `token`.
pub(super) fn summary(text: &str, commands: &[&str], path: Option<&str>) -> String {
    let mut text = values::shortened(text, 4 * SUMMARY_BYTES);
    for command in commands {
        if command.is_empty() || !text.contains(command) {
            continue;
        }
        let words: Vec<_> = command.split_ascii_whitespace().map(Into::into).collect();
        let Some(shown) = values::command_line(&words) else { continue };
        let shown = String::from_utf8_lossy(shown.as_bytes()).into_owned();
        if shown.matches("***").count() > command.matches("***").count() {
            text = text.replace(*command, &shown);
        }
    }
    let shown = values::scrubbed(&text);
    let (before, after) = (text.split_whitespace(), shown.split_whitespace());
    let known = |word: &str| path.is_some_and(|path| path == word);
    let words = if before.clone().count() == after.clone().count() {
        before.zip(after).map(|(before, after)| if known(before) { before } else { after }).collect()
    } else {
        after.collect::<Vec<_>>()
    };
    values::shortened(&words.join(" "), SUMMARY_BYTES)
}
