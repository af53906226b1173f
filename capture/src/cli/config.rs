//! The configuration file of `run`: its options by their long names.
//!
//! Nothing is known of single options here: keys, types and values are checked against what the command line declares, so
//! that an option cannot be forgotten. What the file sets is then given as if it had been typed, unless the command line or
//! the environment has it.

use std::any::TypeId;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory as _, FromArgMatches as _};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::args::Args;

/// Read where none is named and it exists.
pub(super) const USUAL_FILE: &str = "/etc/wsp-capture/config.toml";
/// The command that has a configuration file.
const COMMAND: &str = "run";
/// Options that a file cannot set.
const NOT_IN_FILE: [&str; 3] = ["config", "help", "version"];

/// Why there are no arguments.
#[derive(Debug)]
pub(super) enum ParseError {
    /// They ask for help, or are none.
    Arguments(Box<clap::Error>),
    /// The file.
    File(FileError),
}

impl From<clap::Error> for ParseError {
    fn from(error: clap::Error) -> Self {
        Self::Arguments(Box::new(error))
    }
}

/// A configuration file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("the configuration file {} cannot be read", file.display())]
    Read {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{}, line {line}: {what}", file.display())]
    Line { file: PathBuf, line: usize, what: String },
}

/// Reads what was typed, the environment, and the file.
pub(super) fn parse(typed: &[OsString], usual: &Path) -> Result<Args, ParseError> {
    let whole = |arguments: &[OsString]| -> Result<Args, ParseError> {
        Ok(Args::from_arg_matches(&Args::command().try_get_matches_from(arguments)?)?)
    };
    // What must be given may stand in the file.
    let Ok(given) = lenient().try_get_matches_from(typed) else { return whole(typed) };
    let Some((COMMAND, given)) = given.subcommand() else { return whole(typed) };
    let named = given.get_one::<PathBuf>("config").map(PathBuf::as_path);
    let Some(file) = named.or_else(|| usual.exists().then_some(usual)) else { return whole(typed) };
    let more = arguments(file, given).map_err(ParseError::File)?;
    let mut arguments = typed.to_vec();
    // Before whatever ends the options.
    let at = typed.iter().position(|word| word == COMMAND).map_or(typed.len(), |command| command + 1);
    arguments.splice(at..at, more.into_iter().map(OsString::from));
    whole(&arguments)
}

/// The command line, where nothing must be given.
fn lenient() -> Command {
    Args::command().mut_subcommand(COMMAND, |run| run.mut_args(|arg| arg.required(false)))
}

/// What the file sets and nobody else does, as arguments.
fn arguments(file: &Path, given: &ArgMatches) -> Result<Vec<String>, FileError> {
    let text =
        fs::read_to_string(file).map_err(|source| FileError::Read { file: file.to_owned(), source })?;
    let fail = |span: Range<usize>, what: String| {
        let line = 1 + text.bytes().take(span.start).filter(|byte| *byte == b'\n').count();
        FileError::Line { file: file.to_owned(), line, what }
    };
    let table = DeTable::parse(&text)
        .map_err(|error| fail(error.span().unwrap_or_default(), error.message().trim_end().to_owned()))?;
    let run = lenient().find_subcommand(COMMAND).cloned().unwrap_or_default();
    let mut arguments = Vec::new();
    for (key, value) in table.get_ref().iter() {
        let name = key.get_ref().as_ref();
        let option = options(&run).find(|option| option.get_long() == Some(name));
        let option = option.ok_or_else(|| fail(key.span(), unknown(name, &run)))?;
        let typed = as_typed(option, name, value).map_err(|what| fail(value.span(), what))?;
        check(&run, &typed).map_err(|what| fail(value.span(), what))?;
        let source = given.value_source(option.get_id().as_str());
        if !matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable)) {
            arguments.extend(typed);
        }
    }
    Ok(arguments)
}

/// Options that a file can set.
fn options(run: &Command) -> impl Iterator<Item = &Arg> {
    run.get_arguments().filter(|arg| arg.get_long().is_some_and(|long| !NOT_IN_FILE.contains(&long)))
}

