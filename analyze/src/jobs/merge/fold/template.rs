//! What the names of a crowd look like: fixed parts, and parts that vary within a class of characters.
//!
//! Names are cut into runs of letters and digits and what stands between them. Names with the same cuts are one shape; a
//! run that takes few values splits a shape (a crowd of sockets is not one of locks), any other varying run becomes the
//! narrowest class that has all its values.

use std::collections::BTreeMap;

/// A run that takes at most so many values, each in at least [`VALUES_EACH`] names, tells crowds apart.
const FEW_VALUES: usize = 8;
const VALUES_EACH: usize = 8;

/// A class of characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Digits,
    Hex,
    UpperHex,
    Lower,
    LowerDigits,
    Mixed,
}

impl Class {
    /// From narrow to wide.
    const ALL: [Self; 6] =
        [Self::Digits, Self::Hex, Self::UpperHex, Self::Lower, Self::LowerDigits, Self::Mixed];

    const fn has(self, byte: u8) -> bool {
        match self {
            Self::Digits => byte.is_ascii_digit(),
            Self::Hex => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            Self::UpperHex => matches!(byte, b'0'..=b'9' | b'A'..=b'F'),
            Self::Lower => byte.is_ascii_lowercase(),
            Self::LowerDigits => matches!(byte, b'0'..=b'9' | b'a'..=b'z'),
            Self::Mixed => byte.is_ascii_alphanumeric(),
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Digits => "[0-9]+",
            Self::Hex => "[0-9a-f]+",
            Self::UpperHex => "[0-9A-F]+",
            Self::Lower => "[a-z]+",
            Self::LowerDigits => "[0-9a-z]+",
            Self::Mixed => "[0-9A-Za-z]+",
        }
    }

    fn of(values: &[&str]) -> Option<Self> {
        let all = |class: &Self| values.iter().all(|value| value.bytes().all(|byte| class.has(byte)));
        Self::ALL.into_iter().find(all)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Run {
    Literal(String),
    Class(Class),
}

/// What names of one crowd look like.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::jobs) struct Template {
    /// What stands before, between and after the runs: one more than there are runs.
    between: Vec<String>,
    runs: Vec<Run>,
}

/// How a name meets a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    Matches,
    /// The same shape and fixed parts, but a part that varies is of another class.
    NearMiss,
    Other,
}

/// A name, cut.
struct Cut<'a> {
    between: Vec<&'a str>,
    runs: Vec<&'a str>,
}

fn cut(name: &str) -> Cut<'_> {
    let is_run = |c: char| c.is_alphanumeric();
    let mut found = Cut { between: Vec::new(), runs: Vec::new() };
    let mut rest = name;
    loop {
        let start = rest.find(is_run).unwrap_or(rest.len());
        found.between.push(&rest[..start]);
        rest = &rest[start..];
        if rest.is_empty() {
            return found;
        }
        let end = rest.find(|c| !is_run(c)).unwrap_or(rest.len());
        found.runs.push(&rest[..end]);
        rest = &rest[end..];
    }
}

/// The templates of names; those that vary in nothing, or in what no class has, give none.
pub(super) fn templates(names: &[&str]) -> Vec<Template> {
    let cuts: Vec<Cut<'_>> = names.iter().map(|name| cut(name)).collect();
    let mut shapes: BTreeMap<&[&str], Vec<&Cut<'_>>> = BTreeMap::new();
    for cut in &cuts {
        shapes.entry(&cut.between).or_default().push(cut);
    }
    let mut found = Vec::new();
    for names in shapes.into_values() {
        split(&names, &mut found);
    }
    found.sort();
    found.dedup();
    found
}

fn split(names: &[&Cut<'_>], found: &mut Vec<Template>) {
    let Some(first) = names.first() else { return };
    let values = |at: usize| -> BTreeMap<&str, Vec<&Cut<'_>>> {
        let mut values: BTreeMap<&str, Vec<&Cut<'_>>> = BTreeMap::new();
        for name in names {
            values.entry(name.runs[at]).or_default().push(name);
        }
        values
    };
    let few = (0..first.runs.len()).map(values).filter(|values| {
        (2..=FEW_VALUES).contains(&values.len()) && values.values().all(|names| names.len() >= VALUES_EACH)
    });
    if let Some(parts) = few.min_by_key(BTreeMap::len) {
        parts.into_values().for_each(|names| split(&names, found));
        return;
    }
    let mut runs = Vec::with_capacity(first.runs.len());
    let mut varies = false;
    for (at, literal) in first.runs.iter().enumerate() {
        if names.iter().all(|name| name.runs[at] == *literal) {
            runs.push(Run::Literal((*literal).to_owned()));
            continue;
        }
        let values: Vec<&str> = names.iter().map(|name| name.runs[at]).collect();
        let Some(class) = Class::of(&values) else { return };
        varies = true;
        runs.push(Run::Class(class));
    }
    if varies {
        found.push(Template { between: first.between.iter().map(|text| (*text).to_owned()).collect(), runs });
    }
}

