//! Times in Go's layouts (`2006-01-02`) and in C's (`%Y-%m-%d`). Every time is UTC.

use jiff::Timestamp;
use jiff::civil::{DateTime, Weekday};
use jiff::tz::TimeZone;

use super::append;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// What a piece of a layout stands for. A layout is tried against them in this order.
const PIECES: [(&str, Piece); 38] = [
    ("January", Piece::Month),
    ("Jan", Piece::ShortMonth),
    ("Monday", Piece::Weekday),
    ("Mon", Piece::ShortWeekday),
    ("MST", Piece::Is("UTC")),
    ("01", Piece::Padded(Unit::Month, '0')),
    ("02", Piece::Padded(Unit::Day, '0')),
    ("03", Piece::Padded(Unit::Hour12, '0')),
    ("04", Piece::Padded(Unit::Minute, '0')),
    ("05", Piece::Padded(Unit::Second, '0')),
    ("06", Piece::Padded(Unit::YearOfCentury, '0')),
    ("002", Piece::DayOfYear('0')),
    ("15", Piece::Padded(Unit::Hour, '0')),
    ("1", Piece::Plain(Unit::Month)),
    ("2006", Piece::Year),
    ("2", Piece::Plain(Unit::Day)),
    ("_2006", Piece::UnderscoreYear),
    ("_2", Piece::Padded(Unit::Day, ' ')),
    ("__2", Piece::DayOfYear(' ')),
    ("3", Piece::Plain(Unit::Hour12)),
    ("4", Piece::Plain(Unit::Minute)),
    ("5", Piece::Plain(Unit::Second)),
    ("PM", Piece::HalfOfDay("AM", "PM")),
    ("pm", Piece::HalfOfDay("am", "pm")),
    ("-070000", Piece::Is("+000000")),
    ("-07:00:00", Piece::Is("+00:00:00")),
    ("-0700", Piece::Is("+0000")),
    ("-07:00", Piece::Is("+00:00")),
    ("-07", Piece::Is("+00")),
    ("Z070000", Piece::Is("Z")),
    ("Z07:00:00", Piece::Is("Z")),
    ("Z0700", Piece::Is("Z")),
    ("Z07:00", Piece::Is("Z")),
    ("Z07", Piece::Is("Z")),
    (".0", Piece::Fraction { trimmed: false }),
    (",0", Piece::Fraction { trimmed: false }),
    (".9", Piece::Fraction { trimmed: true }),
    (",9", Piece::Fraction { trimmed: true }),
];

#[derive(Clone, Copy)]
enum Unit {
    Month,
    Day,
    Hour,
    Hour12,
    Minute,
    Second,
    YearOfCentury,
}

