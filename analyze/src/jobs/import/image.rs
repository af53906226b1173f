//! Images as runtimes and agents refer to them.

use wsp_schemas::image::{ReferenceError, Workload};
use wsp_schemas::snapshot::Image;

/// Bytes of the longest reference.
const REFERENCE_BYTES: usize = 1024;

/// A reference without the scheme that Docker's shim puts before it. A bare digest is no reference: it is the id of the
/// image's configuration, in a repository that is not told.
pub(super) fn reference(text: &str) -> Option<&str> {
    let text = text.split_once("://").map_or(text, |(_, reference)| reference);
    (!text.is_empty() && !text.starts_with("sha256:")).then_some(text)
}

/// The digest of a reference.
pub(super) fn digest(reference: &str) -> Option<&str> {
    let (_, digest) = reference.rsplit_once('@')?;
    is_digest(digest).then_some(digest)
}

/// A digest, on its own.
pub(super) fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The image that some references are about, the first one leading. A name with neither tag nor digest does not say which image
/// ran, so it is not taken for `latest`.
pub(super) fn told(references: &[Option<&str>]) -> Result<Image, String> {
    let references = || references.iter().flatten().filter_map(|text| reference(text));
    if let Some(long) = references().find(|reference| reference.len() > REFERENCE_BYTES) {
        return Err(format!(
            "the image's name has {} bytes, which is more than {REFERENCE_BYTES}",
            long.len()
        ));
    }
    let parse =
        |reference: &str| Workload::parse(reference).map_err(|error: ReferenceError| error.to_string());
    let mut image = Image::default();
    for reference in references() {
        let workload = parse(reference)?;
        if image.workload.is_none() && names_version(reference) {
            image.workload = Some(workload);
        }
        image.digest = image.digest.or_else(|| digest(reference).map(str::to_owned));
    }
    Ok(image)
}

/// It has a tag or a digest.
fn names_version(reference: &str) -> bool {
    let last = reference.rsplit('/').next().unwrap_or(reference);
    last.contains([':', '@'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_no_version_is_no_workload() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let by_digest = format!("docker-pullable://quay.io/a/b@{digest}");
        let image = |references: &[Option<&str>]| {
            let image = told(references).unwrap();
            (image.workload.map(|workload| workload.to_string()), image.digest)
        };
        assert_eq!(
            image(&[Some("quay.io/a/b:1"), Some(&by_digest)]),
            (Some("quay.io/a/b:1".to_owned()), Some(digest.clone()))
        );
        assert_eq!(
            image(&[Some("quay.io/a/b"), Some(&by_digest)]),
            (Some(format!("quay.io/a/b@{digest}")), Some(digest.clone()))
        );
        assert_eq!(image(&[Some("localhost:5000/a"), None]), (None, None));
        assert_eq!(image(&[Some(&digest), Some("")]), (None, None));
        assert!(told(&[Some("a b")]).unwrap_err().contains("`a b`"));
        assert!(told(&[Some(&"x".repeat(2000))]).is_err());
    }
}
