//! Sent requests and their results.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    time::Duration,
};

/// Latencies kept per row; the oldest go first.
const KEPT: usize = 10_000;

/// How a request went out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// HTTP/1.1 with kept connections.
    Http1,
    /// HTTP/2 in the clear, one connection.
    Http2,
    /// gRPC over HTTP/2.
    Grpc,
}

/// What the client saw of the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seen {
    /// The last byte of the answer.
    Completed,
    /// Another protocol, to its end.
    Upgraded,
    /// It hung up itself, before the response head.
    Cancelled,
    /// It hung up itself, in the body.
    CancelledInBody,
    /// A body that broke.
    BrokenBody,
    /// A connection or stream that broke before the response head: a panic.
    NoAnswer,
    /// Nothing, for far too long.
    TimedOut,
}

/// One kind of request and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Row {
    /// How it went out.
    pub protocol: Protocol,
    /// The method that was sent.
    pub method: &'static str,
    /// The route's template, `unmatched` without one, or the gRPC service and method.
    pub route: &'static str,
    /// The HTTP status. `None`: without a response head.
    pub status: Option<u16>,
    /// The gRPC status code. `None`: not gRPC, or the client did not wait for it.
    pub grpc: Option<i32>,
    /// How it ended, as the client saw it.
    pub seen: Seen,
}

/// Counts by [`Row`].
#[derive(Clone, Debug, Default)]
pub struct Tally {
    rows: BTreeMap<Row, Cell>,
    held_back: u64,
}

#[derive(Clone, Debug, Default)]
struct Cell {
    count: u64,
    latencies: VecDeque<Duration>,
}

impl Protocol {
    /// As the table prints it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http/1.1",
            Self::Http2 => "http/2",
            Self::Grpc => "grpc",
        }
    }
}

impl Row {
    /// The name of the ending on the server's side: `completed`, `upgraded`, `cancelled`, `cancelled_in_body`,
    /// `body_error`, `panicked`, or `timed_out`, which no server knows.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match self.seen {
            Seen::Completed => "completed",
            Seen::Upgraded => "upgraded",
            Seen::Cancelled => "cancelled",
            Seen::CancelledInBody => "cancelled_in_body",
            Seen::BrokenBody if self.route == "/lab/panic" => "panicked",
            Seen::BrokenBody => "body_error",
            Seen::NoAnswer => "panicked",
            Seen::TimedOut => "timed_out",
        }
    }
}

impl Tally {
    pub(super) fn count(&mut self, (row, latency): (Row, Duration)) {
        let cell = self.rows.entry(row).or_default();
        cell.count = cell.count.saturating_add(1);
        if cell.latencies.len() == KEPT {
            cell.latencies.pop_front();
        }
        cell.latencies.push_back(latency);
    }

    pub(super) fn hold_back(&mut self) {
        self.held_back = self.held_back.saturating_add(1);
    }

    /// Every kind of request with its number.
    pub fn rows(&self) -> impl Iterator<Item = (&Row, u64)> {
        self.rows.iter().map(|(row, cell)| (row, cell.count))
    }

    /// All requests.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.rows.values().map(|cell| cell.count).sum()
    }

    /// Requests that were due and not sent, because too many were in flight.
    #[must_use]
    pub fn held_back(&self) -> u64 {
        self.held_back
    }

    /// The latency, to the last byte, that the share `q` (0 to 1) of the last 10,000 requests of this kind stayed within.
    #[must_use]
    pub fn quantile(&self, row: &Row, q: f64) -> Option<Duration> {
        self.rows.get(row)?.quantile(q)
    }
}

impl Cell {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a rank among at most 10,000"
    )]
    fn quantile(&self, q: f64) -> Option<Duration> {
        let mut sorted: Vec<_> = self.latencies.iter().copied().collect();
        sorted.sort_unstable();
        let rank = (q.clamp(0.0, 1.0) * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied()
    }
}

impl fmt::Display for Tally {
    /// A table with a row per kind of request.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.keys().map(|row| row.route.len()).max().unwrap_or(0).max("route".len());
        let line = |f: &mut fmt::Formatter<'_>, cells: [&str; 8]| {
            let [protocol, method, route, status, outcome, sent, p50, p95] = cells;
            writeln!(
                f,
                "{protocol:<8}  {method:<6}  {route:<width$}  {status:>7}  {outcome:<17}  {sent:>8}  {p50:>9}  {p95:>9}"
            )
        };
        line(f, ["protocol", "method", "route", "status", "outcome", "sent", "p50 ms", "p95 ms"])?;
        for (row, cell) in &self.rows {
            let ms = |q| cell.quantile(q).map_or_else(String::new, |at| format!("{:.1}", at.as_secs_f64() * 1e3));
            let status = match (row.grpc, row.status) {
                (Some(code), _) => format!("grpc {code}"),
                (None, Some(status)) => status.to_string(),
                (None, None) => "-".to_owned(),
            };
            let cells = [&status, row.outcome(), &cell.count.to_string(), &ms(0.5), &ms(0.95)];
            let [status, outcome, sent, p50, p95] = cells;
            line(f, [row.protocol.as_str(), row.method, row.route, status, outcome, sent, p50, p95])?;
        }
        write!(f, "{} requests", self.sent())?;
        if self.held_back > 0 {
            write!(f, ", {} held back because {} were in flight", self.held_back, super::MAX_IN_FLIGHT)?;
        }
        writeln!(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: Row = Row {
        protocol: Protocol::Http1,
        method: "GET",
        route: "/healthz",
        status: Some(200),
        grpc: None,
        seen: Seen::Completed,
    };

    #[test]
    fn quantiles_are_those_of_the_sorted_latencies() {
        let mut tally = Tally::default();
        for ms in (1..=100).rev() {
            tally.count((ROW, Duration::from_millis(ms)));
        }
        assert_eq!(tally.quantile(&ROW, 0.5), Some(Duration::from_millis(50)));
        assert_eq!(tally.quantile(&ROW, 0.95), Some(Duration::from_millis(95)));
        assert_eq!(tally.quantile(&ROW, 1.0), Some(Duration::from_millis(100)));
        assert_eq!(tally.quantile(&Row { status: None, ..ROW }, 0.5), None);
    }

    #[test]
    fn the_table_has_a_line_per_kind_and_the_sum() {
        let mut tally = Tally::default();
        tally.count((ROW, Duration::from_millis(2)));
        tally.count((ROW, Duration::from_millis(2)));
        tally.count((Row { status: None, seen: Seen::Cancelled, ..ROW }, Duration::from_millis(7)));
        let want = "\
protocol  method  route      status  outcome                sent     p50 ms     p95 ms
http/1.1  GET     /healthz        -  cancelled                 1        7.0        7.0
http/1.1  GET     /healthz      200  completed                 2        2.0        2.0
3 requests
";
        assert_eq!(tally.to_string(), want);
    }
}
