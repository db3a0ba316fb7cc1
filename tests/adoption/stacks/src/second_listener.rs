//! A service whose metrics and probes are on a second listener, which its clients cannot reach.

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode},
    routing::get,
};
use steeple::testing::Recorder;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::Outcome;

/// Status and body of a GET, without a client library.
async fn ask(address: &str, path: &str) -> Result<(u16, String), Box<dyn std::error::Error>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let status = answer.split(' ').nth(1).ok_or("a status")?.parse()?;
    Ok((status, answer))
}

pub async fn run() -> Outcome {
    let recorder = Recorder::new();
    let steeple = recorder.steeple().clone();
    let app = Router::new().route("/hello", get(async || "hello")).layer(steeple.layer());
    let admin = steeple.serve_admin("127.0.0.1:0").await?;
    let taken = steeple.bind(&admin).await.err().ok_or("two listeners on one address")?.to_string();
    assert!(taken.contains(&admin), "the error names the address: {taken}");
    let listener = steeple.bind("127.0.0.1:0").await?;
    let address = listener.address();
    let serving = tokio::spawn({
        let steeple = steeple.clone();
        async move { steeple.serve(listener, app).await }
    });

    assert_eq!(ask(&address, "/hello").await?.0, 200);
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert_eq!(ask(&address, path).await?.0, 404, "{path} is not for the service's clients");
        assert_eq!(ask(&admin, path).await?.0, 200, "{path}");
    }
    let (_, page) = ask(&admin, "/metrics").await?;
    assert!(page.contains(r#"http_requests_total{method="GET",route="/hello",status_code="200"} 1"#), "{page}");
    assert!(!page.contains(r#"route="/metrics""#) && !page.contains(r#"route="/healthz""#), "{page}");
    steeple.shutdown().begin();
    serving.await??;
    // Requests to the second listener are on no line and in no count.
    let names: Vec<_> = recorder.lines().iter().filter_map(|line| line.name().map(str::to_owned)).collect();
    assert!(names.iter().all(|name| !name.contains("metrics") && !name.contains("healthz")), "{names:?}");

    // In process, as a team's unit test asks it.
    let app = Router::new().route("/hello", get(async || "hello")).layer(recorder.layer());
    let response = tower::ServiceExt::oneshot(app, Request::get("/nowhere").body(Body::empty())?).await?;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    to_bytes(response.into_body(), 1024).await?;
    Ok(())
}
