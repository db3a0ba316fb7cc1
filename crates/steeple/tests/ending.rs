//! How a service ends, each in a process that receives real signals.
#![cfg(all(unix, feature = "serve", feature = "sentry", feature = "trace"))]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::disallowed_methods, reason = "guards against a hang, and variables of the test alone")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use axum::{Router, routing::get};
use steeple::{
    Steeple,
    export::tls::{self, CryptoProvider},
};

/// A process that serves. Killed when a test forgets it.
struct Service {
    child: Child,
    address: SocketAddr,
}

impl Service {
    /// The service writes its address to standard error, since standard output is the log's.
    fn start(variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["serves", "--exact", "--ignored", "--nocapture"]).envs(variables.iter().copied());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = Vec::new();
        let stderr = child.stderr.as_mut().unwrap();
        // Byte by byte: what comes after the line stays for the end of the test.
        while line.last() != Some(&b'\n') {
            let mut byte = [0];
            stderr.read_exact(&mut byte).unwrap();
            line.extend(byte);
        }
        let address = String::from_utf8(line).unwrap().trim().parse().unwrap();
        Self { child, address }
    }

    fn signal(&self, name: &str) {
        let kill = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(kill.unwrap().success());
    }

    fn ask(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// Waits for the end; returns standard output, if it is to be read, and standard error.
    fn end(mut self, read_stdout: bool) -> (String, String) {
        let stdout = self.child.stdout.take().unwrap();
        // A pipe that nothing reads stays open until the process has ended.
        let (read, kept) = if read_stdout { (Some(stdout), None) } else { (None, Some(stdout)) };
        let reading = thread::spawn(move || {
            let mut text = String::new();
            read.map(|mut stdout| stdout.read_to_string(&mut text)).transpose().unwrap();
            text
        });
        let started = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(started.elapsed() < Duration::from_secs(60), "the process hangs");
            thread::sleep(Duration::from_millis(10));
        }
        drop(kept);
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        (reading.join().unwrap(), stderr)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Has ended in most tests, and then there is nothing to kill.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn until(holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(60), "it does not come");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A receiver that accepts connections and never answers.
fn silent() -> (SocketAddr, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    (listener.local_addr().unwrap(), listener)
}

#[test]
fn readiness_fails_from_the_signal_on_while_requests_are_still_served_for_the_delay() {
    let service = Service::start(&[("SHUTDOWN_DELAY", "600ms")]);
    assert!(service.ask("/readyz").unwrap().starts_with("HTTP/1.1 200"));
    service.signal("-TERM");
    until(|| service.ask("/readyz").unwrap().starts_with("HTTP/1.1 503"));
    assert!(service.ask("/hello").unwrap().ends_with("hello"), "load balancers still send requests");
    let address = service.address;
    let (stdout, _) = service.end(true);
    assert!(TcpStream::connect(address).is_err());
    assert!(stdout.contains("GET /hello 200"), "{stdout}");
}

#[test]
fn a_signal_ends_the_service_within_its_deadline_also_where_every_sink_hangs_and_what_is_left_is_reported() {
    let (receiver, _silent) = silent();
    let (dsn, endpoint) = (format!("http://public@{receiver}/1"), format!("http://{receiver}"));
    // One after the other, four waits of this length would take longer than this test waits for the end.
    let service =
        Service::start(&[("SENTRY_DSN", &dsn), ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), ("FLUSH_SECONDS", "16")]);
    service.ask("/fail").unwrap();
    // More lines than a pipe holds, and nothing reads it: the log hangs as well.
    service.ask("/chatter").unwrap();
    service.signal("-TERM");
    let (_, stderr) = service.end(false);
    for sink in ["sentry: ", "traces: ", "log: "] {
        assert!(stderr.contains(sink), "{sink} in {stderr}");
    }
}

