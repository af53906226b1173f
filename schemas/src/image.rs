//! Workloads: one image name and tag, however the runtime spelled it.

use std::cell::RefCell;
use std::fmt;
use std::str::FromStr;

use oci_spec::distribution::Reference;
use serde::{Deserialize, Serialize};

use crate::message::message_is_text;

/// The name and tag that a profile is about, normalised as `oci-spec` does it: `nginx` is `docker.io/library/nginx:latest`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "(String, String)", into = "(String, String)")]
pub struct Workload {
    name: String,
    tag: String,
}

impl TryFrom<(String, String)> for Workload {
    type Error = ReferenceError;

    fn try_from((name, tag): (String, String)) -> Result<Self, ReferenceError> {
        Self::from_columns(&name, &tag)
    }
}

impl From<Workload> for (String, String) {
    fn from(workload: Workload) -> Self {
        (workload.name, workload.tag)
    }
}

/// An image reference that names no workload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{reference}` is not an image reference: {reason}")]
pub struct ReferenceError {
    /// The text that was given.
    pub reference: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Workload {
    /// Reads `NAME`, `NAME:TAG`, `NAME@sha256:…` or `NAME:TAG@sha256:…`. Where a tag stands, the digest is not part of
    /// the workload; without one the tag is `@sha256:<digest>`; with neither it is `latest`, as the runtimes read it.
    pub fn parse(reference: &str) -> Result<Self, ReferenceError> {
        let parsed = Reference::from_str(reference)
            .map_err(|error| ReferenceError { reference: reference.to_owned(), reason: error.to_string() })?;
        let tag = match (parsed.tag(), parsed.digest()) {
            (Some(tag), _) => tag.to_owned(),
            (None, Some(digest)) => format!("@{digest}"),
            (None, None) => "latest".to_owned(),
        };
        Ok(Self { name: format!("{}/{}", parsed.registry(), parsed.repository()), tag })
    }

    /// Takes the values of the columns `image_name` and `image_tag` of a file: they must be in normal form.
    pub fn from_columns(name: &str, tag: &str) -> Result<Self, ReferenceError> {
        // Files of one workload mostly come one after the other.
        thread_local! {
            static LAST: RefCell<Option<Workload>> = const { RefCell::new(None) };
        }
        let is_last = |last: &Self| last.name == name && last.tag == tag;
        if let Some(workload) = LAST.with_borrow(|last| last.clone().filter(is_last)) {
            return Ok(workload);
        }
        let workload = if is_plain(name, tag) {
            Self { name: name.to_owned(), tag: tag.to_owned() }
        } else {
            let reference = reference(name, tag);
            let workload = Self::parse(&reference)?;
            if workload.name != name || workload.tag != tag {
                let reason = format!("not in normal form, which is `{workload}`");
                return Err(ReferenceError { reference, reason });
            }
            workload
        };
        LAST.set(Some(workload.clone()));
        Ok(workload)
    }

    /// Registry and repository.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The tag, or `@sha256:<digest>`.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// The key by which object names and partitions know it.
    pub fn key(&self) -> WorkloadKey {
        let mut hash = blake3::Hasher::new();
        hash.update(b"wsp.workload.v1");
        for field in [&self.name, &self.tag] {
            hash.update(&(field.len() as u64).to_le_bytes()).update(field.as_bytes());
        }
        let mut bytes = [0; 8];
        hash.finalize_xof().fill(&mut bytes);
        WorkloadKey(u64::from_be_bytes(bytes))
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&reference(&self.name, &self.tag))
    }
}

/// A name and a tag as people write them: `nginx:1.25`, or `nginx@sha256:…`.
pub fn reference(name: &str, tag: &str) -> String {
    let separator = if tag.starts_with('@') { "" } else { ":" };
    format!("{name}{separator}{tag}")
}

/// Whether a name and a tag are in normal form beyond doubt, as nearly all are: the library's pattern is only asked about others, since to
/// compile it takes 30 ms and 30 MB, more than many a command does besides.
fn is_plain(name: &str, tag: &str) -> bool {
    let are_words = |text: &str, separators: &[char]| {
        text.split(separators).all(|word| {
            !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        })
    };
    let Some((registry, repository)) = name.split_once('/') else { return false };
    let (host, port) = registry.split_once(':').map_or((registry, None), |(host, port)| (host, Some(port)));
    let is_registry = are_words(host, &['.', '-'])
        && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
        && (host.contains('.') || port.is_some() || host == "localhost")
        // The one is another name of the other, where names without a folder get one.
        && registry != "index.docker.io"
        && (registry != "docker.io" || repository.contains('/'));
    let is_tag = match tag.strip_prefix("@sha256:") {
        Some(digest) => digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => {
            let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            (1..=128).contains(&tag.len())
                && tag.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
                && tag.bytes().next().is_some_and(is_word)
        }
    };
    is_registry && is_tag && repository.len() <= 255 && are_words(repository, &['/', '.', '_', '-'])
}

