//! When a request is repeated, and after how long: full jitter, `Retry-After` obeyed.

use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, SystemTime};

/// How often an operation is tried and how long is waited between two attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in all, the first included.
    pub attempts: u32,
    /// The upper bound of the first wait; it doubles with every failure.
    pub base: Duration,
    /// The upper bound of any wait that the server did not ask for.
    pub cap: Duration,
    /// The longest wait that a server may ask for by `Retry-After`.
    pub server_cap: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 5,
            base: Duration::from_millis(500),
            cap: Duration::from_secs(20),
            server_cap: Duration::from_mins(1),
        }
    }
}

impl Retry {
    /// How long to wait after the `failures`-th failure (from 1). `asked` is
    /// what the server's `Retry-After` says; without it the wait is random
    /// between nothing and a bound that doubles, so that clients which failed
    /// together do not come back together.
    pub fn delay(&self, failures: u32, asked: Option<Duration>) -> Duration {
        if let Some(asked) = asked {
            return asked.min(self.server_cap);
        }
        let doubled = self.base.saturating_mul(1 << failures.saturating_sub(1).min(16));
        doubled.min(self.cap).mul_f64(fraction())
    }
}

/// A number from 0 to 1; not for secrets.
fn fraction() -> f64 {
    // Every RandomState is seeded anew, which is random enough to spread waits.
    let bits = std::hash::RandomState::new().build_hasher().finish();
    f64::from(bits as u32) / f64::from(u32::MAX)
}

/// Whether an answer with this status may be another one a moment later.
pub fn is_transient(status: u16) -> bool {
    match status {
        408 | 425 | 429 => true,
        // Not implemented, and the wrong HTTP version, do not pass.
        501 | 505 => false,
        other => other >= 500,
    }
}

/// Reads a `Retry-After` header: seconds, or a date (RFC 9110, section 10.2.3).
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(http_date(value)?);
    Some(at.duration_since(now).unwrap_or_default())
}

/// Seconds since 1970 of `Sun, 06 Nov 1994 08:49:37 GMT`, the one form that is still sent.
pub fn http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, rest) = text.split_once(", ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let [day, month, year, time, "GMT"] = fields[..] else { return None };
    let day: u64 = day.parse().ok().filter(|d| (1..=31).contains(d))?;
    let month = MONTHS.iter().position(|m| *m == month)? as u64 + 1;
    let year: u64 = year.parse().ok().filter(|y| (1970..=9999).contains(y))?;
    let clock: Vec<u64> = time.split(':').map(|p| p.parse().ok()).collect::<Option<_>>()?;
    let [hour, minute, second] = clock[..] else { return None };
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Days since 1970 by counting years from March, so that the leap day is the last of its year.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1 - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_seconds_and_dates() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        for (value, expected) in [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(7)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("Thu, 29 Feb 1996 00:00:00 GMT", Some(825_552_000 - 784_111_770)),
            ("soon", None),
            ("-3", None),
            ("Sun, 06 Foo 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 08:49 GMT", None),
        ] {
            assert_eq!(retry_after(value, now).map(|d| d.as_secs()), expected, "{value}");
        }
    }

    #[test]
    fn waits_grow_to_a_bound_and_obey_the_server_to_another() {
        let retry = Retry::default();
        for failures in 1..40 {
            let bound = (0.5 * f64::from(failures - 1).exp2()).min(20.0);
            assert!(retry.delay(failures, None).as_secs_f64() <= bound, "{failures}");
        }
        assert_eq!(retry.delay(1, Some(Duration::from_secs(8))), Duration::from_secs(8));
        assert_eq!(retry.delay(1, Some(Duration::from_hours(1))), Duration::from_mins(1));
    }

    #[test]
    fn knows_what_passes() {
        for (status, expected) in
            [(200, false), (404, false), (408, true), (429, true), (500, true), (501, false)]
        {
            assert_eq!(is_transient(status), expected, "{status}");
        }
    }
}
