//! JSON records of a file, one after the other: a record a line, records over several lines, or arrays of them.
//!
//! A record is what stands between an opening brace and the one that closes it; commas and brackets around records mean nothing. A
//! bad record costs itself only: anything else costs its line, a text ends with its line, and a brace at the very start of a line starts
//! a record, so that one that was cut off does not swallow the next.

use std::io::{self, BufRead};
use std::mem;

/// One record.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Where it starts, from 1.
    pub(super) line: u64,
    /// Its text, or what is wrong with it.
    pub(super) text: Result<Vec<u8>, String>,
}

/// The records of a reader. Memory is bounded by the longest record that is let through.
#[derive(Debug)]
pub(super) struct Records<R> {
    input: R,
    max_bytes: usize,
    state: State,
    line: u64,
    line_start: bool,
}

#[derive(Debug)]
enum State {
    Between,
    /// Not JSON, up to the end of the line.
    Other {
        line: u64,
    },
    Inside(Open),
}

/// A record that is not closed yet.
#[derive(Debug)]
struct Open {
    line: u64,
    bytes: Vec<u8>,
    too_long: bool,
    depth: u64,
    in_text: bool,
    escaped: bool,
}

impl<R: BufRead> Records<R> {
    /// Records longer than `max_bytes` are told of, not kept.
    pub(super) fn new(input: R, max_bytes: usize) -> Self {
        Self { input, max_bytes, state: State::Between, line: 1, line_start: true }
    }

    /// The reader.
    pub(super) fn into_inner(self) -> R {
        self.input
    }

    /// The next record; none at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Record>> {
        loop {
            let chunk = self.input.fill_buf()?;
            if chunk.is_empty() {
                return Ok(self.finish());
            }
            let mut used = 0;
            let mut found = None;
            for byte in chunk {
                used += 1;
                let (line, line_start) = (self.line, self.line_start);
                self.line_start = *byte == b'\n';
                self.line += u64::from(self.line_start);
                found = step(&mut self.state, *byte, (line, line_start), self.max_bytes);
                if found.is_some() {
                    break;
                }
            }
            self.input.consume(used);
            if found.is_some() {
                return Ok(found);
            }
        }
    }

    fn finish(&mut self) -> Option<Record> {
        match mem::replace(&mut self.state, State::Between) {
            State::Between => None,
            State::Other { line } => Some(not_json(line)),
            State::Inside(open) => Some(open.broken("the file ends before it does")),
        }
    }
}

/// Takes one byte; gives the record that ends with it, or before it.
fn step(state: &mut State, byte: u8, (line, line_start): (u64, bool), max_bytes: usize) -> Option<Record> {
    match state {
        State::Between => {
            match byte {
                b'{' => *state = State::Inside(Open::new(line)),
                b',' | b'[' | b']' => {}
                _ if byte.is_ascii_whitespace() => {}
                _ => *state = State::Other { line },
            }
            None
        }
        State::Other { line } if byte == b'\n' => {
            let record = not_json(*line);
            *state = State::Between;
            Some(record)
        }
        State::Other { .. } => None,
        State::Inside(open) if byte == b'{' && line_start => {
            let cut = mem::replace(open, Open::new(line));
            Some(cut.broken("another one starts before it ends"))
        }
        State::Inside(open) => {
            let reason = match open.take(byte, max_bytes) {
                Taken::Open => return None,
                Taken::Closed => None,
                Taken::Broken(reason) => Some(reason),
            };
            let State::Inside(open) = mem::replace(state, State::Between) else { return None };
            Some(match reason {
                Some(reason) => open.broken(reason),
                None => open.closed(max_bytes),
            })
        }
    }
}

enum Taken {
    Open,
    Closed,
    Broken(&'static str),
}

impl Open {
    fn new(line: u64) -> Self {
        Self { line, bytes: vec![b'{'], too_long: false, depth: 1, in_text: false, escaped: false }
    }

    fn take(&mut self, byte: u8, max_bytes: usize) -> Taken {
        if self.bytes.len() < max_bytes {
            self.bytes.push(byte);
        } else {
            self.too_long = true;
        }
        if self.in_text {
            match byte {
                b'\n' => return Taken::Broken("a text in it does not end on its line"),
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_text = false,
                _ => {}
            }
            return Taken::Open;
        }
        match byte {
            b'"' => self.in_text = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth -= 1,
            _ => {}
        }
        if self.depth == 0 { Taken::Closed } else { Taken::Open }
    }

    fn broken(self, reason: &str) -> Record {
        Record { line: self.line, text: Err(reason.to_owned()) }
    }

    fn closed(self, max_bytes: usize) -> Record {
        let too_long = || format!("it has more than {max_bytes} bytes");
        Record { line: self.line, text: if self.too_long { Err(too_long()) } else { Ok(self.bytes) } }
    }
}

fn not_json(line: u64) -> Record {
    Record { line, text: Err("it is not a JSON object".to_owned()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn records(text: &[u8], max_bytes: usize) -> Vec<(u64, String)> {
        let mut records = Records::new(text, max_bytes);
        let mut found = Vec::new();
        while let Some(Record { line, text }) = records.next().unwrap() {
            let text = text.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            found.push((line, text.unwrap_or_else(|reason| format!("! {reason}"))));
        }
        found
    }

    fn found(text: &str) -> Vec<(u64, String)> {
        records(text.as_bytes(), 100)
    }

    #[test]
    fn lines_documents_and_arrays() {
        let one = || (1, "{\"a\":1}".to_owned());
        assert_eq!(found("{\"a\":1}\n\n{\"b\":2}\r\n"), [one(), (3, "{\"b\":2}".to_owned())]);
        assert_eq!(found("[{\"a\":1},{\"b\":[2]}]"), [one(), (1, "{\"b\":[2]}".to_owned())]);
        assert_eq!(found("{\n  \"a\": {\n  }\n}"), [(1, "{\n  \"a\": {\n  }\n}".to_owned())]);
        assert_eq!(found("{\"a\":\"}\\\"{\"}"), [(1, "{\"a\":\"}\\\"{\"}".to_owned())]);
        assert_eq!(found(" \n[]\n"), []);
    }

    #[test]
    fn a_bad_record_costs_itself_only() {
        let good = |line| (line, "{}".to_owned());
        assert_eq!(found("x y\n{}"), [(1, "! it is not a JSON object".to_owned()), good(2)]);
        assert_eq!(
            found("{\"a\":\"b\n{}"),
            [(1, "! a text in it does not end on its line".to_owned()), good(2)]
        );
        assert_eq!(found("{\"a\":[1,\n{}"), [(1, "! another one starts before it ends".to_owned()), good(2)]);
        assert_eq!(found("{}\n{\"a\""), [good(1), (2, "! the file ends before it does".to_owned())]);
        let long = format!("{{\"a\":\"{}\"}}\n{{}}", "x".repeat(1000));
        assert_eq!(found(&long), [(1, "! it has more than 100 bytes".to_owned()), good(2)]);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_none_is_read_twice(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let found = records(&bytes, 20);
            prop_assert!(found.len() <= bytes.len());
            prop_assert!(found.windows(2).all(|pair| pair[0].0 <= pair[1].0));
        }
    }
}
