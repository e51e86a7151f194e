//! Text for people, as Packer 1.6.6 writes it: prefixes, colours, timestamps, and the live line.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;

use super::live::{ERASE, Live};
use super::{Level, Line, Shape, Sink};
use crate::printer::{Look, Printer};

/// Builds take these colours in turns.
const COLOURS: [AnsiColor; 5] =
    [AnsiColor::Green, AnsiColor::Cyan, AnsiColor::Magenta, AnsiColor::Yellow, AnsiColor::Blue];

/// The live line leaves the last column free, since some terminals go on to the next line when it is written to.
const SPARE_COLUMN: usize = 1;

/// The live line on a terminal that does not tell its width.
const USUAL_WIDTH: usize = 80;

/// What flags and environment say.
#[derive(Clone, Debug, Default)]
pub(crate) struct HumanOptions {
    /// Whether builds are introduced with their colour: not after `-color=false`.
    pub(crate) headers: bool,
    /// `-timestamp-ui`
    pub(crate) timestamps: bool,
    /// Whether the terminal can take a line back.
    pub(crate) live: bool,
    /// Set while a person is asked something: the live line would be in the way of the answer.
    pub(crate) asking: Arc<AtomicBool>,
}

/// Writes text for people.
pub(crate) struct Human {
    printer: Printer,
    options: HumanOptions,
    /// Builds in the order of their colours.
    builds: Vec<String>,
    live: Live,
    /// The live line is on the terminal now.
    drawn: bool,
}

impl Human {
    pub(crate) fn new(printer: Printer, options: HumanOptions) -> Self {
        let options = HumanOptions { live: options.live && printer.on_terminal(), ..options };
        Self { printer, options, builds: Vec::new(), live: Live::default(), drawn: false }
    }

    fn erase(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.drawn) { self.printer.out(ERASE) } else { Ok(()) }
    }

    fn style(&mut self, line: &Line<'_>) -> Style {
        let colour = match (line.level, line.build) {
            (Level::Error | Level::ScriptError, _) => AnsiColor::Red,
            (Level::Warning, _) => AnsiColor::Yellow,
            (Level::Say | Level::Message, Some(build)) => self.colour_of(build),
            (Level::Say | Level::Message, None) => return Style::new(),
        };
        let style = Style::new().fg_color(Some(colour.into()));
        if line.level == Level::Message { style } else { style.bold() }
    }

    fn colour_of(&mut self, build: &str) -> AnsiColor {
        let n = self.builds.iter().position(|b| b == build).unwrap_or_else(|| {
            self.builds.push(build.to_owned());
            self.builds.len() - 1
        });
        COLOURS[n % COLOURS.len()]
    }
}

impl Sink for Human {
    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        let style = self.style(line);
        if line.shape == Shape::Header && !self.options.headers {
            return Ok(());
        }
        let mut text = String::new();
        if self.options.timestamps && line.build.is_some() && line.shape != Shape::Header {
            text.push_str(&line.at.strftime("%Y-%m-%dT%H:%M:%SZ: ").to_string());
        }
        text.push_str(&line.prefixed());
        self.erase()?;
        let error = matches!(line.level, Level::Error | Level::Warning);
        let look = if error { self.printer.err_look() } else { self.printer.out_look() };
        let text = if look.colour { format!("{style}{text}{style:#}\n") } else { text + "\n" };
        if error { self.printer.err(&text) } else { self.printer.out(&text) }
    }

    fn text(&mut self, _at: Timestamp, level: Level, text: &str) -> io::Result<()> {
        self.erase()?;
        let text = format!("{}\n", text.trim_end());
        if matches!(level, Level::Error | Level::Warning) { self.printer.err(&text) } else { self.printer.out(&text) }
    }

    fn wait(&mut self, at: Timestamp, build: &str, what: Option<&str>) {
        self.live.set(at, build, what);
    }

    fn tick(&mut self, now: Timestamp) -> io::Result<()> {
        if !self.options.live || self.options.asking.load(Ordering::Relaxed) {
            return self.erase();
        }
        let width = self.printer.out_look().width.unwrap_or(USUAL_WIDTH);
        match self.live.text(now, width.saturating_sub(SPARE_COLUMN)) {
            Some(line) => {
                self.drawn = true;
                self.printer.out(&format!("{ERASE}{line}"))
            }
            None => self.erase(),
        }
    }

    fn end(&mut self) -> io::Result<()> {
        self.erase()
    }

    fn diagnostics_look(&self) -> Look {
        self.printer.err_look()
    }
}
