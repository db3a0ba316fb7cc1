//! A receiver that takes everything: OTLP's and Sentry's senders find somebody who answers.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// Answers each request with 200. Its thread ends with the process.
#[derive(Debug)]
pub struct Sink {
    port: u16,
    taken: Arc<AtomicU64>,
}

impl Sink {
    /// Starts on a port of its own choosing.
    ///
    /// # Errors
    /// When there is no port or no thread to be had.
    pub fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let taken = Arc::<AtomicU64>::default();
        let counts = Arc::clone(&taken);
        thread::Builder::new().name("sink".to_owned()).spawn(move || {
            for stream in listener.incoming().flatten() {
                let counts = Arc::clone(&counts);
                thread::spawn(move || while take(&stream, &counts).is_some() {});
            }
        })?;
        Ok(Self { port, taken })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many requests it has taken.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

/// Reads one request to its end and answers it. `None` when the connection is over.
fn take(stream: &TcpStream, taken: &AtomicU64) -> Option<()> {
    let (mut reader, mut length, mut chunked) = (BufReader::new(stream), 0, false);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        match line.split_once(':') {
            Some(("content-length", value)) => length = value.trim().parse().ok()?,
            Some(("transfer-encoding", value)) => chunked = value.contains("chunked"),
            _ => (),
        }
    }
    while chunked {
        let mut size = String::new();
        reader.read_line(&mut size).ok()?;
        let size = u64::from_str_radix(size.trim(), 16).ok()?;
        skip(&mut reader, size + 2)?;
        chunked = size > 0;
    }
    skip(&mut reader, length)?;
    taken.fetch_add(1, Ordering::Relaxed);
    let mut writer = stream;
    writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()
}

fn skip(reader: &mut impl Read, bytes: u64) -> Option<()> {
    let skipped = std::io::copy(&mut reader.take(bytes), &mut std::io::sink()).ok()?;
    (skipped == bytes).then_some(())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpStream,
    };

    use super::Sink;

    #[test]
    fn requests_with_a_length_and_in_chunks_are_taken_on_one_connection() {
        let sink = Sink::start().unwrap();
        let mut stream = TcpStream::connect(("127.0.0.1", sink.port())).unwrap();
        let mut answer = [0; 38];
        stream.write_all(b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc").unwrap();
        stream.read_exact(&mut answer).unwrap();
        stream.write_all(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n").unwrap();
        stream.read_exact(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{answer:?}");
        assert_eq!(sink.taken(), 2);
    }
}
