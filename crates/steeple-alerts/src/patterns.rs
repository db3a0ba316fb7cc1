//! Error groups: failures that are the same but for their ids, counted in fixed memory.
//!
//! A group is an error's kind, the route and the [normalized](crate::normalize::normalize) message. The table keeps the
//! 256 groups with the most failures; what it has no room for is counted together.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hasher as _},
    time::Duration,
};

use serde_json::{Value, json};
use steeple_core::text::cut;

use crate::{millis::millis, normalize::normalize};

/// How many groups are kept.
pub const MAX_GROUPS: usize = 256;

const MINUTES: usize = 60;
/// A spike has at least so many failures in its 5 minutes, and this many times the rate of the group's own hour.
const SPIKE_MIN: u64 = 20;
const SPIKE_FACTOR: u64 = 5;

/// One failure.
#[derive(Clone, Copy, Debug)]
pub struct Failure<'a> {
    /// The error's kind: its type's name, or a class such as `timeout`.
    pub kind: &'a str,
    /// The route template or the name of what failed.
    pub route: &'a str,
    /// The message.
    pub message: &'a str,
    /// What the application groups by, in place of kind, route and message.
    pub fingerprint: Option<&'a str>,
}

/// The reasons for a message about a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pattern {
    /// The first failure of its group since this process, or the state that it adopted, began.
    New,
    /// The group's failures reached a power of ten: 10, 100, 1,000, ….
    Reached(u64),
    /// Far more failures in 5 minutes than in the hour before.
    Spike {
        /// Failures in the last 5 minutes.
        failures: u64,
    },
    /// The group is back after at least 24 hours.
    Regression {
        /// When it was last seen before, since the Unix epoch.
        last_seen: Duration,
    },
    /// Failures in the last minute reached the threshold of [`Groups::per_minute`].
    PerMinute(u64),
}

/// A group of failures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The error's kind.
    pub kind: String,
    /// The route template.
    pub route: String,
    /// The normalized message.
    pub message: String,
    /// How many failures there were.
    pub count: u64,
    /// When the first one was seen, since the Unix epoch.
    pub first_seen: Duration,
    /// When the last one was seen.
    pub last_seen: Duration,
    /// The version of the service that the first one was seen in.
    pub first_version: String,
    /// Failures by minute, and which minute the last one was.
    minutes: [u32; MINUTES],
    minute: u64,
    /// When a spike or a rate was last reported, in minutes.
    reported: u64,
}

/// The groups of failures of one service.
#[derive(Debug)]
pub struct Groups {
    known: HashMap<u64, Group>,
    version: String,
    per_minute: u64,
    regression_after: Duration,
    /// Failures of groups that lost their place, or never had one.
    other: u64,
    hasher: std::hash::BuildHasherDefault<std::hash::DefaultHasher>,
}

impl Groups {
    /// No groups yet. `version` is that of the running service.
    pub fn new(version: impl Into<String>) -> Self {
        Self {
            known: HashMap::new(),
            version: version.into(),
            per_minute: 10,
            regression_after: Duration::from_secs(86_400),
            other: 0,
            hasher: std::hash::BuildHasherDefault::default(),
        }
    }

    /// From how many failures a minute on a group is reported. Default: 10. Zero: never.
    #[must_use]
    pub fn per_minute(mut self, failures: u64) -> Self {
        self.per_minute = failures;
        self
    }

    /// After how long without a failure a group that is back is a regression. Default: a day.
    #[must_use]
    pub fn regression_after(mut self, time: Duration) -> Self {
        self.regression_after = time;
        self
    }

    /// Counts a failure, and returns what of it is worth a message. `wall` is the time since the Unix epoch.
    pub fn record(&mut self, wall: Duration, failure: &Failure<'_>) -> Option<(u64, Pattern)> {
        self.record_normalized(wall, failure, normalize(failure.message))
    }