/// 16 hex digits of BLAKE3 over name and tag: object keys carry it, so that a merge plans from a listing alone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadKey(u64);

impl WorkloadKey {
    /// The key of snapshots whose workload is not known; they are kept and never merged.
    pub const UNKEYED: Self = Self(0);

    /// Reads 16 lower-case hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        (text.len() == 16 && text.bytes().all(hex))
            .then(|| u64::from_str_radix(text, 16).ok().map(Self))
            .flatten()
    }

    /// The partition of the profile tables in a store that has `buckets` of them.
    pub fn bucket(self, buckets: u32) -> i32 {
        // A remainder of a u32 that tables keep as signed; stores have at most a few thousand buckets.
        i32::try_from(self.0 % u64::from(buckets.max(1))).unwrap_or(0)
    }
}

impl fmt::Display for WorkloadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for WorkloadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

message_is_text!(WorkloadKey, WorkloadKey::to_string, WorkloadKey::parse, "a workload key has 16 hex digits");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn references_are_normalised() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        for (reference, name, tag) in [
            ("nginx", "docker.io/library/nginx", "latest"),
            ("nginx:1.25", "docker.io/library/nginx", "1.25"),
            ("docker.io/nginx:1.25", "docker.io/library/nginx", "1.25"),
            ("bitnami/redis:7", "docker.io/bitnami/redis", "7"),
            ("localhost/demo/web:1.22", "localhost/demo/web", "1.22"),
            ("registry:5000/a/b/c:t", "registry:5000/a/b/c", "t"),
            (&format!("nginx@{digest}"), "docker.io/library/nginx", &format!("@{digest}")),
            (&format!("nginx:1@{digest}"), "docker.io/library/nginx", "1"),
        ] {
            let workload = Workload::parse(reference).unwrap();
            assert_eq!((workload.name(), workload.tag()), (name, tag), "{reference}");
            assert_eq!(Workload::from_columns(name, tag), Ok(workload));
        }
    }

    proptest! {
        #[test]
        fn what_is_plain_the_library_takes_as_it_is(
            name in "((docker|index[.]docker|a1|b-c|d)([.](io|x-y|z))?|localhost|-|)(:[0-9]{0,3})?(/[a-c0-9]{0,2}([._-]{0,2}[A-Ca0]{0,2}){0,2}){0,3}",
            tag in "[._-]?[a-zA-Z0-9._é-]{0,130}|@sha256:[0-9a-fA-Fg]{63,65}|@sha512:[0-9]{64}",
        ) {
            if is_plain(&name, &tag) {
                let workload = Workload::parse(&reference(&name, &tag)).unwrap();
                prop_assert_eq!((workload.name(), workload.tag()), (name.as_str(), tag.as_str()));
            }
        }
    }

    #[test]
    fn usual_workloads_are_plain() {
        let digest = format!("@sha256:{}", "ab".repeat(32));
        for (name, tag) in [
            ("docker.io/library/nginx", "1.25-alpine_3"),
            ("localhost/demo/web", "1.22"),
            ("registry:5000/a/b/c", &digest),
            ("eu-docker.pkg.dev/my-project/re_po.x/image", "v1"),
        ] {
            assert!(is_plain(name, tag), "{name} {tag}");
        }
        for (name, tag) in [
            ("nginx", "1"),
            ("docker.io/nginx", "1"),
            ("index.docker.io/library/nginx", "1"),
            ("host/a", "1"),
            ("a.b/C", "1"),
            ("a.b/c", ".1"),
            ("a.b/c", ""),
            ("a.b:/c", "1"),
            ("a.b//c", "1"),
        ] {
            assert!(!is_plain(name, tag), "{name} {tag}");
        }
    }

    #[test]
    fn what_is_no_reference_is_named() {
        for reference in ["", "a b", "nginx:ta g", "../x", "a:b:c"] {
            assert_eq!(Workload::parse(reference).unwrap_err().reference, reference);
        }
        assert!(
            Workload::from_columns("nginx", "1")
                .unwrap_err()
                .to_string()
                .contains("docker.io/library/nginx:1")
        );
    }

    #[test]
    fn keys_are_golden() {
        assert_eq!(Workload::parse("nginx:1.25").unwrap().key().to_string(), "724ba9bc2c4cf759");
        let key = WorkloadKey::parse("00000000000000ff").unwrap();
        assert_eq!((key.bucket(16), key.bucket(1)), (15, 0));
        assert_eq!(WorkloadKey::parse("00000000000000FF"), None);
    }
}
