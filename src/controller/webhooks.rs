//! Webhooks of gates. Anybody who may write a service names an address here, so each is checked where it counts: the name is resolved, every address
//! that it has is looked at, and the one that was looked at is connected to. No redirect is followed, no proxy is asked, nothing of an answer is kept but
//! its status.

mod address;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use http::header::{CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{Method, Request, Uri};
use http_body_util::Full;
use hyper::body::Bytes;
use ipnet::IpNet;
use ring::hmac;
use rustls::pki_types::ServerName;
use serde::Deserialize;
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::clock::Clock;
use super::exchange::{reason, status};
use super::measure::AGENT;
use super::tls;
use crate::decide::gates::webhook::{Call, Outcome};

/// Webhooks of all services together.
const AT_ONCE: usize = 64;
/// The shortest key that is good enough to sign with, in bytes.
const KEY_BYTES: usize = 16;
/// Time to find and reach the host.
const REACH: Duration = Duration::from_secs(5);

/// What a file of the operator's says.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Given {
    /// File with the key that requests are signed with; read anew for each request.
    key_file: PathBuf,
    /// Hosts that may be asked without TLS, by `http://`.
    #[serde(default)]
    plain_hosts: Vec<String>,
    /// Private networks whose addresses may be asked, in CIDR notation.
    #[serde(default)]
    private_ranges: Vec<String>,
    /// File with the certificates (PEM) that hosts are checked by. Default: the system's.
    ca_file: Option<PathBuf>,
}

/// Sends webhooks.
#[derive(Clone)]
pub struct Webhooks(Arc<Inner>);

struct Inner {
    key_file: PathBuf,
    plain_hosts: Vec<String>,
    private_ranges: Vec<IpNet>,
    tls: TlsConnector,
    turns: Semaphore,
}

impl std::fmt::Debug for Webhooks {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Webhooks").field("plain_hosts", &self.0.plain_hosts).field("private_ranges", &self.0.private_ranges).finish()
    }
}

impl Webhooks {
    /// Reads a file of settings.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> anyhow::Result<Self> {
        let Given { key_file, plain_hosts, private_ranges, ca_file } = serde_saphyr::from_str(text)?;
        key(&key_file).map_err(anyhow::Error::msg)?;
        let network = |text: String| text.parse().with_context(|| format!("privateRanges: {text:?} is no network in CIDR notation"));
        let private_ranges = private_ranges.into_iter().map(network).collect::<anyhow::Result<Vec<IpNet>>>()?;
        ensure!(plain_hosts.iter().all(|host| !host.contains(['/', ':', '@'])), "plainHosts: names of hosts, without scheme and port");
        let tls = tls::connector(ca_file.as_deref())?;
        Ok(Self(Arc::new(Inner { key_file, plain_hosts, private_ranges, tls, turns: Semaphore::new(AT_ONCE) })))
    }

    /// Sends one, once. `api_server`: host and port that no webhook may reach.
    pub async fn send(&self, call: &Call, api_server: &(String, u16)) -> Outcome {
        let _turn = self.0.turns.acquire().await;
        let (target, stream) = match timeout(REACH, self.reach(&call.url, api_server)).await {
            Ok(Ok(reached)) => reached,
            Ok(Err(why)) => return Outcome::NotSent(why),
            Err(_) => return Outcome::NotSent(format!("no connection within {} s", REACH.as_secs())),
        };
        let request = match self.request(call, &target).await {
            Ok(request) => request,
            Err(why) => return Outcome::NotSent(why),
        };
        let answer = Duration::from_secs(u64::try_from(call.timeout_seconds).unwrap_or(1));
        if target.plain {
            return Self::outcome(timeout(answer, status(stream, request)).await, answer);
        }
        let name = match ServerName::try_from(target.host.clone()) {
            Ok(name) => name,
            Err(error) => return Outcome::NotSent(reason(&error)),
        };
        // Nothing is sent before the host has shown its certificate.
        match timeout(REACH, self.0.tls.connect(name, stream)).await {
            Ok(Ok(stream)) => Self::outcome(timeout(answer, status(stream, request)).await, answer),
            Ok(Err(error)) => Outcome::NotSent(reason(&error)),
            Err(_) => Outcome::NotSent(format!("no TLS within {} s", REACH.as_secs())),
        }
    }

    fn outcome(answer: Result<Result<u16, String>, tokio::time::error::Elapsed>, limit: Duration) -> Outcome {
        match answer {
            Ok(Ok(status)) => Outcome::Answered(status),
            Ok(Err(why)) => Outcome::Unknown(why),
            Err(_) => Outcome::Unknown(format!("no answer within {} s", limit.as_secs())),
        }
    }

    /// Connects to an address of the host that may be asked.
    async fn reach(&self, url: &str, api_server: &(String, u16)) -> Result<(Target, TcpStream), String> {
        let target = Target::of(url, &self.0.plain_hosts)?;
        let forbidden: Vec<IpAddr> = addresses(&api_server.0, api_server.1).await.unwrap_or_default().iter().map(SocketAddr::ip).collect();
        let found = addresses(&target.host, target.port).await.map_err(|error| reason(&error))?;
        for address in &found {
            let ip = address.ip();
            if forbidden.contains(&ip) {
                return Err(format!("{ip} is the API server, which no webhook reaches"));
            }
            if let Some(why) = address::refused(ip, &self.0.private_ranges) {
                return Err(format!("{ip} {why}"));
            }
        }
        let address = found.first().ok_or("it has no address")?;
        let stream = TcpStream::connect(address).await.map_err(|error| reason(&error))?;
        Ok((target, stream))
    }

    async fn request(&self, call: &Call, target: &Target) -> Result<Request<Full<Bytes>>, String> {
        let file = self.0.key_file.clone();
        let key = tokio::task::spawn_blocking(move || key(&file)).await.map_err(|error| reason(&error))??;
        let seconds = Clock.now().as_second();
        http::Request::builder()
            .method(Method::POST)
            .uri(target.path.as_str())
            .header(HOST, target.authority.as_str())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, AGENT)
            .header(CONNECTION, "close")
            .header("idempotency-key", call.key.as_str())
            .header("plimsoll-signature", signature(&key, seconds, &call.body))
            .body(Full::from(call.body.clone()))
            .map_err(|error| reason(&error))
    }
}

