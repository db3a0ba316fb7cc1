use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use http::StatusCode;
use steeple_core::clock;

use crate::Endpoint;

/// After this long a test that waits has failed.
pub(super) const HANG: Duration = Duration::from_secs(2 * 60);

/// A real HTTP/1.1 server on loopback whose answers a test decides.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    received: Vec<Received>,
    is_released: bool,
}

/// A request, as it came over the wire.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Received {
    /// `POST /path HTTP/1.1`.
    pub line: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// When it was read.
    pub at: Instant,
}

impl Received {
    /// The first header of a name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What a receiver does with a request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Reply {
    /// Answers.
    Answer {
        /// The status.
        status: StatusCode,
        /// Headers besides `content-length`.
        headers: Vec<(&'static str, String)>,
        /// The body.
        body: String,
    },
    /// Answers nothing, until [`Receiver::release`]; then with 200.
    Hang,
    /// Answers with this, but not before [`Receiver::release`].
    Held(Box<Self>),
    /// Closes the connection.
    Reset,
    /// Answers with half a head, and closes the connection.
    Half,
}

impl Reply {
    /// An answer without a body.
    pub fn status(status: StatusCode) -> Self {
        Self::Answer { status, headers: Vec::new(), body: String::new() }
    }

    /// 200 with a body.
    pub fn ok(body: impl Into<String>) -> Self {
        Self::Answer { status: StatusCode::OK, headers: Vec::new(), body: body.into() }
    }

    /// Adds a header to an answer.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        if let Self::Answer { headers, .. } = &mut self {
            headers.push((name, value.into()));
        }
        self
    }
}

impl Receiver {
    /// Starts one. `reply` sees each request and its number, from 0.
    pub fn start(reply: impl Fn(&Received, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let (reply, listening) = (Arc::new(reply), Arc::clone(&shared));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { continue };
                let (reply, shared) = (Arc::clone(&reply), Arc::clone(&listening));
                thread::spawn(move || shared.serve(stream, &*reply));
            }
        });
        Self { address, shared }
    }

    /// Answers everything with 200.
    pub fn accepting() -> Self {
        Self::start(|_, _| Reply::ok(""))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint::parse(&format!("http://{}/receive", self.address)).unwrap()
    }

    /// What has come so far.
    pub fn received(&self) -> Vec<Received> {
        self.shared.lock().received.clone()
    }

    /// Waits for so many requests.
    pub fn wait_for(&self, requests: usize) -> Vec<Received> {
        let state = self.shared.lock();
        let waited = self.shared.changed.wait_timeout_while(state, HANG, |state| state.received.len() < requests);
        let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!timeout.timed_out(), "{} of {requests} requests came", state.received.len());
        state.received.clone()
    }

    /// Answers whatever hangs, and hangs no more.
    pub fn release(&self) {
        self.shared.lock().is_released = true;
        self.shared.changed.notify_all();
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.release();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, stream: TcpStream, reply: &(dyn Fn(&Received, usize) -> Reply + Send + Sync)) {
        let Ok(mut writer) = stream.try_clone() else { return };
        let mut reader = BufReader::new(stream);
        while let Some(received) = read(&mut reader) {
            let mut state = self.lock();
            let number = state.received.len();
            state.received.push(received.clone());
            drop(state);
            self.changed.notify_all();
            let mut reply = reply(&received, number);
            if matches!(reply, Reply::Hang | Reply::Held(_)) {
                let waited = self.changed.wait_timeout_while(self.lock(), HANG, |state| !state.is_released);
                drop(waited);
                reply = if let Reply::Held(reply) = reply { *reply } else { Reply::ok("") };
            }
            let Reply::Answer { status, headers, body } = reply else {
                if matches!(reply, Reply::Half) {
                    let _gone = writer.write_all(b"HTTP/1.1 200 O");
                }
                let _gone = writer.shutdown(Shutdown::Both);
                return;
            };
            let mut answer = format!("HTTP/1.1 {} x\r\ncontent-length: {}\r\n", status.as_u16(), body.len());
            for (name, value) in headers {
                answer.extend([name, ": ", value.as_str(), "\r\n"]);
            }
            answer.push_str("\r\n");
            answer.push_str(&body);
            if writer.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Received { line: line.trim_end().to_owned(), headers, body, at: clock::now() })
}
