//! Measure: one HTTP request to each pod that is due, beside the reconcile, never inside it: an endpoint that hangs delays nobody, not even the
//! abort of its own service. The round's result wakes the service.
//!
//! The other side may be hostile. Each answer gets five seconds in all, a mebibyte, four kibibytes of headers; no redirect, no proxy, no
//! compression (nothing that is sent can become larger here), no connection that is used twice; only the address that Kubernetes gave to the pod
//! is asked. An answer counts when it is whole: one that ends before its announced length is none. What is kept is counters or a reason.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt as _, stream};
use http::header::{ACCEPT, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::clock::Clock;
use super::telemetry::Telemetry;
use crate::decide::Request;
use crate::decide::analysis::{PodSample, Scrape, SilentPod, convention};

/// Time for one answer. Not above the shortest interval that a spec may ask for.
const ANSWER: Duration = Duration::from_secs(5);
/// Time for a round: pods that were not reached by then are silent.
const ROUND: Duration = Duration::from_secs(10);
const PODS_AT_ONCE: usize = 16;
/// Requests of all services together; a hanging one costs a socket and a few kibibytes.
const REQUESTS: usize = 1024;
/// Bodies beyond their first [`SMALL`] bytes that may be in memory together.
const LARGE_BODIES: usize = 48;
const SMALL: usize = 64 << 10;
const HEADER_BYTES: usize = 4 << 10;
/// What is read ahead of one connection. hyper's own choice grows to 400 KiB, which many pods together could use.
const BUFFER: usize = 16 << 10;

/// Asks pods.
pub struct Pods {
    requests: Semaphore,
    large_bodies: Semaphore,
    /// One buffer for large bodies that is used again: freed and made anew at each scrape, it would leave its traces in every thread's heap.
    spare: Mutex<Vec<u8>>,
    telemetry: Telemetry,
}

impl Pods {
    /// Ready to ask.
    #[must_use]
    pub fn new(telemetry: Telemetry) -> Self {
        Self { requests: Semaphore::new(REQUESTS), large_bodies: Semaphore::new(LARGE_BODIES), spare: Mutex::default(), telemetry }
    }

    /// Asks all of them, and waits for all answers or the end of the round.
    pub async fn round(self: Arc<Self>, requests: Vec<Request>) -> Scrape {
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
        let answers: Vec<_> = asked.buffer_unordered(PODS_AT_ONCE).collect().await;
        let mut scrape = Scrape { at: Clock.now(), samples: Vec::new(), silent: Vec::new() };
        for (request, answer) in answers {
            match answer {
                Ok(sample) => scrape.samples.push(sample),
                Err(why) => scrape.silent.push(SilentPod { pod: request.pod, revision: request.revision, why }),
            }
        }
        scrape
    }

    async fn ask(&self, request: &Request) -> Result<PodSample, String> {
        let ip: IpAddr = request.ip.parse().map_err(|_| "the pod has no address".to_owned())?;
        if !is_pods(ip) {
            return Err(format!("{ip} is not an address that a pod can have"));
        }
        let _turn = self.requests.acquire().await.map_err(|closed| closed.to_string())?;
        let connection = TcpStream::connect((ip, request.port)).await.map_err(|error| reason(&error))?;
        let (mut sender, connection) =
            http1::Builder::new().max_buf_size(BUFFER).handshake(TokioIo::new(connection)).await.map_err(|error| reason(&error))?;
        // The connection ends with this answer, whatever is still sent on it.
        let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let asked = http::Request::get(request.path.as_str())
            .header(HOST, SocketAddr::new(ip, request.port).to_string())
            .header(ACCEPT, "text/plain;version=0.0.4")
            .header(USER_AGENT, concat!("plimsoll/", env!("CARGO_PKG_VERSION")))
            .header(CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|error| reason(&error))?;
        let answer = sender.send_request(asked).await.map_err(|error| reason(&error))?;
        acceptable(&answer)?;
        let content_type = text(answer.headers(), &CONTENT_TYPE).to_owned();
        let body = self.body(answer.into_body()).await?;
        let now = Clock.now();
        let read = convention::read(&body, &content_type, &request.reading).map_err(|why| why.to_string());
        if body.capacity() > convention::MAX_BODY_BYTES {
            *self.spare.lock().unwrap_or_else(PoisonError::into_inner) = body;
        }
        let counters = read?;
        Ok(PodSample {
            pod: request.pod.clone(),
            revision: request.revision.clone(),
            at: counters.at.unwrap_or(now),
            started: request.started,
            ready_since: request.ready_since,
            counters,
        })
    }

    /// The body, up to one byte more than is allowed: enough to see that it is too large.
    async fn body(&self, mut answer: Incoming) -> Result<Vec<u8>, String> {
        let mut body = Vec::new();
        let mut large = None;
        while let Some(frame) = answer.frame().await {
            // What is not content is a trailer, and of no interest.
            let Ok(chunk) = frame.map_err(|error| reason(&error))?.into_data() else { continue };
            let room = convention::MAX_BODY_BYTES + 1 - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if body.len() > convention::MAX_BODY_BYTES {
                break;
            }
            if body.len() > SMALL && large.is_none() {
                large = Some(self.large_bodies.acquire().await.map_err(|closed| closed.to_string())?);
                let mut whole = std::mem::take(&mut *self.spare.lock().unwrap_or_else(PoisonError::into_inner));
                whole.clear();
                // Once, not by doubling, which would hold the old and the new copy together.
                whole.reserve_exact(convention::MAX_BODY_BYTES + 1);
                whole.append(&mut body);
                body = whole;
            }
        }
        Ok(body)
    }
}

/// Whether the answer's body is worth reading.
fn acceptable(answer: &Response<Incoming>) -> Result<(), String> {
    let headers: usize = answer.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if headers > HEADER_BYTES {
        return Err(format!("headers of {headers} bytes; {HEADER_BYTES} are read"));
    }
    if answer.status() != StatusCode::OK {
        return Err(format!("status {}", answer.status()));
    }
    let encoding = text(answer.headers(), &CONTENT_ENCODING);
    if !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity") {
        return Err("the answer is compressed although that was not asked for".to_owned());
    }
    Ok(())
}

/// A header's value; empty if there is none, or no text.
fn text<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Never ourselves, the node's metadata service, or everybody.
fn is_pods(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => !(ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast()),
        IpAddr::V6(ip) => !(ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unspecified() || ip.is_multicast()),
    }
}

/// Why a request failed, for people: down to the cause.
fn reason(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Waits for a round, but never longer than it may take: a bug in it must not end measuring for good.
pub async fn bounded(round: JoinHandle<Scrape>) -> Option<Scrape> {
    timeout(2 * ROUND, round).await.ok()?.ok()
}