/// Where a webhook goes.
struct Target {
    host: String,
    port: u16,
    authority: String,
    path: String,
    plain: bool,
}

impl Target {
    fn of(url: &str, plain_hosts: &[String]) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|_| "its url is no address".to_owned())?;
        let authority = uri.authority().ok_or("its url names no host")?;
        if authority.as_str().contains('@') {
            return Err("a user in its url would end up in logs".to_owned());
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let plain = match uri.scheme_str() {
            Some("https") => false,
            Some("http") if plain_hosts.contains(&host) => true,
            _ => {
                return Err(format!(
                    "{host} is asked by https only; whoever runs plimsoll can allow http (chart value webhooks.plainHosts)"
                ));
            }
        };
        let port = authority.port_u16().unwrap_or(if plain { 80 } else { 443 });
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Self { authority: authority.to_string(), host, port, path, plain })
    }
}

async fn addresses(host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
    Ok(lookup_host((host, port)).await?.collect())
}

fn key(file: &PathBuf) -> Result<Vec<u8>, String> {
    let text = std::fs::read(file).map_err(|error| format!("keyFile {}: {error}", file.display()))?;
    let key = text.trim_ascii().to_vec();
    if key.len() < KEY_BYTES { Err(format!("keyFile {}: a key has {KEY_BYTES} bytes at least", file.display())) } else { Ok(key) }
}

/// `t=SECONDS,v1=HEX`: HMAC-SHA256 over the seconds, a dot and the body, so that an old request cannot be sent again by somebody else for ever.
fn signature(key: &[u8], seconds: i64, body: &str) -> String {
    use std::fmt::Write as _;
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), format!("{seconds}.{body}").as_bytes());
    tag.as_ref().iter().fold(format!("t={seconds},v1="), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_hmac_sha256_over_time_and_body() {
        // printf '1764460800.{"a":1}' | openssl dgst -sha256 -hmac 0123456789abcdef
        let expected = "t=1764460800,v1=defd91246570fc5931eef625cf90bd6ccd0679687d13bcef47fefc9e5d308f6c";
        assert_eq!(signature(b"0123456789abcdef", 1_764_460_800, "{\"a\":1}"), expected);
    }

    #[test]
    fn urls_that_are_not_asked() {
        let plain = ["hooks.internal".to_owned()];
        let target = |url: &str| Target::of(url, &plain).map(|target| (target.host, target.port, target.path, target.plain));
        let good = |host: &str, port, path: &str, plain| Ok((host.to_owned(), port, path.to_owned(), plain));
        assert_eq!(target("https://hooks.example.com"), good("hooks.example.com", 443, "/", false));
        assert_eq!(target("https://hooks.example.com:8443/a?b=c"), good("hooks.example.com", 8443, "/a?b=c", false));
        assert_eq!(target("https://[2001:db8::1]/x"), good("2001:db8::1", 443, "/x", false));
        assert_eq!(target("http://hooks.internal/x"), good("hooks.internal", 80, "/x", true));
        for url in ["http://hooks.example.com", "ftp://hooks.internal/", "/x", "https://me:secret@hooks.example.com/", "hooks.internal"] {
            assert!(target(url).is_err(), "{url}");
        }
    }
}
