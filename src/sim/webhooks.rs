//! A stand-in for the systems that webhooks ask.

use std::collections::BTreeMap;

use serde_json::Value;

use super::world::World;
use crate::decide::gates::webhook::Call;

/// What is answered where a scenario does not say.
const FINE: u16 = 200;

/// Who is asked.
#[derive(Debug, Default)]
pub(super) struct Webhooks {
    /// Statuses by gate, one after another; the last one stays.
    answers: BTreeMap<String, Vec<u16>>,
    /// How often each key was heard.
    heard: BTreeMap<String, usize>,
}

impl Webhooks {
    pub(super) fn new(answers: BTreeMap<String, Vec<u16>>) -> Self {
        Self { answers, heard: BTreeMap::new() }
    }
}

impl World {
    /// A webhook is heard, and answered at once.
    pub(super) fn webhook(&mut self, call: &Call) -> u16 {
        let gate =
            serde_json::from_str::<Value>(&call.body).ok().and_then(|body| Some(body["gate"].as_str()?.to_owned())).unwrap_or_default();
        let heard = self.webhooks.heard.entry(call.key.clone()).or_default();
        *heard += 1;
        let times = *heard;
        let answers = self.webhooks.answers.get(&gate).map(Vec::as_slice).unwrap_or_default();
        let status = answers.get(times - 1).or(answers.last()).copied().unwrap_or(FINE);
        self.say("webhook", &format!("{gate} is asked"), &format!("answers {status}"));
        let (now, cluster) = (self.now, &self.cluster);
        self.auditor.called(now, call, &gate, times, cluster);
        status
    }
}
