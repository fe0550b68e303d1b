//! Our reader of metrics pages beside Prometheus' own: pieces of real pages that were damaged say the same to both.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use plimsoll::decide::analysis::exposition::{Exposition, Line};
use plimsoll_bed::build::Part;
use plimsoll_bed::stop::Stop;
use serde_json::Value;

use crate::repository;

const TEXT: &str = "text/plain; version=0.0.4";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0";
/// Damaged pages that every run looks at.
const DAMAGED: usize = 3000;

/// Labels with the name among them, the value's bits, and the time.
type Series = (BTreeMap<String, String>, u64, Option<i64>);

/// Prometheus' parser as a process.
struct Reference {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Reference {
    fn start() -> Self {
        Part::Prometheus.build(&Stop::default()).expect("Prometheus' parser");
        let program = Part::Prometheus.program("series").unwrap();
        let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("Prometheus' parser");
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output }
    }

    /// What it reads of a page; `None` if it refuses it.
    fn read(&mut self, page: &[u8], kind: &str) -> Option<Vec<Series>> {
        writeln!(self.input, "{} \"{kind}\"", page.len()).unwrap();
        self.input.write_all(page).unwrap();
        self.input.flush().unwrap();
        let mut found = Some(Vec::new());
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "Prometheus' parser ended over:\n{}", String::from_utf8_lossy(page));
            match line.trim_end() {
                "" => return found,
                "refused" => found = None,
                line => {
                    let sample: Value = serde_json::from_str(line).unwrap();
                    let pairs = sample["labels"].as_array().into_iter().flatten();
                    let labels = pairs.map(|pair| (pair[0].as_str().unwrap().to_owned(), pair[1].as_str().unwrap().to_owned()));
                    let value = sample["value"].as_str().unwrap().parse().unwrap();
                    found.as_mut().unwrap().push(series(labels, value, sample["milliseconds"].as_i64()));
                }
            }
        }
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An empty label is none; bounds are compared as numbers, for Prometheus writes `1` as `1.0`, and knows Go's underscores and hexadecimal numbers in
/// them, which to us are no bounds; blanks before a name, which the format ignores, are part of it to Prometheus; a NaN is a NaN.
fn series(labels: impl Iterator<Item = (String, String)>, value: f64, at: Option<i64>) -> Series {
    let hexadecimal = |text: &str| {
        let (mantissa, exponent) = text.strip_prefix("0x")?.split_once('p')?;
        Some(f64::from(u32::from_str_radix(mantissa, 16).ok()?) * f64::from(exponent.parse::<i32>().ok()?).exp2())
    };
    let number = |text: &str| text.parse::<f64>().ok().or_else(|| hexadecimal(text));
    let bound = |name: &str, value: String| match number(&value.replace('_', "")) {
        // -0 is 0.
        Some(bound) if matches!(name, "le" | "quantile") => (bound + 0.0).to_string(),
        _ if name == "__name__" => value.trim_start_matches([' ', '\t']).to_owned(),
        _ => value,
    };
    let labels = labels.filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name.clone(), bound(&name, value)));
    (labels.collect(), if value.is_nan() { f64::NAN } else { value }.to_bits(), at)
}

/// What we read of a page; `None` if we refuse it.
fn ours(page: &[u8], kind: &str) -> Option<Vec<Series>> {
    let mut found = Vec::new();
    for line in Exposition::new(page, kind).ok()?.lines() {
        if let Line::Sample(sample) = line.ok()? {
            let labels = sample.labels.iter().map(|(name, value)| (name.to_string(), value.to_string()));
            let name = std::iter::once(("__name__".to_owned(), sample.name.to_string()));
            found.push(series(name.chain(labels), sample.value, sample.at_milliseconds));
        }
    }
    Some(found)
}

/// Pages as programs write them, with their content types.
fn corpus() -> Vec<(String, Vec<u8>, &'static str)> {
    let pages = std::fs::read_dir(repository().join("tests/expositions")).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<_> = pages
        .map(|path| {
            let kind = if path.extension().is_some_and(|extension| extension == "openmetrics") { OPEN_METRICS } else { TEXT };
            (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap(), kind)
        })
        .collect();
    pages.sort();
    assert!(pages.len() >= 12, "the pages are there");
    pages
}

/// Whole pages: those of the corpus, and of what runs here at this moment.
#[tokio::test]
async fn whole_pages_are_read_as_by_prometheus() {
    let bed = crate::bed().await;
    let mut pages = corpus();
    let raw = bed.kubectl(&["get", "--raw", "/metrics"]).await.unwrap();
    pages.push(("the API server".to_owned(), raw.into_bytes(), TEXT));
    if let Some(page) = envoy(&bed.directory().join("envoy.sock")) {
        pages.push(("Envoy".to_owned(), page, TEXT));
    }
    let mut reference = Reference::start();
    for (name, page, kind) in pages {
        let theirs = reference.read(&page, kind).unwrap_or_else(|| panic!("{name}: Prometheus refuses it"));
        let ours = ours(&page, kind).unwrap_or_else(|| panic!("{name}: we refuse it"));
        assert!(theirs.len() > 20, "{name} has {} series", theirs.len());
        assert_eq!(ours.len(), theirs.len(), "{name}");
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs, "{name}");
        }
        println!("{name}: {} series alike in {} KiB", ours.len(), page.len() / 1024);
    }
}

