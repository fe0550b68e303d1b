use super::*;

/// Name, labels, value.
type Found = (String, Vec<(String, String)>, f64);
/// Why, line, name, labels, value.
type Case = (&'static str, &'static str, &'static str, &'static [(&'static str, &'static str)], f64);

fn samples(body: &str) -> Result<Vec<Found>, Unmeasured> {
    let mut found = Vec::new();
    for line in Exposition::new(body.as_bytes(), "text/plain; version=0.0.4")?.lines() {
        if let Line::Sample(sample) = line? {
            let labels = sample.labels.into_iter().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
            found.push((sample.name.into_owned(), labels, sample.value));
        }
    }
    Ok(found)
}

#[test]
fn what_prometheus_reads_is_read() {
    let cases: [Case; 18] = [
        ("no labels", "up 1", "up", &[], 1.0),
        ("empty braces", "up{} 1", "up", &[], 1.0),
        ("blanks anywhere", "up { a = \"b\" , c=\"d\" }\t2 ", "up", &[("a", "b"), ("c", "d")], 2.0),
        ("trailing comma", "up{a=\"b\",} 3", "up", &[("a", "b")], 3.0),
        ("escapes", r#"up{a="x\\y\"z\nw"} 1"#, "up", &[("a", "x\\y\"z\nw")], 1.0),
        ("an unknown escape stands as written", r#"up{a="\d"} 1"#, "up", &[("a", "\\d")], 1.0),
        ("an escaped backslash before the closing quote", r#"up{a="\\"} 1"#, "up", &[("a", "\\")], 1.0),
        ("braces, commas and hashes in a value", "up{a=\"}, # {\"} 1", "up", &[("a", "}, # {")], 1.0),
        ("a time", "up 1 1700000000000", "up", &[], 1.0),
        ("a negative time", "up 1 -5", "up", &[], 1.0),
        ("exponents", "up 1.5e+03", "up", &[], 1500.0),
        ("infinity", "up +Inf", "up", &[], f64::INFINITY),
        ("negative", "up -2", "up", &[], -2.0),
        ("an exemplar", "up{le=\"1\"} 4 # {trace=\"x\"} 0.3 1.5", "up", &[("le", "1")], 4.0),
        ("a quoted name", "{\"a.b\",c=\"d\"} 1", "a.b", &[("c", "d")], 1.0),
        ("a quoted label", "up{\"a.b\"=\"c\"} 1", "up", &[("a.b", "c")], 1.0),
        ("colons", "job:up:sum 1", "job:up:sum", &[], 1.0),
        ("carriage returns", "up 7\r", "up", &[], 7.0),
    ];
    for (why, line, name, labels, value) in cases {
        let found = samples(&format!("# a comment\n\n{line}\n")).unwrap();
        let labels: Vec<_> = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(found, [(name.to_owned(), labels, value)], "{why}");
    }
    assert!(samples("up NaN\n").unwrap()[0].2.is_nan());
}

#[test]
fn what_is_no_exposition_is_named() {
    let cases: [(&str, &[u8], &str, Unmeasured); 13] = [
        ("empty", b"", "", Unmeasured::Empty),
        ("blank", b" \n\n", "", Unmeasured::Empty),
        ("HTML", b"<!doctype html>\n<p>hello</p>\n", "", Unmeasured::NotMetrics),
        ("HTML by its type", b"up 1\n", "Text/HTML; charset=utf-8", Unmeasured::NotMetrics),
        ("JSON list", b"[1]\n", "", Unmeasured::NotMetrics),
        ("JSON by its type", b"{}\n", "application/json", Unmeasured::NotMetrics),
        ("protobuf", b"up 1\n", "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily", Unmeasured::NotMetrics),
        ("binary", b"up 1\n\xff\xfe\n", "", Unmeasured::NotText),
        ("invalid UTF-8 in a label", b"up{a=\"\xc3\x28\"} 1\n", "", Unmeasured::NotText),
        ("cut in a line", b"up 1\nup 1", "", Unmeasured::Cut),
        ("OpenMetrics without its end", b"up 1\n", "application/openmetrics-text; version=1.0.0", Unmeasured::Cut),
        ("text after the end", b"up 1\n# EOF\nup 2\n", "application/openmetrics-text", Unmeasured::Cut),
        ("cut in the end itself", b"up 1\n# EO", "application/openmetrics-text", Unmeasured::Cut),
    ];
    for (why, body, content_type, expected) in cases {
        assert_eq!(Exposition::new(body, content_type).map(|_| ()), Err(expected), "{why}");
    }
}

#[test]
fn a_malformed_line_spoils_the_page_and_is_named() {
    let long = format!("up{{a=\"{}\"}} 1", "x".repeat(70_000));
    let many = format!("up{{{}}} 1", (0..65).map(|index| format!("l{index}=\"x\",")).collect::<Vec<_>>().concat());
    let cases = [
        ("a sample without a value", "up", "has no value"),
        ("labels, no value", "up{a=\"b\"}", "has no value"),
        ("a word for a value", "up one", "has a value that is no number"),
        ("hexadecimal", "up 0x10", "has a value that is no number"),
        ("a word for a time", "up 1 now", "has a time that is no number"),
        ("a fraction for a time", "up 1 1.5", "has a time that is no number"),
        ("something after the time", "up 1 2 3", "goes on after its value"),
        ("a name that begins with a digit", "1up 1", "begins with a digit"),
        ("no name", "{a=\"b\"} 1", "has no metric name"),
        ("JSON object", "{\"up\": 1}", "has labels that do not end"),
        ("a label without a name", "up{=\"b\"} 1", "has a label without a name"),
        ("a label without a value", "up{a} 1", "has a label without a value"),
        ("a label without quotes", "up{a=b} 1", "has a label value without quotes"),
        ("a label value without an end", "up{a=\"b} 1", "has a label value that does not end"),
        ("braces that do not close", "up{a=\"b\" 1", "has labels that do not end"),
        ("a dot in a name", "a.b 1", "has a value that is no number"),
        ("a declared name that does not end", "# HELP \"up is one or the other", "declares a name whose quotes are not closed"),
        ("a long line", &long, "is longer than 64 KiB"),
        ("many labels", &many, "has more than 64 labels"),
    ];
    for (why, line, what) in cases {
        assert_eq!(samples(&format!("up 1\n{line}\nup 2\n")), Err(Unmeasured::Malformed { line: 2, what }), "{why}");
    }
}

#[test]
fn open_metrics_gives_times_in_seconds() {
    let page = Exposition::new(b"# TYPE up gauge\nup 1 1700000000.25\n# EOF\n", "").unwrap();
    let lines: Vec<_> = page.lines().collect::<Result<_, _>>().unwrap();
    let Line::Sample(sample) = &lines[1] else { unreachable!("{lines:?}") };
    assert_eq!((&lines[0], sample.at_milliseconds), (&Line::Declared("up"), Some(1_700_000_000_250)));
    // In the text format the same words are a comment, and times are in milliseconds.
    let page = Exposition::new(b"up 1 1700000000\n# EOF\n", "text/plain").unwrap();
    assert!(page.lines().any(|line| matches!(line, Ok(Line::Sample(sample)) if sample.at_milliseconds == Some(1_700_000_000))));
    assert!(matches!(Exposition::new(b"up 1 1e300\n# EOF\n", "").unwrap().lines().next(), Some(Err(Unmeasured::Malformed { .. }))));
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(body: Vec<u8>, content_type in "(|text/plain|application/openmetrics-text)") {
        if let Ok(page) = Exposition::new(&body, &content_type) {
            for _ in page.lines() {}
        }
    }

    #[test]
    fn no_near_miss_panics(body in "(http_requests_total|\\{|\\}|\"|\\\\|code|=|,|5|00| |\n|#|EOF|é|NaN|\t){0,60}") {
        let body = format!("{body}\n");
        if let Ok(page) = Exposition::new(body.as_bytes(), "") {
            for _ in page.lines() {}
        }
    }

    #[test]
    fn a_page_cut_anywhere_is_whole_lines_or_not_used(cut in 0usize..200) {
        let body = "# TYPE http_requests_total counter\nhttp_requests_total{code=\"200\"} 10\nhttp_requests_total{code=\"500\"} 7\n";
        let body = &body[..cut.min(body.len())];
        proptest::prop_assert!(samples(body).is_err() || body.ends_with('\n'));
    }
}
