//! What the client does on the network: TLS, proxies, HTTP/2, and what it refuses.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use steeple_core::clock;
use steeple_export::{
    Answer, Client, ClientBuilder, DropReason, Endpoint, Health, Http, Pipeline, Protocol, ProxyOptions, Reason,
    Request, Response, Retry, Sink, Stats, test_util::Receiver,
};
use steeple_scrub::Scrubbed;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};

/// One request for each item, which is sent as it is.
struct Raw {
    endpoint: Endpoint,
    http2: bool,
    answers: Arc<Mutex<Vec<Response>>>,
}

impl Protocol for Raw {
    type Item = &'static str;
    type Ready = &'static str;

    fn size(item: &&'static str) -> usize {
        item.len()
    }

    fn scrub(&mut self, item: &'static str) -> Scrubbed<&'static str> {
        Scrubbed::from_static(item)
    }

    fn encode(&mut self, batch: &[Scrubbed<&'static str>]) -> Result<Request, Reason> {
        let request = Request::post(&self.endpoint).body(batch.concat_all());
        Ok(if self.http2 { request.http2() } else { request })
    }

    fn judge(&mut self, response: &Response, _batch: &[Scrubbed<&'static str>]) -> Answer {
        self.answers.lock().unwrap().push(response.clone());
        Answer::of(response)
    }
}

trait Concat {
    fn concat_all(&self) -> String;
}

impl Concat for [Scrubbed<&'static str>] {
    fn concat_all(&self) -> String {
        self.iter().map(|item| **item).collect()
    }
}

/// Sends one item, once. Returns what became of it, and the answers.
fn send(client: ClientBuilder, url: &str, http2: bool) -> (Stats, Vec<Response>) {
    let answers = Arc::new(Mutex::new(Vec::new()));
    let (client, endpoint, seen) = (client.build().unwrap(), Endpoint::parse(url).unwrap(), Arc::clone(&answers));
    let pipeline = Pipeline::builder("raw").retry(Retry::never()).build(move || {
        Ok(Http::new(client.clone(), Raw { endpoint: endpoint.clone(), http2, answers: Arc::clone(&seen) }))
    });
    let pipeline = pipeline.unwrap();
    pipeline.push("hello");
    let report = pipeline.shutdown(clock::now().checked_add(Duration::from_secs(60)).unwrap());
    assert_eq!(report.left, 0);
    let answers = answers.lock().unwrap().clone();
    (pipeline.stats(), answers)
}

/// A TLS server with a certificate for localhost from a new authority, whose certificate is written to `ca`.
fn tls_server(ca: &Path) -> SocketAddr {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(ca, authority.pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                // A client that does not trust us ends the handshake.
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let _read = stream.read(&mut [0; 16 * 1024]).await;
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
                let _answered = stream.write_all(answer).await;
                let _closed = stream.shutdown().await;
            }
        });
    });
    address
}

/// A proxy that notes what it is asked for, and passes it on to `to`.
fn proxy(to: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut client = stream.unwrap();
            let mut reader = BufReader::new(client.try_clone().unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
            let is_tunnel = head.starts_with("CONNECT ");
            notes.lock().unwrap().push(head.clone());
            let mut server = TcpStream::connect(to).unwrap();
            if is_tunnel {
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            } else {
                server.write_all(head.as_bytes()).unwrap();
            }
            let (mut up, mut down) = (server.try_clone().unwrap(), client);
            thread::spawn(move || std::io::copy(&mut reader, &mut up));
            thread::spawn(move || std::io::copy(&mut server, &mut down));
        }
    });
    (address, asked)
}

#[test]
fn a_ca_file_decides_whom_to_trust() {
    let directory = tempfile::tempdir().unwrap();
    let (ca, other) = (directory.path().join("ca.pem"), directory.path().join("other.pem"));
    let address = tls_server(&ca);
    tls_server(&other);
    let url = format!("https://localhost:{}/x?key=hunter2", address.port());
    let (stats, answers) = send(Client::builder().ca_file(&ca), &url, false);
    assert_eq!((stats.exported, &answers[0].body[..]), (1, &b"{}"[..]));
    let (stats, _) = send(Client::builder().ca_file(&other), &url, false);
    assert_eq!(stats.dropped(DropReason::Network), 1);
    let Health::Failing(why) = stats.health else { panic!("{stats:?}") };
    assert!(why.as_str().contains("certificate") && !why.as_str().contains("hunter2"), "{why}");
    let (stats, _) = send(Client::builder().danger_accept_invalid_certs(), &url, false);
    assert_eq!(stats.exported, 1);
    std::fs::write(&other, "nothing").unwrap();
    assert!(Client::builder().ca_file(&other).build().is_err());
    assert!(Client::builder().ca_file(directory.path().join("none.pem")).build().is_err());
}

