//! Names that differ between containers, and that the path rules take out again.

use std::borrow::Cow;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::seed::{hex, letters};

/// What one container's paths contain where others have something else.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    /// The runtime's id: 64 hex digits.
    pub(crate) container: String,
    /// Pod uid, with `-`.
    pub(crate) pod: String,
    values: [(&'static str, String); 7],
}

impl Names {
    pub(crate) fn new(rng: &mut ChaCha8Rng) -> Self {
        let id: [u8; 32] = rng.random();
        let pod = uuid::Builder::from_random_bytes(rng.random()).into_uuid().hyphenated().to_string();
        let time = format!(
            "..2026_{:02}_{:02}_{:02}_{:02}_{:02}.{}",
            rng.random_range(1..=10_u8),
            rng.random_range(1..=28_u8),
            rng.random_range(0..24_u8),
            rng.random_range(0..60_u8),
            rng.random_range(0..60_u8),
            rng.random_range(1..u32::MAX)
        );
        let qos = if rng.random_bool(0.7) { "burstable" } else { "besteffort" };
        let pid = rng.random_range(2..60_000_u32);
        let values = [
            ("{pid}", pid.to_string()),
            ("{tid}", (pid + rng.random_range(1..50_u32)).to_string()),
            ("{container}", hex(&id)),
            ("{pod}", pod.clone()),
            ("{pod_}", pod.replace('-', "_")),
            ("{time}", time),
            ("{qos}", qos.to_owned()),
        ];
        Self { container: hex(&id), pod, values }
    }

    /// Names for making catalogues: the rules take them out, so that any do.
    pub(crate) fn any() -> Self {
        Self::new(&mut crate::seed::rng(0, "any names", &[]))
    }

    /// The path of this container.
    pub(crate) fn apply(&self, template: &str) -> String {
        self.values.iter().fold(template.to_owned(), |path, (name, value)| path.replace(name, value))
    }
}

/// Puts a random name where `{name}` stands.
pub(super) fn fill<'a>(template: &'a str, name: &str) -> Cow<'a, str> {
    if template.contains("{name}") { template.replace("{name}", name).into() } else { template.into() }
}

/// A name in the style of Kubernetes: the letters that it draws from.
pub(crate) fn kubernetes_suffix(rng: &mut ChaCha8Rng, count: usize) -> String {
    letters(rng, b"bcdfghjklmnpqrstvwxz2456789", count)
}
