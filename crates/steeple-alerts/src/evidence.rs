//! The known facts about the cause of an alert: from the failed exchanges that were seen, and from the metrics' history.

use std::{
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher},
    time::Duration,
};

use steeple_core::hex::digits;
use steeple_metrics::indicator::{History, Measure, RouteFrame, Tier};

use crate::{
    Rule,
    message::{ErrorGroup, Evidence, Example},
    patterns::Groups,
};

/// For how many minutes failures are remembered.
const MINUTES: usize = 10;

/// Registers of an estimate of distinct users: 6.5 % is its standard error.
const REGISTERS: usize = 256;

/// Most routes in one notification.
const MAX_ROUTES: usize = 3;

/// A failed exchange.
#[derive(Clone, Debug, Default)]
pub(crate) struct Failed {
    pub(crate) route: String,
    pub(crate) trace_id: Option<String>,
    pub(crate) request_id: Option<String>,
}

/// The failed exchanges of the last minutes, in fixed memory.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    minutes: [Minute; MINUTES],
    latest: Option<(Duration, Failed)>,
    hasher: BuildHasherDefault<DefaultHasher>,
}

#[derive(Debug)]
struct Minute {
    number: u64,
    first: Option<(Duration, Failed)>,
    /// For each part of the users' hashes, the most zeros that one of them begins with.
    users: [u8; REGISTERS],
    has_users: bool,
}

impl Default for Minute {
    fn default() -> Self {
        Self { number: 0, first: None, users: [0; REGISTERS], has_users: false }
    }
}

impl Seen {
    pub(crate) fn add(&mut self, wall: Duration, failed: Failed, user: Option<&str>) {
        let number = minute_of(wall);
        let hash = user.map(|user| self.hasher.hash_one(user));
        let Some(minute) = self.minutes.get_mut(slot(number)) else { return };
        if minute.number != number {
            *minute = Minute { number, ..Minute::default() };
        }
        if let Some(hash) = hash {
            let [part, ..] = hash.to_le_bytes();
            // The highest bits find the rank, the lowest ones the register.
            let rank = u8::try_from((hash | 0xff).leading_zeros()).unwrap_or(u8::MAX).saturating_add(1);
            if let Some(register) = minute.users.get_mut(usize::from(part)) {
                *register = rank.max(*register);
            }
            minute.has_users = true;
        }
        minute.first.get_or_insert_with(|| (wall, failed.clone()));
        self.latest = Some((wall, failed));
    }

    /// The first and the last that failed in this time, of a route or of all.
    fn failed(&self, wall: Duration, window: Duration, route: Option<&str>) -> [Option<&Failed>; 2] {
        let since = wall.saturating_sub(window);
        let wanted = |(at, failed): &&(Duration, Failed)| {
            *at >= since && *at <= wall && route.is_none_or(|route| failed.route == route)
        };
        let first = self.minutes.iter().filter_map(|minute| minute.first.as_ref()).filter(wanted).min_by_key(|f| f.0);
        [first, self.latest.as_ref().filter(wanted)].map(|found| found.map(|(_, failed)| failed))
    }

    /// About how many users met a failure in this time. `None`: unknown, or the time is longer than the memory goes back.
    fn users(&self, wall: Duration, window: Duration) -> Option<u64> {
        let minutes = window.as_secs().div_ceil(60);
        if minutes > MINUTES as u64 {
            return None;
        }
        let now = minute_of(wall);
        let mut registers = [0_u8; REGISTERS];
        let mut has_users = false;
        // The first minute is in the time in part: those who met a failure in it are counted rather than missed.
        for minute in self.minutes.iter().filter(|minute| now.saturating_sub(minute.number) <= minutes) {
            has_users |= minute.has_users;
            for (register, rank) in registers.iter_mut().zip(minute.users) {
                *register = rank.max(*register);
            }
        }
        has_users.then(|| estimate(&registers))
    }
}

