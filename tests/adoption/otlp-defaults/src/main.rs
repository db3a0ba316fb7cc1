//! A service that already exports spans with `opentelemetry-otlp` and its default features takes Steeple beside it.
//! Both read the same variables, and both kinds of spans arrive.
//!
//! Started without arguments, this program is the receiver: it runs itself as the service and checks what comes.

use std::{
    error::Error,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::Command,
    sync::mpsc,
    thread,
    time::Duration,
};

use axum::{Router, body::Body, routing::get};
use http_body_util::BodyExt;
use opentelemetry::trace::{Tracer, TracerProvider};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::trace::SdkTracerProvider;
use steeple::Steeple;
use tower::ServiceExt;

const SERVICE: &str = "service";
/// What only a service that hangs needs.
const GUARD: Duration = Duration::from_secs(60);

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().nth(1).as_deref() == Some(SERVICE) { service() } else { receiver() }
}

fn service() -> Result<(), Box<dyn Error>> {
    let provider =
        SdkTracerProvider::builder().with_batch_exporter(SpanExporter::builder().with_http().build()?).build();
    let tracer = provider.tracer("service-of-its-own");

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let steeple = Steeple::from_env()?;
        let app = Router::new().route("/users/{id}", get(|| async { "Ann" })).layer(steeple.layer());
        let request = axum::http::Request::get("/users/7").body(Body::empty())?;
        let response = app.oneshot(request).await?.into_body().collect().await?.to_bytes();
        assert_eq!(response, "Ann");
        assert!(steeple.flush().is_complete(), "everything is sent");
        Ok::<_, Box<dyn Error>>(())
    })?;
    tracer.in_span("nightly import", |_context| ());
    provider.shutdown()?;
    Ok(())
}

fn receiver() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    let (tell, bodies) = mpsc::channel();
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let tell = tell.clone();
            thread::spawn(move || answer(connection, &tell));
        }
    });
    let status = Command::new(std::env::current_exe()?)
        .arg(SERVICE)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)
        .env("OTEL_SERVICE_NAME", "otlp-defaults")
        .status()?;
    assert!(status.success(), "the service: {status}");
    let mut missing = vec!["service-of-its-own", "steeple-trace"];
    while !missing.is_empty() {
        let body: Vec<u8> = bodies.recv_timeout(GUARD)?;
        let body = String::from_utf8_lossy(&body).into_owned();
        missing.retain(|scope| !body.contains(scope));
    }
    println!("spans of both kinds arrived");
    Ok(())
}

/// Takes requests of OTLP over HTTP, as long as the connection is open.
fn answer(connection: TcpStream, tell: &mpsc::Sender<Vec<u8>>) -> Option<()> {
    let mut reader = BufReader::new(connection.try_clone().ok()?);
    let mut writer = connection;
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match line.trim_end().split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().ok()?;
                }
                None if line.trim_end().is_empty() => break,
                _ => (),
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        tell.send(body).ok()?;
        writer
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n")
            .ok()?;
    }
}
