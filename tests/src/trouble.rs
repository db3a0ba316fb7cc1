//! Receivers in every kind of trouble, on the socket: what a service must survive while it sends.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// What a receiver does with each connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Answers 200, as it should.
    None,
    /// Accepts no connection: its backlog is full of them.
    Deaf,
    /// Accepts and never reads.
    Silent,
    /// Reads and never answers.
    Hung,
    /// Closes the connection at once.
    Closing,
    /// Closes it after the request's first bytes, with more unread: the sender sees a reset.
    Resetting,
    /// Nothing listens.
    Refusing,
    /// Answers half a head and closes.
    HalfHead,
    /// Answers a head with a length, half a body, and closes.
    HalfBody,
    /// Answers something else than HTTP.
    Garbage,
    /// Answers header after header, without an end.
    EndlessHead,
    /// Answers a body without an end.
    EndlessBody,
    /// Answers a byte of the head every 50 ms.
    Drip,
    /// Answers 302 to itself.
    Redirecting,
    /// Answers 400.
    Rejecting,
    /// Answers 401.
    Unauthorized,
    /// Answers 413.
    TooLarge,
    /// Answers 429 with a `retry-after` of a day.
    RateLimited,
    /// Answers 503.
    Unavailable,
}

impl Trouble {
    /// All but none.
    pub const ALL: [Self; 18] = [
        Self::Deaf,
        Self::Silent,
        Self::Hung,
        Self::Closing,
        Self::Resetting,
        Self::Refusing,
        Self::HalfHead,
        Self::HalfBody,
        Self::Garbage,
        Self::EndlessHead,
        Self::EndlessBody,
        Self::Drip,
        Self::Redirecting,
        Self::Rejecting,
        Self::Unauthorized,
        Self::TooLarge,
        Self::RateLimited,
        Self::Unavailable,
    ];
}

/// A receiver on a loopback port. Its threads end with it, once their connections do.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    /// Bound, so that no other process gets the port.
    held: Option<TcpListener>,
    /// Connections that fill the backlog of one that accepts none.
    filling: Vec<TcpStream>,
}

impl Receiver {
    /// Starts one.
    pub fn start(trouble: Trouble) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (requests, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let mut receiver =
            Self { address, requests: Arc::clone(&requests), over: Arc::clone(&over), held: None, filling: Vec::new() };
        if trouble == Trouble::Refusing {
            return receiver;
        }
        if trouble == Trouble::Deaf {
            // A backlog has 128 places and one more; connecting to a full one hangs.
            let connect = |_| TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
            receiver.filling = (0..200).map_while(connect).collect();
            receiver.held = Some(listener);
            return receiver;
        }
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let (requests, over) = (Arc::clone(&requests), Arc::clone(&over));
                thread::spawn(move || {
                    // What the sender does in the meantime is its own affair.
                    let _gone = serve(stream, address, trouble, &requests, &over);
                });
            }
        });
        receiver
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests it has read whole.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Wakes the one that accepts.
        let _gone = TcpStream::connect_timeout(&self.address, Duration::from_millis(200));
    }
}

fn serve(
    mut stream: TcpStream,
    address: SocketAddr,
    trouble: Trouble,
    requests: &AtomicUsize,
    over: &AtomicBool,
) -> std::io::Result<()> {
    let pause = Duration::from_millis(50);
    let wait = || {
        while !over.load(Ordering::Relaxed) {
            thread::sleep(pause);
        }
    };
    if trouble == Trouble::Resetting {
        stream.read_exact(&mut [0])?;
    }
    if trouble == Trouble::Silent {
        wait();
    }
    if matches!(trouble, Trouble::Closing | Trouble::Resetting | Trouble::Silent) {
        return Ok(());
    }
    while read_request(&mut stream)? {
        requests.fetch_add(1, Ordering::Relaxed);
        let status = match trouble {
            Trouble::None => "200 OK",
            Trouble::Redirecting => "302 Found",
            Trouble::Rejecting => "400 Bad Request",
            Trouble::Unauthorized => "401 Unauthorized",
            Trouble::TooLarge => "413 Payload Too Large",
            Trouble::RateLimited => "429 Too Many Requests",
            Trouble::Unavailable => "503 Service Unavailable",
            Trouble::HalfHead => return stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-le"),
            Trouble::HalfBody => return stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"),
            Trouble::Garbage => return stream.write_all(b"\x16\x03\x01 this is not HTTP \0\0\r\n\r\n"),
            Trouble::EndlessHead => {
                stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
                endless(&mut stream, b"x-more: and more\r\n", over)?;
                return Ok(());
            }
            Trouble::EndlessBody => {
                stream.write_all(b"HTTP/1.1 400 Bad Request\r\ntransfer-encoding: chunked\r\n\r\n")?;
                endless(&mut stream, b"a\r\n0123456789\r\n", over)?;
                return Ok(());
            }
            Trouble::Drip => {
                for byte in b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n" {
                    stream.write_all(&[*byte])?;
                    thread::sleep(pause);
                }
                continue;
            }
            Trouble::Hung => {
                wait();
                return Ok(());
            }
            Trouble::Deaf | Trouble::Silent | Trouble::Closing | Trouble::Resetting | Trouble::Refusing => {
                return Ok(());
            }
        };
        let mut more = String::new();
        if trouble == Trouble::Redirecting {
            more = format!("location: http://{address}/elsewhere\r\n");
        } else if trouble == Trouble::RateLimited {
            "retry-after: 86400\r\n".clone_into(&mut more);
        }
        stream.write_all(format!("HTTP/1.1 {status}\r\n{more}content-length: 0\r\n\r\n").as_bytes())?;
    }
    stream.shutdown(Shutdown::Both)
}

/// Writes this again and again, at most 64 MB of it, until the other side is gone.
fn endless(stream: &mut TcpStream, piece: &[u8], over: &AtomicBool) -> std::io::Result<()> {
    let many = piece.repeat(4096 / piece.len());
    for _ in 0..(64 << 20) / many.len() {
        if over.load(Ordering::Relaxed) {
            return Ok(());
        }
        stream.write_all(&many)?;
    }
    Ok(())
}

/// Reads one request to its end. `false`: the connection was closed before it.
fn read_request(stream: &mut TcpStream) -> std::io::Result<bool> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Ok(false);
        }
        head.extend_from_slice(&byte);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    if header("expect") == Some("100-continue") {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let mut left = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0_usize);
    if header("transfer-encoding") == Some("chunked") {
        let mut end = Vec::new();
        while !end.ends_with(b"\r\n0\r\n\r\n") {
            stream.read_exact(&mut byte)?;
            end.extend_from_slice(&byte);
            if end.len() > 4096 {
                end.drain(..end.len() - 16);
            }
        }
        return Ok(true);
    }
    let mut buffer = vec![0; 64 << 10];
    while left > 0 {
        let most = left.min(buffer.len());
        let read = stream.read(&mut buffer[..most])?;
        if read == 0 {
            return Ok(false);
        }
        left -= read;
    }
    Ok(true)
}
