//! Times as Docker writes them.

use jiff::Timestamp;

/// Nanoseconds since the epoch.
pub(crate) fn now() -> i64 {
    i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

/// RFC 3339 in UTC with nanoseconds, trailing zeros cut as Go does; Go's zero time for 0.
pub(crate) fn rfc3339(nanoseconds: i64) -> String {
    if nanoseconds == 0 {
        return "0001-01-01T00:00:00Z".to_owned();
    }
    Timestamp::from_nanosecond(i128::from(nanoseconds))
        .map_or_else(|_| "0001-01-01T00:00:00Z".to_owned(), |time| time.to_string())
}

/// RFC 3339 in UTC with seconds.
pub(crate) fn rfc3339_seconds(nanoseconds: i64) -> String {
    rfc3339(nanoseconds - nanoseconds.rem_euclid(1_000_000_000))
}

/// Seconds since the epoch of an RFC 3339 text, 0 when it is none.
pub(crate) fn seconds_of(text: &str) -> i64 {
    text.parse::<Timestamp>().map_or(0, Timestamp::as_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_go_writes_them() {
        assert_eq!(rfc3339(0), "0001-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_700_000_000_120_000_000), "2023-11-14T22:13:20.12Z");
        assert_eq!(rfc3339_seconds(1_700_000_000_120_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(seconds_of("2023-11-14T22:13:20.12Z"), 1_700_000_000);
        assert_eq!(seconds_of("yesterday"), 0);
    }
}
