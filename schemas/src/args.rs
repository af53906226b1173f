//! Command lines as examples: quoted as a shell would read them, bounded, with secrets taken out.
//!
//! A secret is known, in this order, by where it stands (options of well-known programs: `mysql -p…`, `curl -u user:…`), by its name
//! (`--db-password`, `PGPASSWORD=`, `"token": …`, `Pwd=…;`), by its place in a URL, and by its looks (tokens of well-known services, keys
//! in PEM, words in which letters and digits change as by chance). `vectors/args.json` has what must go and what must stay.
//!
//! It errs towards hiding, and it is no proof: a short secret that stands alone and has no name stays (`app hunter2`), and so does
//! one in hex, for commits, digests and ids of containers look the same.

mod names;
mod scrub;
mod shape;
mod slots;

use std::str::FromStr;

use crate::text::RawText;

/// Bytes of one command line; what is longer ends in ` …`.
pub const COMMAND_LINE_BYTES: usize = 4096;

/// What of a command line is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ArgsMode {
    /// All but what looks like a secret.
    #[default]
    Scrubbed,
    /// The program's name; every further argument as 16 hex digits of its BLAKE3 hash. It has no key, so that equal arguments are
    /// equal on all hosts: what can be guessed can be tried. An argument that must not be found by trying needs `Off`.
    Hashed,
    /// Nothing.
    Off,
}

/// A name that is no [`ArgsMode`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not one of `scrubbed`, `hashed`, `off`")]
pub struct ArgsModeError(String);

impl FromStr for ArgsMode {
    type Err = ArgsModeError;

    fn from_str(text: &str) -> Result<Self, ArgsModeError> {
        match text {
            "scrubbed" => Ok(Self::Scrubbed),
            "hashed" => Ok(Self::Hashed),
            "off" => Ok(Self::Off),
            _ => Err(ArgsModeError(text.to_owned())),
        }
    }
}

/// One command line as the column `args` has it; none where nothing is to be kept.
pub fn render(argv: &[RawText], truncated: bool, mode: ArgsMode) -> Option<RawText> {
    if argv.is_empty() {
        return None;
    }
    let (argv, cut_short) = bounded(argv);
    let truncated = truncated || cut_short;
    let words = match mode {
        ArgsMode::Off => return None,
        ArgsMode::Scrubbed => scrubbed(&argv, truncated),
        ArgsMode::Hashed => hashed(&argv),
    };
    let mut out = Vec::new();
    let mut cut = truncated;
    for (at, word) in words.iter().enumerate() {
        if at > 0 {
            out.push(b' ');
        }
        quote(word, &mut out);
        if out.len() > COMMAND_LINE_BYTES {
            out.truncate(COMMAND_LINE_BYTES);
            cut = true;
            break;
        }
    }
    if cut {
        out.extend_from_slice(" …".as_bytes());
    }
    Some(out.into())
}

/// As much of it as a line can show.
fn bounded(argv: &[RawText]) -> (Vec<&[u8]>, bool) {
    let mut room = COMMAND_LINE_BYTES;
    let mut out = Vec::new();
    for arg in argv {
        let arg = arg.as_bytes();
        if arg.len() > room {
            out.push(&arg[..room]);
            return (out, true);
        }
        // A word and a space: so that the number of words is bounded too.
        room = room.saturating_sub(arg.len() + 1);
        out.push(arg);
    }
    (out, false)
}

/// The user info of a URL that was cut off looks like its host: then an `@` is thought behind it.
fn scrubbed(argv: &[&[u8]], truncated: bool) -> Vec<Vec<u8>> {
    let Some((last, rest)) = argv.split_last().filter(|_| truncated) else { return scrub::scrub(argv) };
    let last = [*last, b"@"].concat();
    let mut words = scrub::scrub(&[rest, &[&last]].concat());
    if let Some(word) = words.last_mut()
        && word.ends_with(b"@")
    {
        word.pop();
    }
    words
}

/// A process can give itself any title, all in the first argument: only its first word is the program's name.
fn hashed(argv: &[&[u8]]) -> Vec<Vec<u8>> {
    let (first, rest) = argv.split_first().map_or((&[][..], &[][..]), |(first, rest)| (*first, rest));
    let end = first.iter().position(u8::is_ascii_whitespace).unwrap_or(first.len());
    let mut words = scrub::scrub(&[&first[..end]]);
    if end < first.len() {
        words.push(hash(&first[end..]));
    }
    words.extend(rest.iter().map(|arg| hash(arg)));
    words
}

fn hash(bytes: &[u8]) -> Vec<u8> {
    blake3::hash(bytes).to_hex().as_str().as_bytes()[..16].to_vec()
}

/// Appends a word so that a shell reads it back as it is.
fn quote(word: &[u8], out: &mut Vec<u8>) {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_@%+=:,./-^~".contains(byte) || *byte >= 0x80;
    if !word.is_empty() && word.iter().all(plain) {
        out.extend_from_slice(word);
        return;
    }
    out.push(b'\'');
    for byte in word {
        match byte {
            b'\'' => out.extend_from_slice(b"'\\''"),
            _ => out.push(*byte),
        }
    }
    out.push(b'\'');
}

#[cfg(test)]
mod tests;
