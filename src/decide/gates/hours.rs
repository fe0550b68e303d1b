//! Windows and freezes: the hours in which a rollout may go forward.
//!
//! A window is written by the clocks on the wall and lasts as long as these say: where they are put forward it is an hour shorter. The rules of all
//! time zones are part of the program, so the same moment gives the same answer everywhere.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::api::gates::{Day, Freeze, Window};
use crate::decide::plan::Refusal;

/// Windows repeat after a week; the days searched are two more, since one may begin on the day before and end on the day after.
const DAYS: usize = 9;
/// Freezes and windows that follow each other without a gap are gone through, but not for ever.
const MOST_IN_A_ROW: usize = 64;

/// When a rollout may go forward.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hours {
    windows: Vec<PlannedWindow>,
    freezes: Vec<Freeze>,
}

#[derive(Clone, Debug, PartialEq)]
struct PlannedWindow {
    days: Vec<Day>,
    from: (i8, i8),
    /// The end, and whether it is on the day after.
    to: (i8, i8),
    overnight: bool,
    zone: TimeZone,
    text: String,
}

/// Nothing goes forward now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// When that ends.
    pub until: Timestamp,
    /// Why, in words.
    pub why: String,
}

/// The hours of a spec, with what is wrong with them.
pub fn planned(windows: &[Window], freezes: &[Freeze], refusals: &mut Vec<Refusal>) -> Hours {
    let mut hours = Hours { windows: Vec::new(), freezes: freezes.to_vec() };
    for (index, window) in windows.iter().enumerate() {
        let field = format!("spec.rollout.windows[{index}]");
        let Ok(zone) = TimeZoneDatabase::bundled().get(&window.time_zone) else {
            let message =
                format!("{field}.timeZone: {:?} is not a time zone; write an IANA name, for example \"Europe/Berlin\"", window.time_zone);
            refusals.push(Refusal::new("UnknownTimeZone", message));
            continue;
        };
        let (Some(from), Some(to)) = (clock(&window.from), clock(&window.to)) else {
            refusals.push(Refusal::new("InvalidWindow", format!("{field}: from and to are times as \"09:00\"")));
            continue;
        };
        let midnight = to == (24, 0);
        let text = format!("{} {}-{} {}", days(&window.days), window.from, window.to, window.time_zone);
        let to = if midnight { (0, 0) } else { to };
        hours.windows.push(PlannedWindow { days: window.days.clone(), from, to, overnight: midnight || to <= from, zone, text });
    }
    hours
}

fn clock(text: &str) -> Option<(i8, i8)> {
    let (hour, minute) = text.split_once(':')?;
    let (hour, minute) = (hour.parse().ok()?, minute.parse().ok()?);
    ((0..24).contains(&hour) && (0..60).contains(&minute) || (hour, minute) == (24, 0)).then_some((hour, minute))
}

fn days(days: &[Day]) -> String {
    if days.is_empty() { "every day".to_owned() } else { days.iter().map(|day| format!("{day:?}")).collect::<Vec<_>>().join(", ") }
}

impl Hours {
    /// Whether nothing goes forward at this moment, until when, and why.
    #[must_use]
    pub fn closed(&self, now: Timestamp) -> Option<Closed> {
        let mut until = now;
        let mut why = None;
        for _ in 0..MOST_IN_A_ROW {
            let Some((next, reason)) = self.barrier(until) else { break };
            why.get_or_insert(reason);
            until = next;
        }
        let why = why?;
        Some(Closed { until, why: format!("{why}; goes on at {}", until.strftime("%F %H:%M:%S UTC")) })
    }

    /// What stands in the way at a moment, and when that ends.
    fn barrier(&self, at: Timestamp) -> Option<(Timestamp, String)> {
        if let Some(freeze) = self.freezes.iter().filter(|freeze| freeze.start.0 <= at && at < freeze.end.0).max_by_key(|freeze| freeze.end)
        {
            return Some((freeze.end.0, format!("freeze {}", freeze.name)));
        }
        if self.windows.is_empty() || self.windows.iter().any(|window| window.contains(at)) {
            return None;
        }
        let next = self.windows.iter().filter_map(|window| window.next(at)).min()?;
        let texts: Vec<_> = self.windows.iter().map(|window| window.text.as_str()).collect();
        Some((next, format!("outside of its windows ({})", texts.join("; "))))
    }
}

impl PlannedWindow {
    fn contains(&self, at: Timestamp) -> bool {
        let today = self.zone.to_datetime(at).date();
        let spans = [today.yesterday().ok(), Some(today)].into_iter().flatten().filter_map(|day| self.on(day));
        spans.into_iter().any(|(start, end)| start <= at && at < end)
    }

    fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let today = self.zone.to_datetime(after).date();
        today
            .series(jiff::Span::new().days(1))
            .take(DAYS)
            .filter_map(|day| self.on(day))
            .map(|(start, _)| start)
            .find(|start| *start > after)
    }

    /// The window that begins on a day, if one does.
    fn on(&self, day: Date) -> Option<(Timestamp, Timestamp)> {
        const WEEK: [Day; 7] = [Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri, Day::Sat, Day::Sun];
        let weekday = usize::try_from(day.weekday().to_monday_zero_offset()).ok()?;
        if !self.days.is_empty() && !self.days.contains(&WEEK[weekday]) {
            return None;
        }
        let last = if self.overnight { day.tomorrow().ok()? } else { day };
        let moment = |day: Date, (hour, minute): (i8, i8)| Some(day.at(hour, minute, 0, 0).to_zoned(self.zone.clone()).ok()?.timestamp());
        let (start, end) = (moment(day, self.from)?, moment(last, self.to)?);
        // A window that lies in the hour which clocks skip is none on that day.
        (start < end).then_some((start, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(windows: &serde_json::Value, freezes: &serde_json::Value) -> Hours {
        let mut refusals = Vec::new();
        let (windows, freezes): (Vec<Window>, Vec<Freeze>) =
            (serde_json::from_value(windows.clone()).unwrap(), serde_json::from_value(freezes.clone()).unwrap());
        let hours = planned(&windows, &freezes, &mut refusals);
        assert!(refusals.is_empty(), "{refusals:?}");
        hours
    }

    fn window(days: &[&str], from: &str, to: &str, zone: &str) -> serde_json::Value {
        serde_json::json!([{"days": days, "from": from, "to": to, "timeZone": zone}])
    }

    #[test]
    fn windows_go_by_the_clocks_on_the_wall() {
        let office = window(&["Mon", "Tue", "Wed", "Thu"], "09:00", "16:00", "Europe/Berlin");
        let night = window(&[], "22:00", "02:30", "Europe/Berlin");
        let skipped = window(&[], "02:15", "02:45", "Europe/Berlin");
        let day = window(&["Sun"], "00:00", "24:00", "America/New_York");
        let cases = [
            // why                                                   window    now                       open from then on
            ("in winter nine is eight in UTC", &office, "2026-01-05T08:00:00Z", None),
            ("a minute before", &office, "2026-01-05T07:59:00Z", Some("2026-01-05T08:00:00Z")),
            ("in summer it is seven", &office, "2026-07-06T07:00:00Z", None),
            ("the end is outside", &office, "2026-07-06T14:00:00Z", Some("2026-07-07T07:00:00Z")),
            ("after Thursday comes Monday, in summer time by then", &office, "2026-03-26T15:00:00Z", Some("2026-03-30T07:00:00Z")),
            ("and back to winter time", &office, "2026-10-22T14:00:00Z", Some("2026-10-26T08:00:00Z")),
            ("overnight, after midnight", &night, "2026-01-06T01:29:00Z", None),
            ("overnight, over", &night, "2026-01-06T01:30:00Z", Some("2026-01-06T21:00:00Z")),
            ("clocks skip the end: it counts as 03:30 summer time", &night, "2026-03-29T01:29:00Z", None),
            ("and then it is over", &night, "2026-03-29T01:30:00Z", Some("2026-03-29T20:00:00Z")),
            ("clocks repeat the end: the first one counts", &night, "2026-10-25T00:30:00Z", Some("2026-10-25T21:00:00Z")),
            ("a window within the skipped hour counts an hour later", &skipped, "2026-03-29T01:20:00Z", None),
            ("a whole day there", &day, "2026-03-08T05:00:00Z", None),
            ("which is 23 hours long when clocks go forward", &day, "2026-03-09T03:59:00Z", None),
            ("and over at midnight by summer time", &day, "2026-03-09T04:00:00Z", Some("2026-03-15T04:00:00Z")),
        ];
        for (why, windows, now, expected) in cases {
            let closed = hours(windows, &serde_json::json!([])).closed(now.parse().unwrap());
            let expected = expected.map(|text| text.parse::<Timestamp>().unwrap());
            assert_eq!(closed.map(|closed| closed.until), expected, "{why}");
        }
    }

    #[test]
    fn a_freeze_closes_windows_and_says_when_it_goes_on() {
        let office = window(&["Mon", "Tue", "Wed", "Thu"], "09:00", "16:00", "Europe/Berlin");
        let freezes = serde_json::json!([
            {"name": "black-friday", "start": "2026-11-24T18:00:00+01:00", "end": "2026-11-30T06:00:00+01:00"},
            {"name": "audit", "start": "2026-11-30T05:00:00Z", "end": "2026-11-30T12:00:00Z"},
        ]);
        let closed = hours(&office, &freezes).closed("2026-11-25T10:00:00Z".parse().unwrap()).unwrap();
        assert_eq!(closed.until, "2026-11-30T12:00:00Z".parse().unwrap(), "the second freeze follows the first");
        assert_eq!(closed.why, "freeze black-friday; goes on at 2026-11-30 12:00:00 UTC");
        assert_eq!(hours(&office, &freezes).closed("2026-11-30T12:00:00Z".parse().unwrap()), None);
        assert_eq!(Hours::default().closed("2026-11-25T10:00:00Z".parse().unwrap()), None, "always");
    }

    #[test]
    fn an_unknown_time_zone_is_refused_with_a_remedy() {
        let mut refusals = Vec::new();
        let windows = serde_json::from_value::<Vec<Window>>(window(&[], "09:00", "16:00", "Europe/Berlinn")).unwrap();
        planned(&windows, &[], &mut refusals);
        assert!(refusals[0].message.contains("IANA") && refusals[0].reason == "UnknownTimeZone", "{refusals:?}");
    }
}