impl Template {
    /// Whether a name looks so.
    pub(in crate::jobs) fn matches(&self, name: &str) -> bool {
        self.fit(name) == Fit::Matches
    }

    /// Whether what varies are numbers only, in some notation: no words.
    pub(in crate::jobs) fn is_of_numbers(&self) -> bool {
        let is_number = |run: &Run| match run {
            Run::Class(class) => matches!(class, Class::Digits | Class::Hex | Class::UpperHex),
            Run::Literal(_) => true,
        };
        self.runs.iter().all(is_number)
    }

    pub(super) fn fit(&self, name: &str) -> Fit {
        let cut = cut(name);
        if cut.between.len() != self.between.len() || self.between.iter().ne(cut.between.iter()) {
            return Fit::Other;
        }
        let mut fit = Fit::Matches;
        for (run, value) in self.runs.iter().zip(&cut.runs) {
            match run {
                Run::Literal(text) if text != value => return Fit::Other,
                Run::Class(class) if !value.bytes().all(|byte| class.has(byte)) => fit = Fit::NearMiss,
                _ => {}
            }
        }
        fit
    }

    /// The signature: a regular expression that the whole name must match.
    pub(super) fn signature(&self) -> String {
        self.text(|text| {
            let mut out = String::with_capacity(text.len());
            for c in text.chars() {
                if c.is_ascii_punctuation() && !matches!(c, '/' | '-' | '_' | ':' | '@' | ',' | '=' | '%') {
                    out.push('\\');
                }
                out.push(c);
            }
            out
        })
    }

    /// The same for people.
    pub(super) fn shown(&self) -> String {
        self.text(str::to_owned)
    }

    fn text(&self, literal: impl Fn(&str) -> String) -> String {
        let mut out = String::new();
        for (at, between) in self.between.iter().enumerate() {
            out += &literal(between);
            match self.runs.get(at) {
                Some(Run::Literal(text)) => out += &literal(text),
                Some(Run::Class(class)) => out += class.as_str(),
                None => {}
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signatures(names: &[String]) -> Vec<String> {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        templates(&names).iter().map(Template::signature).collect()
    }

    fn names(make: impl Fn(u64) -> String) -> Vec<String> {
        (1..=40).map(|n: u64| make(n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect()
    }

    #[test]
    fn signatures_are_the_narrowest_that_hold_all_names() {
        for (names, signature) in [
            (names(|n| format!("sess_{n:016x}")), "sess_[0-9a-f]+"),
            (names(|n| format!("{}.tmp", n % 100_000)), "[0-9]+\\.tmp"),
            (names(|n| format!("pg({n:X})")), "pg\\([0-9A-F]+\\)"),
            (names(|n| format!("10.{}.{}.7", n % 200, n / 7 % 250)), "10\\.[0-9]+\\.[0-9]+\\.7"),
            (names(|n| format!("a\\\\{n}")), "a\\\\\\\\[0-9]+"),
        ] {
            assert_eq!(signatures(&names), [signature]);
        }
    }

    #[test]
    fn what_takes_few_values_tells_crowds_apart() {
        let mixed: Vec<String> =
            names(|n| format!("lock-{n}")).into_iter().chain(names(|n| format!("sock-{n:x}"))).collect();
        assert_eq!(signatures(&mixed), ["lock-[0-9]+", "sock-[0-9a-f]+"]);
        assert_eq!(signatures(&["same".to_owned()]), Vec::<String>::new());
        assert_eq!(signatures(&["é1".to_owned(), "é2".to_owned()]), Vec::<String>::new());
    }

    #[test]
    fn a_lookup_must_match_the_signature() {
        let found = templates(&["sess_12ab", "sess_34cd", "sess_0f"]);
        let fits = ["sess_99", "sess_xyz", "sess_", "sess_1.2", "other_12", "sess_12\n"];
        assert_eq!(
            fits.map(|name| found[0].fit(name)),
            [Fit::Matches, Fit::NearMiss, Fit::Other, Fit::Other, Fit::Other, Fit::Other]
        );
    }
}
