//! Command lines as examples: quoted as a shell would read them, bounded, with secrets taken out.
//!
//! Scrubbing works on words, also inside one argument (`sh -c '…'`): the value of whatever is named like a secret, the
//! password of a URL, everything after `Authorization:`. It errs towards hiding; it cannot know a secret that stands
//! alone and has no name.

use std::str::FromStr;

use crate::text::RawText;

/// Bytes of one command line; what is longer ends in `…`.
const COMMAND_LINE_BYTES: usize = 4096;

/// What stands where a secret stood.
const MASK: &[u8] = b"***";

/// What of a command line is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ArgsMode {
    /// All but what looks like a secret.
    #[default]
    Scrubbed,
    /// The program's name; every further argument as 16 hex digits of its BLAKE3 hash. Guessable where the argument is.
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
    let words: Vec<Vec<u8>> = match mode {
        ArgsMode::Off => return None,
        ArgsMode::Scrubbed => scrub(argv),
        ArgsMode::Hashed => argv
            .iter()
            .enumerate()
            .map(|(at, arg)| if at == 0 { arg.as_bytes().to_vec() } else { hash(arg.as_bytes()) })
            .collect(),
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

fn scrub(argv: &[RawText]) -> Vec<Vec<u8>> {
    let program = argv.first().map(|arg| base_name(arg.as_bytes())).unwrap_or_default();
    let mut out: Vec<Vec<u8>> = Vec::with_capacity(argv.len());
    let mut hide = Next::Show;
    for (at, arg) in argv.iter().enumerate() {
        let arg = arg.as_bytes();
        if at == 0 {
            out.push(arg.to_vec());
            continue;
        }
        if hide == Next::HideWord && !arg.starts_with(b"-") {
            out.push(MASK.to_vec());
            hide = Next::Show;
            continue;
        }
        let user_flag = arg == b"-u" || arg == b"--user";
        if let Some(flag) = short_password(program, arg) {
            out.push([flag, if arg.len() > flag.len() { MASK } else { b"" }].concat());
            hide = if arg.len() > flag.len() || program != b"sshpass" { Next::Show } else { Next::HideWord };
            continue;
        }
        if hide == Next::HidePassword
            && let Some(colon) = arg.iter().position(|byte| *byte == b':')
        {
            out.push([&arg[..=colon], MASK].concat());
            hide = Next::Show;
            continue;
        }
        let (scrubbed, next) = scrub_words(arg);
        out.push(scrubbed);
        hide = if user_flag { Next::HidePassword } else { next };
    }
    out
}

/// What the word after the present one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Show,
    /// A secret.
    HideWord,
    /// `user:secret`.
    HidePassword,
    /// A secret up to the end of the argument.
    HideRest,
}

/// The flag in front of a password that follows without a space: `mysql -psecret`, `sshpass -psecret`.
fn short_password<'a>(program: &[u8], arg: &'a [u8]) -> Option<&'a [u8]> {
    let takes = [&b"mysql"[..], b"mariadb", b"sshpass"].iter().any(|name| program.starts_with(name));
    (takes && arg.starts_with(b"-p")).then(|| &arg[..2])
}

/// Scrubs the words of one argument; tells what the next argument is.
fn scrub_words(arg: &[u8]) -> (Vec<u8>, Next) {
    let separator = |byte: &u8| byte.is_ascii_whitespace() || b"\"'`;|&(){}[],<>".contains(byte);
    let mut out = Vec::with_capacity(arg.len());
    let mut next = Next::Show;
    let mut rest = arg;
    while !rest.is_empty() {
        let gap = rest.iter().position(|byte| !separator(byte)).unwrap_or(rest.len());
        out.extend_from_slice(&rest[..gap]);
        rest = &rest[gap..];
        let end = rest.iter().position(separator).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(end);
        rest = tail;
        if word.is_empty() {
            break;
        }
        match next {
            Next::HideRest => {
                out.extend_from_slice(MASK);
                return (out, Next::Show);
            }
            Next::HideWord if !word.starts_with(b"-") => {
                // `token: =` and the like: the secret is still to come.
                let only_sign = word.iter().all(|byte| b":=".contains(byte));
                out.extend_from_slice(if only_sign { word } else { MASK });
                next = if only_sign { Next::HideWord } else { Next::Show };
            }
            _ => next = scrub_word(word, rest, &mut out),
        }
    }
    (out, next)
}

fn scrub_word(word: &[u8], rest: &[u8], out: &mut Vec<u8>) -> Next {
    let dashes = word.iter().take_while(|byte| **byte == b'-').count();
    let name_len = word[dashes..]
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(byte))
        .count();
    let (name, after) = word[dashes..].split_at(name_len);
    let sign = after.first().copied();
    if name.eq_ignore_ascii_case(b"authorization") && matches!(sign, Some(b':' | b'=')) {
        out.extend_from_slice(&word[..dashes + name_len + 1]);
        if after.len() > 1 {
            out.extend_from_slice(MASK);
        }
        return Next::HideRest;
    }
    if is_secret(name) {
        match sign {
            Some(b'=' | b':') if after.len() > 1 => {
                out.extend_from_slice(&word[..dashes + name_len + 1]);
                out.extend_from_slice(MASK);
                return Next::Show;
            }
            Some(b'=' | b':') => {
                out.extend_from_slice(word);
                return Next::HideWord;
            }
            // `--token X`, `"token": "X"`
            None if dashes > 0 || is_json_name(rest) => {
                out.extend_from_slice(word);
                return Next::HideWord;
            }
            _ => {}
        }
    }
    scrub_url(word, out);
    Next::Show
}

