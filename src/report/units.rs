//! Sizes, rates and durations as people read them.
//!
//! Decimal units as `docker images` has them: 1 MB is 1,000,000 bytes. Three
//! figures are enough everywhere, so no column moves by much.

use std::time::Duration;

const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];

/// `bytes` with a decimal unit and three figures: `12.3 MB`.
pub fn size(bytes: u64) -> String {
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let (value, unit) = scale(float(bytes));
    let digits = usize::from(value < 9.995) + usize::from(value < 99.95);
    format!("{value:.digits$} {unit}")
}

/// `bytes` in `time` as a rate of one or two figures and more: `30 MB/s`.
///
/// Less than a millisecond says nothing about a rate, hence `None`.
pub fn rate(bytes: u64, time: Duration) -> Option<String> {
    if time < Duration::from_millis(1) {
        return None;
    }
    let (value, unit) = scale(float(bytes) / time.as_secs_f64());
    let digits = usize::from(value < 9.95 && unit != "B");
    Some(format!("{value:.digits$} {unit}/s"))
}

/// `time` to a tenth of a second below a minute, then `1m03s`, then `1h02m`.
pub fn duration(time: Duration) -> String {
    let tenths = (time.as_millis() + 50) / 100;
    if tenths < 600 {
        return format!("{}.{}s", tenths / 10, tenths % 10);
    }
    let seconds = (time.as_millis() + 500) / 1000;
    if seconds < 3600 {
        return format!("{}m{:02}s", seconds / 60, seconds % 60);
    }
    let minutes = (seconds + 30) / 60;
    format!("{}h{:02}m", minutes / 60, minutes % 60)
}

#[expect(clippy::cast_precision_loss, reason = "three figures are shown of 53 bits")]
fn float(bytes: u64) -> f64 {
    bytes as f64
}

/// The value in the smallest unit in which it does not round to a fourth figure.
fn scale(mut value: f64) -> (f64, &'static str) {
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    (value, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_figures() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (1005, "1.00 kB"),
            (9_994, "9.99 kB"),
            (9_996, "10.0 kB"),
            (12_345_678, "12.3 MB"),
            (99_960_000, "100 MB"),
            (999_400_000, "999 MB"),
            (999_600_000, "1.00 GB"),
            (u64::MAX, "18447 PB"),
        ] {
            assert_eq!(size(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn rates_are_rounder() {
        for (bytes, millis, text) in [
            (12_300_000, 410, Some("30 MB/s")),
            (1_000_000, 500, Some("2.0 MB/s")),
            (9_960_000, 1000, Some("10 MB/s")),
            (0, 1000, Some("0 B/s")),
            (500, 1000, Some("500 B/s")),
            (500, 0, None),
        ] {
            assert_eq!(rate(bytes, Duration::from_millis(millis)).as_deref(), text, "{bytes}");
        }
    }

    #[test]
    fn durations_change_their_unit() {
        for (millis, text) in [
            (0, "0.0s"),
            (49, "0.0s"),
            (50, "0.1s"),
            (1_234, "1.2s"),
            (59_949, "59.9s"),
            (59_950, "1m00s"),
            (63_499, "1m03s"),
            (3_599_499, "59m59s"),
            (3_599_500, "1h00m"),
            (3_720_000, "1h02m"),
            (90_000_000, "25h00m"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), text, "{millis}");
        }
    }
}
