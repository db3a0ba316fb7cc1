//! What single routes did: fixed memory for the 200 busiest.

use std::{
    borrow::Cow,
    collections::{HashMap, VecDeque},
    time::Duration,
};

use crate::{
    Metrics,
    indicator::{
        latency::{self, Sum},
        reading::Counts,
    },
    series::Name,
    table::hash,
};

/// Most routes that are followed.
const MAX_ROUTES: usize = 200;

/// 5 minutes of 10 seconds, and an hour of minutes.
const SHORT: usize = 30;
const LONG: usize = 60;

/// What a route did for a while. Durations are in seconds; without requests they are NaN.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct RouteFrame {
    /// How long it was, in seconds.
    pub seconds: f32,
    /// Requests that ended.
    pub requests: u32,
    /// Those that failed for a reason on the server's side.
    pub errors: u32,
    /// Those with 4xx.
    pub client_errors: u32,
    /// The median duration.
    pub p50: f32,
    /// The duration that 95 % did not exceed.
    pub p95: f32,
}

/// What one route did lately.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RouteTrend {
    /// The HTTP method; empty for gRPC.
    pub method: &'static str,
    /// The route's template, or the gRPC method.
    pub route: Cow<'static, str>,
    /// Frames of 10 seconds, oldest first: at most 5 minutes.
    pub ten_seconds: Vec<RouteFrame>,
    /// Frames of a minute, oldest first: at most an hour.
    pub minutes: Vec<RouteFrame>,
}

impl RouteTrend {
    /// Requests, errors and client errors of the last while: from frames of 10 seconds for up to 5 minutes, else from frames
    /// of a minute.
    pub fn over(&self, last: Duration) -> RouteFrame {
        let short = last <= Duration::from_secs(300);
        let (frames, length) = if short { (&self.ten_seconds, 10) } else { (&self.minutes, 60) };
        let count = usize::try_from(last.as_secs().div_ceil(length)).unwrap_or(usize::MAX);
        frames.iter().rev().take(count).fold(RouteFrame::default(), |sum, frame| RouteFrame {
            seconds: sum.seconds + frame.seconds,
            requests: sum.requests.saturating_add(frame.requests),
            errors: sum.errors.saturating_add(frame.errors),
            client_errors: sum.client_errors.saturating_add(frame.client_errors),
            // Quantiles cannot be added up: the highest of them.
            p50: sum.p50.max(frame.p50),
            p95: sum.p95.max(frame.p95),
        })
    }
}

/// The routes that are followed.
#[derive(Default)]
pub(super) struct Routes {
    followed: Vec<Followed>,
    /// The requests of all others at the last sample, by the hash of their names.
    others: HashMap<u64, u64>,
    last: Option<Duration>,
}

/// Most routes whose requests are remembered so that they can be followed once they are busy.
const MAX_OTHERS: usize = 10_000;

struct Followed {
    method: &'static str,
    route: Cow<'static, str>,
    short: Track,
    long: Track,
}

/// The frames of one resolution, and what the counts were at the last of them.
struct Track {
    frames: VecDeque<RouteFrame>,
    capacity: usize,
    at: Duration,
    before: Counts,
    cells: Box<[u32]>,
}

impl Track {
    fn new(capacity: usize, at: Duration) -> Self {
        let frames = VecDeque::with_capacity(capacity);
        Self { frames, capacity, at, before: Counts::default(), cells: Box::default() }
    }

