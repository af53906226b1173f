//! The vectors in `schemas/vectors`, which `check.py` computes anew without this library.

use serde::Deserialize;
use wsp_schemas::image::Workload;
use wsp_schemas::paths;
use wsp_schemas::text::{escape, unescape};

fn hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2));
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[derive(Deserialize)]
struct WorkloadVector {
    reference: String,
    name: String,
    tag: String,
    key: String,
    bucket_of_16: i32,
}

#[test]
fn workload_keys() {
    let vectors: Vec<WorkloadVector> =
        serde_json::from_str(include_str!("../../vectors/workloads.json")).unwrap();
    assert!(vectors.len() > 8);
    for v in vectors {
        let workload = Workload::parse(&v.reference).unwrap();
        assert_eq!((workload.name(), workload.tag()), (v.name.as_str(), v.tag.as_str()), "{}", v.reference);
        assert_eq!(workload.key().to_string(), v.key, "{}", v.reference);
        assert_eq!(workload.key().bucket(16), v.bucket_of_16);
    }
}

#[derive(Deserialize)]
struct PathVector {
    raw: String,
    normal: String,
}

#[test]
fn path_rules() {
    let versions = [
        (1, 20, include_str!("../../vectors/paths-v1.json")),
        (2, 15, include_str!("../../vectors/paths-v2.json")),
    ];
    for (version, least, vectors) in versions {
        let vectors: Vec<PathVector> = serde_json::from_str(vectors).unwrap();
        assert!(vectors.len() > least);
        for v in vectors {
            let (raw, normal) = (unescape(&v.raw).unwrap(), unescape(&v.normal).unwrap());
            assert_eq!(escape(&paths::normalise_as(version, &raw)), v.normal, "{}", v.raw);
            assert_eq!(paths::normalise_as(version, &normal), normal, "{} changes again", v.normal);
        }
    }
}

#[derive(Deserialize)]
struct TextVector {
    bytes: String,
    text: Option<String>,
    refused: Option<String>,
}

#[test]
fn text_escape() {
    let vectors: Vec<TextVector> = serde_json::from_str(include_str!("../../vectors/text.json")).unwrap();
    for v in vectors {
        if let Some(text) = &v.text {
            assert_eq!(escape(&hex(&v.bytes)), *text);
            assert_eq!(unescape(text).unwrap(), hex(&v.bytes));
        }
        if let Some(text) = &v.refused {
            assert!(unescape(text).is_err(), "{text}");
        }
    }
}
