//! A server of metrics that lies, hangs and floods, as the asked pod's image tag says.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use plimsoll_bed::Bed;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OnceCell;
use tokio::time::sleep;

use crate::world;

const MEBIBYTE: usize = 1 << 20;
const TEXT: &str = "Content-Type: text/plain; version=0.0.4\r\n";

/// 64 MiB that fit into 64 KiB.
static BOMB: LazyLock<Vec<u8>> = LazyLock::new(|| gzip(&lines(64)));

/// The server. One for all tests: it outlives each one's runtime.
#[derive(Clone)]
pub struct Answers {
    port: u16,
    asked: Arc<Mutex<BTreeMap<String, usize>>>,
    /// Who of a service half of whose pods are silent answers: the first that was asked.
    answering: Arc<Mutex<BTreeMap<String, IpAddr>>>,
}

impl Answers {
    /// The server for the pods of this bed.
    pub async fn of(bed: &'static Bed) -> Self {
        static SERVER: OnceCell<Answers> = OnceCell::const_new();
        SERVER.get_or_init(async || Self::start(bed)).await.clone()
    }

    /// Port of the pods' metrics.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How often pods with this tag were asked.
    pub fn asked(&self, tag: &str) -> usize {
        self.asked.lock().unwrap().get(tag).copied().unwrap_or_default()
    }

    fn start(bed: &'static Bed) -> Self {
        // A free port: another run of these tests may be under way.
        let listener = std::net::TcpListener::bind(("0.0.0.0", 0)).expect("a port");
        listener.set_nonblocking(true).unwrap();
        let answers = Self { port: listener.local_addr().unwrap().port(), asked: Arc::default(), answering: Arc::default() };
        LazyLock::force(&BOMB);
        let server = answers.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            runtime.block_on(async move {
                let pods = world::pods(bed).await;
                let listener = TcpListener::from_std(listener).unwrap();
                loop {
                    let Ok((mut connection, _)) = listener.accept().await else { continue };
                    let (pods, server) = (pods.clone(), server.clone());
                    tokio::spawn(async move {
                        let address = connection.local_addr().unwrap().ip();
                        let mut request = vec![0; 8192];
                        let length = connection.read(&mut request).await.unwrap_or_default();
                        let Some((tag, seconds)) = world::played(&pods, address).await else { return };
                        *server.asked.lock().unwrap().entry(tag.clone()).or_default() += 1;
                        let followed = request[..length].starts_with(b"GET /elsewhere");
                        // Whoever is answered may hang up at any time.
                        let _ = server.answer(&mut connection, if followed { "good" } else { &tag }, seconds, address).await;
                    });
                }
            });
        });
        answers
    }

    async fn answer(&self, connection: &mut TcpStream, tag: &str, seconds: f64, address: IpAddr) -> std::io::Result<()> {
        let good = world::metrics("1", seconds);
        let (ok, failed) = ("http_requests_total{code=\"200\"}", "http_requests_total{code=\"500\"}");
        let valued = |value: &str| page(TEXT, &format!("{ok} {value}\n"));
        let milliseconds = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
        let at = |milliseconds: u128| page(TEXT, &good.replace('\n', &format!(" {milliseconds}\n")));
        let bytes = match tag {
            "down" => return reset(connection),
            "hanging" => return forever(connection).await,
            "slow" => return drip(connection, &page(TEXT, &good)).await,
            "status-404" => status("404 Not Found", &good),
            "status-500" => status("500 Internal Server Error", &good),
            "status-503" => status("503 Service Unavailable", &good),
            "redirect" => format!(
                "HTTP/1.1 302 Found\r\nLocation: http://{}/elsewhere\r\nContent-Length: 0\r\n\r\n",
                SocketAddr::new(address, self.port)
            )
            .into(),
            "not-http" => b"SSH-2.0-OpenSSH_9.9\r\n".to_vec(),
            "empty" => page(TEXT, ""),
            "html" => page("Content-Type: text/html\r\n", "<html><body>Welcome</body></html>\n"),
            "json" => page("Content-Type: application/json\r\n", "{\"http_requests_total\": 1000}\n"),
            "json-cut" => page("Content-Type: application/json\r\n", "{\"status\":\"success\",\"data\":{\"result\":[{\"value\":[1,"),
            "json-deep" => page(TEXT, &"[".repeat(MEBIBYTE - 1)),
            "wrong-type" => page("Content-Type: application/vnd.google.protobuf\r\n", &good),
            "not-text" => page_of(TEXT, &[good.as_bytes(), b"x{a=\"\xff\xfe\"} 1\n"].concat()),
            "nan" => valued("NaN"),
            "plus-infinity" => valued("+Inf"),
            "minus-infinity" => valued("-Inf"),
            "negative" => valued("-5"),
            "word" => valued("many"),
            "no-value" => page(TEXT, &format!("{ok}\n")),
            "twice" => page(TEXT, &format!("{ok} 1000\n{ok} 2000\n")),
            "stale" => at(milliseconds - 600_000),
            "future" => at(milliseconds + 600_000),
            // What is cut off here are the failures.
            "too-short" => format!("HTTP/1.1 200 OK\r\n{TEXT}Content-Length: {}\r\n\r\n{good}", good.len() + 200).into(),
            "chunks-cut" => format!("HTTP/1.1 200 OK\r\n{TEXT}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{good}\r\n", good.len()).into(),
            "gzip-cut" => {
                let whole = gzip(good.repeat(3).as_bytes());
                page_of(&format!("{TEXT}Content-Encoding: gzip\r\n"), &whole[..whole.len() - 9])
            }
            "gzip-wrong" => page(&format!("{TEXT}Content-Encoding: gzip\r\n"), &good),
            "gzip-bomb" => page_of(&format!("{TEXT}Content-Encoding: gzip\r\n"), &BOMB),
            "hundred-mebibytes" => return flood(connection, &format!("Content-Length: {}\r\n", 100 * MEBIBYTE), 100).await,
            "endless" => return flood(connection, "", usize::MAX).await,
            "labels-many" => {
                page(TEXT, &format!("{good}http_requests_total{{{}}} 1\n", many(40_000, |index| format!("l{index}=\"{index}\","))))
            }
            "series-many" => page(TEXT, &many(20_000, |index| format!("http_requests_total{{code=\"200\",user=\"{index}\"}} 1\n"))),
            "line-long" => page(TEXT, &format!("{ok} 1\nx{{a=\"{}\"}} 1\n", "\\\\".repeat(MEBIBYTE / 2 - 100))),
            "header-large" => page(&format!("{TEXT}X-Large: {}\r\n", "x".repeat(300 << 10)), &good),
            "headers-many" => page(&format!("{TEXT}{}", many(90, |index| format!("X-{index}: {}\r\n", "x".repeat(60)))), &good),
            "headers-endless" => {
                connection.write_all(b"HTTP/1.1 200 OK\r\n").await?;
                loop {
                    connection.write_all(many(1000, |index| format!("X-{index}: x\r\n")).as_bytes()).await?;
                }
            }
            "other-metrics" => page(TEXT, "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 12.5\n"),
            "no-traffic" => page(TEXT, &format!("{ok} 1000\n{failed} 0\n")),
            // Every answer is less than the one before.
            "reset" => page(TEXT, &format!("{ok} {}\n{failed} 0\n", 1_000_000_000 - self.asked(tag) * 1_000_000)),
            "half-silent" if *self.answering.lock().unwrap().entry(tag.to_owned()).or_insert(address) != address => {
                return forever(connection).await;
            }
            "fails" => page(TEXT, &world::metrics("fails-100", seconds)),
            "fails-rarely" => page(TEXT, &world::metrics("fails-100", seconds / 400.0)),
            _ => page(TEXT, &good),
        };
        connection.write_all(&bytes).await?;
        connection.shutdown().await
    }
}

