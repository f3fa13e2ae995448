//! Durations, sizes and shortened texts in Docker's words.

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;

/// `About an hour`, `3 weeks`, for so many seconds.
pub(crate) fn duration(seconds: i64) -> String {
    // Docker rounds to the nearest hour and derives everything longer from that.
    let hours = (seconds + HOUR / 2) / HOUR;
    match (seconds, seconds / MINUTE, hours) {
        (..1, ..) => "Less than a second".to_owned(),
        (1, ..) => "1 second".to_owned(),
        (..MINUTE, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, minutes @ ..60, _) => format!("{minutes} minutes"),
        (_, _, 1) => "About an hour".to_owned(),
        (_, _, ..48) => format!("{hours} hours"),
        (_, _, ..336) => format!("{} days", hours / 24),
        (_, _, ..1440) => format!("{} weeks", hours / 24 / 7),
        (_, _, ..17520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", seconds / HOUR / 24 / 365),
    }
}

/// `4.26MB`: decimal multiples, so many significant digits.
pub(crate) fn size(bytes: u64, digits: usize) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{}{}", significant(value, digits), UNITS[unit])
}

/// `23.41GiB`: binary multiples, four significant digits.
pub(crate) fn binary_size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{}{}", significant(value, 4), UNITS[unit])
}

/// Go's `%.Ng` for 0 to 1000, except that a number too long for the digits is written out.
fn significant(value: f64, digits: usize) -> String {
    let whole = if value < 10.0 {
        1
    } else if value < 100.0 {
        2
    } else {
        3
    };
    let text = format!("{value:.*}", digits.saturating_sub(whole));
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// Cut to so many characters, the last of them `…`.
pub(crate) fn ellipsis(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    let kept = text.chars().take(length.saturating_sub(1));
    kept.chain(Some('…')).take(length).collect()
}

/// Go's `strconv.Quote`.
pub(crate) fn quote(text: &str) -> String {
    use std::fmt::Write;
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\x07' => quoted.push_str("\\a"),
            '\x08' => quoted.push_str("\\b"),
            '\x0b' => quoted.push_str("\\v"),
            '\x0c' => quoted.push_str("\\f"),
            c if c < ' ' || c == '\x7f' => {
                let _ = write!(quoted, "\\x{:02x}", c as u32);
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Go's way of printing a time: `2026-11-01 05:19:56 +0000 UTC`, in the caller's zone.
pub(crate) fn go_time(seconds: i64) -> String {
    let zone = jiff::tz::TimeZone::system();
    go_time_in(seconds, zone)
}

fn go_time_in(seconds: i64, zone: jiff::tz::TimeZone) -> String {
    jiff::Timestamp::from_second(seconds)
        .map(|time| time.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string())
        .unwrap_or_default()
}

/// RFC 3339 in the caller's zone, as Go writes it.
pub(crate) fn rfc3339(seconds: i64) -> String {
    let Ok(time) = jiff::Timestamp::from_second(seconds) else { return String::new() };
    let zoned = time.to_zoned(jiff::tz::TimeZone::system());
    match zoned.offset().is_zero() {
        true => zoned.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        false => zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_dockers() {
        const DAY: i64 = 24 * HOUR;
        for (seconds, text) in [
            (-5, "Less than a second"),
            (0, "Less than a second"),
            (1, "1 second"),
            (45, "45 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (59 * MINUTE + 59, "59 minutes"),
            (HOUR, "About an hour"),
            (89 * MINUTE, "About an hour"),
            (91 * MINUTE, "2 hours"),
            (47 * HOUR, "47 hours"),
            (2 * DAY, "2 days"),
            (13 * DAY, "13 days"),
            (14 * DAY, "2 weeks"),
            (59 * DAY, "8 weeks"),
            (60 * DAY, "2 months"),
            (400 * DAY, "13 months"),
            (729 * DAY, "24 months"),
            (730 * DAY, "2 years"),
            (20_768 * DAY, "56 years"),
        ] {
            assert_eq!(duration(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn sizes_have_three_digits_and_no_zeros_behind() {
        for (bytes, text) in [
            (0, "0B"),
            (1, "1B"),
            (999, "999B"),
            (1000, "1kB"),
            (12_345, "12.3kB"),
            (123_456, "123kB"),
            (4_261_550, "4.26MB"),
            (4_200_000, "4.2MB"),
            (4_000_000_000, "4GB"),
            (999_999, "1000kB"),
        ] {
            assert_eq!(size(bytes, 3), text);
        }
        assert_eq!(size(4_261_550, 4), "4.262MB");
        assert_eq!(binary_size(25_135_767_552), "23.41GiB");
        assert_eq!(binary_size(1023), "1023B");
    }

    #[test]
    fn long_texts_end_in_an_ellipsis() {
        assert_eq!(ellipsis("data-with-a-long-name", 15), "data-with-a-lo…");
        assert_eq!(ellipsis("fünfzehn Zeichen", 16), "fünfzehn Zeichen");
        assert_eq!(ellipsis("abc", 0), "");
    }

    #[test]
    fn quoting_is_gos() {
        assert_eq!(quote("a \"b\" \\ \n\x01 ü…"), r#""a \"b\" \\ \n\x01 ü…""#);
    }

    #[test]
    fn times_are_gos() {
        assert_eq!(go_time_in(0, jiff::tz::TimeZone::UTC), "1970-01-01 00:00:00 +0000 UTC");
    }
}