/// What Envoy says of itself, by its administration socket; none where it does not run.
fn envoy(socket: &Path) -> Option<Vec<u8>> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.write_all(b"GET /stats/prometheus HTTP/1.1\r\nHost: envoy\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let find = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|window| window == what);
    let mut rest = answer.split_off(find(&answer, b"\r\n\r\n")? + 4);
    // In pieces, each with its length before it.
    let mut page = Vec::new();
    loop {
        let end = find(&rest, b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?, 16).ok()?;
        if length == 0 {
            return Some(page);
        }
        page.extend_from_slice(&rest[end + 2..end + 2 + length]);
        rest.drain(..end + 2 + length + 2);
    }
}

#[test]
fn damaged_pages_are_never_read_otherwise_than_by_prometheus() {
    agree(|done, _| done < DAMAGED);
}

/// Ten minutes, or `PLIMSOLL_FUZZ_SECONDS`.
#[test]
#[ignore = "takes ten minutes: cargo test --test cluster damaged -- --ignored --nocapture"]
fn damaged_pages_for_long() {
    let seconds = std::env::var("PLIMSOLL_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(600);
    agree(|_, began| began.elapsed() < Duration::from_secs(seconds));
}

/// What both read they read alike. What only we refuse makes a pod silent, which moves nothing. What only Prometheus refuses is told.
fn agree(goes_on: impl Fn(usize, Instant) -> bool) {
    let mut reference = Reference::start();
    let corpus = corpus();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (began, mut done, mut same, mut refused, mut stricter) = (Instant::now(), 0, 0, 0, 0);
    let mut laxer = Vec::new();
    let mut faults = Vec::new();
    while goes_on(done, began) {
        let (_, page, kind) = &corpus[random.below(corpus.len())];
        let page = random.damaged(page);
        match (ours(&page, kind), reference.read(&page, kind)) {
            (Some(ours), Some(theirs)) if ours == theirs => same += 1,
            (None, None) => refused += 1,
            (None, Some(_)) => stricter += 1,
            (Some(ours), Some(theirs)) => {
                faults.push(format!("{kind}:\n{}\nours: {ours:?}\ntheirs: {theirs:?}", String::from_utf8_lossy(&page)));
            }
            (Some(_), None) => laxer.push(page),
        }
        done += 1;
        if faults.len() >= 20 {
            break;
        }
    }
    println!(
        "{done} damaged pages: {same} read alike, {refused} refused by both, {stricter} by us only, {} by Prometheus only, {} read otherwise",
        laxer.len(),
        faults.len()
    );
    for page in laxer.iter().take(8) {
        println!("by Prometheus only: {}", String::from_utf8_lossy(page).escape_debug());
    }
    assert!(faults.is_empty(), "{}", faults.join("\n----\n"));
    assert!(same > done / 20 && refused > done / 20, "both kinds were tried");
}

/// xorshift64*: the same pages in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next()).unwrap() % end.max(1)
    }

    /// A few lines of the page, most of them series, with one to three changes in them.
    fn damaged(&mut self, page: &[u8]) -> Vec<u8> {
        const PIECES: [&[u8]; 28] = [
            b"{",
            b"}",
            b"\"",
            b"\\",
            b"\n",
            b",",
            b"=",
            b" ",
            b"\t",
            b"#",
            b"# EOF\n",
            b"# TYPE a counter\n",
            b"NaN",
            b"+Inf",
            b"-0",
            b"1e309",
            b"0x1p3",
            b"1_000",
            b" 1700000000000",
            b" 1.5",
            b" # {a=\"b\"} 1",
            b"\r",
            b"le=\"1\"",
            b"__name__=\"x\"",
            b":",
            "é".as_bytes(),
            b"\\n",
            b"{\"a.b\"}",
        ];
        let lines: Vec<&[u8]> = page.split_inclusive(|byte| *byte == b'\n').collect();
        let from = self.below(lines.len());
        let mut damaged = lines[from..(from + 1 + self.below(6)).min(lines.len())].concat();
        if page.ends_with(b"# EOF\n") && !damaged.ends_with(b"# EOF\n") {
            damaged.extend_from_slice(b"# EOF\n");
        }
        for _ in 0..=self.below(3) {
            let (at, end) = (self.below(damaged.len() + 1), self.below(8));
            let end = (at + end).min(damaged.len());
            match self.below(5) {
                0 => drop(damaged.drain(at..end)),
                1 => drop(damaged.splice(at..at, PIECES[self.below(PIECES.len())].iter().copied())),
                2 => drop(damaged.splice(at..end, PIECES[self.below(PIECES.len())].iter().copied())),
                3 if at < damaged.len() => damaged[at] = b' ' + u8::try_from(self.below(95)).unwrap(),
                _ => {
                    let copy = damaged[at..end].to_vec();
                    let to = self.below(damaged.len() + 1);
                    drop(damaged.splice(to..to, copy));
                }
            }
        }
        damaged
    }
}
