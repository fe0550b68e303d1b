//! A pod's metrics page, line by line: Prometheus text format and `OpenMetrics` text.
//!
//! As in Prometheus' own parser, one malformed line spoils the whole page: a page of which only a part was understood
//! could hide the very series that counts failures. For the same reason a page whose last line has no line feed (both
//! formats demand one), or an `OpenMetrics` page without `# EOF`, counts as cut off and is not used.
//! Everything is borrowed from the body; what is kept at a time is one line.

use std::borrow::Cow;

use super::convention::Unmeasured;

/// The longest line that is read, in bytes.
const MAX_LINE_BYTES: usize = 64 * 1024;
/// The most labels that one series may have.
const MAX_LABELS: usize = 64;

/// One line that says something.
#[derive(Debug, PartialEq)]
pub enum Line<'a> {
    /// `# TYPE` or `# HELP`: this family exists, be it without a series yet.
    Declared(&'a str),
    /// A value.
    Sample(Sample<'a>),
}

/// One value of one series.
#[derive(Debug, PartialEq)]
pub struct Sample<'a> {
    /// The metric's name.
    pub name: Cow<'a, str>,
    /// Its labels as written, in their order.
    pub labels: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// Its value; any f64.
    pub value: f64,
    /// The time it gives, in milliseconds since 1970.
    pub at_milliseconds: Option<i64>,
}

impl Sample<'_> {
    /// The value of a label; an empty one counts as absent.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, value)| label == name && !value.is_empty()).map(|(_, value)| value.as_ref())
    }
}

/// A page that is text and whole.
#[derive(Debug, Clone, Copy)]
pub struct Exposition<'a> {
    text: &'a str,
    open_metrics: bool,
}

impl<'a> Exposition<'a> {
    /// Looks at the page as a whole.
    ///
    /// # Errors
    /// `NotMetrics`, `NotText`, `Empty` or `Cut`.
    pub fn new(body: &'a [u8], content_type: &str) -> Result<Self, Unmeasured> {
        let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if matches!(kind.as_str(), "text/html" | "application/json" | "application/vnd.google.protobuf") {
            return Err(Unmeasured::NotMetrics);
        }
        let text = std::str::from_utf8(body).map_err(|_| Unmeasured::NotText)?;
        let shown = text.trim_ascii();
        if shown.is_empty() {
            return Err(Unmeasured::Empty);
        }
        if shown.starts_with(['<', '[']) {
            return Err(Unmeasured::NotMetrics);
        }
        let ended = shown.lines().next_back() == Some("# EOF");
        // Where it says what it is, it is that, as to Prometheus.
        let open_metrics = kind == "application/openmetrics-text" || ended && kind != "text/plain";
        // OpenMetrics ends by its last line, with or without a line feed; the text format by a line feed.
        if if open_metrics { ended } else { text.ends_with('\n') } { Ok(Self { text, open_metrics }) } else { Err(Unmeasured::Cut) }
    }

    /// The lines that say something; stop at the first error.
    pub fn lines(self) -> impl Iterator<Item = Result<Line<'a>, Unmeasured>> {
        let lines = self.text.split('\n').enumerate();
        lines.filter_map(move |(index, line)| {
            let line = line.strip_suffix('\r').unwrap_or(line).trim_matches([' ', '\t']);
            read_line(line, self.open_metrics).map_err(|what| Unmeasured::Malformed { line: index + 1, what }).transpose()
        })
    }
}

fn read_line(line: &str, open_metrics: bool) -> Result<Option<Line<'_>>, &'static str> {
    if line.is_empty() {
        return Ok(None);
    }
    if line.len() > MAX_LINE_BYTES {
        return Err("is longer than 64 KiB");
    }
    if let Some(comment) = line.strip_prefix('#') {
        let mut words = comment.split_ascii_whitespace();
        let declares = matches!(words.next(), Some("TYPE" | "HELP"));
        let name = words.next().filter(|_| declares);
        // Prometheus looks for the end of such a name on the lines that follow, and does not read these.
        if name.is_some_and(|name| name.starts_with('"')) && comment.matches('"').count() < 2 {
            return Err("declares a name whose quotes are not closed");
        }
        return Ok(name.map(Line::Declared));
    }
    let mut rest = Rest(line);
    let sample = rest.sample(open_metrics)?;
    Ok(Some(Line::Sample(sample)))
}

