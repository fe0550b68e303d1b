//! How the API server is asked: with a deadline for everything, and patience within a budget.
//!
//! kube's own retry repeats *every* verb and obeys any `Retry-After`; it is off. Ours repeats what the server has refused to begin (429), and
//! reads that failed on the way (503, 504), for at most [`BUDGET`] in all. Anything else is an error, and the object's back-off is the retry.

use std::time::Duration;

use http::{Method, Request, Response, StatusCode, header::RETRY_AFTER};
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use tokio::time::{Sleep, sleep};
use tower::BoxError;
use tower::buffer::BufferLayer;
use tower::retry::{Policy, RetryLayer};

/// Longest time that a request waits for repetitions.
const BUDGET: Duration = Duration::from_secs(30);
/// The most that a server's `Retry-After` is obeyed.
pub const LONGEST_WAIT: Duration = Duration::from_secs(60);
const FIRST_WAIT: Duration = Duration::from_millis(200);
const WAITING_REQUESTS: usize = 1024;
/// Above the 295 s after which a watch is renewed: ends connections that died silently in the middle of an answer.
const SILENCE: Duration = Duration::from_secs(330);

/// A client for this cluster.
///
/// # Errors
/// When credentials or certificates cannot be used.
pub fn client(mut config: Config) -> kube::Result<Client> {
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(10));
    config.write_timeout = Some(Duration::from_secs(30));
    config.read_timeout = Some(SILENCE);
    config.reset_reader_on_write = true;
    // There is no switch to turn verification off, not in a kubeconfig either; and no proxy between us and the API server.
    config.accept_invalid_certs = false;
    config.proxy_url = None;
    let builder = ClientBuilder::try_from(config)?;
    Ok(builder.with_layer(&BufferLayer::new(WAITING_REQUESTS)).with_layer(&RetryLayer::new(Patience::default())).build())
}

/// The retry policy of one request.
#[derive(Clone, Default)]
struct Patience {
    waited: Duration,
    attempts: u32,
}

impl Patience {
    fn wait(&mut self, asked: Option<Duration>) -> Option<Duration> {
        let own = FIRST_WAIT * 2_u32.saturating_pow(self.attempts.min(8));
        let wait = asked.map_or(own, |asked| asked.min(LONGEST_WAIT).max(own));
        self.attempts += 1;
        self.waited += wait;
        (self.waited <= BUDGET).then_some(wait)
    }
}

impl<B> Policy<Request<Body>, Response<B>, BoxError> for Patience {
    type Future = Sleep;

    fn retry(&mut self, request: &mut Request<Body>, answer: &mut Result<Response<B>, BoxError>) -> Option<Sleep> {
        let Ok(answer) = answer else { return None };
        let again = match answer.status() {
            StatusCode::TOO_MANY_REQUESTS => true,
            // Whether a write was carried out is unknown here: whoever sent it has to look first.
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => request.method() == Method::GET,
            _ => false,
        };
        let asked = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
        again.then(|| self.wait(asked.map(Duration::from_secs)))?.map(sleep)
    }

    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        let mut copy = Request::builder()
            .method(request.method())
            .uri(request.uri())
            .version(request.version())
            .body(request.body().try_clone()?)
            .ok()?;
        *copy.headers_mut() = request.headers().clone();
        *copy.extensions_mut() = request.extensions().clone();
        Some(copy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "what the policy is shown")]
    fn answer(status: u16, retry_after: Option<&str>) -> Result<Response<()>, BoxError> {
        let mut builder = Response::builder().status(status);
        if let Some(text) = retry_after {
            builder = builder.header(RETRY_AFTER, text);
        }
        Ok(builder.body(()).unwrap())
    }

    #[tokio::test]
    async fn what_is_repeated() {
        let cases = [
            // why                                            verb     status  Retry-After    repeated
            ("refused before it began: any verb", "PATCH", 429, None, true),
            ("a read may be repeated", "GET", 503, None, true),
            ("outcome of a write unknown: look first", "PATCH", 503, None, false),
            ("outcome of a write unknown: look first", "POST", 504, None, false),
            ("a refusal stays a refusal", "GET", 403, None, false),
            ("a day is not waited for", "GET", 429, Some("86400"), false),
            ("a second is", "GET", 429, Some("1"), true),
            ("nonsense is not obeyed", "GET", 429, Some("soon"), true),
        ];
        for (why, verb, status, retry_after, repeated) in cases {
            let mut request = Request::builder().method(verb).body(Body::empty()).unwrap();
            let outcome = Patience::default().retry(&mut request, &mut answer(status, retry_after));
            assert_eq!(outcome.is_some(), repeated, "{why}: {verb} {status}");
        }
    }

    #[test]
    fn patience_ends_within_the_budget() {
        let mut patience = Patience::default();
        let mut waited = Duration::ZERO;
        while let Some(wait) = patience.wait(None) {
            waited += wait;
        }
        assert!(waited <= BUDGET && waited > BUDGET / 2, "{waited:?}");
    }
}
