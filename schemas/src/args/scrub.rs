//! Taking secrets out of an argument vector, word by word.
//!
//! An argument with white space in it is a command line of its own (`sh -c '…'`), or text that is read as one. A word is judged by
//! what came before it, by the names in it, and by its looks, in that order.

use super::names::{Named, named};
use super::shape;
use super::slots::{Form, Programs};

/// What stands where a secret stood.
const MASK: &[u8] = b"***";
/// Command lines within command lines that are told apart.
const DEPTH: usize = 4;

/// Options whose value may be several settings, the first of which may be a secret.
const LISTS: &[&[u8]] =
    &[b"--set", b"--set-string", b"-o", b"-d", b"--data", b"--data-raw", b"--data-urlencode"];

/// What the next word is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Expect {
    #[default]
    Nothing,
    /// A secret, unless it is another option.
    Secret,
    /// A secret, if it looks like one.
    Perhaps,
    /// As `Perhaps`; or a secret for being quoted: `PASSWORD 'x'`.
    Quoted,
    /// A secret after this sign.
    After(u8),
}

#[derive(Debug, Default)]
struct Scrubber<'a> {
    programs: Programs<'a>,
    expect: Expect,
    /// The last argument was `-c` or the like: the next is a command line.
    command: bool,
    /// The last argument was an option that takes several settings.
    list: bool,
    /// The last word was `IDENTIFIED`.
    identified: bool,
}

/// As many words as there were, without their secrets.
pub(super) fn scrub(argv: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut scrubber = Scrubber::default();
    let mut words = Vec::with_capacity(argv.len());
    for (at, arg) in argv.iter().copied().enumerate() {
        let mut out = Vec::with_capacity(arg.len());
        if at == 0 && !arg.iter().any(u8::is_ascii_whitespace) {
            scrubber.programs.see(arg);
            shape::mask(arg, MASK, &mut out);
        } else {
            scrubber.word(arg, 0, &mut out);
        }
        words.push(out);
    }
    words
}

/// A word as `--name=value`, `name: value` or `--name`.
struct Parts<'a> {
    dashes: usize,
    name: &'a [u8],
    sign: Option<u8>,
    value: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(word: &'a [u8]) -> Self {
        let dashes = word.iter().take_while(|byte| **byte == b'-').count();
        let end = word[dashes..].iter().position(|byte| !is_name(*byte)).unwrap_or(word.len() - dashes);
        let (name, rest) = word[dashes..].split_at(end);
        let sign = rest.first().copied().filter(|sign| is_sign(*sign, rest));
        Self { dashes, name, sign, value: rest.get(1..).unwrap_or_default() }
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)
}

/// `://` is a URL's.
fn is_sign(sign: u8, rest: &[u8]) -> bool {
    sign == b'=' || (sign == b':' && !rest.starts_with(b"://"))
}

impl<'a> Scrubber<'a> {
    fn word(&mut self, word: &'a [u8], depth: usize, out: &mut Vec<u8>) {
        let expect = std::mem::take(&mut self.expect);
        let (command, list) = (std::mem::take(&mut self.command), std::mem::take(&mut self.list));
        match expect {
            Expect::Secret | Expect::Quoted | Expect::Perhaps if word == b"=" || word == b":" => {
                self.expect = Expect::Secret;
                out.extend_from_slice(word);
                return;
            }
            Expect::Secret if !word.starts_with(b"-") || shape::may_be_random(word) => {
                return out.extend_from_slice(MASK);
            }
            Expect::Quoted if word.starts_with(b"'") || shape::may_be_random(word) => {
                return out.extend_from_slice(MASK);
            }
            Expect::Perhaps if shape::may_be_random(word) => return out.extend_from_slice(MASK),
            Expect::After(sign) if word.contains(&sign) => return mask_after(sign, word, out),
            _ => {}
        }
        if let Some((form, len)) = self.programs.form(word) {
            return self.slot(form, word.split_at(len), out);
        }
        self.programs.see(word);
        if self.identified && word.eq_ignore_ascii_case(b"by") {
            self.expect = Expect::Secret;
        }
        self.identified = word.eq_ignore_ascii_case(b"identified");
        self.command = depth == 0 && is_command_option(word);
        self.list = depth == 0 && LISTS.contains(&word);

        let Parts { dashes, name, sign, value } = Parts::of(word);
        match (named(name), sign) {
            (Named::Secret, Some(b':')) if value.is_empty() => self.expect = Expect::Secret,
            (Named::Secret | Named::Perhaps, Some(sign)) if !value.is_empty() && !is_switch(value) => {
                // Behind a `-c`, what stands behind the first word is not the value. Else all of an argument or a header is.
                let shell = command && value.iter().any(u8::is_ascii_whitespace) && sign == b'=';
                let all = (depth == 0 && !(dashes == 0 && list && sign == b'=')) || value.starts_with(b" ");
                let end = if all { value.len() } else { end_of_setting(value) };
                if !shell && (named(name) == Named::Secret || shape::may_be_random(&value[..end])) {
                    out.extend_from_slice(&word[..word.len() - value.len()]);
                    mask(&value[..end], out);
                    return self.content(&value[end..], depth, out);
                }
            }
            (Named::Secret, None) if dashes + name.len() == word.len() => {
                self.expect = if dashes > 0 { Expect::Secret } else { Expect::Quoted };
            }
            (Named::Perhaps, None) if dashes > 0 && dashes + name.len() == word.len() => {
                self.expect = Expect::Perhaps;
            }
            // `--env=NAME=value`: the value is a word of its own.
            (Named::Other, Some(b'='))
                if depth < DEPTH && Parts::of(value).sign.is_some() && !is_list(word) =>
            {
                out.extend_from_slice(&word[..word.len() - value.len()]);
                return self.word(value, depth + 1, out);
            }
            _ => {}
        }
        self.content(word, depth, out);
    }