fn unknown(name: &str, run: &Command) -> String {
    let similar = |known: &str| strsim::jaro_winkler(&name.replace('_', "-"), known);
    let near = options(run).filter_map(Arg::get_long).max_by(|a, b| similar(a).total_cmp(&similar(b)));
    match near.filter(|near| similar(near) > 0.8) {
        Some(near) => format!("unknown key `{name}`; did you mean `{near}`?"),
        None => {
            let known: Vec<&str> = options(run).filter_map(Arg::get_long).collect();
            format!("unknown key `{name}`; there are {}", known.join(", "))
        }
    }
}

/// A value as it would be typed.
fn as_typed(option: &Arg, name: &str, value: &Spanned<DeValue<'_>>) -> Result<Vec<String>, String> {
    let value = value.get_ref();
    let wrong = |wanted: &str| Err(format!("`{name}` must be {wanted}, not {}", kind_of(value)));
    if matches!(option.get_action(), ArgAction::SetTrue) {
        return match value.as_bool() {
            Some(set) => Ok(set.then(|| format!("--{name}")).into_iter().collect()),
            None => wrong("true or false"),
        };
    }
    if let (ArgAction::Append, Some(values)) = (option.get_action(), value.as_array()) {
        return values.iter().map(|value| as_typed(option, name, value)).try_fold(
            Vec::new(),
            |mut all, one| {
                all.extend(one?);
                Ok(all)
            },
        );
    }
    let parser = option.get_value_parser().type_id();
    let is_number = [TypeId::of::<u64>(), TypeId::of::<u32>(), TypeId::of::<u16>(), TypeId::of::<usize>()]
        .iter()
        .any(|number| parser == *number);
    match value {
        DeValue::Integer(number) if is_number => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Ok(vec![format!("--{name}={number}")]),
            Err(error) => Err(format!("`{name}`: {error}")),
        },
        DeValue::String(text) if !is_number => Ok(vec![format!("--{name}={text}")]),
        _ if is_number => wrong("a number, without quotation marks"),
        _ if matches!(option.get_action(), ArgAction::Append) => wrong("a text or an array of texts"),
        _ => wrong("a text in quotation marks"),
    }
}

fn kind_of(value: &DeValue<'_>) -> String {
    match value {
        DeValue::Boolean(set) => format!("{set}"),
        DeValue::Integer(number) => format!("the number {}", number.as_str()),
        DeValue::String(_) => "a text".to_owned(),
        other => format!("a TOML {}", other.type_str()),
    }
}

