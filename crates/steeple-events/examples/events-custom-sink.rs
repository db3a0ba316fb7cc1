//! Sends events to a system that Steeple does not know: one `Protocol`, and a function that starts it.
//!
//! `cargo run -p steeple-events --example events-custom-sink --features http -- http://127.0.0.1:8080/lines`

#![expect(clippy::print_stderr, clippy::arithmetic_side_effects, reason = "an example")]

use steeple_events::{
    BuildError, Events, IntoOutlet, Outgoing, Outlet, SinkContext, Takes, Tracked,
    preset::FeatureUsed,
    sink::{endpoint, start},
};
use steeple_export::{Endpoint, HttpOptions, Protocol, Reason, Request, shutdown_all};
use steeple_scrub::{Scrubbed, Scrubber};

/// A line for each event: its name and its id.
struct Lines {
    scrubber: Scrubber,
    endpoint: Endpoint,
}

impl Protocol for Lines {
    type Item = Tracked;
    type Ready = Outgoing;

    fn size(item: &Tracked) -> usize {
        item.size()
    }

    fn scrub(&mut self, item: Tracked) -> Scrubbed<Outgoing> {
        item.scrub(&self.scrubber)
    }

    fn encode(&mut self, batch: &[Scrubbed<Outgoing>]) -> Result<Request, Reason> {
        let lines: Vec<_> = batch.iter().map(|event| [event.name(), event.id()].join(" ")).collect();
        Ok(Request::post(&self.endpoint).content_type("text/plain").body(lines.join("\n")))
    }
}

/// The sink as it is configured.
struct Ours {
    url: String,
}

impl IntoOutlet for Ours {
    fn into_outlet(self: Box<Self>, context: &SinkContext) -> Result<Outlet, BuildError> {
        let endpoint = endpoint("ours.url", &self.url)?;
        let (scrubber, target) = (context.scrubber.clone(), endpoint.clone());
        let make = move || Lines { scrubber: scrubber.clone(), endpoint: target.clone() };
        let pipeline = start(HttpOptions::new(), context, "ours", &endpoint, (1_000, 1_000_000), make)?;
        Ok(Outlet::new(pipeline, Takes::All))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "http://127.0.0.1:8080/lines".to_owned());
    let events = Events::builder().sink(Ours { url }).build()?;
    events.track(FeatureUsed { feature: "export" });

    let deadline = steeple_core::clock::now() + std::time::Duration::from_secs(5);
    for report in shutdown_all(&events.sinks(), deadline) {
        eprintln!("{report:?}");
    }
    Ok(())
}
