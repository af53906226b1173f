//! Ids of alerts.

use serde_json::Value;

use super::Source;

/// What they are hashed with. It changes when the same record comes to be another alert.
const DOMAIN: &[u8] = b"wsp.alert.v1";

/// BLAKE3 over what a record says: neither white space nor the order of its fields matter.
pub(super) fn of(source: Source, record: &Value) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(DOMAIN);
    text(&mut hasher, source.as_str());
    value(&mut hasher, record);
    let mut hex = hasher.finalize().to_hex().to_string();
    hex.truncate(32);
    hex
}

fn text(hasher: &mut blake3::Hasher, text: &str) {
    hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
}

/// The parser bounds the depth.
fn value(hasher: &mut blake3::Hasher, record: &Value) {
    match record {
        Value::Null => text(hasher, "null"),
        Value::Bool(_) | Value::Number(_) => {
            hasher.update(b"=");
            text(hasher, &record.to_string());
        }
        Value::String(string) => {
            hasher.update(b"\"");
            text(hasher, string);
        }
        Value::Array(items) => {
            hasher.update(b"[").update(&(items.len() as u64).to_le_bytes());
            items.iter().for_each(|item| value(hasher, item));
        }
        Value::Object(fields) => {
            hasher.update(b"{").update(&(fields.len() as u64).to_le_bytes());
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by_key(|(key, _)| *key);
            for (key, field) in fields {
                text(hasher, key);
                value(hasher, field);
            }
        }
    }
}