    /// The same for a message that has been normalized already, without the lock that guards the groups.
    pub(crate) fn record_normalized(
        &mut self,
        wall: Duration,
        failure: &Failure<'_>,
        message: String,
    ) -> Option<(u64, Pattern)> {
        let id = self.id(failure, &message);
        if let Some(group) = self.known.get_mut(&id) {
            let pattern = group.add(wall, self.per_minute, self.regression_after);
            return pattern.map(|pattern| (id, pattern));
        }
        if self.known.len() >= MAX_GROUPS {
            self.make_room(wall)?;
        }
        let group = Group::new(failure, message, wall, &self.version);
        self.known.insert(id, group);
        Some((id, Pattern::New))
    }

    /// The rarest group that is not recent gives way. `None`: none does, and the failure is counted with the others.
    fn make_room(&mut self, wall: Duration) -> Option<()> {
        let stale = |group: &Group| wall.saturating_sub(group.last_seen) >= Duration::from_secs(3600);
        let rarest = self.known.iter().filter(|(_, group)| stale(group)).min_by_key(|(_, group)| group.count);
        let Some((id, count)) = rarest.map(|(id, group)| (*id, group.count)) else {
            self.other = self.other.saturating_add(1);
            return None;
        };
        self.other = self.other.saturating_add(count);
        self.known.remove(&id);
        Some(())
    }

    fn id(&self, failure: &Failure<'_>, message: &str) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        match failure.fingerprint {
            Some(own) => hasher.write(own.as_bytes()),
            None => {
                for text in [failure.kind, failure.route, message] {
                    hasher.write(text.as_bytes());
                    hasher.write_u8(0xff);
                }
            }
        }
        hasher.finish()
    }

    /// A group by its id.
    pub fn get(&self, id: u64) -> Option<&Group> {
        self.known.get(&id)
    }

    /// The groups, the one with the most failures first.
    pub fn all(&self) -> Vec<(u64, &Group)> {
        let mut all: Vec<_> = self.known.iter().map(|(id, group)| (*id, group)).collect();
        all.sort_by(|(one_id, one), (other_id, other)| other.count.cmp(&one.count).then(one_id.cmp(other_id)));
        all
    }

    /// The group with the most failures in the last 5 minutes, and how many these were; of one route or of all.
    pub(crate) fn busiest(&self, wall: Duration, route: Option<&str>) -> Option<(&Group, u64)> {
        let now = minute_of(wall);
        let groups = self.known.values().filter(|group| route.is_none_or(|route| group.route == route));
        let recent = groups.map(|group| (group, group.failures_since(now.saturating_sub(4))));
        recent.filter(|(_, count)| *count > 0).max_by(|(a, x), (b, y)| x.cmp(y).then_with(|| b.message.cmp(&a.message)))
    }

    /// Failures by route, in the minutes that the time is made of: of an hour at most.
    pub(crate) fn by_route(&self, wall: Duration, window: Duration) -> Vec<(String, f64)> {
        // The first minute is in the time in part.
        let since = minute_of(wall).saturating_sub(window.as_secs().div_ceil(60));
        let mut routes: HashMap<&str, f64> = HashMap::new();
        for group in self.known.values() {
            let failures = u32::try_from(group.failures_since(since)).unwrap_or(u32::MAX);
            *routes.entry(group.route.as_str()).or_default() += f64::from(failures);
        }
        routes.into_iter().map(|(route, failures)| (route.to_owned(), failures)).collect()
    }

    /// Takes over a group that the process before knew: the counts add up. Returns the power of ten that they reach together
    /// and neither of them alone.
    pub(crate) fn adopt(&mut self, id: u64, group: Group) -> Option<Pattern> {
        if let Some(known) = self.known.get_mut(&id) {
            let most = known.count.max(group.count);
            known.merge(group);
            let reached = 10_u64.checked_pow(known.count.ilog10()).filter(|power| *power >= 10 && *power > most);
            return reached.map(Pattern::Reached);
        }
        if self.known.len() < MAX_GROUPS {
            self.known.insert(id, group);
        } else {
            self.other = self.other.saturating_add(group.count);
        }
        None
    }

    /// Adds failures that belong to no group that is kept.
    pub(crate) const fn add_other(&mut self, failures: u64) {
        self.other = self.other.saturating_add(failures);
    }

    /// Failures that belong to no group that is kept.
    pub fn other(&self) -> u64 {
        self.other
    }
}

