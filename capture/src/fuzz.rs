//! What fuzzers run, one function a target: any bytes in, and a panic where something does not hold.
//!
//! `fuzz/` wraps each for libFuzzer; a test here runs each over its corpus, so that no finding comes back. Bytes that have to
//! become something structured do so by [`arbitrary`].

#![allow(clippy::expect_used, clippy::panic, reason = "a fuzz target fails by a panic")]

mod story;

use std::ffi::OsStr;
use std::fs;
use std::io::Cursor;
use std::os::unix::ffi::OsStrExt as _;
use std::panic::PanicHookInfo;
use std::path::PathBuf;

use arbitrary::{Arbitrary as _, Unstructured};
use bytes::Bytes;
use wsp_schemas::args::{ArgsMode, COMMAND_LINE_BYTES, render};
use wsp_schemas::snapshot::{self, DecodeError, Limits, Scanner};
use wsp_schemas::text::RawText;

use crate::event::Event;
use crate::log::{LogReader, LogWriter};
use crate::recorder::Options;
use crate::session::{Replay, replay};
use crate::sink::{Direct, Sink};

/// A record of the ring buffer; what it says survives the event log.
pub fn decode(data: &[u8]) {
    let Ok(event) = crate::probe::decode::decode(data) else { return };
    let json = serde_json::to_string(&event).expect("an event can be written");
    assert_eq!(serde_json::from_str::<Event>(&json).expect("it can be read back"), event);
}

/// A DNS message, as a query and as its own answer.
pub fn dns(data: &[u8]) {
    crate::recorder::check_dns(data);
}

/// What containers do, in any order, through recorder, writer and reader.
pub fn recorder(data: &[u8]) {
    if let Ok(story) = story::Story::arbitrary_take_rest(Unstructured::new(data)) {
        story.play();
    }
}

/// An event log: each line that can be read is written and read again, then all of it is replayed.
pub fn event_log(data: &[u8]) {
    let Ok((header, mut lines)) = LogReader::open(data) else { return };
    let mut written = Vec::new();
    let mut log = LogWriter::create(&mut written, &header).expect("memory takes it");
    let mut read = Vec::new();
    while let Ok(Some(line)) = lines.next_line() {
        log.write(&line).expect("memory takes it");
        read.push(line);
    }
    log.finish().expect("memory takes it");
    let (_, mut again) = LogReader::open(Cursor::new(written)).expect("a header that was written");
    for line in &read {
        assert_eq!(again.next_line().expect("a line that was written").as_ref(), Some(line));
    }
    let options = Options { max_nodes: 500, ..Options::default() };
    let config = Replay { options, container_id: None, host: "fuzz".to_owned() };
    let sink = Sink::open("memory:///").expect("a store in memory");
    // Nothing is written there: a store in memory takes all that has a key of its own.
    let sink = Direct::new(sink, PathBuf::from("/nonexistent"));
    let _ = futures::executor::block_on(replay(&config, data, &sink));
}

/// What is read of /proc.
pub fn proc(data: &[u8]) {
    crate::probe::check_proc(data);
}

/// The folder of a spool that somebody filled: names and contents.
pub fn spool(data: &[u8]) {
    let Ok(files) = Vec::<(&[u8], &[u8])>::arbitrary_take_rest(Unstructured::new(data)) else { return };
    for (name, _) in &files {
        if let Ok(name) = std::str::from_utf8(name) {
            crate::spool::check_name(name);
        }
    }
    if files.is_empty() || files.len() > 8 {
        return;
    }
    let folder = std::env::temp_dir().join(format!("wsp-fuzz-{}", std::process::id()));
    for part in ["waiting", "partial"] {
        let part = folder.join(part);
        fs::create_dir_all(&part).expect("a temporary folder");
        for (name, content) in &files {
            // Names that no file can have are no matter.
            let _ = fs::write(part.join(OsStr::from_bytes(name)), content);
        }
    }
    crate::spool::check_folder(&folder);
    fs::remove_dir_all(&folder).expect("a temporary folder");
}

/// A snapshot file, by both readers. What proves a file undamaged is renamed: whoever makes a file can make that too.
pub fn snapshot(data: &[u8]) {
    const CHECK: &[u8] = b"wsp.blake3";
    let mut data = data.to_vec();
    while let Some(at) = data.windows(CHECK.len()).position(|bytes| bytes == CHECK) {
        data[at] = b'x';
    }
    let file = Bytes::from(data);
    let limits = Limits { file_bytes: 1 << 20, rows: 100_000, decompressed_bytes: 32 << 20 };
    let decoded = snapshot::decode(file.clone(), &limits);
    let scanned = Scanner::default().scan(&file, &limits);
    if let (Ok(decoded), Ok(scanned)) = (&decoded, &scanned) {
        assert_eq!((&decoded.meta, decoded.content_hash), (&scanned.meta, scanned.content_hash));
    }
    match (&decoded, &scanned) {
        (Ok(_), Err(error)) => panic!("only the general reader accepts it: {error}"),
        // It also reads fields of the footer that nothing depends on.
        (Err(error), Ok(_)) => {
            assert!(matches!(error, DecodeError::Parquet(_)), "only the fast reader accepts it: {error}");
        }
        _ => {}
    }
}

