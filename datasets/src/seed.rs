//! Random numbers by name: every draw of the simulator comes from a generator that is a function of the seed and of what
//! is drawn, never of the order in which things are made. So any snapshot can be made alone, by any thread.

use rand::RngExt;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The generator for one thing: `domain` says what is drawn, `indices` for which.
pub(crate) fn rng(seed: u64, domain: &str, indices: &[usize]) -> ChaCha8Rng {
    ChaCha8Rng::from_seed(bytes(seed, domain, indices))
}

/// 32 bytes that stand for one thing: digests, container ids.
pub(crate) fn bytes(seed: u64, domain: &str, indices: &[usize]) -> [u8; 32] {
    let mut hash = blake3::Hasher::new();
    hash.update(b"wsp.datasets.v1").update(&seed.to_le_bytes());
    hash.update(&(domain.len() as u64).to_le_bytes()).update(domain.as_bytes());
    for index in indices {
        hash.update(&(*index as u64).to_le_bytes());
    }
    hash.finalize().into()
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Random characters of an alphabet.
pub(crate) fn letters(rng: &mut ChaCha8Rng, alphabet: &[u8], count: usize) -> String {
    (0..count).map(|_| char::from(*pick(rng, alphabet))).collect()
}

/// One of several. The list must not be empty.
pub(crate) fn pick<'a, T>(rng: &mut ChaCha8Rng, from: &'a [T]) -> &'a T {
    &from[rng.random_range(0..from.len())]
}