fn page(headers: &str, body: &str) -> Vec<u8> {
    page_of(headers, body.as_bytes())
}

fn page_of(headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn status(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{TEXT}Content-Length: {}\r\n\r\n{body}", body.len()).into()
}

/// A page that would be a good one, if it were not so long.
fn lines(mebibytes: usize) -> Vec<u8> {
    b"# HELP http_requests_total All of the requests that were answered.\n".iter().copied().cycle().take(mebibytes * MEBIBYTE).collect()
}

fn many(count: usize, each: impl Fn(usize) -> String) -> String {
    (0..count).fold(String::new(), |mut text, index| {
        write!(text, "{}", each(index)).unwrap();
        text
    })
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// As if nobody listened.
fn reset(connection: &mut TcpStream) -> std::io::Result<()> {
    connection.set_zero_linger()
}

async fn forever(connection: &mut TcpStream) -> std::io::Result<()> {
    let mut rest = [0; 64];
    while connection.read(&mut rest).await? > 0 {}
    Ok(())
}

async fn drip(connection: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    for byte in bytes {
        connection.write_all(&[*byte]).await?;
        sleep(Duration::from_millis(300)).await;
    }
    Ok(())
}

async fn flood(connection: &mut TcpStream, length: &str, mebibytes: usize) -> std::io::Result<()> {
    connection.write_all(format!("HTTP/1.1 200 OK\r\n{TEXT}{length}Connection: close\r\n\r\n").as_bytes()).await?;
    let mebibyte = lines(1);
    for _ in 0..mebibytes {
        connection.write_all(&mebibyte).await?;
    }
    Ok(())
}
