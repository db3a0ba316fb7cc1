//! The task board as a program: `cargo run -p steeple-examples --example taskboard -- --traffic 50`.
//!
//! What it serves is at [`steeple_examples::taskboard`]; what it takes, at [`cli::USAGE`].

use std::{
    error::Error,
    fmt::{Display, Write as _},
    io::{self, Write as _},
    net::SocketAddr,
    num::NonZeroU32,
    process::ExitCode,
};

use steeple::{
    Steeple,
    serve::{Shutdown, shutdown_signal},
};
use steeple_examples::taskboard::{
    App, Scratch,
    cli::{self, Command, Config},
    configure, router,
    traffic::{self, Tally},
    watch,
};
use tokio::net::TcpListener;

fn main() -> ExitCode {
    match cli::parse(std::env::args_os().skip(1)) {
        Ok(Command::Help) => {
            write!(io::stdout(), "{}", cli::USAGE).ok();
            ExitCode::SUCCESS
        }
        Ok(Command::Print(file)) => {
            write!(io::stdout(), "{}", file.contents()).ok();
            ExitCode::SUCCESS
        }
        Ok(Command::Run(config)) => match run(config) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                say(format_args!("taskboard: {}", in_one_line(&*error)));
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            say(format_args!("taskboard: {error}"));
            ExitCode::from(2)
        }
    }
}

#[tokio::main]
async fn run(mut config: Config) -> Result<(), Box<dyn Error>> {
    let signal = shutdown_signal();
    // What the traffic's users do is in a file, to be looked at while it runs.
    let scratch = if config.traffic > 0 && config.events.is_none() { Some(Scratch::new()?) } else { None };
    config.events = config.events.or_else(|| Some(scratch.as_ref()?.path().join("events.ndjson")));
    let options = configure(&config, Steeple::builder_from_env()?);
    let app = App::open(config.db.as_deref())?;
    let steeple = watch(&app, options).build()?;
    app.measure(&steeple);
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", config.listen))?;
    let address = listener.local_addr()?;
    let stop = app.shutdown().clone();
    say(where_to_look(address, &config));
    let traffic = tokio::spawn(until_told(config, address, signal, stop.clone()));

    let app = router(app).merge(steeple.routes()).merge(steeple.dashboard()).layer(steeple.layer());
    steeple.serve_until(listener, app, async move { stop.begun().await }).await?;

    if let Some(tally) = traffic.await? {
        say(format_args!("\nWhat the traffic saw:\n{tally}"));
    }
    Ok(())
}

/// Sends traffic until a signal comes or the time is up. The service goes on until the last answer is there.
async fn until_told(
    config: Config,
    address: SocketAddr,
    signal: impl Future<Output = ()>,
    stop: Shutdown,
) -> Option<Tally> {
    let told = async {
        let time_is_up = async {
            match config.duration {
                Some(duration) => tokio::time::sleep(duration).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = signal => (),
            () = time_is_up => (),
        }
    };
    let tally = if let Some(rate) = NonZeroU32::new(config.traffic) {
        Some(traffic::run(address, rate, told).await)
    } else {
        told.await;
        None
    };
    stop.begin();
    tally
}

fn where_to_look(address: SocketAddr, config: &Config) -> String {
    let mut text = format!("taskboard: http://{address} speaks REST and gRPC, over HTTP/1.1 and h2c\n");
    match &config.db {
        Some(path) => writeln!(text, "  database  {}", path.display()),
        None if cfg!(feature = "full") => writeln!(text, "  database  temporary, removed at the end; --db keeps one"),
        None => writeln!(text, "  database  in memory; with --features full, SQLite"),
    }
    .ok();
    // Who sees the first panic go by should know that it was asked for.
    let kind = if config.traffic > 0 { "; some fail, hang up or panic, as asked" } else { "" };
    writeln!(text, "  traffic   {} requests a second{kind}", config.traffic).ok();
    if let Some(path) = config.events.as_deref().filter(|path| path.exists()) {
        writeln!(text, "  events    tail -f {}", path.display()).ok();
    }
    writeln!(text, "  dashboard http://{address}/steeple").ok();
    let places =
        [("metrics", "/metrics"), ("health", "/readyz"), ("a project", "/api/projects/1"), ("an error", "/lab/fail")];
    for (what, path) in places {
        writeln!(text, "  {what:<9} curl -i http://{address}{path}").ok();
    }
    text.push_str("  stop      Ctrl-C\n");
    text
}

/// To stderr, so that stdout is log lines and nothing else. A closed stderr does not stop it.
fn say(text: impl Display) {
    writeln!(io::stderr(), "{text}").ok();
}

fn in_one_line(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        write!(text, ": {error}").ok();
        source = error.source();
    }
    text
}
