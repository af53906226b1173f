//! Files of one or many documents, YAML or JSON.

use serde_saphyr::DuplicateKeyPolicy;

use super::object::{Document, Object};

/// Most scalars, lists and maps that aliases stand for, in one document.
const ALIASED_EVENTS: usize = 50_000;

/// Most characters of what a parser says is wrong.
const REASON_CHARS: usize = 300;

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) objects: Vec<Object>,
    /// Of documents that could not be read; those after one that is not even YAML or JSON are not looked for.
    pub(super) errors: Vec<String>,
}

/// Reads all documents of a file. What starts like JSON is JSON.
pub(super) fn parse(bytes: &[u8]) -> Parsed {
    let mut parsed = Parsed::default();
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if matches!(first, Some(b'{' | b'[')) {
        for document in serde_json::Deserializer::from_slice(bytes).into_iter::<Document>() {
            parsed.add(document);
        }
    } else {
        let mut reader = bytes;
        for document in serde_saphyr::read_with_options::<_, Document>(&mut reader, options()) {
            parsed.add(document);
        }
    }
    if parsed.objects.is_empty() && parsed.errors.is_empty() {
        parsed.errors.push("the file holds no object".to_owned());
    }
    parsed
}

/// The size of a file is bounded already, and everything that grows with it. What is left are aliases, which can make much
/// of little, and which nothing that writes objects of Kubernetes uses but to name a list twice.
fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: usize::MAX,
            max_nodes: usize::MAX,
            max_documents: usize::MAX,
            max_total_scalar_bytes: usize::MAX,
            max_recorded_anchor_events: ALIASED_EVENTS,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: ALIASED_EVENTS },
        duplicate_keys: DuplicateKeyPolicy::Error,
        with_snippet: false,
    }
}

impl Parsed {
    fn add<E: ToString>(&mut self, document: Result<Document, E>) {
        match document {
            Ok(Document(objects)) => self.objects.extend(objects),
            // A parser may repeat what it met, up to the whole file.
            Err(error) => self.errors.push(shortened(error.to_string())),
        }
    }
}

fn shortened(mut reason: String) -> String {
    if let Some((at, _)) = reason.char_indices().nth(REASON_CHARS) {
        reason.truncate(at);
        reason.push('…');
    }
    reason
}
