//! Image references, as runtimes have them.

use super::is_hex;

/// False for an image's id, which names no image: another host, or another build, has another one.
pub(super) fn is_name(reference: &str) -> bool {
    let digits = reference.strip_prefix("sha256:").unwrap_or(reference);
    !(digits.is_empty() || digits.len() == 64 && is_hex(digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_no_name() {
        let id = "4f3c".repeat(16);
        for (text, expected) in
            [("nginx", true), ("nginx:1", true), ("", false), (id.as_str(), false), ("sha256:", false)]
        {
            assert_eq!(is_name(text), expected, "{text}");
        }
        assert!(!is_name(&format!("sha256:{id}")) && is_name(&format!("nginx@sha256:{id}")));
    }
}
