//! An observer that a team writes: it counts, per route, the clients that gave up, with how long they had waited, and
//! shows every client how long its answer took: `cargo run -p steeple-examples --example write-an-observer`.

use std::{error::Error, time::Duration};

use axum::{Router, http, routing::get};
use steeple::{
    Exchange, Observer, Steeple,
    core::{End, ObserveLayer},
    metrics::{BuildError, CounterFamily, Metrics},
};

/// Counts clients that gave up. A family is bounded, and its labels are scrubbed.
#[derive(Clone, Debug)]
struct Patience {
    gave_up: CounterFamily<2>,
}

impl Patience {
    fn new(metrics: &Metrics) -> Result<Self, BuildError> {
        let gave_up =
            metrics.counter("clients_gave_up_total", "Clients that gave up, by patience.", ["route", "after"])?;
        Ok(Self { gave_up })
    }
}

impl Observer for Patience {
    /// Lives from the request's head to its end. Nothing has to be remembered here: the exchange has a clock.
    type State = ();

    fn on_request(&self, _: &Exchange, request: &mut http::request::Parts) -> Option<()> {
        // Decide before allocating. `None`: this exchange is not observed, and no other hook is called.
        (request.uri.path() != "/metrics").then_some(())
    }

    fn on_response(&self, (): &mut (), exchange: &Exchange, response: &mut http::response::Parts) {
        // What an observer changes in the head, the client sees.
        let timing = format!("app;dur={:.1}", exchange.elapsed().as_secs_f64() * 1000.0);
        if let Ok(value) = http::HeaderValue::try_from(timing) {
            response.headers.insert("server-timing", value);
        }
    }

    fn on_end(&self, (): (), exchange: &Exchange, end: &End) {
        // Every exchange ends once: also if its handler panics, or its connection breaks.
        if end.outcome.is_cancelled() {
            let route = exchange.route().map_or("unmatched", |route| route.as_str());
            let after = if end.duration < Duration::from_secs(1) { "under 1 s" } else { "1 s or more" };
            self.gave_up.inc([route, after]);
        }
    }
}

async fn slow() -> &'static str {
    tokio::time::sleep(Duration::from_secs(5)).await;
    "at last\n"
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let steeple = Steeple::from_env()?;
    let patience = Patience::new(steeple.metrics())?;
    let app = Router::new()
        .route("/", get(|| async { "quick\n" }))
        .route("/slow", get(slow))
        .merge(steeple.routes())
        .layer(ObserveLayer::new(patience)) // joins the exchange of the layer outside of it: one clock, one end
        .layer(steeple.layer());
    let listener = steeple.bind(std::env::args().nth(1).as_deref().unwrap_or("127.0.0.1:3000")).await?;
    tracing::info!("listening on http://{}", listener.address());
    Ok(steeple.serve(listener, app).await?)
}