    fn push(&mut self, at: Duration, now: &Counts, sum: Option<&Sum<'_>>) {
        let low = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let since = |now: u64, then: u64| low(now.saturating_sub(then));
        let mut frame = RouteFrame {
            seconds: at.saturating_sub(self.at).as_secs_f32(),
            requests: since(now.requests, self.before.requests),
            errors: since(now.errors, self.before.errors),
            client_errors: since(now.classes.client_errors, self.before.classes.client_errors),
            p50: f32::NAN,
            p95: f32::NAN,
        };
        if let Some(sum) = sum {
            let cells: Box<[u32]> = sum.cells.iter().map(|count| low(count & u64::from(u32::MAX))).collect();
            let before = self.cells.iter().copied().chain(std::iter::repeat(0));
            let counts: Vec<u64> =
                cells.iter().zip(before).map(|(now, then)| u64::from(now.wrapping_sub(then))).collect();
            let count = counts.iter().sum();
            let quantile = |q| {
                let found = latency::quantile(sum.layout(), counts.iter().copied().enumerate(), count, q);
                #[expect(clippy::cast_possible_truncation, reason = "seven digits are more than a cell has")]
                found.map_or(f32::NAN, |seconds| seconds as f32)
            };
            (frame.p50, frame.p95) = (quantile(0.5), quantile(0.95));
            self.cells = cells;
        }
        if self.frames.len() >= self.capacity {
            self.frames.pop_front();
        }
        self.frames.push_back(frame);
        (self.at, self.before) = (at, now.clone());
    }

    fn requests(&self) -> u64 {
        self.frames.iter().map(|frame| u64::from(frame.requests)).sum()
    }
}

impl Routes {
    /// Adds a frame to every route that is followed, and follows those that have become busy.
    pub(super) fn sample(&mut self, metrics: &Metrics, at: Duration, is_minute: bool) {
        let core = &metrics.0.core;
        let mut sum = Sum::new(&core.grid);
        let last = self.last.replace(at);
        let mut each = |method: &'static str, route: &Name, counts: &Counts, fill: &dyn Fn(&mut Sum<'_>)| {
            let known = self.place(method, route);
            let Some(followed) = known.or_else(|| self.follow(method, route, counts, last, at)) else { return };
            let Some(followed) = self.followed.get_mut(followed) else { return };
            for track in [Some(&mut followed.short), is_minute.then_some(&mut followed.long)].into_iter().flatten() {
                let has_new = counts.requests != track.before.requests;
                if has_new {
                    sum.clear();
                    fill(&mut sum);
                }
                track.push(at, counts, has_new.then_some(&sum));
            }
        };
        core.http.each_route(&mut each);
        core.grpc.each_route(&mut each);
    }

    fn place(&self, method: &str, route: &str) -> Option<usize> {
        self.followed.iter().position(|followed| followed.method == method && followed.route == route)
    }

    /// Follows a route from here on. `None`: it has had no request since the last sample, or others are busier.
    fn follow(
        &mut self,
        method: &'static str,
        route: &Name,
        counts: &Counts,
        last: Option<Duration>,
        at: Duration,
    ) -> Option<usize> {
        let key = hash([method, route]);
        let before = self.others.get(&key).copied();
        if before.is_some() || self.others.len() < MAX_OTHERS {
            self.others.insert(key, counts.requests);
        }
        // All that there is at the first sample came before it.
        let last = last?;
        if before.unwrap_or(0) == counts.requests {
            return None;
        }
        // One that had no request for an hour makes room.
        let place = if self.followed.len() < MAX_ROUTES {
            self.followed.len()
        } else {
            self.followed.iter().position(|other| other.long.requests() == 0 && other.short.requests() == 0)?
        };
        self.others.remove(&key);
        // A route that is new has done all that it did since the last sample; of another one, that is unknown.
        let (since, base) = if before.is_none() { (last, Counts::default()) } else { (at, counts.clone()) };
        let track = |capacity| Track { before: base.clone(), ..Track::new(capacity, since) };
        let new = Followed { method, route: route.clone(), short: track(SHORT), long: track(LONG) };
        match self.followed.get_mut(place) {
            Some(idle) => {
                let idle = std::mem::replace(idle, new);
                self.others.insert(hash([idle.method, &*idle.route]), idle.short.before.requests);
            }
            None => self.followed.push(new),
        }
        Some(place)
    }

    pub(super) fn trends(&self) -> Vec<RouteTrend> {
        let trend = |followed: &Followed| RouteTrend {
            method: followed.method,
            route: followed.route.clone(),
            ten_seconds: followed.short.frames.iter().copied().collect(),
            minutes: followed.long.frames.iter().copied().collect(),
        };
        self.followed.iter().map(trend).collect()
    }
}
