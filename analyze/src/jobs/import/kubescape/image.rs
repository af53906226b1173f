//! The image of a container, of the two references that Kubescape gives.

use wsp_schemas::image::{ReferenceError, Workload};
use wsp_schemas::snapshot::Image;

use crate::jobs::import::image::{digest, reference};

/// The image; none where neither reference names one. `tag` is what the pod asks for, `id` what the runtime made of it.
pub(super) fn image(tag: Option<&str>, id: Option<&str>) -> Result<Option<Image>, ReferenceError> {
    let (tag, id) = (tag.and_then(reference), id.and_then(reference));
    let Some(named) = tag.or(id) else { return Ok(None) };
    let workload = Workload::parse(named)?;
    let digest = id.and_then(digest).or_else(|| tag.and_then(digest)).map(str::to_owned);
    Ok(Some(Image { workload: Some(workload), digest }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_names_the_workload_and_the_id_the_digest() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let by_digest = format!("docker-pullable://bitnami/redis@{digest}");
        let config = format!("sha256:{}", "cd".repeat(32));
        for (tag, id, workload, found) in [
            ("nginx:1.25", by_digest.as_str(), "docker.io/library/nginx:1.25", Some(&digest)),
            (
                "registry.k8s.io/coredns/coredns:v1.10.1",
                &config,
                "registry.k8s.io/coredns/coredns:v1.10.1",
                None,
            ),
            ("", &by_digest, &format!("docker.io/bitnami/redis@{digest}"), Some(&digest)),
            (&config, &by_digest, &format!("docker.io/bitnami/redis@{digest}"), Some(&digest)),
            (&format!("a/b@{digest}"), "", &format!("docker.io/a/b@{digest}"), Some(&digest)),
        ] {
            let image = image(Some(tag), Some(id)).unwrap().unwrap();
            assert_eq!(image.workload.unwrap().to_string(), workload);
            assert_eq!(image.digest.as_ref(), found);
        }
        assert_eq!(image(Some(""), Some(&config)), Ok(None));
        assert_eq!(image(None, None), Ok(None));
        assert!(image(Some("a b"), Some(&by_digest)).unwrap_err().to_string().contains("`a b`"));
    }
}
