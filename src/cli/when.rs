//! Moments as people write them.

/// `ms`, milliseconds since 1970, as date and time in UTC: `2023-11-14 22:13:20.123`.
///
/// Source: Hinnant, "chrono-Compatible Low-Level Date Algorithms", 2013, `civil_from_days`.
pub(super) fn utc(ms: u64) -> String {
    const DAY_MS: u64 = 86_400_000;
    // Years start in March here, so that a leap day is the last of its year.
    let days = ms / DAY_MS + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year_of_era = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (seconds, millis) = (ms % DAY_MS / 1_000, ms % 1_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day_of_month:02} {hour:02}:{minute:02}:{second:02}.{millis:03}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_told_in_utc() {
        for (ms, told) in [
            (0, "1970-01-01 00:00:00.000"),
            (951_782_399_999, "2000-02-28 23:59:59.999"),
            (951_868_799_000, "2000-02-29 23:59:59.000"),
            (951_868_800_000, "2000-03-01 00:00:00.000"),
            (1_700_000_000_123, "2023-11-14 22:13:20.123"),
            (4_107_542_399_000, "2100-02-28 23:59:59.000"),
            (4_107_542_400_000, "2100-03-01 00:00:00.000"),
        ] {
            assert_eq!(utc(ms), told);
        }
    }
}
