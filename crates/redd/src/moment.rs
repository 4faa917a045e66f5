//! Points in time and durations as people read them, in the form that systemd's tools have.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::TimeZone;

const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;
/// A twelfth of a year of 365.25 days.
const MONTH: u64 = 2_629_800 * SECOND;
const YEAR: u64 = 12 * MONTH;

/// Such as `Wed 2026-11-25 23:34:16 UTC`, in local time; the argument is in microseconds since 1970. None for 0, which
/// stands for what is not known, and for what is out of reach.
pub(crate) fn timestamp(microseconds: u64) -> Option<String> {
    in_zone(microseconds, TimeZone::system())
}

fn in_zone(microseconds: u64, zone: TimeZone) -> Option<String> {
    let known = i64::try_from(microseconds).ok().filter(|known| *known != 0)?;
    let moment = Timestamp::from_microsecond(known).ok()?.to_zoned_datetime(zone);
    Some(moment.strftime("%a %Y-%m-%d %H:%M:%S %Z").to_string())
}

/// How long ago that is, such as `2h 5min ago`.
pub(crate) fn ago(microseconds: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
    if microseconds > now { relative(microseconds - now, "left") } else { relative(now - microseconds, "ago") }
}

fn relative(duration: u64, word: &str) -> String {
    let count = |number: u64, unit: &str| match number {
        1 => format!("1 {unit}"),
        number => format!("{number} {unit}s"),
    };
    let two = |large: u64, large_name: &str, small: u64, small_name: &str| {
        let (larger, smaller) = (duration / large, duration % large / small);
        match smaller {
            0 => count(larger, large_name),
            smaller => format!("{} {}", count(larger, large_name), count(smaller, small_name)),
        }
    };
    let text = match duration {
        YEAR.. => two(YEAR, "year", MONTH, "month"),
        MONTH.. => two(MONTH, "month", DAY, "day"),
        WEEK.. => two(WEEK, "week", DAY, "day"),
        _ if duration >= 2 * DAY => count(duration / DAY, "day"),
        _ if duration >= DAY + HOUR => format!("1 day {}h", (duration - DAY) / HOUR),
        _ if duration >= 6 * HOUR => format!("{}h", duration / HOUR),
        HOUR.. => format!("{}h {}min", duration / HOUR, duration % HOUR / MINUTE),
        _ if duration >= 5 * MINUTE => format!("{}min", duration / MINUTE),
        MINUTE.. => format!("{}min {}s", duration / MINUTE, duration % MINUTE / SECOND),
        SECOND.. => format!("{}s", duration / SECOND),
        1000.. => format!("{}ms", duration / 1000),
        1.. => format!("{duration}us"),
        0 => return "now".to_owned(),
    };
    format!("{text} {word}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_in_time() {
        let shown = |microseconds| in_zone(microseconds, TimeZone::UTC);
        assert_eq!(shown(1_795_649_656_123_456).as_deref(), Some("Wed 2026-11-25 23:34:16 UTC"));
        assert_eq!((shown(0), shown(u64::MAX)), (None, None));
    }

    #[test]
    fn durations() {
        let shown = [
            0,
            7,
            129_000,
            59 * SECOND,
            62 * SECOND,
            7 * MINUTE,
            2 * HOUR + 5 * MINUTE,
            7 * HOUR,
            DAY + 2 * HOUR,
            3 * DAY,
            WEEK,
            8 * DAY,
            40 * DAY,
            YEAR + MONTH,
        ]
        .map(|duration| relative(duration, "ago"));
        let wanted = [
            "now",
            "7us ago",
            "129ms ago",
            "59s ago",
            "1min 2s ago",
            "7min ago",
            "2h 5min ago",
            "7h ago",
            "1 day 2h ago",
            "3 days ago",
            "1 week ago",
            "1 week 1 day ago",
            "1 month 9 days ago",
            "1 year 1 month ago",
        ];
        assert_eq!(shown, wanted);
    }
}