impl Group {
    fn new(failure: &Failure<'_>, message: String, wall: Duration, version: &str) -> Self {
        let short = |text| cut(text, 128).to_owned();
        let mut group = Self {
            kind: short(failure.kind),
            route: short(failure.route),
            message,
            count: 1,
            first_seen: wall,
            last_seen: wall,
            first_version: version.to_owned(),
            minutes: [0; MINUTES],
            minute: minute_of(wall),
            reported: 0,
        };
        group.count_minute(minute_of(wall));
        group
    }

    fn add(&mut self, wall: Duration, per_minute: u64, regression_after: Duration) -> Option<Pattern> {
        let before = self.last_seen;
        self.count = self.count.saturating_add(1);
        // A wall clock that is set back is not a failure in the past.
        self.last_seen = before.max(wall);
        let minute = minute_of(wall);
        self.count_minute(minute);
        if wall.saturating_sub(before) >= regression_after {
            return Some(Pattern::Regression { last_seen: before });
        }
        if is_power_of_ten(self.count) {
            return Some(Pattern::Reached(self.count));
        }
        // A rate is reported once an hour.
        if minute.saturating_sub(self.reported) < MINUTES as u64 {
            return None;
        }
        let recent = self.failures(0..5);
        let hour = self.failures(5..MINUTES);
        let known_for = minute.saturating_sub(minute_of(self.first_seen));
        if known_for >= MINUTES as u64
            && recent >= SPIKE_MIN
            && recent.saturating_mul(11) > hour.saturating_mul(SPIKE_FACTOR)
        {
            self.reported = minute;
            return Some(Pattern::Spike { failures: recent });
        }
        let last = self.failures(0..1);
        if per_minute > 0 && last >= per_minute {
            self.reported = minute;
            return Some(Pattern::PerMinute(last));
        }
        None
    }

    fn merge(&mut self, older: Self) {
        let last = self.minute.max(older.minute);
        let mut minutes = [0; MINUTES];
        for group in [&*self, &older] {
            for ago in 0..MINUTES as u64 {
                let Some(minute) = last.checked_sub(ago).filter(|minute| *minute <= group.minute) else { continue };
                let is_kept = group.minute.saturating_sub(minute) < MINUTES as u64;
                let count = group.minutes.get(slot(minute)).copied().filter(|_| is_kept).unwrap_or_default();
                if let Some(sum) = minutes.get_mut(slot(minute)) {
                    *sum = count.saturating_add(*sum);
                }
            }
        }
        if older.first_seen <= self.first_seen {
            (self.first_seen, self.first_version) = (older.first_seen, older.first_version);
        }
        self.count = self.count.saturating_add(older.count);
        self.last_seen = self.last_seen.max(older.last_seen);
        self.reported = self.reported.max(older.reported);
        (self.minutes, self.minute) = (minutes, last);
    }

    /// Failures from this minute on, of the last hour.
    fn failures_since(&self, since: u64) -> u64 {
        let last = self.minute;
        let minutes = (since..=last).rev().take(MINUTES);
        minutes.filter_map(|minute| self.minutes.get(slot(minute))).map(|count| u64::from(*count)).sum()
    }

    /// Failures of the minutes this many ago.
    fn failures(&self, ago: std::ops::Range<usize>) -> u64 {
        ago.filter_map(|ago| {
            let minute = self.minute.checked_sub(ago as u64)?;
            self.minutes.get(slot(minute)).copied().map(u64::from)
        })
        .sum()
    }

