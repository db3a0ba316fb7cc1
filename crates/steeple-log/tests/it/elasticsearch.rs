//! Lines in a real server that speaks Elasticsearch's REST API, shipped by us and by rsyslog.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use steeple_core::{clock, test_util::peer};
use steeple_export::{
    DropReason, Retry, Sink,
    store::spool::Spool,
    test_util::{Received, Receiver, Reply},
};
use steeple_log::{Format, Log, LogGuard, elasticsearch::Elasticsearch};
use tracing_subscriber::layer::SubscriberExt;

const HANG: Duration = Duration::from_secs(120);

/// The server, on a free port until this is dropped.
struct Server {
    child: Child,
    address: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Server {
    fn start() -> Option<Self> {
        let program = peer::program("noida/bin/noida-server")?;
        let directory = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new(program)
            .args(["start", "--host", "127.0.0.1", "--only", "elasticsearch", "--data-dir"])
            .arg(directory.path())
            .args(["--elasticsearch-port", &address.port().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { child, address, _directory: directory };
        let began = clock::now();
        while TcpStream::connect(address).is_err() {
            assert!(began.elapsed() < HANG, "the server does not start");
            thread::sleep(Duration::from_millis(20));
        }
        Some(server)
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A request, and the answer as JSON.
    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = body.to_string();
        let mut stream = TcpStream::connect(self.address).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n{body}",
            self.address,
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {head}\n{body}"))
    }

    /// How many documents of a stream match.
    fn count(&self, stream: &str, query: &Value) -> u64 {
        self.ask("POST", &format!("/{stream}/_refresh"), &json!({}));
        self.ask("POST", &format!("/{stream}/_count"), &json!({"query": query}))["count"].as_u64().unwrap_or(0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A log whose lines go there, and what they are sent with.
fn log(lines: Elasticsearch) -> (LogGuard, Arc<dyn Sink>) {
    let fast = Retry::new().base(Duration::from_millis(2)).cap(Duration::from_millis(20));
    let lines = lines.http(|http| http.retry(fast)).build().unwrap();
    let sink = lines.sink();
    let guard = Log::builder().service_name("shop").without_console().output(lines, Format::Ecs).build().unwrap();
    (guard, sink)
}

fn flush(guard: &LogGuard, sink: &Arc<dyn Sink>) -> steeple_export::FlushReport {
    assert!(guard.flush(HANG));
    sink.flush(clock::now() + HANG)
}

#[test]
fn the_server_has_every_line_once_searchable_and_one_that_does_not_fit_is_set_aside() {
    let Some(server) = Server::start() else { return };
    let stream = "logs-shop-test";
    let lines = Elasticsearch::new(server.url(), stream);
    lines.clone().install_template(HANG).unwrap();
    let (guard, sink) = log(lines);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(guard.layer()), || {
        for number in 0..2_000 {
            tracing::info!(number, "line of grüße {number}");
            if number == 1_000 {
                // `error.type` is text of ours; the mapping of the next line rejects other types.
                tracing::error!(error.type = "Timeout", "it timed out");
            }
        }
        let report = flush(&guard, &sink);
        assert!(report.is_complete(), "{report:?} {:?}", sink.stats());
    });
    assert_eq!(server.count(stream, &json!({"match_all": {}})), 2_001);
    assert_eq!(server.count(stream, &json!({"term": {"labels.number": "17"}})), 1);
    assert_eq!(server.count(stream, &json!({"term": {"error.type": "Timeout"}})), 1);
    assert_eq!(server.count(stream, &json!({"term": {"log.level": "info"}})), 2_000);

    // Somebody's mapping says that this label is a number.
    let mapping = json!({"properties": {"labels": {"properties": {"size": {"type": "long"}}}}});
    server.ask("PUT", &format!("/{stream}/_mapping"), &mapping);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(guard.layer()), || {
        for size in ["1", "2", "large", "4"] {
            tracing::info!(size, "sized");
        }
        let report = flush(&guard, &sink);
        assert_eq!((report.exported, report.dropped, report.left), (3, 1, 0), "{:?}", sink.stats());
    });
    assert_eq!(sink.stats().dropped(DropReason::Rejected), 1);
    assert_eq!(server.count(stream, &json!({"match_all": {}})), 2_004);
}

#[test]
fn an_answer_that_is_lost_a_full_server_and_an_outage_make_no_line_missing_and_none_twice() {
    let Some(server) = Server::start() else { return };
    let stream = "logs-shop-storm";
    Elasticsearch::new(server.url(), stream).install_template(HANG).unwrap();
    let upstream = server.address;
    // In front of the server: every third answer is lost after the server has stored it, every fifth request is refused, every
    // seventh fails.
    let storm = Receiver::start(move |received: &Received, number| match number % 7 {
        1 => Reply::status(http::StatusCode::TOO_MANY_REQUESTS).with("retry-after", "0"),
        3 => Reply::status(http::StatusCode::SERVICE_UNAVAILABLE),
        5 => Reply::Reset,
        place => {
            let answer = forward(upstream, received);
            if place == 2 { Reply::Reset } else { Reply::ok(answer) }
        }
    });
    let (guard, sink) = log(Elasticsearch::new(format!("http://{}", storm.address()), stream));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(guard.layer()), || {
        for batch in 0..20 {
            for number in 0..50 {
                tracing::info!(number = batch * 50 + number, "line");
            }
            let report = flush(&guard, &sink);
            assert!(report.is_complete(), "{report:?} {:?}", sink.stats());
        }
    });
    assert_eq!(server.count(stream, &json!({"match_all": {}})), 1_000);
    assert_eq!((sink.stats().exported, sink.stats().dropped_total()), (1_000, 0));
}

fn spooled(url: &str, stream: &str, directory: &Path) -> (LogGuard, Arc<dyn Sink>) {
    let fast = Retry::new().base(Duration::from_millis(2)).cap(Duration::from_millis(20));
    let lines = Elasticsearch::new(url, stream).spool(Spool::builder(directory));
    let lines = lines.http(|http| http.retry(fast).batch_delay(Duration::from_millis(5))).build().unwrap();
    let sink = lines.sink();
    let guard = Log::builder().service_name("shop").without_console().output(lines, Format::Ecs).build().unwrap();
    (guard, sink)
}

fn log_numbers(guard: &LogGuard, numbers: std::ops::Range<u32>) {
    tracing::subscriber::with_default(tracing_subscriber::registry().with(guard.layer()), || {
        for number in numbers {
            tracing::info!(number, "line of grüße {number}");
            if number % 1_000 == 999 {
                assert!(guard.flush(HANG));
            }
        }
    });
    // On disk.
    assert!(guard.flush(HANG));
}

#[test]
#[ignore = "run by another test, which kills it"]
fn logs_until_it_is_killed() {
    let variable = |name| env::var_os(name).unwrap().into_string().unwrap();
    let number = |name| variable(name).parse().unwrap();
    let (guard, sink) = spooled(&variable("SPOOL_URL"), "logs-shop-spool", Path::new(&variable("SPOOL_DIRECTORY")));
    log_numbers(&guard, number("SPOOL_FROM")..number("SPOOL_TO"));
    loop {
        writeln!(std::io::stdout(), "exported {}", sink.stats().exported).unwrap();
        thread::sleep(Duration::from_millis(5));
    }
}

/// Kills a process that logs these numbers, once it has logged them all and this many lines were exported.
fn killed(url: &str, directory: &Path, from: u32, to: u32, exported: u64) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["elasticsearch::logs_until_it_is_killed", "--exact", "--ignored", "--nocapture"])
        .env("SPOOL_URL", url)
        .env("SPOOL_DIRECTORY", directory)
        .env("SPOOL_FROM", from.to_string())
        .env("SPOOL_TO", to.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut numbers = output.lines().filter_map(|line| line.unwrap().strip_prefix("exported ")?.parse::<u64>().ok());
    let was_printed = numbers.any(|number| number >= exported);
    // SIGKILL.
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(was_printed, "the process ended by itself");
}

#[test]
fn lines_that_killed_processes_left_on_disk_are_in_the_server_once_each() {
    let Some(server) = Server::start() else { return };
    let stream = "logs-shop-spool";
    Elasticsearch::new(server.url(), stream).install_template(HANG).unwrap();
    let upstream = server.address;
    // In front of the server: some answers are lost after the server has stored the lines, some requests fail.
    let storm = Receiver::start(move |received: &Received, number| match number % 5 {
        1 => Reply::status(http::StatusCode::TOO_MANY_REQUESTS).with("retry-after", "0"),
        3 => Reply::Reset,
        place => {
            let answer = forward(upstream, received);
            if place == 2 { Reply::Reset } else { Reply::ok(answer) }
        }
    });
    let url = format!("http://{}", storm.address());
    let directory = tempfile::tempdir().unwrap();
    // Nothing listens there.
    killed("http://127.0.0.1:9", directory.path(), 0, 8_000, 0);
    // In the middle of a delivery: lines under way are sent again, with the same ids.
    killed(&url, directory.path(), 8_000, 12_000, 1_000);
    let (guard, sink) = spooled(&url, stream, directory.path());
    log_numbers(&guard, 12_000..13_000);
    let report = sink.flush(clock::now() + HANG);
    assert!(report.is_complete(), "{report:?} {:?}", sink.stats());
    assert_eq!(server.count(stream, &json!({"match_all": {}})), 13_000);
    for number in [0, 7_999, 8_000, 12_999] {
        let query = json!({"term": {"labels.number": number.to_string()}});
        assert_eq!(server.count(stream, &query), 1, "{number}");
    }
    let stats = sink.stats();
    assert_eq!((stats.dropped_total(), stats.queued_items), (0, 0), "{stats:?}");
}

#[test]
fn a_directory_in_which_nothing_can_be_kept_is_an_error_with_its_name() {
    let lines = Elasticsearch::new("http://127.0.0.1:9", "logs-shop-spool").spool(Spool::builder("/dev/null/lines"));
    let error = lines.build().unwrap_err();
    assert!(error.is_spool(), "{error}");
    let source = std::error::Error::source(&error).unwrap();
    assert!(source.to_string().contains("/dev/null/lines/elasticsearch_logs"), "{source}");
}

/// Sends a request on, and returns the answer's body.
fn forward(to: SocketAddr, received: &Received) -> String {
    let mut stream = TcpStream::connect(to).unwrap();
    let mut head = format!("{}\r\nconnection: close\r\n", received.line);
    for (name, value) in received.headers.iter().filter(|(name, _)| name != "connection") {
        head.extend([name.as_str(), ": ", value, "\r\n"]);
    }
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(b"\r\n").unwrap();
    stream.write_all(&received.body).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[test]
fn rsyslog_ships_the_file_with_the_configuration_that_is_documented() {
    let rsyslogd = Path::new("/usr/sbin/rsyslogd");
    if !rsyslogd.exists() {
        return peer::missing("rsyslogd", &"not where Debian puts it");
    }
    peer::record("rsyslogd", true);
    let Some(server) = Server::start() else { return };
    let directory = tempfile::tempdir().unwrap();
    let [spool, logs] = ["spool", "logs"].map(|name| directory.path().join(name));
    fs::create_dir_all(&spool).unwrap();
    Elasticsearch::new(server.url(), "logs-shop-production").install_template(HANG).unwrap();
    // As it is shipped, but for directories and ports.
    let configuration = include_str!("../../elasticsearch/rsyslog.conf")
        .replace("/var/spool/rsyslog", spool.to_str().unwrap())
        .replace("/var/log/shop", logs.to_str().unwrap())
        .replace("9200", &server.address.port().to_string());
    let file = directory.path().join("rsyslog.conf");
    fs::write(&file, configuration).unwrap();
    let checked = Command::new(rsyslogd).args(["-N1", "-f"]).arg(&file).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));

    let guard = Log::builder().service_name("shop").without_console().directory_as(&logs, Format::Ecs).build().unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(guard.layer()), || {
        for number in 0..300 {
            tracing::info!(number, "line of grüße \"{number}\" \\ 100 %");
        }
    });
    assert!(guard.flush(HANG));
    let mut shipper = Stopped(
        Command::new(rsyslogd)
            .args(["-n", "-f"])
            .arg(&file)
            .arg("-i")
            .arg(directory.path().join("pid"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let began = clock::now();
    let stored = || server.count("logs-shop-production", &json!({"match_all": {}}));
    while stored() < 300 {
        let refused = fs::read_to_string(spool.join("elasticsearch-refused.json")).unwrap_or_default();
        assert!(began.elapsed() < HANG && shipper.0.try_wait().unwrap().is_none(), "{} of 300: {refused}", stored());
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(stored(), lines_of(&logs.join("combined.log")));
    assert_eq!(server.count("logs-shop-production", &json!({"term": {"labels.number": "299"}})), 1);
}

fn lines_of(file: &Path) -> u64 {
    fs::read_to_string(file).unwrap().lines().count() as u64
}

struct Stopped(Child);

impl Drop for Stopped {
    fn drop(&mut self) {
        let _gone_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}