    fn slot(&mut self, form: Form, (option, value): (&[u8], &[u8]), out: &mut Vec<u8>) {
        out.extend_from_slice(option);
        match form {
            Form::After(sign) if value.is_empty() => self.expect = Expect::After(sign),
            Form::After(sign) if value.contains(&sign) => mask_after(sign, value, out),
            Form::After(_) => out.extend_from_slice(value),
            _ if value.is_empty() => self.expect = Expect::Secret,
            _ => mask(value, out),
        }
    }

    fn content(&mut self, bytes: &'a [u8], depth: usize, out: &mut Vec<u8>) {
        const KEY: &[u8] = b"PRIVATE KEY-----";
        if let Some(at) = find(bytes, KEY).map(|at| at + KEY.len()) {
            // Of a key in PEM its first line stays.
            let end = find(&bytes[at..], b"-----END").map_or(bytes.len(), |end| at + end);
            out.extend_from_slice(&bytes[..at]);
            out.extend_from_slice(MASK);
            out.extend_from_slice(&bytes[end..]);
            return;
        }
        let spaced = bytes.iter().any(u8::is_ascii_whitespace);
        if spaced && depth < DEPTH && !is_json(bytes) && !is_list(bytes) {
            self.text(bytes, depth + 1, out);
        } else {
            let mut named = Vec::with_capacity(bytes.len());
            match data_source(bytes) {
                Some((start, end)) => {
                    named.extend([&bytes[..start], MASK].concat());
                    settings(&bytes[end..], &mut named);
                }
                None => settings(bytes, &mut named),
            }
            shape::mask(&named, MASK, out);
        }
    }

    /// The words of a command line within one.
    fn text(&mut self, text: &'a [u8], depth: usize, out: &mut Vec<u8>) {
        let mut rest = text;
        while let Some(first) = rest.first() {
            if is_gap(*first) {
                if b";|&\n".contains(first) {
                    self.programs = Programs::default();
                    self.expect = Expect::Nothing;
                }
                out.push(*first);
                rest = &rest[1..];
                continue;
            }
            let (word, tail) = rest.split_at(word_len(rest));
            rest = tail;
            let quote = word[0];
            let inner = word.len().checked_sub(1).and_then(|end| word.get(1..end));
            match inner {
                Some(inner) if is_quote(quote) && word.ends_with(&[quote]) && !inner.contains(&quote) => {
                    // What is expected may hang on the quotes.
                    if self.expect == Expect::Quoted && quote == b'\'' {
                        self.expect = Expect::Secret;
                    }
                    out.push(quote);
                    self.word(inner, depth, out);
                    out.push(quote);
                }
                _ if word.iter().any(u8::is_ascii_whitespace) => self.pieces(word, depth, out),
                _ => self.word(word, depth, out),
            }
        }
    }

