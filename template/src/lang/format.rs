//! Go's `fmt`: `print`, `println` and `printf`.

use super::quote::{is_printable, quoted};
use super::value::Value;
use super::{MAX_TEXT, append, float};

/// The widest that Go lets a field be.
const MAX_WIDTH: i64 = 1_000_000;

/// With a blank between two operands neither of which is a string.
pub(super) fn print(args: &[Value]) -> Result<String, String> {
    let mut out = String::new();
    for (n, arg) in args.iter().enumerate() {
        if n > 0 && ![&args[n - 1], arg].iter().any(|a| matches!(a, Value::String(_))) {
            out.push(' ');
        }
        out.push_str(&arg.to_string());
        within(&out)?;
    }
    Ok(out)
}

/// With a blank between any two operands, and a line end.
pub(super) fn println(args: &[Value]) -> Result<String, String> {
    let mut out = String::new();
    for (n, arg) in args.iter().enumerate() {
        out.push_str(if n > 0 { " " } else { "" });
        out.push_str(&arg.to_string());
        within(&out)?;
    }
    out.push('\n');
    Ok(out)
}

fn within(out: &str) -> Result<(), String> {
    if out.len() > MAX_TEXT { Err(format!("the text is longer than {MAX_TEXT} bytes")) } else { Ok(()) }
}

/// What stands between `%` and the verb.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "they are printf's five flags")]
struct Flags {
    plus: bool,
    minus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// Formats by verbs; what does not fit is said in the text, as in Go.
pub(super) fn printf(format: &str, args: &[Value]) -> Result<String, String> {
    let mut printer = Printer { out: String::new(), rest: format, args, next: 0, reordered: false, bad_index: false };
    while let Some(at) = printer.rest.find('%') {
        printer.out.push_str(&printer.rest[..at]);
        printer.rest = &printer.rest[at + 1..];
        printer.directive();
        within(&printer.out)?;
    }
    printer.out.push_str(printer.rest);
    printer.extra();
    within(&printer.out)?;
    Ok(printer.out)
}

struct Printer<'a> {
    out: String,
    rest: &'a str,
    args: &'a [Value],
    /// The next operand.
    next: usize,
    /// Whether an operand was chosen by its number: then unused ones are not reported.
    reordered: bool,
    bad_index: bool,
}

impl Printer<'_> {
    fn take(&mut self, c: char) -> bool {
        match self.rest.strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn directive(&mut self) {
        self.bad_index = false;
        let mut flags = Flags::default();
        loop {
            match self.rest.as_bytes().first() {
                Some(b'+') => flags.plus = true,
                Some(b'-') => (flags.minus, flags.zero) = (true, false),
                Some(b'#') => flags.sharp = true,
                Some(b' ') => flags.space = true,
                Some(b'0') => flags.zero = !flags.minus,
                _ => break,
            }
            self.rest = &self.rest[1..];
        }
        let mut indexed = self.index();
        if self.take('*') {
            match self.star() {
                Some(width) => {
                    flags.minus |= width < 0;
                    flags.zero &= !flags.minus;
                    flags.width = usize::try_from(width.abs()).ok();
                }
                None => self.out.push_str("%!(BADWIDTH)"),
            }
            indexed = false;
        } else {
            flags.width = self.digits();
            // `%[3]2d` is not how to say it.
            self.bad_index |= indexed && flags.width.is_some();
        }
        if self.take('.') {
            self.bad_index |= indexed;
            indexed = self.index();
            if self.take('*') {
                flags.precision = self.star().and_then(|p| usize::try_from(p).ok());
                if flags.precision.is_none() {
                    self.out.push_str("%!(BADPREC)");
                }
                indexed = false;
            } else {
                flags.precision = Some(self.digits().unwrap_or(0));
            }
        }
        if !indexed {
            self.index();
        }
        let Some(verb) = self.rest.chars().next() else {
            self.out.push_str("%!(NOVERB)");
            return;
        };
        self.rest = &self.rest[verb.len_utf8()..];
        match self.args.get(self.next) {
            _ if verb == '%' => self.out.push('%'),
            _ if self.bad_index => append(&mut self.out, format_args!("%!{verb}(BADINDEX)")),
            None => append(&mut self.out, format_args!("%!{verb}(MISSING)")),
            Some(arg) => {
                self.next += 1;
                flags.write(&mut self.out, verb, arg);
            }
        }
    }

    /// A number; one that is too large is read and left out.
    fn digits(&mut self) -> Option<usize> {
        let length = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(length);
        self.rest = rest;
        digits.parse().ok().filter(|n| i64::try_from(*n).is_ok_and(|n| n <= MAX_WIDTH))
    }

    /// A width or precision that is an operand.
    fn star(&mut self) -> Option<i64> {
        let arg = self.args.get(self.next);
        self.next += usize::from(arg.is_some());
        match arg {
            Some(Value::Int(n)) if n.abs() <= MAX_WIDTH => Some(*n),
            _ => None,
        }
    }

    /// `[n]`: the number of the operand that comes next.
    fn index(&mut self) -> bool {
        if !self.rest.starts_with('[') {
            return false;
        }
        self.reordered = true;
        let Some(end) = self.rest.find(']') else {
            self.bad_index = true;
            self.rest = &self.rest[1..];
            return false;
        };
        let number = self.rest[1..end].parse::<usize>().ok().filter(|n| (1..=self.args.len()).contains(n));
        self.rest = &self.rest[end + 1..];
        match number {
            Some(n) => self.next = n - 1,
            None => self.bad_index = true,
        }
        number.is_some()
    }

    /// Operands that no verb took.
    fn extra(&mut self) {
        if self.reordered || self.next >= self.args.len() {
            return;
        }
        let extra = self.args[self.next..].iter().map(|arg| match arg {
            Value::Nil => "<nil>".to_owned(),
            arg => format!("{}={arg}", arg.type_name()),
        });
        append(&mut self.out, format_args!("%!(EXTRA {})", extra.collect::<Vec<_>>().join(", ")));
    }
}

