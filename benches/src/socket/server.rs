//! A `serve` process on one core.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

/// A running server. Dropped, it is killed.
#[derive(Debug)]
pub struct Server {
    child: Child,
    port: u16,
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
        Ok(Self { child, port })
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
