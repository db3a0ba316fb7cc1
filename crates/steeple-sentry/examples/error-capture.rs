//! Failures of an Axum service as Sentry events: `cargo run -p steeple-sentry --example error-capture -- http://key@127.0.0.1:8000/1`
//!
//! Then `curl localhost:3000/carts/7`, `/panic` or `/stream`, and look at Sentry: one event each, with route, user, steps and no secret.

use std::{error::Error, io, time::Duration};

use axum::{
    Router,
    extract::Path,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use steeple_core::RecordedError;
use steeple_sentry::{Sentry, User, breadcrumb, set_user};

/// An error of the application. Its response carries what caused it.
struct AppError(io::Error);

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
        response.extensions_mut().insert(RecordedError::of(&self.0));
        response
    }
}

async fn cart(Path(id): Path<u32>) -> Result<String, AppError> {
    set_user(User::new("u-42"));
    breadcrumb("cart", format!("opening cart {id}"));
    Err(AppError(io::Error::other("postgres://app:hunter2@db/shop does not answer")))
}

#[expect(clippy::panic, reason = "this is what the example shows")]
async fn panics() -> StatusCode {
    panic!("out of carts")
}

async fn stream() -> axum::body::Body {
    let frames = [Ok("first"), Err(io::Error::other("the disk is gone"))];
    axum::body::Body::from_stream(tokio_stream::iter(frames))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let dsn = std::env::args().nth(1).ok_or("which DSN? Such as http://key@127.0.0.1:8000/1")?;
    let sentry = Sentry::builder(dsn).environment("example").release("shop@1.2.3").build()?.install();
    let _flushed = sentry.flush_on_drop(Duration::from_secs(10));
    let app = Router::new()
        .route("/carts/{id}", get(cart))
        .route("/panic", get(panics))
        .route("/stream", get(stream))
        .layer(sentry.layer());
    let listener =
        tokio::net::TcpListener::bind(std::env::args().nth(2).as_deref().unwrap_or("127.0.0.1:3000")).await?;
    axum::serve(listener, app).with_graceful_shutdown(async { drop(tokio::signal::ctrl_c().await) }).await?;
    Ok(())
}
