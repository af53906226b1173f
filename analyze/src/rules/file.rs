use datafusion::prelude::SessionContext;
use serde::Deserialize;

use super::example::Example;
use super::{Origin, Rule, Severity, columns};
use crate::predicate::{Predicate, PredicateError};

/// Bytes of a rule file.
pub(super) const MOST_BYTES: usize = 64 << 10;

/// Why a file is no rule.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// Too large.
    #[error("the file has more than {MOST_BYTES} bytes")]
    TooLarge,
    /// Not text.
    #[error("the file is not UTF-8")]
    NotText,
    /// Not TOML, or not of this form.
    #[error("{0}")]
    Form(String),
    /// A value that cannot be.
    #[error("`{key}` {reason}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The predicate.
    #[error(transparent)]
    Predicate(#[from] PredicateError),
    /// An example.
    #[error("the example `{says}` {reason}")]
    Example {
        /// Which one.
        says: String,
        /// What is wrong.
        reason: String,
    },
}

/// A rule file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    id: String,
    title: String,
    severity: Severity,
    #[serde(default)]
    technique: Vec<String>,
    description: String,
    #[serde(default = "yes")]
    suppressible: bool,
    predicate: String,
    #[serde(default)]
    example: Vec<Example>,
}

const fn yes() -> bool {
    true
}

/// Reads a rule file. Its examples are looked at, not run: see [`super::example::run`].
pub fn parse(context: &SessionContext, bytes: &[u8], origin: Origin) -> Result<Rule, RuleError> {
    if bytes.len() > MOST_BYTES {
        return Err(RuleError::TooLarge);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| RuleError::NotText)?;
    // It says where, and shows the line.
    let file: File =
        toml::from_str(text).map_err(|error| RuleError::Form(error.to_string().trim().to_owned()))?;
    let value = |key, reason: &str| RuleError::Value { key, reason: reason.to_owned() };
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !(1..=64).contains(&file.id.len()) || !file.id.chars().all(is_word) {
        return Err(value("id", "has 1 to 64 of a-z, 0-9 and _"));
    }
    if file.id == crate::jobs::detect::NOVELTY {
        return Err(value("id", "is the name of what no rule is for: activity that a profile does not have"));
    }
    let is_line =
        |text: &str, most| (1..=most).contains(&text.trim().len()) && !text.contains(char::is_control);
    if !is_line(&file.title, 200) {
        return Err(value("title", "is one line of 1 to 200 bytes"));
    }
    if !(1..=4000).contains(&file.description.trim().len()) {
        return Err(value("description", "has 1 to 4000 bytes"));
    }
    let is_technique = |text: &String| {
        let digits =
            |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
        let Some(number) = text.strip_prefix('T') else { return false };
        match number.split_once('.') {
            Some((technique, sub)) => digits(technique, 4) && digits(sub, 3),
            None => digits(number, 4),
        }
    };
    if file.technique.len() > 16 || !file.technique.iter().all(is_technique) {
        return Err(value("technique", "lists up to 16 techniques of MITRE ATT&CK, like T1059 or T1059.004"));
    }
    for example in &file.example {
        let says = || example.says.chars().take(80).collect::<String>();
        example.check().map_err(|reason| RuleError::Example { says: says(), reason })?;
    }
    Ok(Rule {
        predicate: Predicate::parse(context, &columns(), &file.predicate)?,
        id: file.id,
        title: file.title.trim().to_owned(),
        severity: file.severity,
        techniques: file.technique,
        description: file.description.trim().to_owned(),
        suppressible: file.suppressible,
        examples: file.example,
        origin,
    })
}
