//! The JSON of Prometheus' HTTP API, read as strictly as it may be: what is not understood is no answer.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use crate::decide::analysis::exposition::Sample;

/// The most elements of one answer.
const MAX_ELEMENTS: usize = 20_000;
/// The most values of an answer about the past.
const MAX_RANGE: usize = 200_000;

/// An instant query's answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// Its elements.
    pub elements: Vec<Element>,
}

/// One series at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Element {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: Value,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number, any f64.
    Number(f64),
    /// A native histogram.
    Histogram(Histogram),
}

/// A native histogram.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// All its values.
    pub count: f64,
    /// Its buckets that are not empty.
    pub buckets: Vec<Bucket>,
}

/// A bucket of a native histogram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Its lower bound.
    pub lower: f64,
    /// Its upper bound.
    pub upper: f64,
    /// Values in between.
    pub count: f64,
}

/// Why an answer says nothing. Printed for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnswer {
    /// Not the JSON of the HTTP API.
    #[error("the answer is not that of Prometheus' HTTP API (is the provider's url right?)")]
    NotJson,
    /// Prometheus says why.
    #[error("Prometheus refuses the query: {0}")]
    Refused(String),
    /// Another type than was asked for.
    #[error("the answer is a {0}, which was not asked for")]
    WrongType(String),
    /// A value that is no number.
    #[error("the answer has a value that is no number")]
    NotANumber,
    /// More series than are read.
    #[error("the answer has more than 20 000 series")]
    TooMany,
}

/// The one finite number that an answer has, for a query of the user's own: a scalar, or a vector of one series.
///
/// # Errors
/// What it has instead; or [`NotAnswer`] where it is no answer at all.
pub fn single(body: &[u8]) -> Result<Result<f64, String>, NotAnswer> {
    let data = data(body)?;
    let text = match (data.result_type.as_str(), &data.result) {
        ("scalar", scalar) => scalar[1].as_str(),
        ("vector", serde_json::Value::Array(series)) => match series.as_slice() {
            [] => return Ok(Err("the answer has no sample".to_owned())),
            [only] if only["histogram"].is_array() => return Ok(Err("the answer is a histogram, not a number".to_owned())),
            [only] => only["value"][1].as_str(),
            several => return Ok(Err(format!("the answer has {} series, not one: aggregate them, for example by sum()", several.len()))),
        },
        (other, _) => return Ok(Err(format!("the answer is a {}, not one number", other.chars().take(20).collect::<String>()))),
    };
    let number = text.and_then(|text| text.parse::<f64>().ok()).ok_or(NotAnswer::NotANumber)?;
    Ok(if number.is_finite() { Ok(number) } else { Err(format!("the answer is {number}")) })
}

#[derive(Deserialize)]
struct Envelope {
    status: String,
    error: Option<String>,
    data: Option<Body>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    result_type: String,
    #[serde(default)]
    result: serde_json::Value,
}

#[derive(Deserialize)]
struct Series {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    value: Option<(f64, String)>,
    histogram: Option<(f64, Native)>,
}

#[derive(Deserialize)]
struct Rows {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<(f64, String)>,
    #[serde(default)]
    histograms: Vec<(f64, Native)>,
}

#[derive(Deserialize)]
struct Native {
    count: String,
    #[serde(default)]
    buckets: Vec<(i64, String, String, String)>,
}

/// What an answer holds, if it is one.
fn data(body: &[u8]) -> Result<Body, NotAnswer> {
    let envelope: Envelope = serde_json::from_slice(body).map_err(|_| NotAnswer::NotJson)?;
    if envelope.status != "success" {
        return Err(NotAnswer::Refused(envelope.error.unwrap_or(envelope.status).chars().take(200).collect()));
    }
    envelope.data.ok_or(NotAnswer::NotJson)
}

/// The result of an answer, if it is of this type.
fn result(body: &[u8], wanted: &str) -> Result<serde_json::Value, NotAnswer> {
    let data = data(body)?;
    if data.result_type != wanted {
        return Err(NotAnswer::WrongType(data.result_type.chars().take(20).collect()));
    }
    Ok(data.result)
}