#[test]
fn a_proxy_gets_a_tunnel_for_https_and_the_whole_url_for_http() {
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    let address = tls_server(&ca);
    let (through, asked) = proxy(address);
    let settings = ProxyOptions::new().https(format!("http://ann:hunter2@{through}"));
    let url = format!("https://localhost:{}/x", address.port());
    let (stats, _) = send(Client::builder().ca_file(&ca).proxy(settings.clone()), &url, false);
    assert_eq!(stats.exported, 1, "{stats:?}");
    let heads = std::mem::take(&mut *asked.lock().unwrap());
    assert!(heads[0].starts_with(&format!("CONNECT localhost:{} HTTP/1.1\r\n", address.port())), "{heads:?}");
    assert!(heads[0].to_ascii_lowercase().contains("proxy-authorization: basic yw5uomh1bnrlcji="), "{heads:?}");
    let (stats, _) = send(Client::builder().ca_file(&ca).proxy(settings.no_proxy("localhost")), &url, false);
    assert_eq!((stats.exported, asked.lock().unwrap().len()), (1, 0));

    let receiver = Receiver::accepting();
    let (through, asked) = proxy(receiver.address());
    let settings = ProxyOptions::new().http(format!("ann:hunter2@{through}"));
    let client = Client::builder().proxy(settings).allow_plain_http();
    let (stats, _) = send(client, "http://receiver.invalid/x", false);
    assert_eq!(stats.exported, 1, "{stats:?}");
    let heads = asked.lock().unwrap().clone();
    assert!(heads[0].starts_with("POST http://receiver.invalid/x HTTP/1.1\r\n"), "{heads:?}");
    assert!(heads[0].contains("proxy-authorization: Basic"), "{heads:?}");
}

#[test]
fn a_proxy_that_cannot_be_used_is_an_error_without_its_password() {
    for url in ["https://ann:hunter2@proxy", "socks5://ann:hunter2@proxy", "http://ann:hunter2%zz@proxy", "http://"] {
        let error = Client::builder().proxy(ProxyOptions::new().https(url)).build().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{url}");
    }
}

#[test]
fn another_machine_without_encryption_is_refused_unless_it_is_allowed() {
    let client = Client::builder().build().unwrap();
    let plain = Client::builder().allow_plain_http().build().unwrap();
    for (url, is_home) in [
        ("http://localhost:9", true),
        ("http://LOCALHOST", true),
        ("http://127.8.9.1:9", true),
        ("http://[::1]:9", true),
        ("http://10.0.0.1", false),
        ("http://localhost.example.com", false),
        ("http://127.0.0.1.example.com", false),
        ("http://[::2]", false),
    ] {
        let endpoint = Endpoint::parse(url).unwrap();
        assert_eq!(client.check(&endpoint).is_ok(), is_home, "{url}");
        assert!(is_home || client.check(&endpoint).unwrap_err().is_plain_http(), "{url}");
        assert!(plain.check(&endpoint).is_ok(), "{url}");
    }
    // And at the moment of sending, whatever a protocol makes of its endpoint.
    let (stats, _) = send(Client::builder(), "http://receiver.invalid/", false);
    assert_eq!(stats.dropped(DropReason::Rejected), 1);
}

#[test]
fn an_endless_body_does_not_make_an_answer_of_none() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _request = std::io::Read::read(&mut stream, &mut [0; 4096]);
        let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n");
        while stream.write_all(&[b'x'; 4096]).is_ok() {}
    });
    let client = Client::builder().max_response_bytes(1000);
    let (stats, answers) = send(client, &format!("http://{address}/"), false);
    assert_eq!((stats.exported, answers[0].body.len(), answers[0].is_cut), (1, 1000, true));
}

#[test]
fn http2_speaks_with_prior_knowledge_and_reads_trailers() {
    use http_body_util::{BodyExt, Full};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let answer = |request: http::Request<hyper::body::Incoming>| async move {
                assert_eq!(request.version(), http::Version::HTTP_2);
                let mut trailers = http::HeaderMap::new();
                trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
                let body = Full::new(bytes::Bytes::from_static(b"ok")).with_trailers(async move { Some(Ok(trailers)) });
                Ok::<_, std::convert::Infallible>(http::Response::new(body))
            };
            let io = hyper_util::rt::TokioIo::new(stream);
            let service = hyper::service::service_fn(answer);
            let _ended = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new())
                .serve_connection(io, service)
                .await;
        });
    });
    let (stats, answers) = send(Client::builder(), &format!("http://{address}/"), true);
    assert_eq!(stats.exported, 1, "{stats:?}");
    assert_eq!(
        (&answers[0].body[..], &answers[0].trailers["grpc-status"]),
        (&b"ok"[..], &http::HeaderValue::from_static("0"))
    );
}