/// # Source
/// Flajolet and others, "`HyperLogLog`: the analysis of a near-optimal cardinality estimation algorithm", 2007, with linear
/// counting below 2.5 times the registers.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate, above zero"
)]
fn estimate(registers: &[u8; REGISTERS]) -> u64 {
    let count = REGISTERS as f64;
    let sum: f64 = registers.iter().map(|rank| (-f64::from(*rank)).exp2()).sum();
    let alpha = 0.7213 / (1.0 + 1.079 / count);
    let raw = alpha * count * count / sum;
    let zeros: f64 = registers.iter().map(|rank| f64::from(u8::from(*rank == 0))).sum();
    let estimate = if raw <= 2.5 * count && zeros > 0.0 { count * (count / zeros).ln() } else { raw };
    estimate.round() as u64
}

fn minute_of(wall: Duration) -> u64 {
    wall.as_secs() / 60
}

fn slot(minute: u64) -> usize {
    minute.checked_rem(MINUTES as u64).and_then(|minute| usize::try_from(minute).ok()).unwrap_or_default()
}

/// The version that runs, and since when.
#[derive(Clone, Debug)]
pub(crate) struct Deploy {
    pub(crate) version: String,
    pub(crate) at: Duration,
}

impl Deploy {
    /// How long after the deploy something began. `None` before it, and a day after it.
    pub(crate) fn before(&self, since: Duration) -> Option<(String, Duration)> {
        let after = since.checked_sub(self.at)?;
        (after < Duration::from_secs(86_400)).then(|| (self.version.clone(), after))
    }
}

/// The known facts about the cause of a rule's alert. Facts that do not concern the rule are left out.
pub(crate) fn of_rule(rule: &Rule, wall: Duration, seen: &Seen, groups: &Groups, history: &History) -> Evidence {
    let mut evidence = Evidence::default();
    if !rule.indicator.is_of_requests() {
        return evidence;
    }
    let scope = rule.indicator.route();
    let name = scope.map(|(method, route)| name_of(method, route));
    let name = name.as_deref();
    if rule.indicator.is_of_failures() {
        let [first, latest] = seen.failed(wall, rule.window, name);
        let example = |which, failed: &Failed| Example::new(which, failed.trace_id.clone(), failed.request_id.clone());
        evidence.requests.extend(first.map(|failed| example("first failed", failed)));
        let other = latest.filter(|latest| first.is_none_or(|first| !std::ptr::eq(first, *latest)));
        let other = other.filter(|latest| first.is_none_or(|first| first.request_id != latest.request_id));
        evidence.requests.extend(other.map(|failed| example("latest failed", failed)));
        if name.is_none() {
            evidence.users = seen.users(wall, rule.window);
            evidence.routes = routes(history, rule.window, Share::Failures);
            if evidence.routes.is_empty() {
                // They are younger than the frames of the history.
                evidence.routes = shares(groups.by_route(wall, rule.window));
            }
            evidence.outcomes = outcomes(history, wall, rule.window);
        }
        evidence.error = groups
            .busiest(wall, name)
            .map(|(group, recent)| ErrorGroup::new(group.kind.clone(), group.message.clone(), recent));
    } else if name.is_none() {
        let is_rate = rule.indicator.measure() == Measure::Rate;
        let share = if is_rate { Share::Requests } else { Share::Time };
        evidence.routes = routes(history, rule.window, share);
    }
    evidence
}

fn name_of(method: &str, route: &str) -> String {
    if method.is_empty() { route.to_owned() } else { format!("{method} {route}") }
}

/// The trace of the slowest request of the time that has one.
pub(crate) fn slowest(rule: &Rule, wall: Duration, history: &History) -> Option<Example> {
    if !rule.indicator.is_of_requests() {
        return None;
    }
    let (scope, since) = (rule.indicator.route(), wall.saturating_sub(rule.window));
    let reading = history.metrics()?.reading();
    let routes = reading.routes.iter().filter(|found| scope.is_none_or(|scope| scope == (found.method, &*found.route)));
    let recent = routes.flat_map(|route| &route.exemplars).filter(|exemplar| exemplar.unix >= since);
    let slowest = recent.max_by_key(|exemplar| exemplar.duration)?;
    let digits = slowest.trace_id.iter().flat_map(|byte| digits(*byte)).map(char::from).collect();
    Some(Example::new("slowest", Some(digits), None))
}

/// What a route has a part in.
#[derive(Clone, Copy)]
enum Share {
    Failures,
    Requests,
    /// How long the slow requests took: their number times what 95 % of them did not exceed.
    Time,
}

