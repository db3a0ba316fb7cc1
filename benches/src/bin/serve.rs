//! One stack behind a socket: what `socket` measures, in a process of its own.
//!
//! `serve ROW SINK` serves on a port of its own choosing, which is the first line on standard error. Steeple's `everything`
//! is the facade as an application uses it: lines to standard output, spans by OTLP over HTTP and errors to Sentry, both
//! sent to the port `SINK` of this machine. The other rows are those of the tables.
#![expect(clippy::print_stderr, reason = "a program that says where it listens")]

use std::error::Error;

use steeple::{
    Steeple,
    trace::{Otlp, Sampling},
};
use steeple_benches::{
    rows::{EVERYTHING, find},
    workload::router,
};
use tokio::net::TcpListener;
use tower::make::Shared;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(name), Some(sink)) = (arguments.next(), arguments.next()) else { return Err("serve ROW SINK".into()) };
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    eprintln!("{}", listener.local_addr()?.port());
    if name == EVERYTHING {
        let steeple = facade(&sink)?;
        let app = router().merge(steeple.routes()).layer(steeple.layer());
        return Ok(steeple.serve(listener, app).await?);
    }
    let row = find(&name).ok_or("no such row")?;
    Ok(axum::serve(listener, Shared::new(row.app())).await?)
}

fn facade(sink: &str) -> Result<Steeple, Box<dyn Error>> {
    let steeple = Steeple::builder()
        .service_name("shop")
        .sentry(|sentry| sentry.dsn(format!("http://public@127.0.0.1:{sink}/1")))
        .traces(|traces| {
            let traces = traces.sampling(Sampling::ratio(0.1).parent_based());
            traces.otlp(Otlp::new().endpoint(format!("http://127.0.0.1:{sink}/v1/traces")))
        })
        .build()?;
    Ok(steeple)
}
