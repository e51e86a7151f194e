//! Go's string literals: reading them, and writing them for `%q`.

use super::append;

/// The text of a literal in `"` or `'`, without its quotes and with its escapes resolved.
pub(super) fn unquote(literal: &str) -> Result<String, String> {
    let quote = literal.chars().next().unwrap_or('"');
    let body = literal.strip_prefix(quote).and_then(|l| l.strip_suffix(quote)).unwrap_or_default();
    let mut bytes = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c != '\\' {
            bytes.extend(c.encode_utf8(&mut [0; 4]).bytes());
            continue;
        }
        let Some(escape) = rest.chars().next() else { return Err(invalid(literal)) };
        rest = &rest[escape.len_utf8()..];
        let plain = match escape {
            'a' => 0x07,
            'b' => 0x08,
            'f' => 0x0c,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 0x0b,
            '\\' => b'\\',
            '\'' | '"' if escape == quote => u8::try_from(escape).unwrap_or(b'?'),
            'x' | 'u' | 'U' => {
                let digits = match escape {
                    'x' => 2,
                    'u' => 4,
                    _ => 8,
                };
                let code = take_digits(&mut rest, digits, 16).ok_or_else(|| invalid(literal))?;
                if escape == 'x' {
                    bytes.push(u8::try_from(code).map_err(|_| invalid(literal))?);
                } else {
                    let c = char::from_u32(code).ok_or_else(|| invalid(literal))?;
                    bytes.extend(c.encode_utf8(&mut [0; 4]).bytes());
                }
                continue;
            }
            '0'..='7' => {
                rest = &body[body.len() - rest.len() - 1..];
                let code = take_digits(&mut rest, 3, 8).ok_or_else(|| invalid(literal))?;
                u8::try_from(code).map_err(|_| invalid(literal))?
            }
            _ => return Err(invalid(literal)),
        };
        bytes.push(plain);
    }
    String::from_utf8(bytes).map_err(|_| format!("{literal} is not UTF-8 once its escapes are resolved"))
}

fn invalid(literal: &str) -> String {
    format!("invalid escape in {literal}")
}

fn take_digits(rest: &mut &str, count: usize, radix: u32) -> Option<u32> {
    let digits = rest.get(..count).filter(|d| d.chars().all(|c| c.is_digit(radix)))?;
    *rest = &rest[count..];
    u32::from_str_radix(digits, radix).ok()
}

/// The text as a Go literal in `quote`s; `ascii` escapes everything else.
pub(super) fn quoted(text: &str, quote: char, ascii: bool) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for c in text.chars() {
        match c {
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\\' => out.push_str("\\\\"),
            _ if c == quote => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            _ if !ascii && is_printable(c) => out.push(c),
            _ => {
                let code = u32::from(c);
                match code {
                    0..=0x7f => append(&mut out, format_args!("\\x{code:02x}")),
                    0x80..=0xffff => append(&mut out, format_args!("\\u{code:04x}")),
                    _ => append(&mut out, format_args!("\\U{code:08x}")),
                }
            }
        }
    }
    out.push(quote);
    out
}

/// Whether Go prints a character as it is; the space is the only blank that counts.
pub(super) fn is_printable(c: char) -> bool {
    let invisible = matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}');
    let reserved = matches!(c, '\u{feff}' | '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..='\u{fffb}');
    c == ' ' || !(c.is_control() || c.is_whitespace() || invisible || reserved)
}
