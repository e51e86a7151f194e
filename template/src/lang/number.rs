//! Go's number literals.

use super::value::Value;

/// Reads a number: `12`, `0x1F`, `010`, `0o17`, `0b11`, `1_000`, `1.5`, `1e3`.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let bad = || format!("bad number syntax: {text:?}");
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, body) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', b'0'..=b'9' | b'_', ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    let float =
        (radix == 10 || digits.starts_with(|c: char| c.is_ascii_digit())) && radix != 16 && lower.contains(['.', 'e']);
    if float {
        let plain = separated(&lower).ok_or_else(bad)?;
        let plain = plain.strip_prefix('.').map_or(plain.clone(), |rest| format!("0.{rest}"));
        let value: f64 = plain.parse().map_err(|_| bad())?;
        if !value.is_finite() {
            return Err(format!("number overflow: {text:?}"));
        }
        return Ok(Value::Float(if negative { -value } else { value }));
    }
    // A `_` may stand between a prefix and the first digit.
    let body = if radix == 10 { body } else { body.strip_prefix('_').unwrap_or(body) };
    let plain = separated(body).ok_or_else(bad)?;
    if plain.is_empty() || !plain.chars().all(|c| c.is_digit(radix)) {
        return Err(bad());
    }
    let signed = format!("{}{plain}", if negative { "-" } else { "" });
    i64::from_str_radix(&signed, radix).map(Value::Int).map_err(|_| format!("integer overflow: {text:?}"))
}

/// The text without its `_`, each of which must stand between two digits.
fn separated(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let digit = |i: Option<usize>| i.and_then(|i| bytes.get(i)).is_some_and(u8::is_ascii_hexdigit);
    let well = bytes.iter().enumerate().all(|(i, b)| *b != b'_' || (digit(i.checked_sub(1)) && digit(Some(i + 1))));
    well.then(|| text.replace('_', ""))
}
