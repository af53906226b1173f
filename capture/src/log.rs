//! The event log: everything that a snapshot is made of, as JSON lines, so that `replay` needs neither root nor a kernel.
//!
//! First the [`EventLogHeader`]; then, in any number and mixed, `{"container": …}` (who a cgroup is), `{"window": …}` and
//! `{"close": …}` (from when to when), and events as they are. A log that holds only events is one window per cgroup, from
//! the first to the last event.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};
use wsp_schemas::snapshot::Sensor;

use crate::event::{BootTime, CgroupId, Event, EventLogHeader, Pid};

/// The form of log that this version writes, and the newest that it reads.
pub const LOG_VERSION: u32 = 2;

/// Bytes of one line that are read at most.
const LINE_BYTES: u64 = 4 << 20;

/// One line after the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// Who a cgroup is.
    Container(Box<ContainerLine>),
    /// A window opens.
    Window(WindowLine),
    /// A window closes.
    Close(CloseLine),
    /// Something happened.
    #[serde(untagged)]
    Event(Event),
}

/// Who a cgroup is. All but the first is optional.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContainerLine {
    /// Its cgroup.
    pub cgroup: CgroupId,
    /// The runtime's id.
    pub id: String,
    /// The runtime's name.
    pub name: Option<String>,
    /// Image reference as the runtime has it.
    pub image: Option<String>,
    /// Digest of the image's manifest or index.
    pub digest: Option<String>,
    /// Start, milliseconds since the epoch.
    pub started_ms: Option<i64>,
    /// Allow-listed labels.
    pub labels: BTreeMap<String, String>,
    /// Name of the host.
    pub host: Option<String>,
    /// The init task.
    pub init: Option<Pid>,
    /// It was met running, not before its start.
    pub running: bool,
    /// What was live for it.
    pub sensors: Vec<Sensor>,
}

/// A window opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowLine {
    /// Of which container.
    pub cgroup: CgroupId,
    /// When.
    pub opened: BootTime,
    /// Id of its snapshot; one that follows from the log where absent.
    #[serde(default)]
    pub snapshot: Option<String>,
}

/// A window closes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloseLine {
    /// Of which container.
    pub cgroup: CgroupId,
    /// When.
    pub closed: BootTime,
}

