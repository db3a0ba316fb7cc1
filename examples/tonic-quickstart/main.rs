//! A Tonic service with its metrics on the same port: `cargo run --example tonic-quickstart`.
//!
//! ```sh
//! grpcurl -plaintext -import-path examples/proto -proto greeter.proto -d '{"name":"Ann"}' \
//!     127.0.0.1:3000 greeter.v1.Greeter/Greet
//! curl http://127.0.0.1:3000/metrics
//! ```

use std::error::Error;

use steeple::Steeple;
use steeple_examples::greeter::{
    GreetRequest, GreetResponse,
    greeter_server::{Greeter, GreeterServer},
};
use tokio::net::TcpListener;
use tonic::{Request, Response, Status, service::Routes};

struct Host;

#[tonic::async_trait]
impl Greeter for Host {
    async fn greet(&self, request: Request<GreetRequest>) -> Result<Response<GreetResponse>, Status> {
        let name = request.into_inner().name;
        if name.is_empty() {
            return Err(Status::invalid_argument("a greeting needs a name"));
        }
        tracing::info!(letters = name.len(), "greeted");
        Ok(Response::new(GreetResponse { greeting: format!("Good day, {name}") }))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let steeple = Steeple::from_env()?;
    // With Tonic's own server: `Server::builder().layer(steeple.layer()).add_service(GreeterServer::new(Host))`.
    let services = Routes::new(GreeterServer::new(Host)).into_axum_router();
    let app = services.merge(steeple.routes()).layer(steeple.layer());
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    tracing::info!("listening on http://{}", listener.local_addr()?);
    steeple.serve(listener, app).await?;
    Ok(())
}