/// The routes with the greatest part in it, and how great it is.
fn routes(history: &History, window: Duration, share: Share) -> Vec<(String, f64)> {
    let trends = history.routes();
    let part = |frame: RouteFrame| match share {
        Share::Failures => f64::from(frame.errors),
        Share::Requests => f64::from(frame.requests),
        // Without requests, the duration is not a number.
        Share::Time => f64::from(frame.requests) * f64::from(frame.p95.max(0.0)),
    };
    let parts = trends.iter().map(|trend| (name_of(trend.method, &trend.route), part(trend.over(window))));
    shares(parts.collect())
}

/// The greatest parts, and how great each is.
fn shares(mut parts: Vec<(String, f64)>) -> Vec<(String, f64)> {
    parts.retain(|(_, part)| *part > 0.0);
    parts.sort_by(|(one, a), (other, b)| b.total_cmp(a).then_with(|| one.cmp(other)));
    let all: f64 = parts.iter().map(|(_, part)| part).sum();
    parts.truncate(MAX_ROUTES);
    parts.into_iter().map(|(route, part)| (route, part / all)).collect()
}

/// How the requests of the time ended that did not end well.
fn outcomes(history: &History, wall: Duration, window: Duration) -> Vec<(String, u64)> {
    let since = wall.saturating_sub(window);
    let tier = if window <= Duration::from_secs(3_600) { Tier::TenSeconds } else { Tier::Minute };
    let mut counts = [0_u64; 4];
    for frame in history.frames(tier, 0).iter().filter(|frame| frame.unix > since && frame.unix <= wall) {
        let of_status = frame.errors.saturating_sub(frame.panicked).saturating_sub(frame.broken);
        for (count, more) in counts.iter_mut().zip([of_status, frame.panicked, frame.broken, frame.cancelled]) {
            *count = count.saturating_add(u64::from(more));
        }
    }
    let names = ["5xx", "panicked", "broken", "cancelled"];
    names.into_iter().map(str::to_owned).zip(counts).filter(|(_, count)| *count > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1_795_985_460);

    fn failed(n: u64, route: &str) -> Failed {
        Failed { route: route.to_owned(), trace_id: None, request_id: Some(format!("r-{n}")) }
    }

    fn id(found: Option<&Failed>) -> Option<&str> {
        found.and_then(|failed| failed.request_id.as_deref())
    }

    #[test]
    fn the_first_and_the_latest_of_the_window_are_kept() {
        let mut seen = Seen::default();
        for n in 0..1_000 {
            let route = if n % 2 == 0 { "GET /a" } else { "GET /b" };
            seen.add(START.saturating_add(Duration::from_secs(n)), failed(n, route), None);
        }
        let now = START.saturating_add(Duration::from_secs(999));
        let [first, latest] = seen.failed(now, Duration::from_secs(300), None);
        assert_eq!((id(first), id(latest)), (Some("r-720"), Some("r-999")));
        let [first, latest] = seen.failed(now, Duration::from_secs(300), Some("GET /a"));
        assert_eq!((id(first), id(latest)), (Some("r-720"), None), "unknown facts are left out");
        let later = now.saturating_add(Duration::from_secs(3_600));
        assert!(seen.failed(later, Duration::from_secs(300), None).iter().all(Option::is_none));
    }

    #[test]
    fn users_are_estimated_within_a_tenth() {
        for users in [1_u64, 7, 100, 5_000] {
            let mut seen = Seen::default();
            for n in 0..users.saturating_mul(3) {
                let user = format!("user-{}", n % users);
                seen.add(START.saturating_add(Duration::from_secs(n % 200)), failed(n, "GET /a"), Some(&user));
            }
            let now = START.saturating_add(Duration::from_secs(200));
            let found = seen.users(now, Duration::from_secs(300)).unwrap();
            assert!(found.abs_diff(users) <= users / 5, "{found} of {users}");
        }
        // 10 seconds ago, and in another minute.
        let mut seen = Seen::default();
        seen.add(START.saturating_sub(Duration::from_secs(5)), failed(1, "GET /a"), Some("ann"));
        assert_eq!(seen.users(START.saturating_add(Duration::from_secs(5)), Duration::from_secs(60)), Some(1));
        assert_eq!(Seen::default().users(START, Duration::from_secs(300)), None);
        assert_eq!(Seen::default().users(START, Duration::from_secs(3_600)), None);
    }
}
