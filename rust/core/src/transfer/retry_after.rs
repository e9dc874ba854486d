//! How long a server asks us to wait. Pure.

use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{self, HeaderMap};

use crate::model::UnixMillis;
use crate::model::outcome::RETRY_AFTER_MS_MAX;

/// The wait in milliseconds, 0 to [`RETRY_AFTER_MS_MAX`]; `None` where there is none or nonsense.
///
/// A date counts from the answer's own `Date`, so that a wrong clock here or there cancels out.
///
/// SOURCE: RFC 9110 §10.2.3
pub(crate) fn parse(headers: &HeaderMap, now: UnixMillis) -> Option<i64> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds = text.parse::<i64>().unwrap_or(i64::MAX);
        return Some(seconds.saturating_mul(1000).min(RETRY_AFTER_MS_MAX));
    }
    let until = date_ms(text)?;
    let sent = headers.get(header::DATE).and_then(|date| date_ms(date.to_str().ok()?));
    Some(until.saturating_sub(sent.unwrap_or(now)).clamp(0, RETRY_AFTER_MS_MAX))
}

fn date_ms(text: &str) -> Option<UnixMillis> {
    let date: SystemTime = httpdate::parse_http_date(text).ok()?;
    i64::try_from(date.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const DATE_MS: i64 = 784_111_777_000;

    fn wait(retry_after: &str, date: Option<&str>, now: i64) -> Option<i64> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, retry_after.parse().unwrap());
        if let Some(date) = date {
            headers.insert(header::DATE, date.parse().unwrap());
        }
        parse(&headers, now)
    }

    #[test]
    fn seconds_and_dates_become_a_wait_and_nonsense_does_not() {
        let minute_before = "Sun, 06 Nov 1994 08:48:37 GMT";
        let cases = [
            ("120", None, 0, Some(120_000)),
            ("0", None, 0, Some(0)),
            ("99999999999999999999999", None, 0, Some(RETRY_AFTER_MS_MAX)),
            ("86400", None, 0, Some(86_400_000)),
            ("604801", None, 0, Some(RETRY_AFTER_MS_MAX)),
            ("-5", None, 0, None),
            ("1.5", None, 0, None),
            ("+5", None, 0, None),
            ("", None, 0, None),
            ("soon", None, 0, None),
            (DATE, None, DATE_MS - 5_000, Some(5_000)),
            (DATE, None, DATE_MS + 5_000, Some(0)),
            (DATE, None, 0, Some(RETRY_AFTER_MS_MAX)),
            (DATE, Some(minute_before), DATE_MS + 999_000, Some(60_000)),
            (DATE, Some("nonsense"), DATE_MS - 1_000, Some(1_000)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", None, DATE_MS - 7_000, Some(7_000)),
            ("Sun Nov  6 08:49:37 1994", None, DATE_MS - 7_000, Some(7_000)),
        ];
        for (text, date, now, expected) in cases {
            assert_eq!(wait(text, date, now), expected, "{text:?} {date:?} {now}");
        }
        assert_eq!(parse(&HeaderMap::new(), 0), None);
    }
}
