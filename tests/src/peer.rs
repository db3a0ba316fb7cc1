//! Other people's servers and tools: found by name, started on a free loopback port, stopped when dropped.
//!
//! A peer that is not there is named on standard error and its test skipped; with `STEEPLE_REQUIRE_PEERS=1`, as in
//! `.ci/run`, it is a failure. Peers are looked for in `STEEPLE_PEERS_DIR/*/bin`, on the `PATH`, and where Debian puts
//! servers. [`PEERS`] has them all, and the test binary `peers` prints which of them are here.

use std::{
    collections::BTreeSet,
    env,
    ffi::OsStr,
    fs,
    io::Write,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::Mutex,
    thread,
    time::Duration,
};

use steeple_core::test_util::peer::record;
use tempfile::TempDir;

use crate::settle::PATIENCE;

/// A program that tests of this workspace talk to.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Its binary: a name to look for, or a path below `STEEPLE_PEERS_DIR`.
    pub binary: &'static str,
    /// What the tests use it for.
    pub does: &'static str,
}

/// Every peer that a test of this workspace looks for. `.ci/peers` installs them.
pub const PEERS: &[Known] = &[
    Known { binary: "prometheus", does: "scrapes pages, evaluates rules, accepts remote writes" },
    Known { binary: "promtool", does: "checks metric names and rule files" },
    Known { binary: "prometheus-pushgateway", does: "accepts pushed metrics" },
    Known { binary: "nginx", does: "stands between two services" },
    Known { binary: "openssl", does: "makes certificates" },
    Known { binary: "prometheus-alertmanager", does: "receives alerts from Prometheus" },
    Known { binary: "postfix", does: "takes alerts by mail, as root" },
    Known { binary: "mail/bin/python", does: "refuses alerts by mail when it is asked to" },
    Known { binary: "python3", does: "verifies signatures by another implementation" },
    Known { binary: "unshare", does: "looks at the dashboard where there is no network" },
    Known { binary: "ip", does: "turns the loopback on there" },
    Known { binary: "chromium/bin/node", does: "looks at the dashboard in a real browser" },
    Known { binary: "amtool", does: "checks the configuration of an Alertmanager" },
    Known { binary: "grafana/bin/python", does: "reads dashboards with Grafana's own library" },
    Known { binary: "grafana-types/bin/tsc", does: "checks dashboards against the types of Grafana's schema" },
    Known { binary: "otlp/bin/python", does: "receives OTLP with OpenTelemetry's own classes" },
    Known { binary: "bugsink/bin/bugsink-manage", does: "receives Sentry envelopes" },
    Known { binary: "moto/bin/moto_server", does: "accepts metrics, alarms and lines as AWS does" },
    Known { binary: "moto/bin/python", does: "signs requests and reads back with AWS's own client" },
    Known { binary: "noida/bin/noida-server", does: "stores lines as Elasticsearch does" },
    Known { binary: "rsyslogd", does: "ships log files to Elasticsearch" },
    Known { binary: "sentry-relay/bin/python", does: "applies Sentry Relay's own rules to events" },
];

impl Known {
    /// Where it is on this machine.
    pub fn path(self) -> Option<PathBuf> {
        if self.binary.contains('/') {
            let directory = env::var_os("STEEPLE_PEERS_DIR").map(PathBuf::from);
            return directory.map(|directory| directory.join(self.binary)).filter(|path| is_executable(path));
        }
        locate(self.binary, search_path())
    }
}

/// Whether a peer that is missing fails the test that needs it: `STEEPLE_REQUIRE_PEERS=1`.
pub fn required() -> bool {
    steeple_core::test_util::peer::is_required()
}

/// Finds a peer's binary. `None`, once that was printed, if it is not on this machine.
///
/// # Panics
/// When it is not there and `STEEPLE_REQUIRE_PEERS=1`, and when it is not among [`PEERS`].
#[track_caller]
pub fn find(name: &str) -> Option<PathBuf> {
    let named = |known: &Known| known.binary.rsplit('/').next() == Some(name) || known.binary == name;
    assert!(PEERS.iter().any(named), "{name} is not among the known peers");
    let found = locate(name, search_path());
    record(name, found.is_some());
    if found.is_none() {
        assert!(!required(), "peer not found: {name}; STEEPLE_REQUIRE_PEERS=1 requires it");
        say_missing(name, std::panic::Location::caller().file());
    }
    found
}

/// Finds what several peers have under one name, such as an interpreter with their packages, in this one's directory.
///
/// # Panics
/// As [`find`].
#[track_caller]
pub fn find_in(peer: &str, name: &str) -> Option<PathBuf> {
    let own = env::var_os("STEEPLE_PEERS_DIR").map(|directory| PathBuf::from(directory).join(peer).join("bin"));
    let found = locate(name, own.into_iter().collect());
    if found.is_some() {
        record(&format!("{peer}/bin/{name}"), true);
    }
    found.or_else(|| find(&format!("{peer}/bin/{name}")))
}

/// The peers that were looked for and not found, so far, in this process.
pub fn missing() -> Vec<String> {
    MISSING.lock().unwrap().iter().cloned().collect()
}

