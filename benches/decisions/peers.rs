//! The peers' documented policies, on the same requests.

use std::collections::VecDeque;

use crate::ours::Decided;
use crate::world::{BOUNDS, Cell, TICK};

/// A policy of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Its tutorial: every 60 s, weights 10 to 50 by 10.
    FlaggerMinute,
    /// Its NGINX tutorial: every 10 s, weights 5 to 50 by 5.
    FlaggerTenSeconds,
    /// Success ≥ 99% every minute, 20 40 60 80 for 120 s each.
    ArgoMinute99,
    /// The same at 95%.
    ArgoMinute,
    /// As in its documentation: every 300 s from 600 s on.
    ArgoDocs,
    /// 10% for an hour, Mann–Whitney at 30 and 60 minutes.
    Kayenta,
}

/// One tick of the candidate and of stable, as the peer measures them.
#[derive(Clone, Copy, Debug, Default)]
struct Point {
    candidate: Cell,
    stable: Cell,
}

/// A rollout that a peer decides.
#[derive(Clone, Debug)]
pub struct Rollout {
    peer: Peer,
    points: VecDeque<Point>,
    weight: f64,
    failed: u32,
    errors: u32,
    next_check: f64,
    unready_seconds: f64,
    ever_succeeded: bool,
    decided: Decided,
}

impl Peer {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::FlaggerMinute, Self::FlaggerTenSeconds, Self::ArgoMinute99, Self::ArgoMinute, Self::ArgoDocs, Self::Kayenta];

    /// Its name in the tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FlaggerMinute => "flagger-1m",
            Self::FlaggerTenSeconds => "flagger-10s",
            Self::ArgoMinute99 => "argo-1m-99",
            Self::ArgoMinute => "argo-1m",
            Self::ArgoDocs => "argo-docs",
            Self::Kayenta => "kayenta",
        }
    }
}

impl Rollout {
    /// Begins.
    pub fn new(peer: Peer) -> Self {
        let (weight, next_check) = match peer {
            Peer::FlaggerMinute => (0.0, 60.0),
            Peer::FlaggerTenSeconds => (0.0, 10.0),
            Peer::ArgoMinute99 | Peer::ArgoMinute => (20.0, 60.0),
            Peer::ArgoDocs => (20.0, 600.0),
            Peer::Kayenta => (10.0, 1800.0),
        };
        Self {
            peer,
            points: VecDeque::new(),
            weight,
            failed: 0,
            errors: 0,
            next_check,
            unready_seconds: 0.0,
            ever_succeeded: false,
            decided: Decided::Not,
        }
    }

    /// The weight that it gives now, in percent.
    pub fn weight(&self) -> f64 {
        match self.decided {
            Decided::Back => 0.0,
            Decided::Promoted => 100.0,
            Decided::Not => self.weight,
        }
    }

    /// What has been decided.
    pub const fn decided(&self) -> Decided {
        self.decided
    }

    /// A tick is over: `time` is its end; `ready`: whether all pods of the candidate are.
    pub fn look(&mut self, time: f64, candidate: Cell, stable: Cell, ready: bool) {
        if self.decided != Decided::Not {
            return;
        }
        self.points.push_back(Point { candidate, stable });
        self.unready_seconds = if ready { 0.0 } else { self.unready_seconds + TICK };
        if time + 1e-6 < self.next_check && !matches!(self.peer, Peer::ArgoMinute | Peer::ArgoMinute99 | Peer::ArgoDocs) {
            return;
        }
        match self.peer {
            Peer::FlaggerMinute => self.flagger(60.0, 10.0, 5, Some(500.0)),
            Peer::FlaggerTenSeconds => self.flagger(10.0, 5.0, 10, None),
            Peer::ArgoMinute99 => self.argo(time, 0.99, 120.0, 60.0, 60.0),
            Peer::ArgoMinute => self.argo(time, 0.95, 120.0, 60.0, 60.0),
            Peer::ArgoDocs => self.argo(time, 0.95, 600.0, 300.0, 30.0),
            Peer::Kayenta => self.kayenta(),
        }
    }

    fn last(&self, seconds: f64) -> Cell {
        let mut sum = Cell::default();
        for point in self.points.iter().rev().take((seconds / TICK) as usize) {
            sum.add(&point.candidate);
        }
        sum
    }

