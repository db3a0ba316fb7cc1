//! Latency at a fixed rate, without omission.

use std::{
    collections::VecDeque,
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

/// Latencies in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Tails {
    /// Half were faster.
    pub p50: f64,
    /// One in a hundred was slower.
    pub p99: f64,
    /// One in a thousand was slower.
    pub p999: f64,
}

const CONNECTIONS: usize = 32;

/// Sends requests at this rate, evenly, for so long, from this thread, which spins.
///
/// A latency is counted from when its request was due, not from when a connection was free for it: a server that stalls
/// has all the requests that waited counted against it.
///
/// # Errors
/// When a connection fails.
#[expect(clippy::disallowed_methods, reason = "what measures reads the clock itself")]
pub fn at_rate(port: u16, a_second: u32, duration: Duration) -> std::io::Result<Tails> {
    let mut connections = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        connections.push(Connection::open(port)?);
    }
    let request = request();
    let interval = Duration::from_secs(1) / a_second;
    let start = Instant::now();
    let (mut due, end) = (start, start + duration);
    let (mut waiting, mut latencies) = (VecDeque::new(), Vec::new());
    loop {
        let now = Instant::now();
        while due <= now && due < end {
            waiting.push_back(due);
            due += interval;
        }
        let mut busy = false;
        for connection in &mut connections {
            if let Some(since) = connection.poll()? {
                latencies.push(Instant::now().duration_since(since).as_secs_f64() * 1e6);
            }
            if connection.due.is_none()
                && let Some(due) = waiting.pop_front()
            {
                connection.send(&request, due)?;
            }
            busy |= connection.due.is_some();
        }
        if !busy && waiting.is_empty() && due >= end {
            latencies.sort_by(f64::total_cmp);
            return Ok(tails(&latencies));
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rank among some hundred thousand"
)]
fn tails(sorted: &[f64]) -> Tails {
    let at = |share: f64| sorted.get((sorted.len() as f64 * share) as usize).copied().unwrap_or(f64::NAN);
    Tails { p50: at(0.5), p99: at(0.99), p999: at(0.999) }
}

struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
    /// When the request that is under way was due.
    due: Option<Instant>,
}

impl Connection {
    fn open(port: u16) -> std::io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, read: Vec::new(), due: None })
    }

    fn send(&mut self, request: &[u8], due: Instant) -> std::io::Result<()> {
        self.due = Some(due);
        // Far less than a socket's buffer holds, and nothing else is in it.
        self.stream.write_all(request)
    }

    /// When the request was due whose response is now there to the last byte.
    fn poll(&mut self) -> std::io::Result<Option<Instant>> {
        if self.due.is_none() {
            return Ok(None);
        }
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(bytes) => self.read.extend_from_slice(buffer.get(..bytes).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
        if !is_whole(&self.read) {
            return Ok(None);
        }
        self.read.clear();
        Ok(self.due.take())
    }
}

/// Whether a response with a length is there to its end.
fn is_whole(response: &[u8]) -> bool {
    let text = String::from_utf8_lossy(response);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.and_then(|length| length.parse::<usize>().ok()).is_some_and(|length| body.len() >= length)
}

fn request() -> Vec<u8> {
    let mut text = String::from("GET /users/7?tab=orders&page=7 HTTP/1.1\r\n");
    for (name, value) in crate::workload::BROWSER {
        text.push_str(name);
        text.push_str(": ");
        text.push_str(value);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
        thread,
        time::Duration,
    };

    use super::{at_rate, is_whole, tails};

    #[test]
    fn a_response_is_whole_when_its_body_is() {
        assert!(!is_whole(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n"));
        assert!(!is_whole(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabc"));
        assert!(is_whole(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabcd"));
    }

    #[test]
    fn ranks_are_of_the_sorted_latencies() {
        let sorted: Vec<f64> = (0..1_000).map(f64::from).collect();
        assert_eq!(format!("{:?}", tails(&sorted)), "Tails { p50: 500.0, p99: 990.0, p999: 999.0 }");
    }

    /// A server that stalls once: what was due meanwhile is counted as slow, although it was sent after the stall.
    #[test]
    fn requests_that_waited_for_a_stalled_server_count_against_it() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let mut streams: Vec<_> = listener.incoming().take(32).flatten().collect();
            for stream in &streams {
                stream.set_nonblocking(true).unwrap();
            }
            thread::sleep(Duration::from_millis(300));
            loop {
                for stream in &mut streams {
                    let mut buffer = [0; 4096];
                    match stream.read(&mut buffer) {
                        Ok(0) => return,
                        Ok(_) => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap(),
                        Err(_) => thread::yield_now(),
                    }
                }
            }
        });
        let tails = at_rate(port, 1_000, Duration::from_millis(400)).unwrap();
        assert!(tails.p50 > 20_000.0, "half of all were due during the stall: {tails:?}");
    }
}