#[test]
fn a_second_signal_ends_the_flush_and_a_third_is_not_needed_after_a_drain() {
    let (receiver, _silent) = silent();
    let dsn = format!("http://public@{receiver}/1");
    // Without the second signal this would take longer than the test waits.
    let service = Service::start(&[("SENTRY_DSN", &dsn), ("FLUSH_SECONDS", "600")]);
    service.ask("/fail").unwrap();
    service.signal("-TERM");
    until(|| TcpStream::connect(service.address).is_err());
    // It flushes now, or is about to: signals until one has come in time.
    let started = Instant::now();
    let mut service = service;
    while service.child.try_wait().unwrap().is_none() {
        assert!(started.elapsed() < Duration::from_secs(60), "the process hangs");
        service.signal("-TERM");
        thread::sleep(Duration::from_millis(50));
    }
    let (_, stderr) = service.end(true);
    assert!(stderr.contains("interrupted by a signal"), "{stderr}");
}

#[test]
fn hangup_reopens_the_files_and_ends_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("combined.log");
    let service = Service::start(&[("LOG_DIR", directory.path().to_str().unwrap())]);
    let lines = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    service.ask("/hello").unwrap();
    until(|| lines(&file).contains("GET /hello 200"));
    // As logrotate does.
    let moved = directory.path().join("moved");
    std::fs::rename(&file, &moved).unwrap();
    service.signal("-HUP");
    until(|| file.exists());
    service.ask("/hello?again").unwrap();
    until(|| lines(&file).contains("GET /hello 200"));
    service.signal("-TERM");
    service.end(true);
}

#[test]
fn hangup_reads_the_files_of_secrets_again() {
    use steeple_export::test_util::Receiver;

    let receiver = Receiver::accepting();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("dsn");
    let dsn = |key: &str, project: u8| format!("http://{key}@{}/{project}\n", receiver.address());
    std::fs::write(&file, dsn("0123456789abcdef", 1)).unwrap();
    let service = Service::start(&[("SENTRY_DSN_FILE", file.to_str().unwrap()), ("LOG_LEVEL", "info")]);
    let key_of = |request: usize| {
        let requests = receiver.wait_for(request);
        requests[request - 1].header("x-sentry-auth").unwrap().to_owned()
    };
    service.ask("/fail").unwrap();
    assert!(key_of(1).contains("sentry_key=0123456789abcdef"), "{}", key_of(1));
    std::fs::write(&file, dsn("fedcba9876543210", 2)).unwrap();
    service.signal("-HUP");
    // The signal has been handled once an event has the new key. It goes to the new project.
    until(|| {
        service.ask("/fail").unwrap();
        let requests = receiver.received();
        let last = requests.last().unwrap();
        let is_new = last.header("x-sentry-auth").unwrap().contains("sentry_key=fedcba9876543210");
        assert!(last.line.contains(if is_new { "/api/2/envelope/" } else { "/api/1/envelope/" }), "{}", last.line);
        is_new
    });
    service.signal("-TERM");
    let (stdout, stderr) = service.end(true);
    assert!(!stdout.contains("fedcba9876543210") && !stderr.contains("fedcba9876543210"), "{stdout}{stderr}");
}