fn series(result: serde_json::Value) -> Result<Vec<Series>, NotAnswer> {
    let series: Vec<Series> = serde_json::from_value(result).map_err(|_| NotAnswer::NotJson)?;
    if series.len() > MAX_ELEMENTS { Err(NotAnswer::TooMany) } else { Ok(series) }
}

impl Answer {
    /// Reads an instant query's answer.
    ///
    /// # Errors
    /// Why it says nothing; nothing of it may be used then.
    pub fn read(body: &[u8]) -> Result<Self, NotAnswer> {
        let element = |series: Series| {
            let value = match (series.value, series.histogram) {
                (Some((_, text)), None) => Value::Number(number(&text)?),
                (None, Some((_, native))) => Value::Histogram(native.read()?),
                _ => return Err(NotAnswer::NotJson),
            };
            Ok(Element { labels: series.metric, value })
        };
        let elements = series(result(body, "vector")?)?.into_iter().map(element).collect::<Result<_, _>>()?;
        Ok(Self { elements })
    }
}

/// Reads a range query's answer: what an instant query would have answered at each of its moments, oldest first.
///
/// # Errors
/// Why it says nothing; nothing of it may be used then.
pub fn range(body: &[u8]) -> Result<BTreeMap<Timestamp, Answer>, NotAnswer> {
    let mut moments: BTreeMap<Timestamp, Answer> = BTreeMap::new();
    let all: Vec<Rows> = serde_json::from_value(result(body, "matrix")?).map_err(|_| NotAnswer::NotJson)?;
    if all.iter().map(|rows| rows.values.len() + rows.histograms.len()).sum::<usize>() > MAX_RANGE {
        return Err(NotAnswer::TooMany);
    }
    for Rows { metric, values, histograms } in all {
        let numbers = values.into_iter().map(|(at, text)| Ok((at, Value::Number(number(&text)?))));
        let shapes = histograms.into_iter().map(|(at, native)| Ok((at, Value::Histogram(native.read()?))));
        for found in numbers.chain(shapes) {
            let (at, value) = found?;
            let at = time(at).ok_or(NotAnswer::NotANumber)?;
            moments.entry(at).or_default().elements.push(Element { labels: metric.clone(), value });
        }
    }
    Ok(moments)
}

impl Native {
    fn read(self) -> Result<Histogram, NotAnswer> {
        let bucket = |(_, lower, upper, count): (i64, String, String, String)| {
            Ok(Bucket { lower: number(&lower)?, upper: number(&upper)?, count: number(&count)? })
        };
        Ok(Histogram { count: number(&self.count)?, buckets: self.buckets.into_iter().map(bucket).collect::<Result<_, _>>()? })
    }
}

impl Element {
    /// The value of a label; an empty one counts as absent.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// As a line of a metrics page.
    pub(super) fn sample(&self, value: f64) -> Sample<'_> {
        let labels: Vec<_> = self.labels.iter().map(|(label, value)| (label.as_str(), value.as_str())).collect();
        sample(&labels, value)
    }
}

/// A series as a line of a metrics page.
pub fn sample<'a>(labels: &[(&'a str, &'a str)], value: f64) -> Sample<'a> {
    let name = labels.iter().find(|(label, _)| *label == "__name__").map_or("", |(_, name)| name);
    let labels = labels.iter().filter(|(label, _)| *label != "__name__").map(|(label, value)| (Cow::from(*label), Cow::from(*value)));
    Sample { name: name.into(), labels: labels.collect(), value, at_milliseconds: None }
}

/// Prometheus prints `NaN`, `+Inf` and `-Inf`.
fn number(text: &str) -> Result<f64, NotAnswer> {
    text.parse().map_err(|_| NotAnswer::NotANumber)
}

/// Seconds since 1970, with a fraction.
pub fn time(seconds: f64) -> Option<Timestamp> {
    #[expect(clippy::cast_possible_truncation, reason = "a calendar's range is checked by the conversion; NaN becomes 0")]
    Timestamp::from_millisecond((seconds * 1000.0).round() as i64).ok().filter(|_| seconds.is_finite())
}
