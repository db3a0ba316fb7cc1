//! wrk and h2load, and what they say.

use std::{fmt::Write as _, fs, path::PathBuf, process::Command};

use crate::workload::{Sampled, requests};

/// What makes the load, on core 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generator {
    /// HTTP/1.1 with 32 connections, the requests of the workload in turn.
    Wrk,
    /// HTTP/2 with 8 connections of 8 streams, `GET /users/{id}` with a browser's headers.
    H2load,
}

/// What one run showed.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Requests that were answered.
    pub requests: f64,
    /// Requests a second.
    pub rate: f64,
    /// The median latency in microseconds. h2load says the mean.
    pub typical_micros: f64,
}

impl Generator {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wrk => "wrk",
            Self::H2load => "h2load",
        }
    }

    /// The Debian package that has it.
    pub fn package(self) -> &'static str {
        match self {
            Self::Wrk => "wrk",
            Self::H2load => "nghttp2-client",
        }
    }

    /// Whether it is installed.
    pub fn is_there(self) -> bool {
        Command::new("sh")
            .args(["-c", &format!("command -v {}", self.name())])
            .output()
            .is_ok_and(|o| o.status.success())
    }

    /// Loads the server at this port for so many seconds.
    ///
    /// # Errors
    /// What went wrong, with what the generator said.
    pub fn run(self, port: u16, seconds: u64) -> Result<Load, String> {
        let mut command = Command::new("taskset");
        command.args(["-c", "1", self.name()]);
        match self {
            Self::Wrk => command
                .args(["-t1", "-c32", "--latency", &format!("-d{seconds}s"), "-s"])
                .arg(script()?)
                .arg(format!("http://127.0.0.1:{port}")),
            Self::H2load => {
                command.args(["-t1", "-c8", "-m8", "-D", &seconds.to_string()]);
                for (name, value) in headers(1) {
                    command.args(["-H", &format!("{name}: {value}")]);
                }
                command.arg(format!("http://127.0.0.1:{port}/users/1?tab=orders&page=1"))
            }
        };
        let output = command.output().map_err(|error| format!("cannot run taskset: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        self.read(&text).ok_or_else(|| format!("{} said no figures: {text}", self.name()))
    }

    fn read(self, text: &str) -> Option<Load> {
        match self {
            Self::Wrk => Some(Load {
                requests: before(text, " requests in ")?.parse().ok()?,
                rate: after(text, "Requests/sec:")?.parse().ok()?,
                // The line of the median: a share of `95.50%` may stand above it.
                typical_micros: micros(text.lines().find_map(|line| line.trim().strip_prefix("50%"))?.trim())?,
            }),
            Self::H2load => Some(Load {
                requests: before(text, " succeeded")?.parse().ok()?,
                rate: before(text, " req/s")?.parse().ok()?,
                typical_micros: {
                    let times = text.lines().find(|line| line.starts_with("time for request:"))?;
                    micros(times.split_ascii_whitespace().nth(5)?)?
                },
            }),
        }
    }
}

/// The word before `mark`.
fn before<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    text.split_once(mark)?.0.split_ascii_whitespace().next_back()
}

/// The word after `mark`.
fn after<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    text.split_once(mark)?.1.split_ascii_whitespace().next()
}

/// `235.00us`, `1.12ms`, `2.00s`.
fn micros(text: &str) -> Option<f64> {
    let (number, scale) = if let Some(number) = text.strip_suffix("us") {
        (number, 1.0)
    } else if let Some(number) = text.strip_suffix("ms") {
        (number, 1e3)
    } else {
        (text.strip_suffix('s')?, 1e6)
    };
    Some(number.parse::<f64>().ok()? * scale)
}

fn headers(number: usize) -> Vec<(String, String)> {
    // HTTP/2 knows no `connection`, and `host` is its `:authority`.
    let mut requests = requests(Sampled::Tenth);
    let request = requests.swap_remove(number);
    let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.as_str().to_owned(), value.to_str().unwrap_or_default().to_owned())
    };
    request.headers().iter().map(header).filter(|(name, _)| name != "connection" && name != "host").collect()
}

/// The workload as a script for wrk: its requests as they go over the wire, in turn.
fn script() -> Result<PathBuf, String> {
    let mut text = String::from("local requests = {}\n");
    for request in requests(Sampled::Tenth) {
        let (parts, body) = request.into_parts();
        let body =
            crate::workload::block_on(http_body_util::BodyExt::collect(body)).map_err(|error| error.to_string())?;
        let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        let mut raw = format!("{} {} HTTP/1.1\r\n", parts.method, parts.uri);
        for (name, value) in &parts.headers {
            let _infallible = write!(raw, "{name}: {}\r\n", value.to_str().unwrap_or_default());
        }
        let _infallible = write!(raw, "content-length: {}\r\n\r\n{body}", body.len());
        let _infallible = writeln!(text, "requests[#requests + 1] = {}", quoted(&raw));
    }
    text.push_str("local at = 0\nrequest = function()\n  at = at % #requests + 1\n  return requests[at]\nend\n");
    let path = std::env::temp_dir().join(format!("steeple-workload-{}.lua", std::process::id()));
    fs::write(&path, text).map_err(|error| error.to_string())?;
    Ok(path)
}

/// A string as Lua writes it.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\r', "\\r").replace('\n', "\\n");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::Generator;

    #[test]
    fn what_wrk_says_is_read() {
        let text = "Running 2s test\n    Latency   395.30us  314.76us   3.04ms   95.50%\n  Latency Distribution\n     50%  235.50us\n     75%    1.02ms\n  \
                    249822 requests in 2.00s, 30.10MB read\nRequests/sec: 124911.12\nTransfer/sec: 15.05MB\n";
        let load = Generator::Wrk.read(text).unwrap();
        assert_eq!(format!("{load:?}"), "Load { requests: 249822.0, rate: 124911.12, typical_micros: 235.5 }");
    }

    #[test]
    fn what_h2load_says_is_read() {
        let text = "finished in 2.00s, 98765.50 req/s, 9.61MB/s\n\
                    requests: 197531 total, 197595 started, 197531 done, 197531 succeeded, 0 failed, 0 errored, 0 timeout\n\
                    time for request:      123us      5.02ms      640us      210us    80.10%\n";
        let load = Generator::H2load.read(text).unwrap();
        assert_eq!(format!("{load:?}"), "Load { requests: 197531.0, rate: 98765.5, typical_micros: 640.0 }");
    }
}