#[test]
fn the_summary_has_what_was_set_up_and_each_setting_without_effect_is_a_warning() {
    let (receiver, _silent) = silent();
    let endpoint = format!("http://user:hunter2@{receiver}");
    let service = Service::start(&[
        ("SERVICE_NAME", "shop"),
        ("SERVICE_VERSION", "1.2.3"),
        ("DEPLOYMENT_ENVIRONMENT", "staging"),
        ("AWS_REGION", "eu-central-1"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ("SENTRY_DSN", "http://public@127.0.0.1:9/1"),
        ("STEEPLE_DISABLE", "sentry"),
        ("TRUSTED_PROXIES", "loopback"),
    ]);
    let address = service.address.to_string();
    let page = service.ask("/metrics").unwrap();
    assert!(page.contains("build_info{service=\"shop\",version=\"1.2.3\","), "{page}");
    service.signal("-TERM");
    let (stdout, stderr) = service.end(true);
    let summary: Vec<_> = stdout.lines().filter(|line| line.contains("steeple::start")).collect();
    assert_eq!(summary.len(), 1, "{stdout}");
    for part in [
        "shop 1.2.3 started: environment staging; region eu-central-1; ",
        &format!("http {address}; "),
        "log: Steeple's subscriber, level info, standard output; ",
        "trusted proxies: TRUSTED_PROXIES; ",
        &format!("trace: {receiver} (OTEL_EXPORTER_OTLP_ENDPOINT); "),
        "sentry: off (STEEPLE_DISABLE)",
    ] {
        assert!(summary.iter().any(|line| line.contains(part)), "{part} in {summary:?}");
    }
    assert!(!stdout.contains("hunter2") && !stderr.contains("hunter2"), "{stdout}{stderr}");

    // Without a name, it is that of the executable.
    let service = Service::start(&[]);
    let executable = std::env::current_exe().unwrap().file_stem().unwrap().to_str().unwrap().to_owned();
    let page = service.ask("/metrics").unwrap();
    assert!(page.contains(&format!("build_info{{service=\"{executable}\",version=\"\",")), "{page}");
    service.signal("-TERM");
    let (stdout, _) = service.end(true);
    assert!(stdout.contains(&format!("{executable} started: ")), "{stdout}");

    // With a subscriber that is there already, the settings of the log have no effect.
    let directory = tempfile::tempdir().unwrap();
    let service = Service::start(&[
        ("OWN_SUBSCRIBER", "yes"),
        ("LOG_DIR", directory.path().to_str().unwrap()),
        ("LOG_LEVEL", "debug"),
    ]);
    service.ask("/hello").unwrap();
    service.signal("-TERM");
    let (stdout, _) = service.end(true);
    for variable in ["LOG_DIR", "LOG_LEVEL"] {
        assert_eq!(stdout.matches(&format!("{variable} has no effect")).count(), 1, "{stdout}");
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "no empty files");
}

#[test]
fn each_kind_of_setting_without_effect_is_one_warning() {
    // Below the ports that are given out: another test may be listening on one that was free a moment ago.
    let gone = "127.0.0.1:9";
    let (receiver, _silent) = silent();
    let (endpoint, dsn) = (format!("http://{gone}"), format!("http://public@{receiver}/1"));
    let service = Service::start(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ("SENTRY_DSN", &dsn),
        ("ELASTICSEARCH_URL", "http://user:hunter2@127.0.0.1:9"),
        ("FLUSH_SECONDS", "1"),
    ]);
    for path in ["/hello", "/late?token=hunter2", "/late", "/metrics", "/metrics"] {
        assert!(service.ask(path).unwrap().starts_with("HTTP/1.1 200"), "{path}");
    }
    service.signal("-TERM");
    let (stdout, stderr) = service.end(true);
    assert!(!stdout.contains("hunter2"), "{stdout}{stderr}");
    let warnings: Vec<_> = stdout.lines().filter(|line| line.contains("\"level\":\"warn\"")).collect();
    for warning in [
        "ELASTICSEARCH_URL has no effect: ELASTICSEARCH_EVENTS_STREAM or ELASTICSEARCH_LOGS_STREAM is not set",
        &format!("trace: {endpoint} does not answer: "),
        "GET /late was answered where Steeple's layer did not see it",
        "the application has a metric of this name and of another kind",
    ] {
        assert_eq!(warnings.iter().filter(|line| line.contains(warning)).count(), 1, "{warning} in {warnings:#?}");
    }
    assert!(!stdout.contains(&format!("{receiver} does not answer")), "one that accepts connections: {stdout}");
}

#[test]
fn the_summary_has_the_tls_provider_in_whichever_order_it_was_installed() {
    for (first, provider) in [
        ("steeple", ", installed as the default"),
        ("service", "tls provider: the process's default"),
        ("keep", "tls provider: no default installed"),
    ] {
        let service = Service::start(&[("SENTRY_DSN", "http://public@127.0.0.1:9/1"), ("PROVIDER", first)]);
        // Once it answers, it handles signals.
        service.ask("/hello").unwrap();
        service.signal("-TERM");
        let (stdout, stderr) = service.end(true);
        let summary = stdout.lines().find(|line| line.contains("steeple::start"));
        let summary = summary.unwrap_or_else(|| panic!("{first}: no summary in {stdout}{stderr}"));
        assert!(summary.contains("tls provider: ") && summary.contains(provider), "{first}: {summary}");
    }
}

