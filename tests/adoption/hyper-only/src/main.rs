//! A service of hyper and tower alone. Serves one connection, sends a request, and checks the recording.

use std::{convert::Infallible, error::Error, process::Command};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use steeple::{Exchange, Steeple, testing::Recorder};
use tower::ServiceBuilder;

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    if let Some(exchange) = Exchange::current() {
        exchange.set_attribute("path_length", i64::try_from(request.uri().path().len()).unwrap_or(0));
    }
    Ok(Response::new(Full::new(Bytes::from_static(b"hello"))))
}

/// The feature `sentry` is off here: its variable has no effect, and the service says so once when it starts.
fn a_dsn_without_the_feature_is_one_warning() -> Result<(), Box<dyn Error>> {
    let mut starts = Command::new(std::env::current_exe()?);
    let output = starts.arg("starts").env("SENTRY_DSN", "https://hunter2hunter2@sentry.example/1").output()?;
    let log = String::from_utf8(output.stdout)?;
    let warning = "SENTRY_DSN is set, but Steeple is built without the feature `sentry`";
    assert!(output.status.success() && log.matches(warning).count() == 1, "{log}");
    assert!(!log.contains("hunter2"), "{log}");
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().nth(1).as_deref() == Some("starts") {
        let steeple = Steeple::from_env()?;
        steeple.log_summary();
        assert!(steeple.close().is_complete());
        return Ok(());
    }
    a_dsn_without_the_feature_is_one_warning()?;
    let recorder = Recorder::with(|builder| builder.naming(|names| names.rename("/hello/**", "/hello/{name}")))?;
    let service = ServiceBuilder::new().layer(recorder.layer()).service_fn(answer);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let serve = async {
        let (stream, _) = listener.accept().await?;
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        connection.await?;
        Ok::<_, Box<dyn Error>>(())
    };
    let ask = async {
        let stream = TokioIo::new(tokio::net::TcpStream::connect(address).await?);
        let (mut client, connection) = hyper::client::conn::http1::handshake(stream).await?;
        let send = async {
            let request = Request::get("/hello/ann").header("host", "a").body(Empty::<Bytes>::new())?;
            let body = client.send_request(request).await?.into_body().collect().await?.to_bytes();
            drop(client);
            Ok::<_, Box<dyn Error>>(body)
        };
        let (body, _closed) = tokio::join!(send, connection);
        body
    };
    let (served, body) = tokio::join!(serve, ask);
    served?;
    assert_eq!(body?, "hello");
    let line = recorder.line("GET /hello/{name}");
    assert_eq!(
        (line.number("http.response.status_code"), line.number("attributes.path_length")),
        (Some(200.0), Some(10.0))
    );
    assert_eq!(recorder.metric("http_requests_total", &[("route", "/hello/{name}")]), Some(1.0));
    println!("one request, one line, one increment, without Axum");
    Ok(())
}