/// The panic hook for [`snapshot`]: the readers catch the panics of the Parquet reader, which has assertions on what stands in
/// files. Our own code has none to catch.
pub fn panicked(info: &PanicHookInfo<'_>) {
    if info
        .location()
        .is_some_and(|at| !at.file().contains("/registry/") && !at.file().starts_with("/rustc/"))
    {
        #[allow(clippy::print_stderr, reason = "a fuzzer's output")]
        {
            eprintln!("{info}");
        }
        std::process::abort();
    }
}

/// A command line, in each way in which it can be kept.
pub fn args(data: &[u8]) {
    let argv: Vec<RawText> = data.split(|byte| *byte == 0).map(RawText::from).collect();
    for mode in [ArgsMode::Scrubbed, ArgsMode::Hashed, ArgsMode::Off] {
        let line = render(&argv, false, mode);
        assert_eq!(line.is_none(), mode == ArgsMode::Off);
        assert!(line.is_none_or(|line| line.as_bytes().len() <= COMMAND_LINE_BYTES + " …".len()));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

    use super::*;

    type Target = fn(&[u8]);

    /// Each with how often its input is mutated here.
    const TARGETS: [(&str, Target, u32); 8] = [
        ("args", args, 5_000),
        ("decode", decode, 20_000),
        ("dns", dns, 20_000),
        ("event_log", event_log, 500),
        ("proc", proc, 5_000),
        ("recorder", recorder, 500),
        ("snapshot", snapshot, 1_000),
        ("spool", spool, 200),
    ];

    fn corpus(name: &str) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
        let mut files: Vec<PathBuf> =
            fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        assert!(!files.is_empty(), "{} is empty", folder.display());
        files.iter().map(|file| fs::read(file).unwrap()).collect()
    }

    #[test]
    fn every_target_has_a_corpus_and_is_built() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
        assert_eq!(fs::read_dir(fuzz.join("corpus")).unwrap().count(), TARGETS.len());
        assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
        for (name, ..) in TARGETS {
            let target = fs::read_to_string(fuzz.join("fuzz_targets").join(format!("{name}.rs"))).unwrap();
            assert!(target.contains(&format!("fuzz::{name}(")), "{name}");
            assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
        }
    }

    /// Findings come back as files of the corpus.
    #[test]
    fn the_corpora_give_no_finding() {
        for (name, target, _) in TARGETS {
            corpus(name).iter().for_each(|file| target(file));
        }
    }

    /// What a fuzzer does without knowing the code: bytes changed, cut out, and put together from two files. Always the same.
    #[test]
    fn mutants_of_the_corpora_give_no_finding() {
        for (name, target, cases) in TARGETS {
            let files = corpus(name);
            let edit = (any::<prop::sample::Index>(), any::<u8>(), 0_u8..8);
            let two = (prop::sample::select(files.clone()), prop::sample::select(files));
            let mutant = (two, any::<prop::sample::Index>(), prop::collection::vec(edit, 0..8));
            let mutant = mutant.prop_map(|((mut file, other), at, edits)| {
                for (at, byte, what) in edits {
                    let at = at.index(file.len() + 1);
                    match (what, file.get_mut(at)) {
                        (0, _) => file.insert(at, byte),
                        (1, Some(_)) => drop(file.drain(at..(at + usize::from(byte)).min(file.len()))),
                        (_, Some(old)) => *old = byte,
                        (_, None) => file.push(byte),
                    }
                }
                if at.index(4) == 0 {
                    let at = at.index(file.len().min(other.len()) + 1);
                    file.truncate(at);
                    file.extend_from_slice(&other[at..]);
                }
                file
            });
            let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
            let config = Config { cases, failure_persistence: None, ..Config::default() };
            let run = TestRunner::new_with_rng(config, rng).run(&mutant, |bytes| {
                target(&bytes);
                Ok(())
            });
            if let Err(TestError::Fail(reason, bytes)) = run {
                let kept = std::env::temp_dir().join(format!("wsp-fuzz-finding-{name}"));
                fs::write(&kept, bytes).unwrap();
                panic!("{name}: {reason}; the input is {}", kept.display());
            }
            assert!(run.is_ok(), "{name}: {:?}", run.err());
        }
    }
}
