//! Kernel strings are bytes; text columns hold a reversible escape of them.
//!
//! Valid UTF-8 stays as it is, a byte that is not part of valid UTF-8 becomes `\xNN` (two lower-case hex digits), a
//! backslash becomes `\\`. Control characters are valid UTF-8 and stay: escaping them is the business of whoever shows
//! the text (see [`for_display`]), so that equality and search in SQL work on what the container really used.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A string as the kernel gave it: bytes without NUL, in no particular encoding.
///
/// Serialises as its escape, so that a recorded event log is readable and still exact.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RawText(Vec<u8>);

impl RawText {
    /// Takes bytes as they are.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// Reads the text of a column back into bytes.
    pub fn from_escaped(text: &str) -> Result<Self, UnescapeError> {
        unescape(text).map(Self)
    }

    /// The bytes that identity is hashed over.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text of a column.
    pub fn to_escaped(&self) -> String {
        escape(&self.0).into_owned()
    }

    /// True for the empty string.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for RawText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&escape(&self.0), f)
    }
}

impl From<&str> for RawText {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl From<Vec<u8>> for RawText {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<&[u8]> for RawText {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl Serialize for RawText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&escape(&self.0))
    }
}

impl<'de> Deserialize<'de> for RawText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        unescape(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// A text column holds an escape that [`escape`] does not produce.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "byte {offset}: a backslash starts neither `\\\\` nor `\\xNN` with two lower-case hex digits of a byte that is not UTF-8"
)]
pub struct UnescapeError {
    /// Where the broken escape starts, in bytes.
    pub offset: usize,
}

/// The text of a kernel string: reversible, and borrowed where nothing needs an escape.
pub fn escape(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes)
        && !text.contains('\\')
    {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(bytes.len() + 8);
    for chunk in bytes.utf8_chunks() {
        for part in chunk.valid().split_inclusive('\\') {
            out.push_str(part);
            if part.ends_with('\\') {
                out.push('\\');
            }
        }
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    Cow::Owned(out)
}

/// The bytes that [`escape`] made this text of; anything that it does not produce is an error.
pub fn unescape(text: &str) -> Result<Vec<u8>, UnescapeError> {
    unescape_cow(text).map(Cow::into_owned)
}

/// As [`unescape`], borrowed where nothing is escaped, which is nearly always.
pub fn unescape_cow(text: &str) -> Result<Cow<'_, [u8]>, UnescapeError> {
    let bytes = text.as_bytes();
    if !bytes.contains(&b'\\') {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte != b'\\' {
            out.push(byte);
            at += 1;
        } else if bytes.get(at + 1) == Some(&b'\\') {
            out.push(b'\\');
            at += 2;
        } else {
            let value = match (bytes.get(at + 1), bytes.get(at + 2), bytes.get(at + 3)) {
                (Some(b'x'), Some(&high), Some(&low)) => hex_digit(high).zip(hex_digit(low)),
                _ => None,
            };
            let (high, low) = value.filter(|(high, _)| *high >= 8).ok_or(UnescapeError { offset: at })?;
            out.push(high << 4 | low);
            at += 4;
        }
    }
    // Bytes that are UTF-8 together must not stand escaped: one string would have two texts, and one node two faces.
    let canonical = escape(&out);
    if canonical != text {
        let offset = canonical.bytes().zip(text.bytes()).take_while(|(a, b)| a == b).count();
        return Err(UnescapeError { offset });
    }
    drop(canonical);
    Ok(Cow::Owned(out))
}

/// The text with control and invisible characters (terminal escapes, newlines, bidirectional overrides, soft hyphens, tags) as visible `\u{..}` escapes.
///
/// Not reversible, and never stored.
pub fn for_display(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unprintable) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_unprintable(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{e0000}'..='\u{e007f}')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn vectors() {
        for (bytes, text) in [
            (&b"/etc/passwd"[..], "/etc/passwd"),
            (b"", ""),
            (b"a\\b", "a\\\\b"),
            (b"\xff\xfe", "\\xff\\xfe"),
            (b"caf\xc3\xa9", "café"),
            (b"caf\xc3", "caf\\xc3"),
            (b"new\nline\x1b[31m", "new\nline\u{1b}[31m"),
            (b"\\xff", "\\\\xff"),
        ] {
            assert_eq!(escape(bytes), text);
            assert_eq!(unescape(text).as_deref(), Ok(bytes));
        }
    }

    #[test]
    fn what_escape_does_not_write_is_refused() {
        for text in ["\\", "\\x", "\\x4", "\\x41", "\\xFF", "\\n", "ok\\q", "\\xc3\\xa9", "\\xe2\\x82\\xac"] {
            assert!(unescape(text).is_err(), "{text:?}");
        }
        assert_eq!(unescape("ab\\q"), Err(UnescapeError { offset: 2 }));
    }

    #[test]
    fn display_shows_what_a_terminal_would_obey() {
        assert_eq!(for_display("plain é"), "plain é");
        assert_eq!(for_display("\u{1b}[31mred\n\u{202e}"), "\\u{1b}[31mred\\n\\u{202e}");
    }

    proptest! {
        #[test]
        fn reversible(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let text = escape(&bytes).into_owned();
            prop_assert_eq!(unescape(&text), Ok(bytes));
        }

        #[test]
        fn display_has_no_control_character(text in any::<String>()) {
            prop_assert!(!for_display(&text).chars().any(char::is_control));
        }
    }
}