#[test]
#[ignore = "the process of the other tests"]
fn serves() {
    let variable = |name: &str| std::env::var(name).ok();
    if variable("OWN_SUBSCRIBER").is_some() {
        let subscriber = tracing_subscriber::fmt().with_ansi(false).finish();
        tracing::subscriber::set_global_default(subscriber).unwrap();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut options = Steeple::builder_from_env().unwrap();
        if let Some(seconds) = variable("FLUSH_SECONDS") {
            options = options.flush_timeout(Duration::from_secs(seconds.parse().unwrap()));
        }
        match variable("PROVIDER").as_deref() {
            // A service with its own default provider: see also tests/adoption, with rustls itself.
            Some("service") => {
                tls::install_default_provider(CryptoProvider::Install);
            }
            Some("keep") => options = options.crypto_provider(CryptoProvider::Keep),
            Some(_) | None => {}
        }
        let steeple = options.build().unwrap();
        let chatter = || async {
            for number in 0..4000 {
                tracing::info!(number, "a line that makes the pipe full, as a service that talks too much does");
            }
        };
        let app = Router::new()
            .route("/hello", get(|| async { "hello" }))
            .route("/fail", get(|| async { http::StatusCode::INTERNAL_SERVER_ERROR }))
            .route("/chatter", get(chatter))
            .merge(steeple.routes())
            .layer(steeple.layer())
            // As people do by mistake.
            .route("/late", get(|| async { "late" }));
        let clash = prometheus::IntGauge::new("http_requests_total", "Of the application, by mistake.").unwrap();
        prometheus::register(Box::new(clash)).unwrap();
        let listener = steeple.bind("127.0.0.1:0").await.unwrap();
        writeln!(std::io::stderr(), "{}", listener.address()).unwrap();
        steeple.serve(listener, app).await.unwrap();
    });
    // The harness would print its result, which waits where the log's pipe is full.
    if variable("FLUSH_SECONDS").is_some() {
        end_the_process();
    }
}

/// As the end of `main` does.
#[expect(clippy::exit, reason = "the harness would print, and wait")]
fn end_the_process() -> ! {
    std::process::exit(0)
}

#[test]
fn a_configuration_error_is_one_short_line_without_secrets() {
    for (variable, value) in [
        ("SENTRY_DSN", "https://hunter2hunter2hunter2hunter2@sentry.example"),
        ("OTEL_RESOURCE_ATTRIBUTES", "api.key=hunter2,bad"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://user:hunter2@collector.example"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2"),
        ("NEW_RELIC_LICENSE_KEY", "hunter2\nhunter2"),
        ("LOG_FORMAT", "xml\u{1b}[31m\nsecond line"),
        ("SLOW_REQUEST_MS", &"9".repeat(5000)),
        ("LOG_LEVEL", "https://user:hunter2@example.com"),
        ("STEEPLE_DISABLE", "ghp_16C7e42F292c6912E7710c838347Ae178B4a"),
    ] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["fails_to_start", "--exact", "--ignored", "--nocapture"]).env(variable, value);
        if variable == "OTEL_EXPORTER_OTLP_HEADERS" {
            command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9");
        }
        let output = command.stdout(Stdio::null()).stderr(Stdio::piped()).output().unwrap();
        let lines: Vec<_> = BufReader::new(&output.stderr[..]).lines().map(Result::unwrap).collect();
        assert_eq!(lines.len(), 1, "{variable}: {lines:?}");
        let line = lines.concat();
        assert!(line.contains(variable) && line.len() <= 550, "{variable}: {line}");
        for part in ["hunter2", "ghp_16", "\u{1b}"] {
            assert!(!line.contains(part), "{variable}: {line}");
        }
    }
}

#[test]
#[ignore = "the process of another test"]
fn fails_to_start() {
    let error = Steeple::builder_from_env().and_then(steeple::SteepleBuilder::build).unwrap_err();
    assert!(std::error::Error::source(&error).is_none(), "nothing that is printed beside it");
    writeln!(std::io::stderr(), "{error}").unwrap();
}
