//! Durations as people write them: seconds, `250ms`, `1h30m`, `00:00:11`.

use std::time::Duration;

/// Text or a number that is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a duration: write seconds (1.5), \"250ms\", \"11s\", \"1h30m\" or \"00:00:11\"")]
pub struct BadDuration;

/// The longest duration that is accepted: 366 days. Longer ones are mistakes, and overflow clocks.
pub const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// A number of seconds.
pub fn from_secs(seconds: f64) -> Result<Duration, BadDuration> {
    if !seconds.is_finite() || seconds < 0.0 || seconds > LONGEST.as_secs_f64() {
        return Err(BadDuration);
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Reads any of the text forms. Units: `ms`, `s`, `m`, `h`, `d`; larger before smaller.
pub fn parse(text: &str) -> Result<Duration, BadDuration> {
    let text = text.trim();
    let total = if text.contains(':') {
        clock(text)?
    } else if let Ok(seconds) = text.parse::<f64>() {
        from_secs(seconds)?
    } else {
        units(text)?
    };
    if total > LONGEST { Err(BadDuration) } else { Ok(total) }
}

/// `hh:mm:ss`, the seconds with an optional fraction.
fn clock(text: &str) -> Result<Duration, BadDuration> {
    let mut parts = text.split(':');
    let (Some(h), Some(m), Some(s), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(BadDuration);
    };
    let hours: u32 = h.parse().map_err(|_| BadDuration)?;
    let minutes: u32 = m.parse().map_err(|_| BadDuration)?;
    let seconds: f64 = s.parse().map_err(|_| BadDuration)?;
    if minutes > 59 || !(0.0..60.0).contains(&seconds) {
        return Err(BadDuration);
    }
    from_secs(f64::from(hours) * 3600.0 + f64::from(minutes) * 60.0 + seconds)
}

fn units(text: &str) -> Result<Duration, BadDuration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    let mut largest = f64::INFINITY;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(BadDuration)?;
        let (number, tail) = rest.split_at_checked(digits).ok_or(BadDuration)?;
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, next) = tail.split_at_checked(letters).ok_or(BadDuration)?;
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86400.0,
            _ => return Err(BadDuration),
        };
        if seconds >= largest {
            return Err(BadDuration);
        }
        largest = seconds;
        let number: f64 = number.parse().map_err(|_| BadDuration)?;
        total = total.checked_add(from_secs(number * seconds)?).ok_or(BadDuration)?;
        rest = next;
    }
    if largest.is_infinite() { Err(BadDuration) } else { Ok(total) }
}

/// For serde: `#[serde(deserialize_with = "duration::option")]` on an `Option<Duration>` with a default.
pub fn option<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
    required(d).map(Some)
}

/// For serde: `#[serde(deserialize_with = "duration::required")]` on a `Duration`.
pub fn required<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    use serde::Deserialize;
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Raw {
        Number(f64),
        Text(String),
    }
    match Raw::deserialize(d)? {
        Raw::Number(n) => from_secs(n),
        Raw::Text(t) => parse(&t),
    }
    .map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_means_the_same_time() {
        for text in ["11", "11s", "00:00:11", "11000ms", "11.0"] {
            assert_eq!(parse(text), Ok(Duration::from_secs(11)), "{text}");
        }
        assert_eq!(parse("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse("2d"), Ok(Duration::from_secs(172_800)));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["", "s", "1x", "-1", "-1s", "nan", "inf", "1m1h", "1s1s", "00:60:00", "1:2", "1e999", "400d", "1..s"] {
            assert_eq!(parse(bad), Err(BadDuration), "{bad}");
        }
    }
}
