//! Runs the examples as programs: what they print, what they answer, how they end.

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Read, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::Value;
use steeple::core::clock;

/// Variables that the programs read, and that a test's own environment must not decide.
const READ: [&str; 14] = [
    "ALERTS_",
    "DEPLOYMENT_",
    "ELASTICSEARCH_",
    "EVENTS_",
    "GA4_",
    "LOG_",
    "MIXPANEL_",
    "NEW_RELIC_",
    "OTEL_",
    "RUST_",
    "SENTRY_",
    "SERVICE_",
    "SLOW_",
    "TRUSTED_",
];

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// An example, as cargo built it beside this test; built now if only the test was.
pub(crate) fn example(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let directory = test.ancestors().nth(2).unwrap().join("examples");
    let path = directory.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    if !path.exists() {
        let build = ["build", "--package", "steeple-examples", "--example", name, "--features", "full"];
        assert!(Command::new(env!("CARGO")).args(build).status().unwrap().success());
    }
    let mut command = Command::new(path);
    for (variable, _) in std::env::vars_os() {
        if variable.to_str().is_some_and(|variable| READ.iter().any(|prefix| variable.starts_with(prefix))) {
            command.env_remove(variable);
        }
    }
    command
}

/// A program that has said where it listens. Killed when a test forgets it.
pub(crate) struct Program {
    child: Child,
    pub(crate) address: SocketAddr,
    stdout: Lines,
    stderr: Lines,
}

/// How a program ended, and all that it printed.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

struct Lines {
    so_far: Arc<Mutex<String>>,
    reading: Option<JoinHandle<()>>,
}

impl Program {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (stdout, stderr) = (Lines::of(child.stdout.take().unwrap()), Lines::of(child.stderr.take().unwrap()));
        let mut program = Self { child, address: SocketAddr::from(([0, 0, 0, 0], 0)), stdout, stderr };
        program.address = until(|| {
            assert!(program.child.try_wait().unwrap().is_none(), "it ended: {}", program.stderr.text());
            address_in(&program.stderr.text()).or_else(|| address_in(&program.stdout.text()))
        });
        program
    }

    /// A task board on a free port.
    pub(crate) fn taskboard() -> Self {
        Self::start(example("taskboard").args(["--listen", "127.0.0.1:0"]))
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        ask(self.address, &format!("GET {path}"), &[], "")
    }

    pub(crate) fn stderr(&self) -> String {
        self.stderr.text()
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, as an orchestrator does, and waits for that.
    pub(crate) fn stop(self) -> Ended {
        self.stop_by("-TERM")
    }

    pub(crate) fn stop_by(mut self, signal: &str) -> Ended {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
        let code = until(|| self.child.try_wait().unwrap()).code();
        Ended { code, stdout: self.stdout.all(), stderr: self.stderr.all() }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Has ended in most tests, and then there is nothing to kill.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Ended {
    /// The lines on stdout, each of which has to be JSON.
    pub(crate) fn lines(&self) -> Vec<Value> {
        lines(&self.stdout)
    }

    /// The one line of an exchange with this path.
    #[track_caller]
    pub(crate) fn line(&self, path: &str) -> Value {
        let mut found = self.lines().into_iter().filter(|line| is_access(line) && line["url.path"] == path);
        let line = found.next().unwrap_or_else(|| panic!("no line of {path} in {}", self.stdout));
        assert_eq!(found.next(), None, "more than one line of {path}");
        line
    }
}

impl Lines {
    fn of(pipe: impl Read + Send + 'static) -> Self {
        let so_far = Arc::new(Mutex::new(String::new()));
        let reading = thread::spawn({
            let so_far = Arc::clone(&so_far);
            move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    let mut so_far = so_far.lock().unwrap();
                    so_far.push_str(&line);
                    so_far.push('\n');
                }
            }
        });
        Self { so_far, reading: Some(reading) }
    }

    fn text(&self) -> String {
        self.so_far.lock().unwrap().clone()
    }

    /// All of it, once the program has ended.
    fn all(&mut self) -> String {
        if let Some(reading) = self.reading.take() {
            reading.join().unwrap();
        }
        self.text()
    }
}

/// What an HTTP/1.1 server said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Sends a request and is gone before the answer.
pub(crate) fn hang_up(address: SocketAddr, request: &str) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{request} HTTP/1.1\r\nhost: {address}\r\n\r\n").unwrap();
    thread::sleep(Duration::from_millis(100));
}

/// Sends a request, such as `GET /healthz`, on a new connection.
pub(crate) fn ask(address: SocketAddr, request: &str, headers: &[&str], body: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut head = format!("{request} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    if !body.is_empty() {
        write!(head, "content-type: application/json\r\ncontent-length: {}\r\n", body.len()).unwrap();
    }
    for header in headers {
        write!(head, "{header}\r\n").unwrap();
    }
    write!(stream, "{head}\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).unwrap_or_default().parse().unwrap_or(0);
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// Waits until there is something.
#[track_caller]
pub(crate) fn until<T>(mut found: impl FnMut() -> Option<T>) -> T {
    let begin = clock::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(clock::now() - begin < PATIENCE, "nothing for {PATIENCE:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

/// Lines of JSON.
pub(crate) fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// Whether it is the line of an exchange, not one that a handler logged.
pub(crate) fn is_access(line: &Value) -> bool {
    line["target"] == "steeple::access"
}

fn address_in(text: &str) -> Option<SocketAddr> {
    let (_, rest) = text.split_once("http://")?;
    let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'))?;
    rest.get(..end)?.parse().ok()
}
