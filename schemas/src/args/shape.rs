//! What looks like a secret whatever it is called.

/// How the tokens of well-known services begin, and how many more characters they have at least.
const TOKENS: &[(&[u8], usize)] = &[
    (b"AKIA", 16),
    (b"ASIA", 16),
    (b"AIza", 30),
    (b"ya29.", 20),
    (b"ghp_", 20),
    (b"gho_", 20),
    (b"ghu_", 20),
    (b"ghs_", 20),
    (b"ghr_", 20),
    (b"github_pat_", 20),
    (b"glpat-", 16),
    (b"glrt-", 16),
    (b"gldt-", 16),
    (b"xoxa-", 10),
    (b"xoxb-", 10),
    (b"xoxe-", 10),
    (b"xoxp-", 10),
    (b"xoxr-", 10),
    (b"xoxs-", 10),
    (b"xapp-", 10),
    (b"sk_live_", 10),
    (b"sk_test_", 10),
    (b"rk_live_", 10),
    (b"rk_test_", 10),
    (b"whsec_", 16),
    (b"sk-", 20),
    (b"SG.", 20),
    (b"npm_", 30),
    (b"pypi-", 30),
    (b"dckr_pat_", 16),
    (b"dop_v1_", 30),
    (b"hvs.", 20),
    (b"hvb.", 20),
    (b"hf_", 20),
    (b"shpat_", 20),
    (b"tskey-", 16),
    (b"eyJ", 17),
    (b"AGE-SECRET-KEY-", 20),
];

/// Shortest word that is taken for random.
const RANDOM_LEN: usize = 20;

/// A token of a known service. In words of lower-case letters with dashes (`sk-…`) a digit or capital must be there too.
fn is_token(run: &[u8]) -> bool {
    TOKENS.iter().any(|(start, more)| {
        run.strip_prefix(*start).is_some_and(|rest| {
            rest.len() >= *more && rest.iter().any(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
        })
    })
}

/// What a word is made of.
#[derive(Debug, Default)]
struct Mix {
    lower: bool,
    upper: bool,
    digit: bool,
    /// Neighbours of different classes.
    changes: usize,
}

impl Mix {
    /// None where it has other characters than those of base64, in either alphabet.
    fn of(word: &[u8]) -> Option<Self> {
        let mut mix = Self::default();
        let mut before = None;
        for byte in word {
            let class = match byte {
                b'a'..=b'z' => 0,
                b'A'..=b'Z' => 1,
                b'0'..=b'9' => 2,
                b'+' | b'/' | b'=' | b'-' | b'_' => 3,
                _ => return None,
            };
            mix.lower |= class == 0;
            mix.upper |= class == 1;
            mix.digit |= class == 2;
            mix.changes += usize::from(before.is_some_and(|before| before != class));
            before = Some(class);
        }
        Some(mix)
    }

    /// Letters by chance change more often than those of words, even where each begins with a capital.
    fn is_shuffled(&self, len: usize) -> bool {
        self.lower && self.upper && self.changes * 5 >= len * 2
    }
}

/// A word of letters and digits that change as they do by chance: neither written by a person nor hex. Hex stays: commits, digests and
/// ids of containers look like keys in hex.
fn is_random(word: &[u8]) -> bool {
    let random = |mix: Mix| mix.digit && mix.is_shuffled(word.len());
    word.len() >= RANDOM_LEN && !is_digest(word) && Mix::of(word).is_some_and(random)
}

/// `sha256:…` and `sha512-…` as image references and lock files have them.
fn is_digest(word: &[u8]) -> bool {
    word.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(b"sha"))
        && word.get(3).is_some_and(u8::is_ascii_digit)
}

/// What a machine made up, where a name lets one expect it: letters and digits mixed, no path and no file name. Here hex counts.
pub(super) fn may_be_random(value: &[u8]) -> bool {
    let mixed = |mix: Mix| (mix.digit && (mix.lower || mix.upper)) || mix.is_shuffled(value.len());
    // `%2B` is a `+` in a URL.
    let plain: Vec<u8> = value.iter().map(|byte| if b"%~".contains(byte) { b'_' } else { *byte }).collect();
    (value.len() >= 12 && !value.starts_with(b"/") && Mix::of(&plain).is_some_and(mixed)) || has_secret(value)
}

fn is_run(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/=-_.".contains(&byte)
}

/// True where [`mask`] would change it.
fn has_secret(word: &[u8]) -> bool {
    let mut out = Vec::new();
    mask(word, b"", &mut out);
    out != word
}

/// Appends `text` with `with` in the place of each token and each random word. Paths stay, but for tokens of known services in them.
pub(super) fn mask(text: &[u8], with: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(first) = rest.first() {
        if !is_run(*first) {
            out.push(*first);
            rest = &rest[1..];
            continue;
        }
        let end = rest.iter().position(|byte| !is_run(*byte)).unwrap_or(rest.len());
        let (run, tail) = rest.split_at(end);
        rest = tail;
        // `name=value`: the value is a word of its own; `=` at an end is padding.
        let unpadded = run.len() - run.iter().rev().take_while(|byte| **byte == b'=').count();
        let value = run[..unpadded].iter().rposition(|byte| *byte == b'=').map_or(0, |at| at + 1);
        out.extend_from_slice(&run[..value]);
        mask_run(&run[value..], with, out);
    }
}

fn mask_run(run: &[u8], with: &[u8], out: &mut Vec<u8>) {
    // Base64 may begin with a slash as paths do.
    let path =
        run.strip_prefix(b"/").is_some_and(|rest| rest.contains(&b'/') || rest.len() < 2 * RANDOM_LEN - 1);
    if is_token(run) || (!path && is_random(run)) {
        out.extend_from_slice(with);
        return;
    }
    for (at, part) in run.split(|byte| *byte == b'/').enumerate() {
        if at > 0 {
            out.push(b'/');
        }
        out.extend_from_slice(if is_token(part) { with } else { part });
    }
}
