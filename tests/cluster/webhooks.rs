//! Webhooks of gates: a real server, over TCP and TLS, that is asked by a real operator, or must not be.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use plimsoll_bed::certificates::Authority;
use plimsoll_bed::{Bed, host};
use ring::hmac;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use crate::harness::Scenario;
use crate::world::{World, canary, message};

const KEY: &[u8] = b"a key that nobody else has";

/// A request that was heard.
#[derive(Clone, Debug)]
struct Heard {
    path: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Heard {
    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(header, _)| header == name).map_or("", |(_, value)| value)
    }
}

/// Who is asked: its path says what it answers, one status after another; `hang` is no answer.
#[derive(Clone, Default)]
struct Hooks(Arc<Mutex<Vec<Heard>>>);

impl Hooks {
    fn heard(&self, path: &str) -> Vec<Heard> {
        self.0.lock().unwrap().iter().filter(|heard| heard.path == path).cloned().collect()
    }

    async fn serve(self, listener: TcpListener, tls: Option<TlsAcceptor>) {
        while let Ok((connection, _)) = listener.accept().await {
            let (hooks, tls) = (self.clone(), tls.clone());
            tokio::spawn(async move {
                match tls {
                    None => hooks.answer(connection).await,
                    Some(tls) => {
                        if let Ok(connection) = tls.accept(connection).await {
                            hooks.answer(connection).await;
                        }
                    }
                }
            });
        }
    }

    async fn answer(&self, connection: impl AsyncRead + AsyncWrite + Unpin) {
        let mut connection = BufReader::new(connection);
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if connection.read_line(&mut line).await.is_err() || line.trim().is_empty() {
                break;
            }
            lines.push(line.trim().to_owned());
        }
        let Some(first) = lines.first() else { return };
        let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
        let headers: Vec<_> = lines[1..]
            .iter()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let mut heard = Heard { path: path.clone(), headers, body: String::new() };
        let mut body = vec![0; heard.header("content-length").parse().unwrap_or(0)];
        let _ = connection.read_exact(&mut body).await;
        heard.body = String::from_utf8(body).unwrap();
        self.0.lock().unwrap().push(heard);
        let times = self.heard(&path).len();
        let statuses: Vec<&str> = path.trim_start_matches('/').split('?').next().unwrap().split('-').collect();
        let status = statuses.get(times - 1).or(statuses.last()).copied().unwrap_or("200");
        if status == "hang" {
            sleep(Duration::from_secs(3600)).await;
        }
        let answer = format!("HTTP/1.1 {status} So\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let _ = connection.write_all(answer.as_bytes()).await;
        let _ = connection.shutdown().await;
    }
}

/// An address of the fake pods' range that no pod has: it leads to this machine.
fn address(bed: &Bed) -> Ipv4Addr {
    let network: Ipv4Addr = bed.pod_cidr().split('/').next().unwrap().parse().unwrap();
    let [first, second, ..] = network.octets();
    Ipv4Addr::new(first, second, 127, 250)
}

async fn listen(hooks: &Hooks, tls: Option<TlsAcceptor>) -> u16 {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(hooks.clone().serve(listener, tls));
    port
}

fn acceptor(authority: &Authority, name: &str, address: IpAddr) -> TlsAcceptor {
    let identity = authority.server(name, &[address.to_string()]).unwrap();
    let certificates = CertificateDer::pem_file_iter(&identity.certificate).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(&identity.key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_single_cert(certificates, key).unwrap()))
}

/// Services whose next revision asks this first.
async fn ask(world: &World, asked: &[(&str, Value)]) {
    // Nobody plays the metrics of these pods.
    let spec = |tag: &str| {
        let mut spec = canary(tag);
        spec.as_object_mut().unwrap().remove("objectives");
        spec
    };
    for (name, _) in asked {
        world.service(name, &spec("1")).await;
    }
    for (name, webhook) in asked {
        world.phase(name, "Stable").await;
        let mut spec = spec("2");
        spec["rollout"]["gates"] = json!([{"name": "hook", "at": {"start": {}}, "deadlineSeconds": 300, "webhook": webhook}]);
        world.service(name, &spec).await;
    }
}

