//! Services on the stacks that people have. Without an argument this program runs each as a separate process, since each has its
//! own subscriber, Sentry client or OpenTelemetry provider, and ends with 0 when all have seen what they look for.

mod jobs;
mod metrics_crate;
mod otel_layers;
mod own_opentelemetry;
mod page;
mod second_listener;
mod sentry_tower;
mod side_by_side;
mod tonic_service;
mod websocket;
mod written;

use std::{env, error::Error, future::Future, pin::Pin, process::Command};

type Outcome = Result<(), Box<dyn Error>>;
type Service = fn() -> Pin<Box<dyn Future<Output = Outcome>>>;

const SERVICES: [(&str, Service); 9] = [
    ("jobs", || Box::pin(jobs::run())),
    ("metrics-crate", || Box::pin(metrics_crate::run())),
    ("otel-layers", || Box::pin(otel_layers::run())),
    ("own-opentelemetry", || Box::pin(own_opentelemetry::run())),
    ("second-listener", || Box::pin(second_listener::run())),
    ("sentry-tower", || Box::pin(sentry_tower::run())),
    ("side-by-side", || Box::pin(side_by_side::run())),
    ("tonic-service", || Box::pin(tonic_service::run())),
    ("websocket", || Box::pin(websocket::run())),
];

fn main() -> Outcome {
    if let Some(name) = env::args().nth(1) {
        let (_, service) = SERVICES.iter().find(|(service, _)| *service == name).ok_or("no such service")?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        return runtime.block_on(service());
    }
    for (name, _) in SERVICES {
        let status = Command::new(env::current_exe()?).arg(name).status()?;
        if !status.success() {
            return Err(format!("{name}: {status}").into());
        }
        println!("{name}: as expected");
    }
    Ok(())
}
