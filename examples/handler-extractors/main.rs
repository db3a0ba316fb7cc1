//! What a handler can ask of its exchange, and tell it: `cargo run --example handler-extractors`.
//!
//! `curl -i -H 'authorization: Bearer ann' http://127.0.0.1:3000/me`, or without the header; `/orders/7`, `/orders/0`

use std::error::Error;

use axum::{
    Router,
    extract::Path,
    http::{StatusCode, request::Parts},
    routing::get,
};
use steeple::{ClientAddress, CurrentUser, Exchange, RequestId, Steeple, TransactionName, User};
use tokio::net::TcpListener;

/// Answers 401 to requests without a user.
async fn me(CurrentUser(user): CurrentUser) -> String {
    format!("you are {}\n", user.id().unwrap_or("somebody"))
}

/// Never rejects, with or without a layer around it.
async fn home(
    id: RequestId,
    name: TransactionName,
    ClientAddress(address): ClientAddress,
    user: Option<CurrentUser>,
) -> String {
    let who = if user.is_some() { "somebody known" } else { "a stranger" };
    format!("{name} {id}: {who} from {address:?}\n")
}

/// All that is told is on the log line, and on whatever else watches.
async fn order(exchange: Exchange, Path(items): Path<u32>) -> Result<String, StatusCode> {
    exchange.set_name("place order");
    exchange.set_attribute("items", i64::from(items));
    let Some(share) = 100_u32.checked_div(items) else {
        exchange.record_error(&std::io::Error::other("an order of nothing"));
        return Err(StatusCode::INTERNAL_SERVER_ERROR);
    };
    Ok(format!("{share} each\n"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Stands for an authentication that verifies the token and says whose it is.
    let user_of = |head: &Parts| {
        let token = head.headers.get("authorization")?.to_str().ok()?.strip_prefix("Bearer ")?;
        Some(User::new(token))
    };
    let steeple = Steeple::builder_from_env()?.users(|users| users.user_from(user_of)).build()?;
    let app = Router::new().route("/", get(home)).route("/me", get(me)).route("/orders/{items}", get(order));
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    tracing::info!("listening on http://{}", listener.local_addr()?);
    steeple.serve(listener, app.merge(steeple.routes()).layer(steeple.layer())).await?;
    Ok(())
}