    fn count_minute(&mut self, minute: u64) {
        let passed = minute.saturating_sub(self.minute).min(MINUTES as u64);
        for later in 1..=passed {
            if let Some(slot) = self.minutes.get_mut(slot(self.minute.saturating_add(later))) {
                *slot = 0;
            }
        }
        self.minute = self.minute.max(minute);
        if let Some(slot) = self.minutes.get_mut(slot(self.minute)) {
            *slot = slot.saturating_add(1);
        }
    }
}

impl Group {
    pub(crate) fn save(&self, id: u64) -> Value {
        json!({
            "id": id,
            "kind": self.kind,
            "route": self.route,
            "message": self.message,
            "count": self.count,
            "first_seen": millis(self.first_seen),
            "last_seen": millis(self.last_seen),
            "first_version": self.first_version,
            "minutes": self.minutes.to_vec(),
            "minute": self.minute,
            "reported": self.reported,
        })
    }

    /// `None`: this is not a group as it is saved.
    pub(crate) fn load(saved: &Value) -> Option<(u64, Self)> {
        let text = |key: &str, most| Some(cut(saved.get(key)?.as_str()?, most).to_owned());
        let number = |key: &str| saved.get(key)?.as_u64();
        let mut minutes = [0; MINUTES];
        for (minute, count) in minutes.iter_mut().zip(saved.get("minutes")?.as_array()?) {
            *minute = u32::try_from(count.as_u64()?).ok()?;
        }
        let group = Self {
            kind: text("kind", 128)?,
            route: text("route", 128)?,
            message: text("message", 1_024)?,
            count: number("count")?,
            first_seen: Duration::from_millis(number("first_seen")?),
            last_seen: Duration::from_millis(number("last_seen")?),
            first_version: text("first_version", 128)?,
            minutes,
            minute: number("minute")?,
            reported: number("reported")?,
        };
        Some((number("id")?, group))
    }
}

fn minute_of(wall: Duration) -> u64 {
    wall.as_secs() / 60
}

fn slot(minute: u64) -> usize {
    // A remainder below 60 is a `usize`.
    minute.checked_rem(MINUTES as u64).and_then(|minute| usize::try_from(minute).ok()).unwrap_or_default()
}

