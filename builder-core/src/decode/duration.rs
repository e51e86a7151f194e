//! Durations as templates write them: Go's (`5m`, `1h30m`, `1.5s`), or a number of nanoseconds.

use std::fmt;
use std::time::Duration;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::de::{Deserialize, Deserializer, Visitor};

/// A duration of a config; negative ones exist (`ssh_keep_alive_interval: "-1s"` means off).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[schemars(with = "String")]
pub struct GoDuration(pub SignedDuration);

impl GoDuration {
    /// From whole seconds.
    pub const fn from_secs(seconds: i64) -> Self {
        Self(SignedDuration::from_secs(seconds))
    }

    /// The duration if it is above zero.
    pub fn positive(self) -> Option<Duration> {
        Duration::try_from(self.0).ok().filter(|d| !d.is_zero())
    }
}

/// As Go prints it: `1h30m0s`, `5m0s`, `1.5s`, `300ms`.
impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        if nanos < 0 {
            f.write_str("-")?;
        }
        let nanos = nanos.unsigned_abs();
        let fraction = |unit: u128| -> String {
            let (whole, rest) = (nanos / unit, nanos % unit);
            let width = unit.ilog10() as usize;
            format!("{whole}.{rest:0width$}").trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        match nanos {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{nanos}ns"),
            1_000..1_000_000 => write!(f, "{}µs", fraction(1_000)),
            1_000_000..1_000_000_000 => write!(f, "{}ms", fraction(1_000_000)),
            _ => {
                let minutes = nanos / 60_000_000_000;
                let rest = nanos % 60_000_000_000;
                let seconds = format!("{}.{:09}", rest / 1_000_000_000, rest % 1_000_000_000);
                let seconds = seconds.trim_end_matches('0').trim_end_matches('.');
                match (minutes / 60, minutes % 60) {
                    (0, 0) => write!(f, "{seconds}s"),
                    (0, m) => write!(f, "{m}m{seconds}s"),
                    (h, m) => write!(f, "{h}h{m}m{seconds}s"),
                }
            }
        }
    }
}

/// Parses a duration by Go's rule (`time.ParseDuration`); an empty string is zero, as in Packer.
pub fn parse_go_duration(text: &str) -> Result<GoDuration, String> {
    let wrong =
        || format!("invalid duration \"{text}\": write a number with a unit, like \"300ms\", \"90s\" or \"1h30m\"");
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest.is_empty() {
        return if text.is_empty() { Ok(GoDuration::default()) } else { Err(wrong()) };
    }
    if rest == "0" {
        return Ok(GoDuration::default());
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(|| {
            format!("missing unit in duration \"{text}\": write \"{text}s\" for seconds or \"{text}m\" for minutes")
        })?;
        let (number, tail) = rest.split_at(digits);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let scale = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong()),
        };
        seconds += number.parse::<f64>().map_err(|_| wrong())? * scale;
        rest = tail;
    }
    // Go's durations end at 292 years; one beyond that is a typing error.
    SignedDuration::try_from_secs_f64(sign * seconds)
        .ok()
        .filter(|d| d.abs() < SignedDuration::from_hours(24 * 365 * 292))
        .map(GoDuration)
        .ok_or_else(wrong)
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DurationVisitor;
        impl Visitor<'_> for DurationVisitor {
            type Value = GoDuration;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration like \"5m\"")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<GoDuration, E> {
                parse_go_duration(text).map_err(E::custom)
            }
            fn visit_i64<E: serde::de::Error>(self, nanos: i64) -> Result<GoDuration, E> {
                Ok(GoDuration(SignedDuration::from_nanos(nanos)))
            }
            fn visit_u64<E: serde::de::Error>(self, nanos: u64) -> Result<GoDuration, E> {
                i64::try_from(nanos).map_err(E::custom).and_then(|nanos| self.visit_i64(nanos))
            }
        }
        deserializer.deserialize_any(DurationVisitor)
    }
}