/// What is left of a line.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn sample(&mut self, open_metrics: bool) -> Result<Sample<'a>, &'static str> {
        let mut name = Cow::Borrowed(self.word(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':'));
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err("begins with a digit");
        }
        self.skip_blanks();
        let mut labels = Vec::new();
        if self.take('{') {
            self.labels(&mut name, &mut labels)?;
        }
        if name.is_empty() {
            return Err("has no metric name");
        }
        let value = self.number().ok_or("has no value")?;
        let value = parse_value(value).ok_or("has a value that is no number")?;
        let at_milliseconds = match self.number() {
            None => None,
            Some(at) => Some(parse_time(at, open_metrics).ok_or("has a time that is no number")?),
        };
        self.skip_blanks();
        // An exemplar follows its own `#`; nothing in it matters here.
        if self.0.is_empty() || self.0.starts_with('#') {
            Ok(Sample { name, labels, value, at_milliseconds })
        } else {
            Err("goes on after its value")
        }
    }

    fn labels(&mut self, name: &mut Cow<'a, str>, labels: &mut Vec<(Cow<'a, str>, Cow<'a, str>)>) -> Result<(), &'static str> {
        loop {
            self.skip_blanks();
            if self.take('}') {
                return Ok(());
            }
            let quoted = self.0.starts_with('"');
            let label = if quoted { self.quoted()? } else { Cow::Borrowed(self.word(|c| c.is_ascii_alphanumeric() || c == '_')) };
            if !quoted && (label.is_empty() || label.starts_with(|c: char| c.is_ascii_digit())) {
                return Err("has a label without a name");
            }
            self.skip_blanks();
            if self.take('=') {
                self.skip_blanks();
                labels.push((label, self.quoted()?));
            } else if quoted && name.is_empty() && labels.is_empty() {
                // `{"a.name", label="…"}`: a name outside the old alphabet.
                *name = label;
            } else {
                return Err("has a label without a value");
            }
            if labels.len() > MAX_LABELS {
                return Err("has more than 64 labels");
            }
            self.skip_blanks();
            if !self.take(',') && !self.0.starts_with('}') {
                return Err("has labels that do not end");
            }
        }
    }

    /// A string in double quotes; `\\`, `\"` and `\n` are the escapes, any other stands as written.
    fn quoted(&mut self) -> Result<Cow<'a, str>, &'static str> {
        if !self.take('"') {
            return Err("has a label value without quotes");
        }
        let mut escaped = false;
        let mut any_escape = false;
        let end = self.0.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            any_escape |= escaped;
            ends
        });
        let end = end.ok_or("has a label value that does not end")?;
        let (raw, rest) = self.0.split_at(end);
        self.0 = rest.strip_prefix('"').unwrap_or(rest);
        Ok(if any_escape { Cow::Owned(unescape(raw)) } else { Cow::Borrowed(raw) })
    }

    /// The next word that could be a number.
    fn number(&mut self) -> Option<&'a str> {
        self.skip_blanks();
        Some(self.word(|c| !matches!(c, ' ' | '\t' | '#'))).filter(|word| !word.is_empty())
    }

    fn word(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let end = self.0.find(|c| !belongs(c)).unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        self.0 = rest;
        word
    }

    fn take(&mut self, expected: char) -> bool {
        let rest = self.0.strip_prefix(expected);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn skip_blanks(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t']);
    }
}

fn unescape(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some('n')) => text.push('\n'),
            ('\\', Some(c @ ('\\' | '"'))) => text.push(c),
            ('\\', Some(other)) => text.extend(['\\', other]),
            (c, _) => text.push(c),
        }
    }
    text
}

/// As Go's `ParseFloat`, without its hexadecimal forms (Prometheus refuses them as well).
fn parse_value(word: &str) -> Option<f64> {
    word.parse().ok()
}

/// The text format has whole milliseconds, `OpenMetrics` seconds with a fraction.
fn parse_time(word: &str, open_metrics: bool) -> Option<i64> {
    if !open_metrics {
        return word.parse().ok();
    }
    let milliseconds = word.parse::<f64>().ok()? * 1000.0;
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
    (milliseconds.abs() < 1e15).then_some(milliseconds as i64)
}

#[cfg(test)]
mod tests;
