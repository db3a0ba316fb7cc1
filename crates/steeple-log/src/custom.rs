//! Outputs that users write.

use std::{
    io,
    panic::{self, AssertUnwindSafe},
    time::Duration,
};

use steeple_core::TraceId;
use tracing::Level;

use crate::sink::{Destination, Part, Progress, Stamp};

/// Takes the lines of the log, one by one: the way to a log service, a message queue, a socket.
///
/// The log gives each output a thread and a queue that is bounded in bytes
/// ([`queue_bytes`](crate::LogBuilder::queue_bytes)), so an output may block: what finds no room meanwhile is dropped and
/// counted under the output's [name](Self::name), and no request ever waits. An output that hands its lines to a pipeline
/// pushes them and returns.
///
/// # Examples
/// Lines to a TCP input of Logstash, Vector or Fluent Bit. While the receiver is down, lines wait in the queue.
/// ```
/// use std::{io::{self, BufRead, BufReader, Write}, net::{SocketAddr, TcpListener, TcpStream}, time::Duration};
/// use steeple_log::{Format, Log, LogLine, LogOutput};
///
/// struct Tcp {
///     receiver: SocketAddr,
///     connection: Option<TcpStream>,
/// }
///
/// impl Tcp {
///     fn connection(&mut self) -> io::Result<&mut TcpStream> {
///         if self.connection.is_none() {
///             let connection = TcpStream::connect_timeout(&self.receiver, Duration::from_secs(2))?;
///             connection.set_write_timeout(Some(Duration::from_secs(2)))?;
///             self.connection = Some(connection);
///         }
///         self.connection.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
///     }
/// }
///
/// impl LogOutput for Tcp {
///     fn name(&self) -> &str {
///         "tcp"
///     }
///
///     fn write(&mut self, line: &LogLine<'_>) -> io::Result<()> {
///         let text = format!("{}\n", line.as_str());
///         let written = self.connection().and_then(|connection| connection.write_all(text.as_bytes()));
///         // Retried with the next connection; after a reset the receiver may see a line twice.
///         written.inspect_err(|_| self.connection = None).map_err(io::Error::other)
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let receiver = TcpListener::bind("127.0.0.1:0")?;
/// let output = Tcp { receiver: receiver.local_addr()?, connection: None };
/// let guard = Log::builder().without_console().output(output, Format::Ecs).build()?;
/// let subscriber = tracing_subscriber::layer::SubscriberExt::with(tracing_subscriber::registry(), guard.layer());
/// tracing::subscriber::with_default(subscriber, || tracing::info!("shipped"));
/// let mut line = String::new();
/// BufReader::new(receiver.accept()?.0).read_line(&mut line)?;
/// assert!(line.contains(r#""message":"shipped""#));
/// # Ok(()) }
/// ```
pub trait LogOutput: Send + 'static {
    /// What its dropped lines are counted under, in [`LogHandle::dropped_by_output`](crate::LogHandle::dropped_by_output) and in metrics: a short
    /// fixed word.
    fn name(&self) -> &str;

    /// Takes a line. Called on the output's thread, in the order in which lines were logged, never twice for a line that
    /// was taken.
    ///
    /// # Errors
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput) and [`InvalidData`](io::ErrorKind::InvalidData): this line cannot be
    ///   taken. It is dropped and counted, as after a panic.
    /// - [`BrokenPipe`](io::ErrorKind::BrokenPipe): no line can be taken any more. The lines that are queued are dropped
    ///   and counted at once.
    /// - Any other: the line is offered again, after 100 ms and then after up to 2 seconds.
    fn write(&mut self, line: &LogLine<'_>) -> io::Result<()>;

    /// Sends what the output holds back. Called when no more lines are queued, and at the end of the log.
    ///
    /// # Errors
    /// Ignored: whatever an output holds back is its responsibility.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A line as an output gets it: rendered, without secrets, on one line.
#[derive(Clone, Copy, Debug)]
pub struct LogLine<'a> {
    text: &'a str,
    stamp: &'a Stamp,
}

impl<'a> LogLine<'a> {
    /// The rendered line, without a newline.
    pub fn as_str(&self) -> &'a str {
        self.text
    }

    /// The rendered line, without a newline.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    /// When it was logged, since the Unix epoch. The line shows the same time.
    pub fn timestamp(&self) -> Duration {
        self.stamp.at
    }

    /// How severe it is.
    pub fn level(&self) -> Level {
        self.stamp.level
    }

    /// The trace of the exchange that it belongs to. `None` outside of an exchange.
    pub fn trace_id(&self) -> Option<TraceId> {
        self.stamp.trace_id
    }
}

/// Hands lines to an output.
pub(crate) struct Custom<O>(pub(crate) O);

impl<O: LogOutput> Destination for Custom<O> {
    /// One line a call, so that a line that was taken is never offered again.
    fn write(&mut self, part: Part<'_>) -> io::Result<Progress> {
        let Some(stamp) = part.stamps.first() else { return Err(io::ErrorKind::WriteZero.into()) };
        let bytes = part.lines.get(..stamp.bytes).unwrap_or(part.lines);
        let text = str::from_utf8(bytes).unwrap_or_default();
        let line = LogLine { text: text.strip_suffix('\n').unwrap_or(text), stamp };
        let lost = match panic::catch_unwind(AssertUnwindSafe(|| self.0.write(&line))) {
            Ok(Ok(())) => 0,
            Ok(Err(error)) if !matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => {
                return Err(error);
            }
            Ok(Err(_)) | Err(_) => 1,
        };
        Ok(Progress { bytes: bytes.len(), lost })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
