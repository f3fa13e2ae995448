//! Points in time as `--since` and `--until` take them: RFC 3339 with parts left out, seconds since
//! the epoch, or how long ago.

use super::duration;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, civil::Date};

/// Nanoseconds since the epoch.
///
/// # Errors
/// When the text is no time in any of Docker's forms.
pub(crate) fn parse(text: &str, now: Timestamp) -> Result<i64, String> {
    let zone = TimeZone::system();
    duration::parse(text)
        .map(|ago| nanoseconds(now).saturating_sub(ago))
        .or_else(|| calendar(text, &zone))
        .or_else(|| seconds(text))
        .ok_or_else(|| {
            format!(
                "invalid value {text:?}: give a time (2024-01-02T13:23:37Z), seconds since 1970 or \
                 how long ago (1m30s)"
            )
        })
}

fn nanoseconds(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX)
}

/// `2024-01-02[T15[:04[:05[.9]]]][Z|+01:00]`; without a zone it is the caller's.
fn calendar(text: &str, zone: &TimeZone) -> Option<i64> {
    if !text.contains('-') || text.starts_with('-') {
        return None;
    }
    let date_length = 10;
    let (date, rest) = text.split_at_checked(date_length)?;
    let date: Date = date.parse().ok()?;
    let (clock, zone) = match rest.find(['Z', 'z', '+', '-']) {
        Some(at) => {
            let offset = &rest[at..];
            let zone = match offset {
                "Z" | "z" => TimeZone::UTC,
                _ => TimeZone::fixed(offset_of(offset)?),
            };
            (&rest[..at], zone)
        }
        None => (rest, zone.clone()),
    };
    let time = match clock {
        "" => jiff::civil::Time::midnight(),
        _ => clock_of(clock.strip_prefix('T').or_else(|| clock.strip_prefix('t'))?)?,
    };
    let moment = DateTime::from_parts(date, time).to_zoned(zone).ok()?;
    Some(nanoseconds(moment.timestamp()))
}

/// `15`, `15:04`, `15:04:05`, `15:04:05.123456789`
fn clock_of(text: &str) -> Option<jiff::civil::Time> {
    let mut parts = text.split(':');
    let two = |text: &str| if text.len() == 2 { text.parse::<i8>().ok() } else { None };
    let hour = two(parts.next()?)?;
    let minute = parts.next().map_or(Some(0), two)?;
    let seconds = parts.next().unwrap_or("00");
    let (second, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
    if parts.next().is_some() {
        return None;
    }
    let fraction = fraction_of(fraction)?;
    jiff::civil::Time::new(hour, minute, two(second)?, i32::try_from(fraction).ok()?).ok()
}

/// `+01:00`, `-0530`
fn offset_of(text: &str) -> Option<jiff::tz::Offset> {
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let digits: String = text[1..].chars().filter(|c| *c != ':').collect();
    if digits.len() != 4 {
        return None;
    }
    let (hours, minutes): (i32, i32) = (digits[..2].parse().ok()?, digits[2..].parse().ok()?);
    jiff::tz::Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()
}

/// `1136073600.000000001`
fn seconds(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let whole: i64 = whole.parse().ok()?;
    whole.checked_mul(1_000_000_000)?.checked_add(fraction_of(fraction)?)
}

/// Nanoseconds of the digits behind a point.
fn fraction_of(digits: &str) -> Option<i64> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nine: String = digits.chars().chain("000000000".chars()).take(9).collect();
    nine.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000_000_000;

    fn read(text: &str) -> Result<i64, String> {
        parse(text, Timestamp::from_nanosecond(NOW.into()).unwrap())
    }

    #[test]
    fn every_form_of_dockers_is_read() {
        for (text, nanoseconds) in [
            ("2023-11-14T22:13:20Z", NOW),
            ("2023-11-14T22:13:20.5Z", NOW + 500_000_000),
            ("2023-11-14T22:13:20.000000001Z", NOW + 1),
            ("2023-11-14T23:13:20+01:00", NOW),
            ("2023-11-14T22:13Z", NOW - 20_000_000_000),
            ("2023-11-14Z", NOW - (22 * 3600 + 13 * 60 + 20) * 1_000_000_000),
            ("1700000000", NOW),
            ("1700000000.25", NOW + 250_000_000),
            ("1m30s", NOW - 90_000_000_000),
            ("0", NOW),
        ] {
            assert_eq!(read(text), Ok(nanoseconds), "{text}");
        }
    }

    #[test]
    fn a_time_without_a_zone_is_the_callers() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(calendar("2023-11-15T00:13:20", &zone), Some(NOW));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in
            ["", "yesterday", "2023-13-01", "2023-11-14T25", "1.2.3", "2023-11-14T22:13:20+1"]
        {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
