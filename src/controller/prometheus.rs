//! Prometheus servers that the platform team names in the operator's own file; no address ever comes from a spec.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use http::header::{ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{Method, Uri};
use http_body_util::Full;
use jiff::Timestamp;
use rustls::pki_types::ServerName;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::clock::Clock;
use super::exchange::{Exchange, MAX_BODY_BYTES, reason};
use super::measure::AGENT;
use super::tls;
use crate::decide::Request;
use crate::decide::analysis::prometheus::{self, Answer, Known};
use crate::decide::analysis::{PodSample, Scrape};
use crate::decide::history::HistoryRequest;
use crate::decide::queries::{QueryRequest, Silence};

/// Time for the answer to a question of a user's own.
const ANSWER: Duration = Duration::from_secs(10);
/// Prometheus' own default.
const SCRAPE_INTERVAL_SECONDS: i64 = 15;

/// What a file of providers says of one of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum Kind {
    Prometheus(Prometheus),
}

/// A Prometheus, or what answers like one.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Prometheus {
    /// Where its HTTP API is, without `/api/v1`.
    url: String,
    /// Seconds between two of its scrapes of a pod. Default: 15.
    scrape_interval_seconds: Option<u16>,
    /// File with a token that is sent to it; read anew for each question.
    bearer_token_file: Option<PathBuf>,
    /// File with the certificates (PEM) that its own is checked by. Default: the system's.
    ca_file: Option<PathBuf>,
}

/// The providers by name.
#[derive(Clone, Debug, Default)]
pub struct Providers(BTreeMap<String, Arc<Provider>>);

struct Provider {
    settings: Prometheus,
    url: Uri,
    host: String,
    port: u16,
    tls: Option<TlsConnector>,
}

impl fmt::Debug for Provider {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.url)
    }
}

impl Providers {
    /// Reads a file of providers: names, and what each is.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> anyhow::Result<Self> {
        let file: BTreeMap<String, Kind> = serde_saphyr::from_str(text)?;
        let provider = |(name, kind): (String, Kind)| {
            let Kind::Prometheus(settings) = kind;
            let made = Provider::new(settings).with_context(|| format!("provider {name}"))?;
            Ok((name, Arc::new(made)))
        };
        Ok(Self(file.into_iter().map(provider).collect::<anyhow::Result<_>>()?))
    }

    /// Seconds between two scrapes, by provider.
    #[must_use]
    pub fn scrape_intervals(&self) -> BTreeMap<String, i64> {
        let seconds = |provider: &Provider| provider.settings.scrape_interval_seconds.map_or(SCRAPE_INTERVAL_SECONDS, i64::from);
        self.0.iter().map(|(name, provider)| (name.clone(), seconds(provider))).collect()
    }

    /// What is known of the pods that these requests are about, by the pods' names.
    ///
    /// # Errors
    /// Why nothing is known of any of them.
    pub async fn ask(
        &self,
        exchange: &Exchange,
        namespace: &str,
        requests: &[Request],
    ) -> Result<BTreeMap<String, Result<Known, String>>, String> {
        let Some(first) = requests.first() else { return Ok(BTreeMap::new()) };
        let provider = self.named(first)?;
        let names: BTreeSet<&str> = requests.iter().map(|request| request.name.as_str()).collect();
        let pods = prometheus::pods_called(names.into_iter());
        let reading = &first.reading;
        // One moment for both, so that they speak of the same scrapes.
        let now = Clock.now();
        let counts = provider.query(exchange, &prometheus::counts(namespace, &pods, reading, true), now).await?;
        let buckets = match prometheus::buckets(namespace, &pods, reading) {
            Some(query) if first.latency => provider.query(exchange, &query, now).await?,
            _ => Answer::default(),
        };
        Ok(prometheus::read(&counts, &buckets, reading))
    }
}

impl Providers {
    /// What was known of stable's pods at each moment of the past, oldest first.
    ///
    /// # Errors
    /// Why nothing is known of it.
    pub async fn history(&self, exchange: &Exchange, namespace: &str, asked: &HistoryRequest) -> Result<Vec<Scrape>, String> {
        let Some(first) = asked.pods.first() else { return Ok(Vec::new()) };
        let provider = self.named(first)?;
        let names: BTreeSet<&str> = asked.pods.iter().map(|request| request.name.as_str()).collect();
        let (pods, reading) = (prometheus::pods_called(names.into_iter()), &first.reading);
        let range = |query: String| {
            let seconds = |at: Timestamp| at.as_second();
            let (from, to, step) = (seconds(asked.from), seconds(asked.to), asked.step_seconds);
            let form = format!("query={}&start={from}&end={to}&step={step}&timeout=8s", encoded(&query));
            provider.post(exchange, "query_range", form, prometheus::range)
        };
        let counts = range(prometheus::counts(namespace, &pods, reading, false)).await?;
        let buckets = match prometheus::buckets(namespace, &pods, reading) {
            Some(query) if first.latency => range(query).await?,
            _ => BTreeMap::new(),
        };
        let nothing = Answer::default();
        let round = |(at, counts): (&Timestamp, &Answer)| {
            let known = prometheus::read(counts, buckets.get(at).unwrap_or(&nothing), reading);
            let sample = |request: &Request| Some(sample(request, known.get(&request.name)?.clone().ok()?));
            Scrape { at: *at, samples: asked.pods.iter().filter_map(sample).collect(), silent: Vec::new() }
        };
        Ok(counts.iter().map(round).filter(|round| !round.samples.is_empty()).collect())
    }

