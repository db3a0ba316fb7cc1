//! The frames of a tier, a column for each number: what the charts are drawn from.

use serde::Serialize;
use steeple_metrics::indicator::Frame;

use super::num::Num;

macro_rules! columns {
    ($($name:ident: $read:expr),+ $(,)?) => {
        /// Numbers by time, oldest first.
        #[derive(Clone, Debug, Default, Serialize)]
        pub(crate) struct Columns {
            /// When each frame ended, in milliseconds since the Unix epoch.
            t: Vec<u64>,
            $($name: Vec<Num>,)+
        }

        impl Columns {
            pub(crate) fn of(frames: &[Frame]) -> Self {
                Self {
                    t: frames.iter().map(|frame| u64::try_from(frame.unix.as_millis()).unwrap_or_default()).collect(),
                    $($name: {
                        let read: fn(&Frame) -> f64 = $read;
                        frames.iter().map(|frame| Num(read(frame))).collect()
                    },)+
                }
            }
        }
    };
}

/// How often a second, for a frame of any length.
fn rate(count: u32, frame: &Frame) -> f64 {
    let seconds = f64::from(frame.seconds);
    if seconds > 0.0 { f64::from(count) / seconds } else { 0.0 }
}

columns! {
    ok: |frame| rate(frame.successes.saturating_add(frame.redirects), frame),
    client_errors: |frame| rate(frame.client_errors, frame),
    server_errors: |frame| rate(frame.server_errors, frame),
    aborted: |frame| rate(frame.cancelled, frame),
    requests: |frame| rate(frame.requests, frame),
    error_ratio: |frame| {
        if frame.requests == 0 { f64::NAN } else { f64::from(frame.errors) / f64::from(frame.requests) }
    },
    panicked: |frame| f64::from(frame.panicked),
    broken: |frame| f64::from(frame.broken),
    in_flight: |frame| f64::from(frame.in_flight),
    users: |frame| f64::from(frame.active_users),
    mean: |frame| f64::from(frame.mean),
    p50: |frame| f64::from(frame.p50),
    p95: |frame| f64::from(frame.p95),
    p99: |frame| f64::from(frame.p99),
    cpu: |frame| f64::from(frame.cpu),
    throttled: |frame| f64::from(frame.throttled),
    memory: |frame| f64::from(frame.memory),
    disk: |frame| f64::from(frame.disk),
    cache: |frame| f64::from(frame.cache_hit_ratio),
    dropped: |frame| f64::from(frame.dropped),
}

impl Columns {
    pub(crate) fn is_empty(&self) -> bool {
        self.t.is_empty()
    }
}
