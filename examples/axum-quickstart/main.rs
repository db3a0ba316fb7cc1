//! Everything on an Axum service, in three lines: `cargo run --example axum-quickstart`.
//!
//! ```sh
//! curl -i http://127.0.0.1:3000/users/7
//! curl http://127.0.0.1:3000/metrics
//! ```

use std::error::Error;

use axum::{Router, extract::Path, routing::get};
use steeple::Steeple;
use tokio::net::TcpListener;

async fn user(Path(id): Path<u64>) -> String {
    tracing::info!(shelf = id % 7, "looked up");
    format!("user {id}\n")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let steeple = Steeple::from_env()?;
    let app = Router::new().route("/users/{id}", get(user)).merge(steeple.routes()).layer(steeple.layer());
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    tracing::info!("listening on http://{}", listener.local_addr()?);
    steeple.serve(listener, app).await?; // graceful shutdown, then flush with a deadline
    Ok(())
}
