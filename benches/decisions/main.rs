//! Decisions compared: `make bench-decisions`. Worlds × policies, the same requests for all of them.
//!
//! It prints tables and ratios and can come out against us: with `--short` it fails where a good version goes back more often than promised, or a
//! bad one is missed.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    reason = "a benchmark may stop; its numbers are small and its constants exact"
)]

mod cells;
mod ours;
mod peers;
mod play;
mod random;
mod report;
mod scenario;
mod world;

use std::fmt::Write as _;

use plimsoll::decide::analysis::Parts;

use peers::Peer;
use report::{Row, median_and_late, ratio, seconds, upper_bound};
use scenario::Scenario;

/// Runs of a good cell, and of a bad one.
const RUNS: (u64, u64) = (1000, 300);
/// Runs of the ablation, each part: good and bad.
const ABLATION: (u64, u64) = (200, 50);
/// Number of the first good cell: a cell's number chooses its requests.
const FIRST_GOOD: u64 = 500;
/// Number of the first cell of good versions that may be promoted.
const FIRST_PROMOTED: u64 = 900;
const SHORT: (u64, u64) = (60, 12);
/// Bad cells of the short form: what must be found at least, in percent.
const SHORT_BAD: [(&str, f64); 4] = [("100% bad", 100.0), ("+5 points", 100.0), ("latency ×2", 100.0), ("+5 points from 600 s", 100.0)];
const SHORT_GOOD: [&str; 4] = ["plain, 100 rps", "outage of both at 60 s", "retries", "pod bursts of 20 s"];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    if has("--help") {
        println!("Without a choice: --bad, --good and --ablation.");
        println!(
            "cargo bench --bench decisions -- [--short | --good | --bad | --ours | --ablation] [--runs=N] [--only=NAME;NAME…] [--without=PART]"
        );
        return;
    }
    let only = arguments.iter().find_map(|argument| argument.strip_prefix("--only="));
    let without = arguments.iter().find_map(|argument| argument.strip_prefix("--without="));
    let parts = without.map_or_else(Parts::default, judge_without);
    let scale = arguments.iter().find_map(|argument| argument.strip_prefix("--runs=")?.parse::<u64>().ok());
    if has("--short") {
        std::process::exit(i32::from(!short()));
    }
    let all = !has("--good") && !has("--bad") && !has("--ablation");
    if has("--ours") {
        ours(scale.unwrap_or(RUNS.1), only, parts);
        return;
    }
    if all || has("--bad") {
        bad(scale.unwrap_or(RUNS.1), only, parts);
    }
    if all || has("--good") {
        good(scale.unwrap_or(RUNS.0), only, parts);
    }
    if all || has("--ablation") {
        ablation(scale.map_or(ABLATION, |runs| (4 * runs, runs)), only);
    }
}

/// The judge without the part of this name.
fn judge_without(part: &str) -> Parts {
    let known = Parts::without_each();
    let found = known.iter().find(|(name, _)| *name == part);
    found.map_or_else(
        || {
            eprintln!("no part of the judge is called {part:?}; there are: {}", known.map(|(name, _)| name).join(", "));
            std::process::exit(2)
        },
        |(_, parts)| *parts,
    )
}

/// Whether a cell is among those that were asked for.
fn chosen(name: &str, only: Option<&str>) -> bool {
    only.is_none_or(|only| only.split(';').any(|part| name == part))
}

/// A bad version by its name, with its cell's number.
fn bad_one(name: &str) -> (u64, Scenario) {
    (0..).zip(cells::bad_ones()).find(|(_, scenario)| scenario.name == name).unwrap()
}

/// A good version by its name, with its cell's number.
fn good_one(name: &str) -> (u64, Scenario) {
    let named = (FIRST_GOOD..).zip(cells::good_ones()).find(|(_, (scenario, _))| scenario.name == name);
    named.map(|(number, (scenario, _))| (number, scenario)).unwrap()
}

fn bad(runs: u64, only: Option<&str>, parts: Parts) {
    println!("\n## Bad versions ({runs} runs each)\n");
    println!(
        "Excess: requests that failed, or took over 500 ms, because the candidate served them. Missed: promoted. Ratio: our excess ÷ theirs.\n"
    );
    let cells = cells::bad_ones();
    let played = cells.iter().enumerate().filter(|(_, scenario)| chosen(scenario.name, only));
    let lines: Vec<String> = played.map(|(index, scenario)| compare(scenario, index as u64, runs, parts)).collect();
    println!("\n## In short\n\nFound, median seconds (95th percentile), excess; of the peers: found, and our excess ÷ theirs.\n");
    println!("| | plimsoll | {} |", Peer::ALL.map(Peer::name).join(" | "));
    println!("|{}\n{}", "---|".repeat(Peer::ALL.len() + 2), lines.join("\n"));
    if only.is_some() {
        return;
    }
    println!("\n## Good versions: time to promotion, and who takes one back because both fail\n");
    let outage = Scenario { outage: Some((60.0, 360.0)), ..Scenario::plain("good, outage of both at 60 s", 100.0) };
    let good = [Scenario::plain("good, 100 rps", 100.0), Scenario::plain("good, 10 rps", 10.0), outage];
    for (cell, scenario) in (FIRST_PROMOTED..).zip(&good) {
        compare(scenario, cell, runs.min(100), parts);
    }
}