fn is_power_of_ten(count: u64) -> bool {
    count >= 10 && 10_u64.checked_pow(count.ilog10()) == Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1_795_000_020);

    fn failure(message: &str) -> Failure<'_> {
        Failure { kind: "io::Error", route: "POST /pay", message, fingerprint: None }
    }

    #[test]
    fn ten_thousand_failures_with_ten_thousand_ids_are_one_group_and_five_messages() {
        let mut groups = Groups::new("1.8.2").per_minute(0);
        let mut told = Vec::new();
        for n in 0..10_000 {
            let at = START.saturating_add(Duration::from_micros(100 * n));
            told.extend(groups.record(at, &failure(&format!("order {n} failed"))).map(|(_, pattern)| pattern));
        }
        assert_eq!(
            told,
            [
                Pattern::New,
                Pattern::Reached(10),
                Pattern::Reached(100),
                Pattern::Reached(1_000),
                Pattern::Reached(10_000)
            ]
        );
        let all = groups.all();
        assert_eq!((all.len(), all[0].1.count, all[0].1.message.as_str()), (1, 10_000, "order <int> failed"));
    }

    #[test]
    fn ten_thousand_kinds_are_256_groups_and_a_counter() {
        let mut groups = Groups::new("1");
        for n in 0..10_000 {
            let kind = format!("Kind{n}");
            let _told = groups.record(START, &Failure { kind: &kind, ..failure("failed") });
        }
        assert_eq!((groups.all().len(), groups.other()), (MAX_GROUPS, 10_000 - MAX_GROUPS as u64));
    }

    #[test]
    fn an_old_group_gives_way_to_a_new_one() {
        let mut groups = Groups::new("1");
        for n in 0..MAX_GROUPS {
            let kind = format!("Kind{n}");
            let _told = groups.record(START, &Failure { kind: &kind, ..failure("failed") });
        }
        let later = START.saturating_add(Duration::from_secs(7200));
        let told = groups.record(later, &failure("brand new"));
        assert!(matches!(told, Some((_, Pattern::New))), "{told:?}");
        assert_eq!((groups.all().len(), groups.other()), (MAX_GROUPS, 1));
    }

    #[test]
    fn a_group_that_is_back_after_a_day_is_a_regression() {
        let mut groups = Groups::new("1");
        let _new = groups.record(START, &failure("broken pipe"));
        let later = START.saturating_add(Duration::from_secs(90_000));
        let told = groups.record(later, &failure("broken pipe")).map(|(_, pattern)| pattern);
        assert_eq!(told, Some(Pattern::Regression { last_seen: START }));
    }

    #[test]
    fn ten_a_minute_are_reported_once_an_hour() {
        let mut groups = Groups::new("1").per_minute(10);
        let mut told = Vec::new();
        for second in 0..600 {
            let at = START.saturating_add(Duration::from_secs(second));
            told.extend(groups.record(at, &failure("broken pipe")).map(|(_, pattern)| pattern));
        }
        assert_eq!(told, [Pattern::New, Pattern::Reached(10), Pattern::PerMinute(11), Pattern::Reached(100)]);
    }

    #[test]
    fn a_spike_is_seen_against_the_groups_own_hour() {
        let mut groups = Groups::new("1").per_minute(0);
        let mut told = Vec::new();
        // One a minute for two hours, then one a second.
        let times = (0..120).map(|minute| minute * 60).chain(7_200..7_300);
        for second in times {
            let at = START.saturating_add(Duration::from_secs(second));
            told.extend(groups.record(at, &failure("broken pipe")).map(|(_, pattern)| pattern));
        }
        let spikes: Vec<_> = told.iter().filter(|told| matches!(told, Pattern::Spike { .. })).collect();
        assert_eq!(spikes.len(), 1, "{told:?}");
    }

    #[test]
    fn a_group_that_is_saved_and_adopted_is_counted_on() {
        let mut before = Groups::new("1");
        for second in 0..7 {
            let _told = before.record(START.saturating_add(Duration::from_secs(second * 60)), &failure("broken pipe"));
        }
        let saved: Vec<_> = before.all().into_iter().map(|(id, group)| group.save(id)).collect();
        let mut after = Groups::new("2");
        let later = START.saturating_add(Duration::from_secs(7 * 60));
        let _held_back = after.record(later, &failure("broken pipe"));
        for saved in &saved {
            let (id, group) = Group::load(saved).unwrap();
            assert_eq!(after.adopt(id, group), None);
        }
        let [(_, group)] = after.all()[..] else { panic!("{after:?}") };
        assert_eq!((group.count, group.first_seen, &*group.first_version), (8, START, "1"));
        assert_eq!((group.failures(0..5), group.failures(0..MINUTES)), (5, 8));
        assert_eq!(after.busiest(later, None).map(|(_, recent)| recent), Some(5));
        // The tenth failure is the third here.
        let mut told = Vec::new();
        for _ in 0..3 {
            told.extend(after.record(later, &failure("broken pipe")).map(|(_, pattern)| pattern));
        }
        assert_eq!(told, [Pattern::Reached(10)]);
    }

    #[test]
    fn the_application_may_group_by_what_it_knows_better() {
        let mut groups = Groups::new("1");
        for (message, fingerprint) in [("a", "pay"), ("b", "pay"), ("a", "ship")] {
            let _told = groups.record(START, &Failure { fingerprint: Some(fingerprint), ..failure(message) });
        }
        assert_eq!(groups.all().iter().map(|(_, group)| group.count).collect::<Vec<_>>(), [2, 1]);
    }
}
