//! Floating point numbers as Go writes them.

/// `%e`, or `%E` if `upper`; as many digits as it takes if there is no precision.
pub(super) fn exponential(value: f64, precision: Option<usize>, upper: bool) -> String {
    if !value.is_finite() {
        return special(value);
    }
    let text = match precision {
        Some(precision) => format!("{value:.precision$e}"),
        None => format!("{value:e}"),
    };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}{}{sign}{digits:0>2}", if upper { 'E' } else { 'e' })
}

/// `%f`
pub(super) fn fixed(value: f64, precision: Option<usize>) -> String {
    match precision {
        _ if !value.is_finite() => special(value),
        Some(precision) => format!("{value:.precision$}"),
        None => format!("{value}"),
    }
}

/// `%g`: the shorter of the two, without trailing zeros.
pub(super) fn general(value: f64, precision: Option<usize>, upper: bool) -> String {
    if !value.is_finite() {
        return special(value);
    }
    let scientific = match precision {
        Some(precision) => format!("{value:.*e}", precision.max(1) - 1),
        None => format!("{value:e}"),
    };
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let mantissa = if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
    let digits = mantissa.chars().filter(char::is_ascii_digit).count();
    let point = usize::try_from(exponent + 1).unwrap_or(0);
    let limit = match precision {
        None => 6,
        Some(precision) if precision.max(1) > digits && digits >= point => digits,
        Some(precision) => precision.max(1),
    };
    if exponent < -4 || usize::try_from(exponent).is_ok_and(|e| e >= limit) {
        return exponential(value, Some(digits - 1), upper);
    }
    let decimals = i32::try_from(digits).unwrap_or(i32::MAX) - 1 - exponent;
    fixed(value, Some(usize::try_from(decimals).unwrap_or(0)))
}

fn special(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value > 0.0 {
        "+Inf".to_owned()
    } else {
        "-Inf".to_owned()
    }
}