static MISSING: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

fn is_news(name: &str) -> bool {
    MISSING.lock().unwrap().insert(name.to_owned())
}

fn say_missing(name: &str, test: &str) {
    if is_news(name) {
        // Not `eprintln!`, whose output a test runner keeps to itself when the test passes.
        let _closed = writeln!(std::io::stderr().lock(), "peer not found: {name} (skipped what needs it in {test})");
    }
}

fn search_path() -> Vec<PathBuf> {
    let own = env::var_os("STEEPLE_PEERS_DIR").and_then(|directory| fs::read_dir(directory).ok());
    let own = own.into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
    let path = env::var_os("PATH").unwrap_or_default();
    // Where Debian puts servers, which is not on everybody's `PATH`.
    let servers = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    own.chain(env::split_paths(&path)).chain(servers).collect()
}

fn locate(name: &str, directories: Vec<PathBuf>) -> Option<PathBuf> {
    directories.into_iter().map(|directory| directory.join(name)).find(|path| is_executable(path))
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(path: &Path) -> bool {
    path.is_file()
}

/// A loopback address whose port was free a moment ago.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("a bound socket has an address")
}

/// Runs a tool to its end, feeding it this.
///
/// # Errors
/// When it cannot be started or talked to.
pub fn run(command: &mut Command, input: &[u8]) -> std::io::Result<Output> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let stdin = child.stdin.take();
    thread::scope(|scope| {
        // Fed from another thread: a tool that answers as it reads would block both sides.
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input)));
        child.wait_with_output()
    })
}

/// A server that runs until this is dropped, in a new temporary directory.
#[derive(Debug)]
pub struct Peer {
    name: String,
    child: Child,
    address: SocketAddr,
    directory: TempDir,
}

impl Peer {
    /// Starts a binary on a free port, in an empty directory; `arguments` are made from both.
    ///
    /// Its output goes into the file `log` in that directory.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start<A: AsRef<OsStr>>(
        binary: &Path,
        arguments: impl FnOnce(SocketAddr, &Path) -> Vec<A>,
    ) -> std::io::Result<Self> {
        let directory = TempDir::new()?;
        let address = free_address();
        let log = fs::File::create(directory.path().join("log"))?;
        let child = Command::new(binary)
            .args(arguments(address, directory.path()))
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Self { name: binary.display().to_string(), child, address, directory })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The directory that it runs in.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Waits until this holds.
    ///
    /// # Panics
    /// With the peer's log, when the peer exits first or the time is up.
    pub async fn until<T, F: Future<Output = Option<T>>>(&mut self, mut ready: impl FnMut(SocketAddr) -> F) -> T {
        let address = self.address;
        let waiting = async {
            loop {
                if let Some(value) = ready(address).await {
                    return Ok(value);
                }
                if let Ok(Some(status)) = self.child.try_wait() {
                    return Err(status);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(Ok(value)) => value,
            Ok(Err(status)) => panic!("{} exited with {status}: {}", self.name, self.log()),
            Err(elapsed) => panic!("{} is not ready: {elapsed}: {}", self.name, self.log()),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn a_binary_is_found_in_the_first_directory_that_has_an_executable_one() {
        use std::os::unix::fs::PermissionsExt;
        let [first, second, third] = std::array::from_fn(|_| TempDir::new().unwrap());
        fs::write(first.path().join("peer"), "not executable").unwrap();
        for directory in [&second, &third] {
            let path = directory.path().join("peer");
            fs::write(&path, "#!/bin/sh\n").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let directories = [&first, &second, &third].map(|directory| directory.path().to_owned()).to_vec();
        assert_eq!(locate("peer", directories.clone()), Some(second.path().join("peer")));
        assert_eq!(locate("nobody", directories), None);
    }

    #[test]
    fn a_missing_peer_is_remembered_once() {
        assert!(is_news("no-such-peer"));
        assert!(!is_news("no-such-peer"));
        assert!(missing().contains(&"no-such-peer".to_owned()));
    }

    #[test]
    #[cfg(unix)]
    fn a_tool_gets_its_input_and_gives_its_output() {
        let input = vec![b'x'; 1 << 20];
        let output = run(&mut Command::new("cat"), &input).unwrap();
        assert!(output.status.success() && output.stdout == input);
    }

    #[tokio::test]
    #[cfg(unix)]
    async fn a_peer_is_stopped_when_it_is_dropped() {
        let arguments =
            |address: SocketAddr, _: &Path| vec!["-c".to_owned(), format!("echo at {address}; exec sleep 600")];
        let mut peer = Peer::start(Path::new("/bin/sh"), arguments).unwrap();
        let wanted = format!("at {}", peer.address());
        let said = std::cell::RefCell::new(String::new());
        let log = peer.directory().join("log");
        peer.until(|_| {
            *said.borrow_mut() = fs::read_to_string(&log).unwrap();
            let ready = said.borrow().contains(&wanted).then_some(());
            async move { ready }
        })
        .await;
        let pid = peer.child.id();
        drop(peer);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
        assert!(!log.exists(), "its directory is gone");
    }
}