impl Flags {
    fn write(self, out: &mut String, verb: char, arg: &Value) {
        if verb == 'v' && (self.plus || self.sharp) {
            // They ask for more names of fields or for Go's syntax, which differs for a string only.
            let plain = Self { plus: false, sharp: false, ..self };
            return match arg {
                Value::String(text) if self.sharp => plain.quote(out, text),
                _ => plain.write(out, verb, arg),
            };
        }
        match (verb, arg) {
            ('T' | 'v', Value::Nil) => self.pad(out, "<nil>"),
            ('T', _) => Self { precision: None, ..self }.text(out, arg.type_name()),
            ('t' | 'v', Value::Bool(yes)) => self.pad(out, if *yes { "true" } else { "false" }),
            ('v' | 'd', Value::Int(n)) => self.integer(out, *n, 10, verb),
            ('b', Value::Int(n)) => self.integer(out, *n, 2, verb),
            ('o' | 'O', Value::Int(n)) => self.integer(out, *n, 8, verb),
            ('x' | 'X', Value::Int(n)) => self.integer(out, *n, 16, verb),
            ('c', Value::Int(n)) => self.pad(out, character(*n).encode_utf8(&mut [0; 4])),
            ('q', Value::Int(n)) => self.pad(out, &quoted(&character(*n).to_string(), '\'', self.plus)),
            ('U', Value::Int(n)) => self.unicode(out, *n),
            ('v', Value::Float(f)) => self.float(out, &float::general(*f, self.precision, false)),
            ('g' | 'G', Value::Float(f)) => self.float(out, &float::general(*f, self.precision, verb == 'G')),
            ('e' | 'E', Value::Float(f)) => {
                self.float(out, &float::exponential(*f, self.precision.or(Some(6)), verb == 'E'));
            }
            ('f' | 'F', Value::Float(f)) => self.float(out, &float::fixed(*f, self.precision.or(Some(6)))),
            ('v' | 's', Value::String(text)) => self.text(out, text),
            ('q', Value::String(text)) => self.quote(out, text),
            ('x' | 'X', Value::String(text)) => self.hex(out, text, verb),
            (_, Value::Map(map)) => {
                out.push_str("map[");
                for (n, (key, value)) in map.iter().enumerate() {
                    out.push_str(if n == 0 { "" } else { " " });
                    self.write(out, verb, &Value::from(key.as_str()));
                    out.push(':');
                    self.write(out, verb, value);
                }
                out.push(']');
            }
            (_, Value::Nil) => append(out, format_args!("%!{verb}(<nil>)")),
            _ => {
                append(out, format_args!("%!{verb}({}=", arg.type_name()));
                self.write(out, 'v', arg);
                out.push(')');
            }
        }
    }

