//! Values of foreign records, checked: bounded, and refused where they cannot be what they stand for.

use chrono::{DateTime, Datelike as _, Utc};
use wsp_schemas::args::{self, ArgsMode};
use wsp_schemas::identity::multi_call_argv0;
use wsp_schemas::paths;
use wsp_schemas::text::RawText;

/// Bytes of the longest path that the kernel knows.
pub(super) const PATH_BYTES: usize = 4096;
/// Bytes of the longest name of a host, container or label.
pub(super) const NAME_BYTES: usize = 1024;
/// Bytes of the longest command line that is looked at.
const COMMAND_BYTES: usize = 256 << 10;

/// A name; none where it is empty.
pub(super) fn name(what: &str, text: &str, max_bytes: usize) -> Result<Option<String>, String> {
    if text.len() > max_bytes {
        return Err(format!("{what} has {} bytes, which is more than {max_bytes}", text.len()));
    }
    if text.chars().any(char::is_control) {
        return Err(format!("{what} holds control characters"));
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

/// A text of the kernel's.
pub(super) fn raw(what: &str, text: &str, max_bytes: usize) -> Result<RawText, String> {
    if text.len() > max_bytes {
        return Err(format!("{what} has {} bytes, which is more than {max_bytes}", text.len()));
    }
    if text.contains('\0') {
        return Err(format!("{what} holds a NUL"));
    }
    Ok(text.into())
}

/// A path after the path rules; none where it is empty.
pub(super) fn path(what: &str, text: &str) -> Result<Option<RawText>, String> {
    let path = raw(what, text, PATH_BYTES)?;
    Ok((!path.is_empty()).then(|| normal(&path)))
}

/// A path after the path rules.
pub(super) fn normal(path: &RawText) -> RawText {
    paths::normalise(path.as_bytes()).into_owned().into()
}

/// A path as the kernel would take it: joined to the working directory where it is relative, without `.` and doubled slashes. `..`
/// stays, for what it means depends on links.
pub(super) fn joined(cwd: &[u8], path: &[u8]) -> RawText {
    let parts = |path: &[u8]| {
        let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
        parts.flat_map(|part| [b"/", part].concat()).collect::<Vec<u8>>()
    };
    let mut out = if path.starts_with(b"/") { Vec::new() } else { parts(cwd) };
    out.extend(parts(path));
    if out.is_empty() && !path.is_empty() {
        out.push(b'/');
    }
    out.into()
}

/// A time from 1970 to 9999, as RFC 3339 has it.
pub(super) fn time(what: &str, text: &str) -> Result<DateTime<Utc>, String> {
    let parsed = DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z"))
        .map_err(|_| format!("{what} is no time: `{}`", shortened(text, 64)))?
        .with_timezone(&Utc);
    // Object keys have years of four digits; Go writes the year 1 where it has none.
    if parsed.timestamp() <= 0 || parsed.year() > 9999 {
        return Err(format!("{what} is not between 1970 and 9999: `{}`", shortened(text, 64)));
    }
    Ok(parsed)
}

/// The start of a text.
pub(super) fn shortened(text: &str, max_bytes: usize) -> String {
    if text.len() <= max_bytes {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(max_bytes)])
}

/// The words of a command line that was joined with spaces. What stands in double quotes, at the start of a word, is one.
pub(super) fn words(what: &str, line: &str) -> Result<Vec<RawText>, String> {
    let line = raw(what, line, COMMAND_BYTES)?;
    let mut rest = line.as_bytes().trim_ascii();
    let mut words = Vec::new();
    while !rest.is_empty() {
        let quoted = rest.strip_prefix(b"\"").and_then(|quoted| {
            let end = quoted.iter().position(|byte| *byte == b'"')?;
            let after = &quoted[end + 1..];
            after.first().is_none_or(u8::is_ascii_whitespace).then_some((&quoted[..end], after))
        });
        let (word, after) = quoted.unwrap_or_else(|| {
            let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
            rest.split_at(end)
        });
        words.push(RawText::from(word));
        rest = after.trim_ascii_start();
    }
    Ok(words)
}

/// A command line as the column `args` has it.
pub(super) fn command_line(argv: &[RawText]) -> Option<RawText> {
    args::render(argv, false, ArgsMode::Scrubbed)
}

/// A text for people, without what looks like a secret.
pub(super) fn scrubbed(text: &str) -> String {
    let start = &text[..text.floor_char_boundary(args::COMMAND_LINE_BYTES)];
    let Some(line) = args::render(&[start.into()], false, ArgsMode::Scrubbed) else { return String::new() };
    let line = String::from_utf8_lossy(line.as_bytes());
    // One word, which is quoted unless it is plain.
    match line.strip_prefix('\'') {
        Some(quoted) => quoted.strip_suffix('\'').unwrap_or(quoted).replace("'\\''", "'"),
        None => line.into_owned(),
    }
}

/// Ancestors from the root down to a process as the nodes of a tree have them: what equals its parent is its parent's node.
pub(super) fn folded(mut ancestors: Vec<RawText>, exe: Option<&RawText>) -> Vec<RawText> {
    // Of a multi-call binary the name would have to be equal too, and an ancestor's is not told.
    let repeats = |a: &RawText, b: &RawText| a == b && multi_call_argv0(a.as_bytes(), b"").is_none();
    ancestors.dedup_by(|a, b| repeats(a, b));
    if ancestors.last().is_some_and(|last| exe.is_some_and(|exe| repeats(last, exe))) {
        ancestors.pop();
    }
    ancestors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_line() {
        let split = |line| {
            let words = words("x", line).unwrap();
            words.iter().map(RawText::to_escaped).collect::<Vec<_>>()
        };
        assert_eq!(split("-c \"PORT=9080 python app.py\" "), ["-c", "PORT=9080 python app.py"]);
        assert_eq!(split("sh  -c a\"b c"), ["sh", "-c", "a\"b", "c"]);
        assert_eq!(split("\"a b"), ["\"a", "b"]);
        assert_eq!(split(""), [""; 0]);
    }

    #[test]
    fn secrets_go_and_the_rest_stays() {
        for text in ["it's a file below /etc (user=root command=cat /etc/shadow)", "plain", "O_RDONLY", ""] {
            assert_eq!(scrubbed(text), text);
        }
        assert_eq!(scrubbed("ran curl --token abcdef x"), "ran curl --token *** x");
    }

    #[test]
    fn paths_are_joined() {
        let join = |cwd: &str, path: &str| joined(cwd.as_bytes(), path.as_bytes()).to_escaped();
        assert_eq!(join("/opt/app/", "./x//y"), "/opt/app/x/y");
        assert_eq!(join("/opt/app/", "/x/./y"), "/x/y");
        assert_eq!(join("/", "/"), "/");
        assert_eq!(join("", ""), "");
    }

    #[test]
    fn times_have_bounds() {
        assert!(time("t", "2024-01-15T15:45:00.000000001Z").is_ok());
        assert!(time("t", "2024-01-15T15:45:00.1+0000").is_ok());
        for text in ["0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "+12024-01-15T15:45:00Z", "yesterday"] {
            assert!(time("t", text).is_err(), "{text}");
        }
    }
}
