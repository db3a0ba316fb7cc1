//! A tower service on hyper without a router, where rules name the requests: `cargo run --example plain-tower`.
//!
//! `curl -i http://127.0.0.1:3000/files/2026/notes.txt`, then `curl http://127.0.0.1:3000/metrics`

use std::{error::Error, future::ready, pin::pin};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use steeple::{Steeple, core::connection::Connection, metrics::Metrics, serve::shutdown_signal};
use tokio::net::TcpListener;
use tower::ServiceBuilder;

fn answer(metrics: &Metrics, path: &str) -> Result<Response<Full<Bytes>>, http::Error> {
    if path == "/metrics" {
        let page = metrics.render(None, None);
        return Response::builder().header(CONTENT_TYPE, page.content_type).body(page.body.into());
    }
    match path.strip_prefix("/files/") {
        Some(name) => Response::builder().body(format!("this is {name}\n").into()),
        None => Response::builder().status(StatusCode::NOT_FOUND).body("there is nothing here\n".into()),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let steeple =
        Steeple::builder_from_env()?.naming(|names| names.template("/files/{*path}").skip("/metrics")).build()?;
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    tracing::info!("listening on http://{}", listener.local_addr()?);
    let mut stop = pin!(shutdown_signal());
    loop {
        let (stream, peer) = tokio::select! { accepted = listener.accept() => accepted?, () = &mut stop => break };
        let metrics = steeple.metrics().clone();
        let service = ServiceBuilder::new()
            // Tells the layer below who is at the other end.
            .map_request(move |mut request: Request<_>| {
                request.extensions_mut().insert(Connection::new(Some(peer.into())));
                request
            })
            .layer(steeple.layer())
            .service_fn(move |request: Request<_>| ready(answer(&metrics, request.uri().path())));
        let (io, service) = (TokioIo::new(stream), TowerToHyperService::new(service));
        tokio::spawn(async move { Builder::new(TokioExecutor::new()).serve_connection(io, service).await });
    }
    let _report = steeple.flush();
    Ok(())
}
