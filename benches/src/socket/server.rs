//! A `serve` process on one core.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpStream,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use tempfile::TempDir;

/// A running server. Dropped, it is killed.
#[derive(Debug)]
pub struct Server {
    child: Child,
    port: u16,
    /// Where it keeps its files.
    _directory: Option<TempDir>,
}

impl Server {
    /// Starts a row's server on core 0; its spans and errors go to `sink`, its lines into nothing.
    ///
    /// # Errors
    /// What kept it from starting.
    pub fn start(row: &str, sink: u16) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?.with_file_name("serve");
        if !program.exists() {
            return Err(format!("{} is not built: build all programs with the same features", program.display()));
        }
        let mut child = Command::new("taskset")
            .args(["-c", "0"])
            .arg(program)
            .args([row, &sink.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot run taskset: {error}"))?;
        let mut line = String::new();
        if let Some(stderr) = child.stderr.take() {
            BufReader::new(stderr).read_line(&mut line).map_err(|error| error.to_string())?;
        }
        let port = line.trim().parse().map_err(|_none| format!("{row} does not serve: {line}"))?;
        Ok(Self { child, port, _directory: None })
    }

    /// Starts what will listen on this port.
    ///
    /// # Errors
    /// What kept it from starting.
    pub(super) fn of_command(mut command: Command, port: u16, directory: TempDir) -> Result<Self, String> {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.map_err(|error| format!("cannot run taskset: {error}"))?;
        // From here on it is killed when it does not come up.
        let mut server = Self { child, port, _directory: Some(directory) };
        for _ in 0..500 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(server);
            }
            if let Ok(Some(status)) = server.child.try_wait() {
                return Err(format!("{command:?} has ended: {status}"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Err(format!("{command:?} does not listen on {port}"))
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Seconds of processor time so far, in user code and in the kernel, of all its threads.
    pub fn cpu_seconds(&self) -> f64 {
        // Hundredths of a second: what Linux gives to user space, whatever its own tick.
        const TICKS: f64 = 100.0;
        let text = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        // The name before it may hold blanks.
        let fields = text.rsplit(')').next().unwrap_or_default().split_ascii_whitespace();
        let ticks: f64 = fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
        ticks / TICKS
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}