/// Bad versions, without the peers: what a change of the judge brings, in a tenth of the time.
fn ours(runs: u64, only: Option<&str>, parts: Parts) {
    println!("| cell ({runs} runs) | found | s to back (95th) | excess failed | excess slow |\n|---|---|---|---|---|");
    for (cell, scenario) in (0..).zip(cells::bad_ones()).filter(|(_, scenario)| chosen(scenario.name, only)) {
        let row = Row::of(&play::ramps(&scenario, cell, runs, &[], parts), 0);
        let (back, when) = (100.0 * row.back, median_and_late(row.seconds));
        println!("| {} | {back:.1}% | {when} | {:.1} | {:.1} |", scenario.name, row.excess.0, row.excess.1);
    }
}

/// Prints a cell's table; its line in the short one.
fn compare(scenario: &Scenario, cell: u64, runs: u64, parts: Parts) -> String {
    let outcomes = play::ramps(scenario, cell, runs, &Peer::ALL, parts);
    let row = |policy: usize| Row::of(&outcomes, policy);
    let ours = row(0);
    let slow = ours.excess.1.abs().max(row(2).excess.1.abs()) > ours.excess.0.abs().max(row(2).excess.0.abs());
    println!(
        "| {} | back (95% interval) | missed | s to back (95th) | excess failed | excess slow | ratio | s to 90% (95th) | s to 100% (95th) |",
        scenario.name
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let of = |row: &Row| if slow { row.excess.1 } else { row.excess.0 };
    let mut line = format!(
        "| {} | {:.0}%, {} s ({}), {:.0} |",
        scenario.name,
        100.0 * ours.back,
        seconds(ours.seconds.0),
        seconds(ours.seconds.1),
        of(&ours)
    );
    let names = std::iter::once("plimsoll").chain(Peer::ALL.iter().map(|peer| peer.name()));
    for (policy, name) in names.enumerate() {
        let this = row(policy);
        if policy > 0 {
            let _ = write!(line, " {:.0}%, {} |", 100.0 * this.back, ratio(of(&ours), of(&this)));
        }
        println!(
            "| {name} | {:.1}% ({:.1}–{:.1}) | {:.1}% | {} | {:.1} | {:.1} | {} | {} | {} |",
            100.0 * this.back,
            100.0 * this.interval.0,
            100.0 * this.interval.1,
            100.0 * this.promoted,
            median_and_late(this.seconds),
            this.excess.0,
            this.excess.1,
            // A good version costs nobody anything.
            match policy {
                _ if scenario.bad.is_none() => "–".to_owned(),
                0 => "1".to_owned(),
                _ => ratio(of(&ours), of(&this)),
            },
            median_and_late(this.ninety),
            median_and_late(this.hundred)
        );
    }
    println!();
    line
}

/// Good versions at a share that stays for an hour; twice as many runs where these cannot show what is promised.
fn good(runs: u64, only: Option<&str>, parts: Parts) {
    println!("\n## Good versions: false alarms in an hour at 10% ({runs} runs each, twice as many where these show too little)\n");
    println!("| cell | went back | upper 95% bound | promised | a z test that peeks |");
    println!("|---|---|---|---|---|");
    for (index, (scenario, promised)) in cells::good_ones().iter().enumerate() {
        if !chosen(scenario.name, only) {
            continue;
        }
        let cell = FIRST_GOOD + index as u64;
        let mut outcomes = play::stays(scenario, cell, 0..runs, parts);
        if bound(&outcomes) > *promised {
            outcomes.extend(play::stays(scenario, cell, runs..2 * runs, parts));
        }
        let (count, runs, bound) = (false_alarms(&outcomes), outcomes.len(), bound(&outcomes));
        let peeked = 100.0 * outcomes.iter().filter(|(_, peeked)| *peeked).count() as f64 / runs as f64;
        println!("| {} | {count} of {runs} | {bound:.2}% | ≤ {promised}% | {peeked:.0}% |", scenario.name);
    }
    if only.is_some() {
        return;
    }
    let (_, bursts) = good_one("pod bursts of 20 s");
    let independent = Parts { dispersion: false, pod_scores: false, ..Parts::default() };
    let count = false_alarms(&play::stays(&bursts, 700, 0..runs / 4, independent));
    println!("| pod bursts of 20 s, taken as independent (a control) | {count} of {} | | > 20% | |", runs / 4);
}

/// How many went back.
fn false_alarms(outcomes: &[(Option<f64>, bool)]) -> u64 {
    outcomes.iter().filter(|(back, _)| back.is_some()).count() as u64
}

/// The upper bound of their share, in percent.
fn bound(outcomes: &[(Option<f64>, bool)]) -> f64 {
    100.0 * upper_bound(false_alarms(outcomes), outcomes.len() as u64)
}

/// What each part of the judge buys: cells that it is meant for.
fn ablation(runs: (u64, u64), only: Option<&str>) {
    const BAD: [&str; 8] = [
        "100% bad",
        "+5 points",
        "+1 point",
        "one pod of five fails 50%",
        "+5 points, bursts",
        "100% bad, bursts, 10 min of history",
        "+5 points from 600 s",
        "+1 point, 7 min after an outage",
    ];
    // Good versions, and the parts that are there for them.
    const GOOD: [(&str, &[&str]); 9] = [
        ("a retry now and then, on the line", &["dispersion", "tempering"]),
        ("retries, on the line", &["dispersion", "tempering"]),
        ("pod bursts of 20 s, on the line", &["dispersion", "tempering", "pod scores", "forgetting"]),
        ("pod bursts of 60 s, 1 candidate", &["dispersion", "tempering"]),
        ("pods differ, on the line", &["pod differences"]),
        ("1% more fail in the first minute", &["warm-up"]),
        ("rare pod incidents (5 h, 60 s, 50%)", &["one sick pod", "cap", "dispersion"]),
        ("hiccups of 2 s (10 h), 1 stable pod, 1 candidate", &["cap"]),
        ("1 stable pod, 1 candidate", &["cap", "pod differences"]),
    ];
    println!("\n## What each part buys ({} runs of a good version, {} of a bad one)\n", runs.0, runs.1);
    println!("Bad versions: found, median seconds, excess failed. Good versions: share that went back within an hour at 10%.\n");
    println!("A dash: it is not there for that.\n");
    println!("| the judge without | {} | {} |", BAD.join(" | "), GOOD.map(|(name, _)| name).join(" | "));
    println!("|{}", "---|".repeat(BAD.len() + GOOD.len() + 1));
    let parts = std::iter::once(("(whole)", Parts::default())).chain(Parts::without_each());
    for (name, parts) in parts.filter(|(name, _)| chosen(name, only)) {
        let mut line = format!("| {name}");
        for cell in BAD {
            let (number, scenario) = bad_one(cell);
            let outcomes = play::ramps(&scenario, number, runs.1, &[], parts);
            let row = Row::of(&outcomes, 0);
            let _ = write!(line, " | {:.0}%, {} s, {:.0}", 100.0 * row.back, seconds(row.seconds.0), row.excess.0);
        }
        for (cell, for_parts) in GOOD {
            if parts != Parts::default() && !for_parts.contains(&name) {
                line += " | –";
                continue;
            }
            let (number, scenario) = good_one(cell);
            let count = false_alarms(&play::stays(&scenario, number, 0..runs.0, parts));
            let _ = write!(line, " | {:.2}%", 100.0 * count as f64 / runs.0 as f64);
        }
        println!("{line} |");
    }
}

/// A short form that can fail.
fn short() -> bool {
    let (mut passed, mut failed) = (0, 0);
    let mut check = |what: &str, holds: bool| {
        println!("test {what} ... {}", if holds { "ok" } else { "FAILED" });
        if holds { passed += 1 } else { failed += 1 }
    };
    for (name, found) in SHORT_BAD {
        let (number, scenario) = bad_one(name);
        let outcomes = play::ramps(&scenario, number, SHORT.1, &[Peer::FlaggerMinute], Parts::default());
        let (ours, theirs) = (Row::of(&outcomes, 0), Row::of(&outcomes, 1));
        check(&format!("{name}: found in {:.0}% of the runs", 100.0 * ours.back), 100.0 * ours.back >= found);
        let (own, other) = (ours.excess.0.max(ours.excess.1), theirs.excess.0.max(theirs.excess.1));
        check(&format!("{name}: costs {own:.0} requests, flagger-1m {other:.0}"), own < other);
    }
    for name in SHORT_GOOD {
        let (number, scenario) = good_one(name);
        let count = false_alarms(&play::stays(&scenario, number, 0..SHORT.0, Parts::default()));
        // 1% of 60: four or more have a chance of 0.3%.
        check(&format!("{name}: {count} of {} good versions went back", SHORT.0), count <= 3);
    }
    println!("test result: {}. {passed} passed; {failed} failed; 0 ignored", if failed == 0 { "ok" } else { "FAILED" });
    failed == 0
}