    /// A word of which parts are quoted, with white space in them.
    fn pieces(&mut self, word: &'a [u8], depth: usize, out: &mut Vec<u8>) {
        let Parts { name, sign, .. } = Parts::of(word);
        if self.expect != Expect::Nothing
            || self.programs.form(word).is_some()
            || (named(name) == Named::Secret && sign.is_some())
        {
            return self.word(word, DEPTH, out);
        }
        let mut rest = word;
        while let Some(first) = rest.first() {
            let quoted = is_quote(*first);
            let (piece, tail) = if quoted {
                rest.split_at(quoted_len(rest))
            } else {
                rest.split_at(rest.iter().position(|byte| is_quote(*byte)).unwrap_or(rest.len()))
            };
            rest = tail;
            match piece.strip_prefix(&[*first]).and_then(|inner| inner.strip_suffix(&[*first])) {
                Some(inner) if quoted => {
                    out.push(*first);
                    self.word(inner, depth, out);
                    out.push(*first);
                }
                _ => self.content(piece, DEPTH, out),
            }
        }
    }
}

/// Masks a value, but not the space before it nor the quotes around it.
fn mask(value: &[u8], out: &mut Vec<u8>) {
    let trimmed = value.trim_ascii_start();
    out.extend_from_slice(&value[..value.len() - trimmed.len()]);
    let quote = trimmed
        .first()
        .filter(|quote| is_quote(**quote) && trimmed.len() > 1 && trimmed.ends_with(&[**quote]));
    out.extend(quote);
    out.extend_from_slice(MASK);
    out.extend(quote);
}

fn mask_after(sign: u8, word: &[u8], out: &mut Vec<u8>) {
    let at = word.iter().position(|byte| *byte == sign).map_or(0, |at| at + 1);
    out.extend_from_slice(&word[..at]);
    out.extend_from_slice(MASK);
}

/// Of `--token-auth=true` and the like nothing is secret.
fn is_switch(value: &[u8]) -> bool {
    [&b"true"[..], b"false", b"yes", b"no", b"on", b"off"].contains(&value)
}

/// `-c`, `-ec`, `-lc`.
fn is_command_option(word: &[u8]) -> bool {
    word.strip_prefix(b"-")
        .is_some_and(|letters| letters.ends_with(b"c") && letters.iter().all(u8::is_ascii_lowercase))
}

fn is_quote(byte: u8) -> bool {
    b"\"'`".contains(&byte)
}

fn is_gap(byte: u8) -> bool {
    byte.is_ascii_whitespace() || b";|&()<>".contains(&byte)
}

/// Up to the quote that ends it, both quotes included.
fn quoted_len(text: &[u8]) -> usize {
    let mut escaped = false;
    for (at, byte) in text.iter().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if text[0] == b'"' => escaped = true,
            byte if *byte == text[0] => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Up to the first gap outside quotes.
fn word_len(text: &[u8]) -> usize {
    let mut at = 0;
    while at < text.len() && !is_gap(text[at]) {
        at += if is_quote(text[at]) { quoted_len(&text[at..]) } else { 1 };
    }
    at
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn is_json(bytes: &[u8]) -> bool {
    let mut plain = bytes.iter().filter(|byte| !byte.is_ascii_whitespace());
    matches!((plain.next(), plain.next()), (Some(b'{' | b'['), Some(b'"' | b'\'' | b'{' | b'[')))
}

/// `Server=db;User Id=me;Pwd=x`: every part between semicolons has a name.
fn is_list(bytes: &[u8]) -> bool {
    let name = |byte: &u8| is_name(*byte) || *byte == b' ';
    bytes.contains(&b';')
        && bytes
            .split(|byte| *byte == b';')
            .filter(|part| !part.trim_ascii().is_empty())
            .all(|part| part.iter().position(|byte| !name(byte)).is_some_and(|at| at > 0 && part[at] == b'='))
}

/// Where a value ends that others may follow: before `,`, `;` or `&` and another name with a sign, or nothing.
fn end_of_setting(value: &[u8]) -> usize {
    let follows = |rest: &[u8]| {
        let rest = rest.trim_ascii_start();
        let spaced = |byte: &u8| is_name(*byte) || *byte == b' ' || is_quote(*byte);
        let at = rest.iter().position(|byte| !spaced(byte));
        rest.is_empty() || at.is_some_and(|at| at > 0 && b"=:".contains(&rest[at]))
    };
    let delimiter = |at: &usize| b",;&".contains(&value[*at]) && follows(&value[at + 1..]);
    // Looking on from each delimiter must not cost more than the value is long, many times over.
    (0..value.len()).filter(|at| b",;&".contains(&value[*at])).take(64).find(delimiter).unwrap_or(value.len())
}

/// Named values and passwords of URLs, wherever they stand.
fn settings(bytes: &[u8], out: &mut Vec<u8>) {
    let list = is_list(bytes);
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"://") {
            at += user_info(&bytes[at..], out);
            continue;
        }
        if !is_name(bytes[at]) {
            out.push(bytes[at]);
            at += 1;
            continue;
        }
        let name_end =
            bytes[at..].iter().position(|byte| !is_name(*byte)).map_or(bytes.len(), |end| at + end);
        let value = value_of(bytes, at, name_end, list);
        let end = value.as_ref().map_or(name_end, |value| value.end);
        match value {
            Some(value) => {
                out.extend_from_slice(&bytes[at..value.start]);
                out.extend_from_slice(MASK);
            }
            None => out.extend_from_slice(&bytes[at..name_end]),
        }
        at = end;
    }
}

