//! Measure: one HTTP request to each pod that is due, or two to the Prometheus that knows them, beside the reconcile, never inside it: an
//! endpoint that hangs delays nobody, not even the abort of its own service. The round's result wakes the service.
//!
//! Each pod gets five seconds in all; only the address that Kubernetes gave to it is asked. What is kept is counters or a reason.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use futures::{StreamExt as _, stream};
use http::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use http_body_util::Full;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::clock::Clock;
use super::exchange::{Exchange, reason, text};
use super::prometheus::{self, Providers};
use super::telemetry::Telemetry;
use crate::decide::analysis::{PodSample, Scrape, SilentPod, convention};
use crate::decide::history::HistoryRequest;
use crate::decide::queries::{QueryAnswer, QueryRequest};
use crate::decide::{Due, Measurements, Request};

/// Time for one answer. Not above the shortest interval that a spec may ask for.
const ANSWER: Duration = Duration::from_secs(5);
/// Time for a round: pods that were not reached by then are silent.
const ROUND: Duration = Duration::from_secs(10);
const PODS_AT_ONCE: usize = 16;
/// Requests of all services together; a hanging one costs a socket and a few kibibytes.
const REQUESTS: usize = 1024;
/// Who asks.
pub const AGENT: &str = concat!("plimsoll/", env!("CARGO_PKG_VERSION"));

/// Asks pods, or a Prometheus about them.
pub struct Pods {
    requests: Semaphore,
    exchange: Exchange,
    providers: Providers,
    telemetry: Telemetry,
}

impl Pods {
    /// Ready to ask.
    #[must_use]
    pub fn new(providers: Providers, telemetry: Telemetry) -> Self {
        Self { requests: Semaphore::new(REQUESTS), exchange: Exchange::default(), providers, telemetry }
    }

    /// Asks everything, and waits for all answers or the end of the round.
    pub async fn round(self: Arc<Self>, namespace: Arc<str>, due: Due) -> Measurements {
        let Due { requests, questions, history, .. } = due;
        let (scrape, answers, history) =
            tokio::join!(self.scrape(namespace.clone(), requests), self.answers(questions), self.history(&namespace, history));
        Measurements { scrape, answers, history }
    }

    /// Stable's past; where nothing can be learned of it, it is empty, and is not asked for again.
    async fn history(&self, namespace: &str, asked: Option<HistoryRequest>) -> Option<Vec<Scrape>> {
        let asked = asked?;
        let known = timeout(ROUND, self.providers.history(&self.exchange, namespace, &asked)).await;
        let known = known.unwrap_or_else(|_| Err(format!("Prometheus gives no answer within {} s", ROUND.as_secs())));
        self.telemetry.measured(known.is_ok());
        if let Err(why) = &known {
            tracing::info!(namespace, why, "stable's past is not known: its scatter is learned during the rollout");
        }
        Some(known.unwrap_or_default())
    }

    /// The questions of the user's own, side by side.
    async fn answers(&self, questions: Vec<QueryRequest>) -> Vec<QueryAnswer> {
        let asked = questions.into_iter().map(async |question| {
            let value = self.providers.answer(&self.exchange, &question).await;
            self.telemetry.measured(value.is_ok());
            QueryAnswer { objective: question.objective, revision: question.revision, value }
        });
        join_all(asked).await
    }

    async fn scrape(self: &Arc<Self>, namespace: Arc<str>, requests: Vec<Request>) -> Option<Scrape> {
        if requests.is_empty() {
            return None;
        }
        let (by_provider, own): (Vec<_>, Vec<_>) = requests.into_iter().partition(|request| request.provider.is_some());
        let mut answers = self.ask_pods(own).await;
        if !by_provider.is_empty() {
            let known = timeout(ROUND, self.providers.ask(&self.exchange, &namespace, &by_provider));
            let known = known.await.unwrap_or_else(|_| Err(format!("Prometheus gives no answer within {} s", ROUND.as_secs())));
            self.telemetry.measured(known.is_ok());
            answers.extend(by_provider.into_iter().map(|request| {
                let answer = match &known {
                    Ok(pods) => pods.get(&request.name).cloned().unwrap_or_else(|| Err("Prometheus does not know it".to_owned())),
                    Err(why) => Err(why.clone()),
                };
                let sample = answer.map(|known| prometheus::sample(&request, known));
                (request, sample)
            }));
        }
        let mut scrape = Scrape { at: Clock.now(), samples: Vec::new(), silent: Vec::new() };
        for (request, answer) in answers {
            match answer {
                Ok(sample) => scrape.samples.push(sample),
                Err(why) => scrape.silent.push(SilentPod { pod: request.pod, revision: request.revision, why }),
            }
        }
        Some(scrape)
    }

    async fn ask_pods(self: &Arc<Self>, requests: Vec<Request>) -> Vec<(Request, Result<PodSample, String>)> {
        let end = Clock.instant() + ROUND;
        let asked = stream::iter(requests).map(|request| {
            let pods = self.clone();
            async move {
                let answer = match tokio::time::timeout_at(end.min(Clock.instant() + ANSWER), pods.ask(&request)).await {
                    Ok(answer) => answer,
                    Err(_) => Err(format!("no answer within {} s", ANSWER.as_secs())),
                };
                pods.telemetry.measured(answer.is_ok());
                (request, answer)
            }
        });
        asked.buffer_unordered(PODS_AT_ONCE).collect().await
    }

    async fn ask(&self, request: &Request) -> Result<PodSample, String> {
        let ip: IpAddr = request.ip.parse().map_err(|_| "the pod has no address".to_owned())?;
        if !is_pods(ip) {
            return Err(format!("{ip} is not an address that a pod can have"));
        }
        let _turn = self.requests.acquire().await.map_err(|closed| closed.to_string())?;
        let connection = TcpStream::connect((ip, request.port)).await.map_err(|error| reason(&error))?;
        let asked = http::Request::get(request.path.as_str())
            .header(HOST, SocketAddr::new(ip, request.port).to_string())
            .header(ACCEPT, "text/plain;version=0.0.4")
            .header(USER_AGENT, AGENT)
            .header(CONNECTION, "close")
            .body(Full::default())
            .map_err(|error| reason(&error))?;
        let read = self
            .exchange
            .run(connection, asked, |headers, body| (Clock.now(), convention::read(body, text(headers, &CONTENT_TYPE), &request.reading)));
        let (now, counters) = read.await?;
        let counters = counters.map_err(|why| why.to_string())?;
        let at = counters.at.unwrap_or(now);
        Ok(request.answered(counters, at))
    }
}

/// Never ourselves, the node's metadata service, or everybody.
fn is_pods(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => !(ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast()),
        IpAddr::V6(ip) => !(ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unspecified() || ip.is_multicast()),
    }
}

/// Waits for a round, but never longer than it may take: a bug in it must not end measuring for good.
pub async fn bounded(round: JoinHandle<Measurements>) -> Option<Measurements> {
    timeout(3 * ROUND, round).await.ok()?.ok()
}
