//! One service calls another: one trace.
//!
//! ```text
//! OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 cargo run -p steeple-trace --example outgoing-calls
//! curl http://127.0.0.1:3001/greet/7
//! ```
//!
//! tonic: `.layer(trace.client_layer().server("board:50051".parse()?)).service(channel)`, into the generated client.
//! reqwest, between layer and client: `.map_request(|call: Request<reqwest::Body>| reqwest::Request::try_from(call).unwrap())`
//! and `.map_response(Response::<reqwest::Body>::from)`. Build that client with `redirect(reqwest::redirect::Policy::none())`,
//! and follow redirects above the layer, with `tower_http`'s `FollowRedirectLayer`: else a redirect takes trace and baggage to
//! hosts that `only_to` and `baggage_to` exclude.

use axum::{Router, body::Body, extract::Path, routing::get};
use http::{Request, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use steeple_trace::{TraceBuilder, UrlTemplate};
use tokio::net::TcpListener;
use tower::{ServiceBuilder, ServiceExt};
use tracing_subscriber::{Layer, filter::LevelFilter, layer::SubscriberExt, util::SubscriberInitExt};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    #[expect(clippy::disallowed_methods, reason = "an application may read its own environment")]
    let trace = TraceBuilder::from_env(|name| std::env::var(name).ok())?.build()?;
    let lines = tracing_subscriber::fmt::layer().with_filter(LevelFilter::INFO);
    tracing_subscriber::registry().with(lines).with(trace.tracing_layer()).init();

    let names = Router::new().route("/names/{id}", get(|| async { "Ann" })).layer(trace.layer());
    let mut addresses = std::env::args().skip(1);
    let front = addresses.next().unwrap_or_else(|| "127.0.0.1:3001".to_owned());
    let listener = TcpListener::bind(addresses.next().as_deref().unwrap_or("127.0.0.1:3002")).await?;
    let back = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, names).await });

    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let client = ServiceBuilder::new().layer(trace.client_layer()).service(client);
    let greet = move |Path(id): Path<u32>| async move {
        let uri: Uri = format!("http://{back}/names/{id}").parse().map_err(failed)?;
        let mut call = Request::get(uri).body(Body::empty()).map_err(failed)?;
        call.extensions_mut().insert(UrlTemplate("/names/{id}"));
        let response = client.oneshot(call).await.map_err(failed)?;
        let name = response.into_body().collect().await.map_err(failed)?.to_bytes();
        Ok::<_, StatusCode>(format!("Hello {}\n", String::from_utf8_lossy(&name)))
    };
    let app = Router::new().route("/greet/{id}", get(greet)).layer(trace.layer());
    axum::serve(TcpListener::bind(front).await?, app).await?;
    Ok(())
}

fn failed(error: impl std::fmt::Display) -> StatusCode {
    tracing::error!("the call failed: {error}");
    StatusCode::BAD_GATEWAY
}
