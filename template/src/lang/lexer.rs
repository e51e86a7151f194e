//! Cuts a text into tokens: plain text outside of `{{ }}`, Go's tokens inside.

use super::Failure;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text outside of actions, trimmed where a `{{-` or `-}}` says so.
    Text,
    /// `{{`
    Open,
    /// `}}`
    Close,
    /// A run of blanks inside an action.
    Space,
    /// A function, a keyword, `true`, `false` or `nil`.
    Word,
    /// `.Name`
    Field,
    /// `.`
    Dot,
    /// `$name` or `$`
    Variable,
    /// `"…"`
    String,
    /// `` `…` ``
    Raw,
    /// `'…'`
    Char,
    Number,
    /// `|`
    Pipe,
    /// `=`
    Assign,
    /// `:=`
    Declare,
    LeftParen,
    RightParen,
    /// Any other printable ASCII character.
    Other,
    End,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'t> {
    pub(super) kind: Kind,
    pub(super) text: &'t str,
    /// Byte offset in the whole text.
    pub(super) at: usize,
}

#[derive(Debug)]
pub(super) struct Lexer<'t> {
    text: &'t str,
    position: usize,
    inside: bool,
    parens: usize,
}

const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, position: 0, inside: false, parens: 0 }
    }

    pub(super) fn next(&mut self) -> Result<Token<'t>, Failure> {
        if self.inside { self.action() } else { self.plain() }
    }

    fn rest(&self) -> &'t str {
        &self.text[self.position..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// The token from `start` to the position.
    fn token(&self, kind: Kind, start: usize) -> Token<'t> {
        Token { kind, text: &self.text[start..self.position], at: start }
    }

    /// Text up to the next action, the start of that action, or the end. Comments vanish here.
    fn plain(&mut self) -> Result<Token<'t>, Failure> {
        loop {
            let start = self.position;
            let rest = self.rest();
            let Some(length) = rest.find("{{") else {
                self.position = self.text.len();
                return Ok(self.token(if rest.is_empty() { Kind::End } else { Kind::Text }, start));
            };
            let open = start + length;
            let inner = &self.text[open + 2..];
            let trims = inner.starts_with('-') && inner[1..].starts_with(BLANKS);
            let before = if trims { rest[..length].trim_end_matches(BLANKS) } else { &rest[..length] };
            if !before.is_empty() {
                self.position = open;
                return Ok(Token { kind: Kind::Text, text: before, at: start });
            }
            // The marker takes one blank with it.
            self.position = open + if trims { 4 } else { 2 };
            if !self.rest().starts_with("/*") {
                self.inside = true;
                self.parens = 0;
                return Ok(Token { kind: Kind::Open, text: "{{", at: open });
            }
            let length = self.rest().find("*/").ok_or_else(|| Failure::new(open, "unclosed comment"))?;
            self.position += length + 2;
            let trims =
                self.closing().ok_or_else(|| Failure::new(self.position, "comment ends before closing delimiter"))?;
            self.close(trims);
        }
    }

    /// Whether a `}}` stands here, and if so, whether it trims the text after it.
    fn closing(&self) -> Option<bool> {
        let rest = self.rest();
        if rest.starts_with("}}") {
            return Some(false);
        }
        rest.strip_prefix(BLANKS).is_some_and(|rest| rest.starts_with("-}}")).then_some(true)
    }

    fn close(&mut self, trims: bool) {
        self.position += if trims { 4 } else { 2 };
        if trims {
            self.position = self.text.len() - self.rest().trim_start_matches(BLANKS).len();
        }
        self.inside = false;
    }

    fn action(&mut self) -> Result<Token<'t>, Failure> {
        let start = self.position;
        if let Some(trims) = self.closing() {
            if self.parens > 0 {
                return Err(Failure::new(start, "unclosed left paren"));
            }
            self.close(trims);
            return Ok(Token { kind: Kind::Close, text: "}}", at: start });
        }
        let Some(first) = self.peek() else { return Err(Failure::new(start, "unclosed action")) };
        self.position += first.len_utf8();
        let kind = match first {
            _ if BLANKS.contains(&first) => {
                while self.rest().starts_with(BLANKS) && self.closing().is_none() {
                    self.position += 1;
                }
                Kind::Space
            }
            '=' => Kind::Assign,
            ':' if self.peek() == Some('=') => {
                self.position += 1;
                Kind::Declare
            }
            ':' => return Err(Failure::new(start, "expected :=")),
            '|' => Kind::Pipe,
            '"' => self.quoted('"', "unterminated quoted string")?,
            '\'' => self.quoted('\'', "unterminated character constant")?,
            '`' => {
                let length =
                    self.rest().find('`').ok_or_else(|| Failure::new(start, "unterminated raw quoted string"))?;
                self.position += length + 1;
                Kind::Raw
            }
            '(' => {
                self.parens += 1;
                Kind::LeftParen
            }
            ')' if self.parens == 0 => return Err(Failure::new(start, "unexpected right paren")),
            ')' => {
                self.parens -= 1;
                Kind::RightParen
            }
            '$' => {
                self.name()?;
                Kind::Variable
            }
            '.' if !self.peek().is_some_and(|c| c.is_ascii_digit()) => {
                self.name()?;
                if self.position == start + 1 { Kind::Dot } else { Kind::Field }
            }
            '.' | '+' | '-' | '0'..='9' => self.number(start)?,
            _ if is_word(first) => {
                self.name()?;
                Kind::Word
            }
            ' '..='~' => Kind::Other,
            _ => {
                return Err(Failure::new(
                    start,
                    format!("unrecognized character in action: U+{:04X}", u32::from(first)),
                ));
            }
        };
        Ok(self.token(kind, start))
    }

    /// The rest of a name, which must be set off from what follows.
    fn name(&mut self) -> Result<(), Failure> {
        self.position += self.rest().find(|c| !is_word(c)).unwrap_or(self.rest().len());
        match self.peek() {
            None | Some(' ' | '\t' | '\r' | '\n' | '.' | ',' | '|' | ':' | ')' | '(') => Ok(()),
            Some(_) if self.rest().starts_with("}}") => Ok(()),
            Some(c) => Err(Failure::new(self.position, format!("bad character {c:?}"))),
        }
    }

    /// The rest of a literal in which `\` escapes; the parser looks at what is escaped.
    fn quoted(&mut self, quote: char, unterminated: &str) -> Result<Kind, Failure> {
        let start = self.position - 1;
        let mut escaped = false;
        for (i, c) in self.rest().char_indices() {
            match c {
                '\n' => break,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                _ if c == quote => {
                    self.position += i + 1;
                    return Ok(if quote == '"' { Kind::String } else { Kind::Char });
                }
                _ => {}
            }
        }
        Err(Failure::new(start, unterminated))
    }

    /// The rest of a number. What it accepts too much is refused when the number is read.
    fn number(&mut self, start: usize) -> Result<Kind, Failure> {
        let text = &self.text[start..];
        let mut exponent = false;
        let hexadecimal = text.trim_start_matches(['+', '-']).get(..2).is_some_and(|p| p.eq_ignore_ascii_case("0x"));
        let length = text.char_indices().skip(1).find(|&(_, c)| {
            let sign_of_exponent = exponent && matches!(c, '+' | '-');
            exponent = matches!(c, 'e' | 'E') && !hexadecimal;
            !(is_word(c) || c == '.' || sign_of_exponent)
        });
        self.position = start + length.map_or(text.len(), |(i, _)| i);
        let text = &self.text[start..self.position];
        if text.contains(|c: char| !(c.is_ascii_hexdigit() || "+-._xXoO".contains(c))) {
            return Err(Failure::new(start, format!("bad number syntax: {text:?}")));
        }
        Ok(Kind::Number)
    }
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}