#[derive(Clone, Copy)]
enum Piece {
    Month,
    ShortMonth,
    Weekday,
    ShortWeekday,
    Year,
    /// Go reads `_2006` as an underscore and a year, not as `_2` and `006`.
    UnderscoreYear,
    Plain(Unit),
    Padded(Unit, char),
    DayOfYear(char),
    HalfOfDay(&'static str, &'static str),
    Fraction {
        trimmed: bool,
    },
    Is(&'static str),
}

/// Formats a time by a layout of Go's `time.Format`.
pub(super) fn go(layout: &str, time: Timestamp) -> String {
    let time = TimeZone::UTC.to_datetime(time);
    let mut out = String::with_capacity(layout.len() + 16);
    let mut rest = layout;
    while let Some(first) = rest.chars().next() {
        let length = if let Some((length, piece)) = piece(rest) {
            piece.write(&rest[..length], time, &mut out);
            length
        } else {
            out.push(first);
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    out
}

/// The piece that a layout starts with, and its length.
fn piece(rest: &str) -> Option<(usize, Piece)> {
    let (pattern, piece) = PIECES.iter().find(|(pattern, piece)| {
        let Some(after) = rest.strip_prefix(pattern) else { return false };
        match piece {
            // `Janet` is no month.
            Piece::ShortMonth | Piece::ShortWeekday => !after.starts_with(|c: char| c.is_ascii_lowercase()),
            // A fraction is all digits: `.000x`, not `.0001`.
            Piece::Fraction { .. } => {
                let digit = &pattern[1..];
                !after.trim_start_matches(digit).starts_with(|c: char| c.is_ascii_digit())
            }
            _ => true,
        }
    })?;
    let length = match piece {
        Piece::Fraction { .. } => 1 + rest[1..].find(|c| Some(c) != pattern.chars().nth(1)).unwrap_or(rest.len() - 1),
        _ => pattern.len(),
    };
    Some((length, *piece))
}

impl Piece {
    fn write(self, layout: &str, time: DateTime, out: &mut String) {
        match self {
            Self::Month => out.push_str(month(time)),
            Self::ShortMonth => out.push_str(&month(time)[..3]),
            Self::Weekday => out.push_str(weekday(time)),
            Self::ShortWeekday => out.push_str(&weekday(time)[..3]),
            Self::Year => append(out, format_args!("{:04}", time.year())),
            Self::UnderscoreYear => append(out, format_args!("_{:04}", time.year())),
            Self::Plain(unit) => out.push_str(&unit.of(time).to_string()),
            Self::Padded(unit, '0') => append(out, format_args!("{:02}", unit.of(time))),
            Self::Padded(unit, _) => append(out, format_args!("{:2}", unit.of(time))),
            Self::DayOfYear('0') => append(out, format_args!("{:03}", time.day_of_year())),
            Self::DayOfYear(_) => append(out, format_args!("{:3}", time.day_of_year())),
            Self::HalfOfDay(before, after) => out.push_str(if time.hour() < 12 { before } else { after }),
            Self::Fraction { trimmed } => {
                let nanos = format!("{:09}", time.subsec_nanosecond());
                let digits = &nanos[..(layout.len() - 1).min(nanos.len())];
                let digits = if trimmed { digits.trim_end_matches('0') } else { digits };
                if !digits.is_empty() {
                    out.push_str(&layout[..1]);
                    out.push_str(digits);
                }
            }
            Self::Is(text) => out.push_str(text),
        }
    }
}

impl Unit {
    fn of(self, time: DateTime) -> i16 {
        match self {
            Self::Month => time.month().into(),
            Self::Day => time.day().into(),
            Self::Hour => time.hour().into(),
            Self::Hour12 => match time.hour() % 12 {
                0 => 12,
                hour => hour.into(),
            },
            Self::Minute => time.minute().into(),
            Self::Second => time.second().into(),
            Self::YearOfCentury => time.year().rem_euclid(100),
        }
    }
}

fn month(time: DateTime) -> &'static str {
    usize::try_from(time.month() - 1).ok().and_then(|n| MONTHS.get(n)).unwrap_or(&MONTHS[0])
}

fn weekday(time: DateTime) -> &'static str {
    match time.weekday() {
        Weekday::Monday => "Monday",
        Weekday::Tuesday => "Tuesday",
        Weekday::Wednesday => "Wednesday",
        Weekday::Thursday => "Thursday",
        Weekday::Friday => "Friday",
        Weekday::Saturday => "Saturday",
        Weekday::Sunday => "Sunday",
    }
}

/// Formats a time by C's `strftime`, with the directives that Packer knows; others stay as they are.
pub(super) fn strftime(format: &str, time: Timestamp) -> String {
    let mut out = String::with_capacity(format.len() + 16);
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let Some(directive) = chars.next() else {
            out.push('%');
            break;
        };
        let layout = match directive {
            'a' => "Mon",
            'A' => "Monday",
            'b' => "Jan",
            'B' => "January",
            'd' => "02",
            'H' => "15",
            'I' => "03",
            'L' => ".000",
            'm' => "01",
            'M' => "04",
            'p' => "PM",
            'S' => "05",
            'y' => "06",
            'Y' => "2006",
            'z' => "-0700",
            'Z' => "MST",
            '%' => "%",
            _ => {
                out.extend(['%', directive]);
                continue;
            }
        };
        out.push_str(&go(layout, time));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Taken from Go 1.26, for 2019-02-08T16:27:36.0506Z and 2024-12-31T00:05:09Z.
    #[test]
    fn layouts_are_go_s() {
        let times = [Timestamp::constant(1_549_643_256, 50_600_000), Timestamp::constant(1_735_603_509, 0)];
        let rows = [
            ("2006-01-02T15:04:05Z07:00", "2019-02-08T16:27:36Z", "2024-12-31T00:05:09Z"),
            ("Jan _2 2006", "Feb  8 2019", "Dec 31 2024"),
            ("January 02, 06", "February 08, 19", "December 31, 24"),
            ("Mon Monday", "Fri Friday", "Tue Tuesday"),
            ("3:04PM 03:04pm", "4:27PM 04:27pm", "12:05AM 12:05am"),
            ("15h", "16h", "00h"),
            ("002 __2", "039  39", "366 366"),
            ("05.000 .999 ,000000", "36.050 .05 ,050600", "09.000  ,000000"),
            ("05.0001", "36.0002", "09.0012"),
            (
                "-0700 -07:00 -07 -070000 -07:00:00",
                "+0000 +00:00 +00 +000000 +00:00:00",
                "+0000 +00:00 +00 +000000 +00:00:00",
            ),
            ("Z0700 Z07 Z07:00:00 Z070000", "Z Z Z Z", "Z Z Z Z"),
            ("MST", "UTC", "UTC"),
            ("Janet Monk", "Janet Monk", "Janet Monk"),
            ("_2006 2006_2", "_2019 2019 8", "_2024 202431"),
            ("1/2/6", "2/8/6", "12/31/6"),
            ("20060102150405", "20190208162736", "20241231000509"),
            ("é2006ü", "é2019ü", "é2024ü"),
            ("4 5 1 2 3", "27 36 2 8 4", "5 9 12 31 12"),
            ("", "", ""),
            ("no", "no", "no"),
            ("0 00 07 08", "0 00 07 08", "0 00 07 08"),
            ("12", "28", "1231"),
            ("P p PMs", "P p PMs", "P p AMs"),
            (".0000000000", ".050600000", ".000000000"),
            ("Jan", "Feb", "Dec"),
            ("__20061", " 390192", "36602412"),
        ];
        for (layout, first, second) in rows {
            assert_eq!(times.map(|time| go(layout, time)), [first, second], "{layout}");
        }
    }

    /// The directives of Packer 1.6.6, by its console; what it does not know stays as it is, `%j` and `%F` too.
    #[test]
    fn strftime_knows_what_packer_knows() {
        let rows = [
            ("%a %A %b %B", "Fri Friday Feb February"),
            ("%Y-%m-%d %H:%M:%S", "2019-02-08 16:27:36"),
            ("%y %I %p%L %z %Z", "19 04 PM.050 +0000 UTC"),
            ("100%% %F %j %e %-d %é %", "100% %F %j %e %-d %é %"),
            ("", ""),
        ];
        for (format, expected) in rows {
            assert_eq!(strftime(format, Timestamp::constant(1_549_643_256, 50_600_000)), expected, "{format}");
        }
    }
}
