//! Lengths of time as people type them.

use std::time::Duration;

/// Reads `30s`, `5m`, `1h30m`, `500ms`.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let bad = || format!("`{text}` is not a length of time such as 30s, 5m, 1h30m");
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let number: u64 = rest[..digits].parse().map_err(|_| bad())?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let part = match &rest[..unit] {
            "ms" => Some(Duration::from_millis(number)),
            "s" => Some(Duration::from_secs(number)),
            "m" => number.checked_mul(60).map(Duration::from_secs),
            "h" => number.checked_mul(3600).map(Duration::from_secs),
            "d" => number.checked_mul(86_400).map(Duration::from_secs),
            _ => None,
        };
        total = part.and_then(|part| total.checked_add(part)).ok_or_else(bad)?;
        rest = &rest[unit..];
    }
    Ok(total)
}

/// How often, if ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Every(pub(super) Option<Duration>);

/// Reads a length of time, or `never`.
pub(super) fn or_never(text: &str) -> Result<Every, String> {
    if text.trim() == "never" {
        return Ok(Every(None));
    }
    parse(text).map(|length| Every(Some(length))).map_err(|error| format!("{error}, nor `never`"))
}

/// A window: at least 100 ms, at most what its offsets can count.
pub(super) fn window(text: &str) -> Result<Duration, String> {
    let length = parse(text)?;
    if (Duration::from_millis(100)..=Duration::from_secs(24 * 86_400)).contains(&length) {
        Ok(length)
    } else {
        Err(format!("`{text}` is not between 100ms and 24d"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        for (text, ms) in [("30s", 30_000), ("1h30m", 5_400_000), ("500ms", 500), (" 2d ", 172_800_000)] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "30", "s", "-1s", "1x", "1.5s", "99999999999999999999s", "9999999999999999h"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(or_never("never"), Ok(Every(None)));
        assert_eq!(or_never("1d"), Ok(Every(Some(Duration::from_secs(86_400)))));
        assert!(or_never("ever").is_err());
        assert!(window("10ms").is_err() && window("25d").is_err() && window("30m").is_ok());
    }
}