/// Says what the command line would say to it.
fn check(run: &Command, typed: &[String]) -> Result<(), String> {
    let words = std::iter::once(COMMAND).chain(typed.iter().map(String::as_str));
    let Err(error) = run.clone().try_get_matches_from(words) else { return Ok(()) };
    let text = error.to_string();
    let text = text.split("\n\n").next().unwrap_or_default();
    let text = text.strip_prefix("error: ").unwrap_or(text);
    Err(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{LogFormat, RunArgs};

    /// What becomes of a file and of words typed behind `run`.
    fn parsed(file: &str, typed: &[&str]) -> Result<RunArgs, ParseError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        fs::write(&path, file).unwrap();
        let words: Vec<OsString> = ["wsp-capture", "run"].iter().chain(typed).map(OsString::from).collect();
        let args = parse(&words, &path)?;
        let crate::cli::args::Command::Run(run) = args.command else { panic!("not run") };
        Ok(run)
    }

    fn refused(file: &str) -> String {
        match parsed(file, &["--store", "x"]) {
            Err(ParseError::File(FileError::Line { line, what, .. })) => format!("{line}: {what}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_typed_goes_before_the_environment_and_that_before_the_file() {
        let file = "store = \"/from/file\"\ninterval = \"5m\"\nspool-limit = 7\nlog-format = \"json\"\nbpf-stats = true\n";
        let run = parsed(file, &[]).unwrap();
        assert_eq!(
            (run.record.store.as_str(), run.interval.as_secs(), run.spool_limit),
            ("/from/file", 300, 7)
        );
        assert!(run.watch.log_format == LogFormat::Json && run.watch.bpf_stats);
        assert_eq!(run.record.max_nodes, 100_000, "a default where nobody says anything");
        let run = parsed(file, &["--interval", "1m", "--store", "/typed"]).unwrap();
        assert_eq!((run.record.store.as_str(), run.interval.as_secs(), run.spool_limit), ("/typed", 60, 7));
        // SAFETY: nextest runs each test in a process of its own, and this one has one thread.
        unsafe {
            std::env::set_var("WSP_INTERVAL", "2m");
            std::env::set_var("WSP_BPF_STATS", "false");
        }
        let run = parsed(file, &[]).unwrap();
        assert_eq!((run.interval.as_secs(), run.spool_limit, run.watch.bpf_stats), (120, 7, false));
        assert_eq!(parsed(file, &["--interval", "1m"]).unwrap().interval.as_secs(), 60);
    }

    #[test]
    fn a_file_that_is_named_goes_before_the_usual_one_and_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let named = folder.path().join("named.toml");
        fs::write(&named, "interval = \"9m\"").unwrap();
        let run =
            parsed("interval = \"5m\"", &["--store", "x", "--config", named.to_str().unwrap()]).unwrap();
        assert_eq!(run.interval.as_secs(), 540);
        let missing = parsed("", &["--store", "x", "--config", "/no/such/file"]);
        assert!(matches!(missing, Err(ParseError::File(FileError::Read { .. }))), "{missing:?}");
        let words = ["wsp-capture", "run", "--store", "x"].map(OsString::from);
        assert!(parse(&words, Path::new("/no/such/file")).is_ok());
    }

    #[test]
    fn what_is_wrong_is_named_by_line_and_key() {
        insta::assert_snapshot!(
            [
                "\n\nintervall = \"5m\"",
                "max_nodes = 5",
                "zzz = 1",
                "config = \"x\"",
                "host = \"a\"\ninterval = 30",
                "interval = \"30\"",
                "spool-limit = \"7\"",
                "spool-limit = 0",
                "bpf-stats = \"yes\"",
                "log-format = \"yaml\"",
                "listen = \"9464\"",
                "host = [\"a\"]",
                "host = \"a\"\nhost = \"b\"",
                "host = a",
            ]
            .map(refused)
            .join("\n")
        );
    }

    #[test]
    fn what_is_wrong_elsewhere_is_told_as_ever() {
        for typed in [vec![], vec!["--store"], vec!["--store", "x", "--nonsense"], vec!["--help"]] {
            assert!(matches!(parsed("", &typed), Err(ParseError::Arguments(_))), "{typed:?}");
        }
    }

    /// A value that an option takes and does not have by itself, as it stands in a file and as it is typed.
    fn another_value(run: &Command, option: &Arg) -> (String, String) {
        let name = option.get_long().unwrap();
        let possible = option.get_possible_values();
        let possible = possible.iter().map(|value| format!("\"{}\"", value.get_name()));
        let texts = ["\"7s\"", "7", "64", "7000000", "\"127.0.0.1:7\"", "\"hashed\"", "\"seven\"", "true"]
            .map(str::to_owned);
        for value in possible.chain(texts) {
            let file = format!("{name} = {value}");
            let table = DeTable::parse(&file).unwrap();
            let typed = as_typed(option, name, &table.get_ref()[name]);
            let Ok(typed) = typed.and_then(|typed| check(run, &typed).map(|()| typed)) else { continue };
            let word = value.trim_matches('"').to_owned();
            if !option.get_default_values().iter().any(|default| *default == *word) {
                assert_eq!(typed.len(), 1);
                return (file, word);
            }
        }
        panic!("no value that --{name} takes: add one to the list above");
    }

    #[test]
    fn every_option_can_be_set_by_the_file_and_by_the_environment() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        let command = lenient();
        let run = command.find_subcommand(COMMAND).unwrap();
        assert!(options(run).count() >= 12);
        for option in options(run) {
            let name = option.get_long().unwrap();
            let variable = format!("WSP_{}", name.replace('-', "_").to_uppercase());
            assert_eq!(option.get_env().and_then(|name| name.to_str()), Some(variable.as_str()), "--{name}");
            let (file, word) = another_value(run, option);
            fs::write(&path, &file).unwrap();
            let nothing = run.clone().try_get_matches_from([COMMAND]).unwrap();
            let more = arguments(&path, &nothing).unwrap();
            let words = std::iter::once(COMMAND.to_owned()).chain(more);
            let found = run.clone().try_get_matches_from(words).unwrap();
            let raw = found.get_raw(option.get_id().as_str()).unwrap().next().unwrap();
            assert_eq!(raw.to_str(), Some(word.as_str()), "{file}");
        }
    }
}