#[tokio::test]
async fn a_webhook_is_signed_and_asked_where_it_may_be_asked() {
    let scenario = Scenario::new("webhooks").await;
    let (bed, directory) = (scenario.bed, scenario.bed.directory().join("webhooks"));
    let address = address(bed);
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("key"), KEY).unwrap();
    let (ours, other) = (Authority::create(&directory, "ours").unwrap(), Authority::create(&directory, "other").unwrap());
    let settings = json!({
        "keyFile": directory.join("key"), "caFile": ours.certificate(),
        "plainHosts": [address.to_string(), "169.254.169.254"], "privateRanges": [bed.pod_cidr()],
    });
    let file = directory.join("webhooks.yaml");
    std::fs::write(&file, settings.to_string()).unwrap();
    let world = World::of(scenario.told(&["--webhooks", file.to_str().unwrap()])).await;
    let hooks = Hooks::default();
    let plain = listen(&hooks, None).await;

    // Never, whatever is allowed: this host, the link, the API server; a private network that nobody has allowed; plain HTTP likewise.
    let api_server = world.kubectl(&["config", "view", "--minify", "--output=jsonpath={.clusters[0].cluster.server}"]).await;
    let refusals = [
        ("loopback", format!("https://127.0.0.1:{plain}/200"), "127.0.0.1 is an address that no webhook reaches"),
        ("metadata", "http://169.254.169.254/latest/meta-data".to_owned(), "169.254.169.254 is an address that no webhook reaches"),
        ("mapped", "https://[::ffff:127.0.0.1]/200".to_owned(), "::ffff:127.0.0.1 is an address that no webhook reaches"),
        (
            "private",
            "https://192.168.77.1/200".to_owned(),
            "192.168.77.1 is a private address; whoever runs plimsoll can allow its network",
        ),
        ("plain", format!("http://localhost:{plain}/200"), "localhost is asked by https only"),
        ("api", format!("{api_server}/api"), "which no webhook reaches"),
    ];
    let asked: Vec<_> = refusals.iter().map(|(name, url, _)| (*name, json!({"url": url}))).collect();
    ask(&world, &asked).await;
    for (name, _, why) in &refusals {
        let refused = |service: &Value| message(service).contains(why) && message(service).contains("asked again at");
        world
            .until("psvc", name, "is refused", |service| {
                refused(service) || why.contains("no webhook") && message(service).contains("no webhook")
            })
            .await;
    }
    assert!(hooks.0.lock().unwrap().is_empty(), "nobody was asked");
    if !host::is_root() {
        return;
    }
    let at = |port: u16, path: &str, scheme: &str| format!("{scheme}://{}{path}", SocketAddr::new(address.into(), port));

    // Asked again with the same key until it agrees, since that does no harm.
    let good = listen(&hooks, Some(acceptor(&ours, "good", address.into()))).await;
    let bad = listen(&hooks, Some(acceptor(&other, "bad", address.into()))).await;
    let outcomes = [("no", "/403", "answered 403"), ("elsewhere", "/302", "answered 302"), ("broken", "/500", "answered 500")];
    let mut asked = vec![
        ("again", json!({"url": at(plain, "/503-429-204", "http"), "idempotent": true})),
        ("tls", json!({"url": at(good, "/200?tls", "https")})),
        ("wrong-tls", json!({"url": at(bad, "/200?wrong", "https")})),
    ];
    asked.extend(outcomes.map(|(name, path, _)| (name, json!({"url": at(plain, path, "http")}))));
    ask(&world, &asked).await;
    let promoted = |service: &Value| service["status"]["stable"]["image"] == "example.test/shop:2";
    world.until("psvc", "again", "was promoted", promoted).await;
    let heard = hooks.heard("/503-429-204");
    assert_eq!(heard.len(), 3);
    let key = heard[0].header("idempotency-key").to_owned();
    assert!(!key.is_empty() && heard.iter().all(|heard| heard.header("idempotency-key") == key), "{heard:#?}");
    for Heard { body, .. } in &heard {
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!((&body["service"], &body["gate"], &body["at"]), (&json!("again"), &json!("hook"), &json!("start")));
        assert_eq!((&body["namespace"], &body["image"]), (&json!("webhooks"), &json!("example.test/shop:2")));
    }
    for heard in &heard {
        let (seconds, tag) = heard.header("plimsoll-signature").strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
        let tag: Vec<u8> = (0..tag.len() / 2).map(|index| u8::from_str_radix(&tag[2 * index..2 * index + 2], 16).unwrap()).collect();
        let key = hmac::Key::new(hmac::HMAC_SHA256, KEY);
        hmac::verify(&key, format!("{seconds}.{}", heard.body).as_bytes(), &tag).expect("its signature");
    }

    // No, and elsewhere: neither is followed by a second request.
    for (name, path, status) in outcomes {
        let service = world.phase(name, "RolledBack").await;
        assert!(message(&service).contains(status), "{}", message(&service));
        assert_eq!(hooks.heard(path).len(), 1);
    }

    // Its certificate is checked before anything is sent.
    world.until("psvc", "tls", "was promoted", promoted).await;
    let refused = |service: &Value| message(service).contains("cannot be asked") && message(service).contains("certificate");
    world.until("psvc", "wrong-tls", "was refused", refused).await;
    assert_eq!((hooks.heard("/200?tls").len(), hooks.heard("/200?wrong").len()), (1, 0));

    // The operator is killed while it waits for the answer: what became of it nobody knows, and it is not asked again.
    ask(&world, &[("killed", json!({"url": at(plain, "/hang", "http"), "timeoutSeconds": 10}))]).await;
    crate::harness::until("it is asked", async || hooks.heard("/hang").first().cloned()).await;
    let world = world.killed().await;
    let unknown = |service: &Value| message(service).contains("what became of that is not known");
    world.until("psvc", "killed", "is not known", unknown).await;
    sleep(Duration::from_secs(6)).await;
    assert_eq!(hooks.heard("/hang").len(), 1);
    let service = world.get("psvc", "killed").await;
    assert_eq!(service["status"]["rollout"]["progress"]["gates"][0]["state"], "Unknown", "{service:#}");
}