    fn named(&self, request: &Request) -> Result<&Arc<Provider>, String> {
        let name = request.provider.as_deref().unwrap_or_default();
        self.0.get(name).ok_or_else(|| format!("the operator knows no provider {name}"))
    }

    /// The answer to a question of a user's own.
    ///
    /// # Errors
    /// Why there is no number.
    pub async fn answer(&self, exchange: &Exchange, question: &QueryRequest) -> Result<f64, Silence> {
        let Some(provider) = self.0.get(&question.provider) else {
            return Err(Silence::Error(format!("the operator knows no provider {}", question.provider)));
        };
        let form = instant(&question.query, Clock.now());
        let asked = timeout(ANSWER, provider.post(exchange, "query", form, prometheus::single));
        match asked.await {
            Ok(Ok(number)) => number.map_err(Silence::Inconclusive),
            Ok(Err(why)) => Err(Silence::Error(why)),
            Err(_) => Err(Silence::Error(format!("Prometheus gives no answer within {} s", ANSWER.as_secs()))),
        }
    }
}

impl Provider {
    fn new(settings: Prometheus) -> anyhow::Result<Self> {
        let url: Uri = settings.url.parse().with_context(|| format!("url: {:?} is no address", settings.url))?;
        let secure = url.scheme_str() == Some("https");
        ensure!(secure || url.scheme_str() == Some("http"), "url: {url} begins neither with http:// nor with https://");
        ensure!(url.query().is_none(), "url: leave everything from the ? on away");
        let authority = url.authority().context("url: it has no host")?;
        ensure!(!authority.as_str().contains('@'), "url: a user in it would end up in logs; use bearerTokenFile");
        ensure!(settings.scrape_interval_seconds != Some(0), "scrapeIntervalSeconds: at least 1");
        let (host, port) =
            (authority.host().trim_matches(['[', ']']).to_owned(), authority.port_u16().unwrap_or(if secure { 443 } else { 80 }));
        let tls = if secure { Some(tls::connector(settings.ca_file.as_deref())?) } else { None };
        Ok(Self { settings, url, host, port, tls })
    }

    /// Asks for the present.
    async fn query(&self, exchange: &Exchange, query: &str, at: Timestamp) -> Result<Answer, String> {
        self.post(exchange, "query", instant(query, at), Answer::read).await
    }

    async fn post<T>(
        &self,
        exchange: &Exchange,
        path: &str,
        form: String,
        read: fn(&[u8]) -> Result<T, prometheus::NotAnswer>,
    ) -> Result<T, String> {
        let base = self.url.path().trim_end_matches('/');
        let authority = self.url.authority().map(ToString::to_string).unwrap_or_default();
        let mut request = http::Request::builder()
            .method(Method::POST)
            .uri(format!("{base}/api/v1/{path}"))
            .header(HOST, authority)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(USER_AGENT, AGENT)
            .header(CONNECTION, "close");
        if let Some(file) = &self.settings.bearer_token_file {
            let token = read_token(file.clone()).await?;
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Full::from(form)).map_err(|error| reason(&error))?;
        let told = |why: String| format!("Prometheus: {why}");
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(|error| told(reason(&error)))?;
        let outcome = |body: &[u8]| {
            if body.len() > MAX_BODY_BYTES {
                Err("an answer larger than 1 MiB".to_owned())
            } else {
                read(body).map_err(|why| why.to_string())
            }
        };
        let answer = match &self.tls {
            None => exchange.run(stream, request, |_, body| outcome(body)).await,
            Some(tls) => {
                let name = ServerName::try_from(self.host.clone()).map_err(|error| told(reason(&error)))?;
                let stream = tls.connect(name, stream).await.map_err(|error| told(reason(&error)))?;
                exchange.run(stream, request, |_, body| outcome(body)).await
            }
        };
        answer.and_then(|outcome| outcome).map_err(told)
    }
}

/// What is known of a pod, as a sample of it.
#[must_use]
pub fn sample(request: &Request, known: Known) -> PodSample {
    // Of a container that was started after the scrape nothing is known yet.
    let started = request.started.filter(|started| *started <= known.at);
    PodSample { started, ..request.answered(known.counters, known.at) }
}

/// The form of a question about one moment.
fn instant(query: &str, at: Timestamp) -> String {
    format!("query={}&time={:.3}&timeout=8s", encoded(query), at.as_duration().as_secs_f64())
}

async fn read_token(file: PathBuf) -> Result<String, String> {
    let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(file)).await.map_err(|error| reason(&error))?;
    Ok(read.map_err(|error| format!("the provider's bearerTokenFile: {error}"))?.trim().to_owned())
}

/// As in a form: what is neither letter, digit nor one of `-._~` as its bytes in hexadecimal.
fn encoded(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(2 * text.len()), |mut form, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            form.push(char::from(byte));
        } else {
            let _ = write!(form, "%{byte:02X}");
        }
        form
    })
}