/// A log that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file itself.
    #[error("line {line} cannot be read")]
    Read {
        /// From 1.
        line: usize,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Not what a log has.
    #[error("line {line} is not a line of an event log")]
    Line {
        /// From 1.
        line: usize,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Longer than any line that is written.
    #[error("line {line} is longer than {LINE_BYTES} bytes")]
    TooLong {
        /// From 1.
        line: usize,
    },
    /// No header.
    #[error("the log is empty: its first line must be a header with `event_log`")]
    Empty,
    /// From a later version.
    #[error("the log has version {found}, this program reads up to {LOG_VERSION}: upgrade wsp-capture")]
    TooNew {
        /// Its version.
        found: u32,
    },
}

/// Reads a log line by line.
#[derive(Debug)]
pub struct LogReader<R> {
    lines: R,
    line: usize,
}

impl<R: BufRead> LogReader<R> {
    /// Reads the header.
    pub fn open(lines: R) -> Result<(EventLogHeader, Self), LogError> {
        let mut reader = Self { lines, line: 0 };
        let text = reader.text()?.ok_or(LogError::Empty)?;
        let header: EventLogHeader =
            serde_json::from_slice(&text).map_err(|source| LogError::Line { line: reader.line, source })?;
        if header.event_log > LOG_VERSION {
            return Err(LogError::TooNew { found: header.event_log });
        }
        Ok((header, reader))
    }

    /// The next line that is not blank; none at the end.
    pub fn next_line(&mut self) -> Result<Option<Line>, LogError> {
        let Some(text) = self.text()? else { return Ok(None) };
        let bad = |source| LogError::Line { line: self.line, source };
        let value: serde_json::Value = serde_json::from_slice(&text).map_err(bad)?;
        let line = match value.as_object().and_then(|object| object.iter().next()) {
            Some((key, body)) if key == "container" => {
                Line::Container(Box::new(serde_json::from_value(body.clone()).map_err(bad)?))
            }
            Some((key, body)) if key == "window" => {
                Line::Window(serde_json::from_value(body.clone()).map_err(bad)?)
            }
            Some((key, body)) if key == "close" => {
                Line::Close(serde_json::from_value(body.clone()).map_err(bad)?)
            }
            _ => Line::Event(serde_json::from_value(value).map_err(bad)?),
        };
        Ok(Some(line))
    }

    fn text(&mut self) -> Result<Option<Vec<u8>>, LogError> {
        loop {
            self.line += 1;
            let mut text = Vec::new();
            let read = io::Read::take(&mut self.lines, LINE_BYTES + 1)
                .read_until(b'\n', &mut text)
                .map_err(|source| LogError::Read { line: self.line, source })?;
            if read == 0 {
                return Ok(None);
            }
            if u64::try_from(text.len()).unwrap_or(u64::MAX) > LINE_BYTES {
                return Err(LogError::TooLong { line: self.line });
            }
            if !text.trim_ascii().is_empty() {
                return Ok(Some(text));
            }
        }
    }
}

/// Writes a log.
#[derive(Debug)]
pub struct LogWriter<W: Write>(W);

impl<W: Write> LogWriter<W> {
    /// Writes the header.
    pub fn create(mut out: W, header: &EventLogHeader) -> io::Result<Self> {
        serde_json::to_writer(&mut out, header)?;
        out.write_all(b"\n")?;
        Ok(Self(out))
    }

    /// Writes one line.
    pub fn write(&mut self, line: &Line) -> io::Result<()> {
        serde_json::to_writer(&mut self.0, line)?;
        self.0.write_all(b"\n")
    }

    /// Writes one event.
    pub fn event(&mut self, event: &Event) -> io::Result<()> {
        serde_json::to_writer(&mut self.0, event)?;
        self.0.write_all(b"\n")
    }

    /// Hands everything on.
    pub fn finish(mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Body, Exec, Key};

    #[test]
    fn lines_read_back() {
        let header = EventLogHeader {
            event_log: LOG_VERSION,
            kernel: "6.1.0".to_owned(),
            wall_at_boot_ns: u64::MAX - 5,
            sensors: vec!["process".to_owned()],
        };
        let exec = Exec { argv: vec![(&b"a\xff\\"[..]).into()], ..Exec::default() };
        let event = |body| {
            Line::Event(Event {
                at: BootTime(u64::MAX),
                cgroup: CgroupId(7),
                pid: Pid(1),
                key: Key::NONE,
                body,
            })
        };
        let lines = [
            Line::Container(Box::new(ContainerLine { id: "x".to_owned(), ..ContainerLine::default() })),
            Line::Window(WindowLine { cgroup: CgroupId(7), opened: BootTime(1), snapshot: None }),
            event(Body::Exec(Box::new(exec))),
            event(Body::Dns { socket: u64::MAX, answer: true, tcp: false, message: vec![0, 255] }),
            event(Body::Exit),
            Line::Close(CloseLine { cgroup: CgroupId(7), closed: BootTime(2) }),
        ];
        let mut bytes = Vec::new();
        let mut writer = LogWriter::create(&mut bytes, &header).unwrap();
        for line in &lines {
            writer.write(line).unwrap();
        }
        let (read, mut reader) = LogReader::open(&bytes[..]).unwrap();
        assert_eq!(read, header);
        for line in lines {
            assert_eq!(reader.next_line().unwrap(), Some(line));
        }
        assert_eq!(reader.next_line().unwrap(), None);
    }

    #[test]
    fn broken_logs_are_named_by_line() {
        assert!(matches!(LogReader::open(&b""[..]), Err(LogError::Empty)));
        let newer = br#"{"event_log":1000,"kernel":"","wall_at_boot_ns":0,"sensors":[]}"#;
        assert!(matches!(LogReader::open(&newer[..]), Err(LogError::TooNew { found: 1000 })));
        let log = b"{\"event_log\":1,\"kernel\":\"\",\"wall_at_boot_ns\":0,\"sensors\":[]}\n\n{\"what\":1}\n";
        let (_, mut reader) = LogReader::open(&log[..]).unwrap();
        assert!(matches!(reader.next_line(), Err(LogError::Line { line: 3, .. })));
    }
}