/// Where the secret of a name is, if it has one.
fn value_of(bytes: &[u8], name: usize, name_end: usize, list: bool) -> Option<std::ops::Range<usize>> {
    let named = match named(
        bytes[name..name_end].trim_ascii_start().strip_prefix(b"--").unwrap_or(&bytes[name..name_end]),
    ) {
        Named::Other => return None,
        named => named,
    };
    let before = name.checked_sub(1).map(|at| bytes[at]);
    let spaces = |from: usize| from + bytes[from..].iter().take_while(|byte| **byte == b' ').count();
    let closed = before.is_some_and(is_quote) && bytes.get(name_end) == before.as_ref();
    let sign_at = spaces(name_end + usize::from(closed));
    let sign = *bytes.get(sign_at)?;
    let whole =
        before.is_none_or(|byte| is_quote(byte) || byte.is_ascii_whitespace() || b"{,;(".contains(&byte));
    if !is_sign(sign, &bytes[sign_at..]) || (sign == b':' && !whole) {
        return None;
    }
    let mut start = spaces(sign_at + 1);
    let first = *bytes.get(start)?;
    let end = if is_quote(first) {
        let len = quoted_len(&bytes[start..]);
        let closed = len > 1 && bytes[start + len - 1] == first;
        let end = start + len - usize::from(closed);
        start += 1;
        end
    } else {
        let stop =
            |byte: &u8| is_quote(*byte) || b"}])&#<>".contains(byte) || (!list && byte.is_ascii_whitespace());
        let stop = if list {
            bytes[start..].iter().position(|byte| *byte == b';')
        } else {
            bytes[start..].iter().position(stop)
        };
        let value = &bytes[start..stop.map_or(bytes.len(), |stop| start + stop)];
        start + end_of_setting(value)
    };
    let secret = named == Named::Secret || shape::may_be_random(&bytes[start..end]);
    (secret && start < end && !is_switch(&bytes[start..end])).then_some(start..end)
}

/// Where the secret is in `user:secret@tcp(host)`, as programs in Go have it.
fn data_source(bytes: &[u8]) -> Option<(usize, usize)> {
    let end = find(bytes, b"@tcp(").or_else(|| find(bytes, b"@unix("))?;
    let start = bytes[..end].iter().position(|byte| *byte == b':')? + 1;
    Some((start, end))
}

/// `://user:secret@host` loses the secret. Gives how much it took.
fn user_info(rest: &[u8], out: &mut Vec<u8>) -> usize {
    const START: usize = 3;
    let word_end =
        rest.iter().position(|byte| byte.is_ascii_whitespace() || is_quote(*byte)).unwrap_or(rest.len());
    let authority_end =
        rest[START..word_end].iter().position(|byte| b"/?#".contains(byte)).map_or(word_end, |at| START + at);
    let last_at = |end: usize| rest[START..end].iter().rposition(|byte| *byte == b'@').map(|at| START + at);
    let colon = rest[START..word_end].iter().position(|byte| *byte == b':').map(|at| START + at);
    // A secret may itself hold a slash, where it is no port.
    let port = colon.is_some_and(|colon| {
        colon < authority_end && rest[colon + 1..authority_end].iter().all(u8::is_ascii_digit)
    });
    let in_secret = || colon.filter(|colon| *colon < authority_end && !port).and_then(|_| last_at(word_end));
    let Some(at) = last_at(authority_end).or_else(in_secret) else {
        out.extend_from_slice(&rest[..START]);
        return START;
    };
    match colon.filter(|colon| *colon < at) {
        Some(colon) => {
            shape::mask(&rest[..=colon], MASK, out);
            out.extend_from_slice(MASK);
        }
        None if shape::may_be_random(&rest[START..at]) => {
            out.extend_from_slice(&rest[..START]);
            out.extend_from_slice(MASK);
        }
        None => out.extend_from_slice(&rest[..at]),
    }
    at
}