    /// `slowest`: milliseconds that the 99th percentile may take, if there is a threshold for latency.
    fn flagger(&mut self, every: f64, by: f64, threshold: u32, slowest: Option<f64>) {
        self.next_check += every;
        if self.unready_seconds > 0.0 {
            // Its progress deadline; until then it neither checks nor moves.
            if self.unready_seconds >= 600.0 {
                self.decided = Decided::Back;
            }
            return;
        }
        if self.failed >= threshold {
            self.decided = Decided::Back;
            return;
        }
        if self.weight == 0.0 {
            self.weight = by;
            return;
        }
        let sum = self.last(60.0);
        self.ever_succeeded |= sum.requests > sum.failed;
        let success = self.ever_succeeded && sum.requests > 0 && f64::from(sum.failed) <= 0.01 * f64::from(sum.requests);
        let fast = slowest.is_none_or(|limit| {
            let recent = self.last(30.0);
            recent.requests > 0 && percentile(&recent, 0.99) <= limit
        });
        if success && fast {
            if self.weight >= 50.0 {
                self.decided = Decided::Promoted;
            } else {
                self.weight += by;
            }
        } else {
            self.failed += 1;
        }
    }

    fn argo(&mut self, time: f64, least: f64, each: f64, every: f64, window: f64) {
        if time + 1e-6 >= self.next_check {
            let sum = self.last(window);
            // Its query divides by code: before the first success there is no series to divide.
            self.ever_succeeded |= sum.requests > sum.failed;
            if self.ever_succeeded {
                self.next_check += every;
                self.errors = 0;
                let success = f64::from(sum.requests - sum.failed) / f64::from(sum.requests);
                // Of no request it is NaN, which fails.
                if success.is_nan() || success < least {
                    self.failed += 1;
                }
            } else {
                self.next_check += 10.0;
                self.errors += 1;
            }
            if self.failed > 3 || self.errors > 4 {
                self.decided = Decided::Back;
                return;
            }
        }
        let step = (time / each + 1e-9).floor();
        if step >= 4.0 {
            self.decided = Decided::Promoted;
        } else {
            self.weight = 20.0 * (step + 1.0);
        }
    }

    fn kayenta(&mut self) {
        self.next_check += 1800.0;
        let minutes: Vec<Vec<&Point>> =
            self.points.iter().collect::<Vec<_>>().chunks((60.0 / TICK) as usize).map(<[&Point]>::to_vec).collect();
        let minute = |of: fn(&Point) -> Cell, measure: &dyn Fn(&Cell) -> f64| -> Vec<f64> {
            let sums = minutes.iter().map(|minute| {
                minute.iter().fold(Cell::default(), |mut sum, point| {
                    sum.add(&of(point));
                    sum
                })
            });
            sums.filter(|sum| sum.requests > 0).map(|sum| measure(&sum)).collect()
        };
        let measures: [&dyn Fn(&Cell) -> f64; 2] = [&|sum| f64::from(sum.failed) / f64::from(sum.requests), &|sum| percentile(sum, 0.99)];
        if measures.iter().any(|measure| mann_whitney(&minute(|point| point.candidate, measure), &minute(|point| point.stable, measure))) {
            self.decided = Decided::Back;
        } else if self.next_check > 3600.0 {
            self.decided = Decided::Promoted;
        }
    }
}

/// Whether the lower bound of the shift of `candidate` over `stable` is more than a quarter of the estimated shift, the median of all differences
/// (Hodges and Lehmann).
fn mann_whitney(candidate: &[f64], stable: &[f64]) -> bool {
    let (n, m) = (candidate.len() as f64, stable.len() as f64);
    if candidate.len() < 5 || stable.len() < 5 {
        return false;
    }
    let mut differences: Vec<f64> = candidate.iter().flat_map(|own| stable.iter().map(move |other| own - other)).collect();
    differences.sort_by(f64::total_cmp);
    let rank = (n * m / 2.0 - 2.3263 * (n * m * (n + m + 1.0) / 12.0).sqrt()).floor().max(0.0) as usize;
    differences[rank] > 0.25 * differences[differences.len() / 2].abs()
}

/// As `histogram_quantile` reads it, in milliseconds.
fn percentile(cell: &Cell, share: f64) -> f64 {
    let wanted = share * f64::from(cell.bins.iter().sum::<u32>());
    let (mut below, mut lower) = (0.0, 0.0);
    for (bin, bound) in cell.bins.iter().zip(BOUNDS) {
        let inside = f64::from(*bin);
        if below + inside >= wanted && inside > 0.0 {
            return lower + (bound - lower) * (wanted - below) / inside;
        }
        below += inside;
        lower = bound;
    }
    lower
}