/// True where what follows a word makes it a name in JSON.
fn is_json_name(rest: &[u8]) -> bool {
    rest.strip_prefix(b"\"").is_some_and(|rest| rest.trim_ascii_start().starts_with(b":"))
}

/// `scheme://user:secret@host` loses the secret.
fn scrub_url(word: &[u8], out: &mut Vec<u8>) {
    let Some(start) = word.windows(3).position(|window| window == b"://").map(|at| at + 3) else {
        out.extend_from_slice(word);
        return;
    };
    let authority_end =
        word[start..].iter().position(|byte| b"/?#".contains(byte)).map_or(word.len(), |at| start + at);
    // A secret may itself hold a slash: then the last `@` before a later one ends it.
    let at = word[start..authority_end].iter().rposition(|byte| *byte == b'@').map(|at| start + at);
    let at = at.or_else(|| word[start..].iter().rposition(|byte| *byte == b'@').map(|at| start + at));
    let colon = word[start..].iter().position(|byte| *byte == b':').map(|colon| start + colon);
    match (colon, at) {
        (Some(colon), Some(at)) if colon < at => {
            out.extend_from_slice(&word[..=colon]);
            out.extend_from_slice(MASK);
            out.extend_from_slice(&word[at..]);
        }
        _ => out.extend_from_slice(word),
    }
}

/// True for what is named like a secret: `--db-password`, `PGPASSWORD`, `x-api-key`.
fn is_secret(name: &[u8]) -> bool {
    let lower = name.to_ascii_lowercase();
    let part = |part: &[u8]| matches!(part, b"pwd" | b"pass" | b"pw" | b"auth");
    if lower.split(|byte| b"-_.".contains(byte)).any(part) {
        return true;
    }
    let joined: Vec<u8> = lower.into_iter().filter(|byte| !b"-_.".contains(byte)).collect();
    [
        &b"password"[..],
        b"passwd",
        b"passphrase",
        b"secret",
        b"token",
        b"credential",
        b"apikey",
        b"accesskey",
        b"privatekey",
    ]
    .iter()
    .any(|word| joined.windows(word.len()).any(|window| window == *word))
}

fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(argv: &[&str], mode: ArgsMode) -> String {
        let argv: Vec<RawText> = argv.iter().map(|arg| RawText::from(*arg)).collect();
        render(&argv, false, mode).unwrap().to_escaped()
    }

    #[test]
    fn words_are_quoted_as_a_shell_reads_them() {
        assert_eq!(
            show(&["sh", "-c", "echo it's; ls", ""], ArgsMode::Scrubbed),
            r"sh -c 'echo it'\''s; ls' ''".replace('\\', "\\\\")
        );
        let raw = render(&["x".into(), RawText::from(&b"\xff"[..])], true, ArgsMode::Scrubbed).unwrap();
        assert_eq!(raw.to_escaped(), "x \\xff …");
    }

    #[test]
    fn secrets_are_taken_out() {
        for (argv, shown) in [
            (&["app", "--password", "hunter2", "--port", "1"][..], "app --password '***' --port 1"),
            (&["app", "--db-password=hunter2"], "app '--db-password=***'"),
            (&["env", "PGPASSWORD=x", "A=b"], "env 'PGPASSWORD=***' A=b"),
            (&["app", "-api-key", "k", "file"], "app -api-key '***' file"),
            (&["curl", "-H", "Authorization: Bearer abc def"], "curl -H 'Authorization: ***'"),
            (&["curl", "-u", "me:pw", "https://h/p"], "curl -u 'me:***' https://h/p"),
            (&["psql", "postgres://me:p@ss@db:5432/x?y"], "psql 'postgres://me:***@db:5432/x?y'"),
            (&["psql", "postgres://me:a/b@db/x"], "psql 'postgres://me:***@db/x'"),
            (&["mysql", "-psecret", "-h", "db"], "mysql '-p***' -h db"),
            (&["sshpass", "-p", "pw", "ssh", "h"], "sshpass -p '***' ssh h"),
            (&["sh", "-c", "export TOKEN=abc; run --secret x"], "sh -c 'export TOKEN=***; run --secret ***'"),
            (&["x", "{\"password\": \"p\"}"], "x '{\"password\": \"***\"}'"),
            (&["cat", "/etc/passwd"], "cat /etc/passwd"),
            (&["nginx", "-g", "daemon off;"], "nginx -g 'daemon off;'"),
        ] {
            assert_eq!(show(argv, ArgsMode::Scrubbed), shown);
        }
    }

    #[test]
    fn modes() {
        assert_eq!(show(&["a", "b"], ArgsMode::Hashed), format!("a {}", &blake3::hash(b"b").to_hex()[..16]));
        assert_eq!(render(&["a".into()], false, ArgsMode::Off), None);
        assert!("x".parse::<ArgsMode>().unwrap_err().to_string().contains("scrubbed"));
    }

    #[test]
    fn long_lines_are_cut() {
        let long = "y".repeat(10_000);
        let line = show(&["x", &long], ArgsMode::Scrubbed);
        assert!(line.ends_with("y …") && line.len() < COMMAND_LINE_BYTES + 8);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_rendered(argv in proptest::collection::vec(proptest::collection::vec(1_u8.., 0..40), 0..8)) {
            let argv: Vec<RawText> = argv.into_iter().map(RawText::from).collect();
            let _ = render(&argv, false, ArgsMode::Scrubbed);
        }
    }
}