    fn pad(self, out: &mut String, text: &str) {
        let missing = self.width.unwrap_or(0).saturating_sub(text.chars().count());
        let blank = if self.zero { '0' } else { ' ' };
        if self.minus {
            out.push_str(text);
            out.extend(std::iter::repeat_n(' ', missing));
        } else {
            out.extend(std::iter::repeat_n(blank, missing));
            out.push_str(text);
        }
    }

    fn text(self, out: &mut String, text: &str) {
        self.pad(out, self.cut(text));
    }

    /// The text up to the precision, which counts characters.
    fn cut(self, text: &str) -> &str {
        let end = self.precision.and_then(|p| text.char_indices().nth(p)).map_or(text.len(), |(at, _)| at);
        &text[..end]
    }

    fn quote(self, out: &mut String, text: &str) {
        let text = self.cut(text);
        let raw = self.sharp && !text.contains(|c: char| c == '`' || c == '\u{feff}' || (c.is_control() && c != '\t'));
        self.pad(out, &if raw { format!("`{text}`") } else { quoted(text, '"', self.plus) });
    }

    fn hex(self, out: &mut String, text: &str, verb: char) {
        let length = self.precision.unwrap_or(text.len()).min(text.len());
        let prefix = if self.sharp { format!("0{verb}") } else { String::new() };
        let bytes = text.as_bytes()[..length].iter();
        let bytes = bytes.map(|b| if verb == 'x' { format!("{b:02x}") } else { format!("{b:02X}") });
        let text = if self.space {
            bytes.map(|b| format!("{prefix}{b}")).collect::<Vec<_>>().join(" ")
        } else if length == 0 {
            String::new()
        } else {
            format!("{prefix}{}", bytes.collect::<String>())
        };
        self.pad(out, &text);
    }

    fn integer(self, out: &mut String, value: i64, base: u32, verb: char) {
        let magnitude = value.unsigned_abs();
        let spaces = Self { zero: false, ..self };
        if self.precision == Some(0) && value == 0 {
            return spaces.pad(out, "");
        }
        let mut digits = match (base, verb) {
            (2, _) => format!("{magnitude:b}"),
            (8, _) => format!("{magnitude:o}"),
            (16, 'X') => format!("{magnitude:X}"),
            (16, _) => format!("{magnitude:x}"),
            _ => magnitude.to_string(),
        };
        let signed = value < 0 || self.plus || self.space;
        let least = match (self.precision, self.width) {
            (Some(precision), _) => precision,
            (None, Some(width)) if self.zero => width.saturating_sub(usize::from(signed)),
            _ => 0,
        };
        digits.insert_str(0, &"0".repeat(least.saturating_sub(digits.len())));
        if self.sharp {
            match base {
                2 => digits.insert_str(0, "0b"),
                8 if !digits.starts_with('0') => digits.insert(0, '0'),
                16 => digits.insert_str(0, if verb == 'X' { "0X" } else { "0x" }),
                _ => {}
            }
        }
        if verb == 'O' {
            digits.insert_str(0, "0o");
        }
        let sign = match value < 0 {
            true => "-",
            false if self.plus => "+",
            false if self.space => " ",
            false => "",
        };
        digits.insert_str(0, sign);
        spaces.pad(out, &digits);
    }

    fn unicode(self, out: &mut String, value: i64) {
        let mut text = format!("U+{value:0width$X}", width = self.precision.unwrap_or(4).max(4));
        if let Some(c) = u32::try_from(value).ok().and_then(char::from_u32).filter(|c| self.sharp && is_printable(*c)) {
            append(&mut text, format_args!(" '{c}'"));
        }
        Self { zero: false, ..self }.pad(out, &text);
    }

    fn float(self, out: &mut String, number: &str) {
        let (sign, digits) = match number.split_at_checked(1) {
            Some((sign @ ("-" | "+"), digits)) => (sign, digits),
            _ => ("+", number),
        };
        let infinite = digits.starts_with(|c: char| c.is_ascii_alphabetic());
        let shown = match sign {
            "+" if self.plus || number.starts_with('+') => "+",
            "+" if self.space => " ",
            "+" => "",
            _ => "-",
        };
        match self.width {
            // Zeros stand after the sign.
            Some(width) if self.zero && !self.minus && !infinite => {
                let digits = format!("{digits:0>width$}", width = width.saturating_sub(shown.len()));
                out.push_str(shown);
                out.push_str(&digits);
            }
            _ => Self { zero: false, ..self }.pad(out, &format!("{shown}{digits}")),
        }
    }
}

fn character(code: i64) -> char {
    u32::try_from(code).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER)
}
