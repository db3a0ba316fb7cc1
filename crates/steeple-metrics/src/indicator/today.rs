//! What counters have come to since midnight.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use super::{Clock, FamilyKind, Subscription};
use crate::{Metrics, metrics, state};

/// The counters of a business that steeple-events has.
const FAMILIES: [&str; 8] = [
    "user_registrations_total",
    "user_logins_total",
    "projects_created_total",
    "tasks_completed_total",
    "payments_total",
    "revenue_minor_units_total",
    "refunds_minor_units_total",
    "conversions_total",
];

/// Most families, and most series of all of them together.
const MAX_FAMILIES: usize = 64;
const MAX_SERIES: usize = 1_024;

const DAY: u64 = 86_400;

/// The version of saved totals: another one is not read.
const VERSION: u8 = 1;

/// What counters have come to since midnight, UTC: the business counters of steeple-events, and those that are
/// [added](Self::family). A cheap clone. Made by [`Metrics::today`].
///
/// With [`keep_in`](Self::keep_in), the totals go on across deploys. Fixed memory: 64 families and 1,024 series; what exceeds
/// them is not in the totals.
///
/// # Examples
/// ```
/// use steeple_metrics::Metrics;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let metrics = Metrics::new()?;
/// let today = metrics.today();
/// metrics.counter("payments_total", "Payments.", ["result"])?.add(["failed"], 3);
/// assert_eq!(today.total("payments_total", &[("result", "failed")]), 3.0);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Today(Arc<Shared>);

struct Shared {
    metrics: Weak<metrics::Inner>,
    clock: Clock,
    state: Mutex<State>,
    /// Reads the counters with each sample, so that what came before midnight is not counted after it.
    subscription: Mutex<Option<Subscription>>,
}

struct State {
    families: Vec<Box<str>>,
    day: u64,
    series: BTreeMap<Key, Count>,
}

type Labels = Vec<(String, String)>;
type Key = (String, Labels);

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    /// The counter when it was read last.
    last: f64,
    today: f64,
}

/// What one counter has come to.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DayTotal {
    /// The family: `payments_total`.
    pub family: String,
    /// The labels, in the order of the family.
    pub labels: Vec<(String, String)>,
    /// The total since midnight.
    pub total: f64,
}

impl Metrics {
    /// What counters have come to since midnight: one for all who ask, made at the first call. It starts the thread of the
    /// [`history`](Self::history), which reads them.
    pub fn today(&self) -> Today {
        let today = self.0.today.get_or_init(|| {
            let history = self.history();
            let shared = Arc::new(Shared {
                metrics: Arc::downgrade(&self.0),
                clock: history.clock().clone(),
                state: Mutex::new(State {
                    families: FAMILIES.map(Into::into).into(),
                    day: day(history.clock().unix()),
                    series: BTreeMap::new(),
                }),
                subscription: Mutex::new(None),
            });
            let weak = Arc::downgrade(&shared);
            let subscription = history.subscribe(move |_sampled| {
                if let Some(shared) = weak.upgrade() {
                    drop(Today(shared).read());
                }
            });
            *shared.subscription.lock().unwrap_or_else(PoisonError::into_inner) = Some(subscription);
            Today(shared)
        });
        today.clone()
    }
}

fn day(unix: Duration) -> u64 {
    unix.as_secs().checked_div(DAY).unwrap_or(0)
}

impl Today {
    /// Adds a family of counters, by its name as it is printed. Returns whether there was room.
    pub fn family(&self, name: &str) -> bool {
        let mut state = self.lock();
        if state.families.iter().any(|known| **known == *name) {
            return true;
        }
        let has_room = state.families.len() < MAX_FAMILIES;
        if has_room {
            state.families.push(name.into());
        }
        has_room
    }

    /// Every total, by family and labels.
    pub fn totals(&self) -> Vec<DayTotal> {
        let state = self.read();
        let totals = state.series.iter().map(|((family, labels), count)| DayTotal {
            family: family.clone(),
            labels: labels.clone(),
            total: count.today,
        });
        totals.collect()
    }

    /// The sum of a family's series that have these labels. 0 if nothing was counted.
    pub fn total(&self, family: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |of: &Labels, (name, value): &(&str, &str)| of.iter().any(|(n, v)| n == name && v == value);
        let state = self.read();
        let found =
            state.series.iter().filter(|((name, of), _)| name == family && labels.iter().all(|one| has(of, one)));
        found.map(|(_, count)| count.today).sum()
    }

    /// Saves the totals with a state that survives a deploy, and adds those of the instance that was adopted.
    pub fn keep_in(&self, state: &state::State) {
        let (saving, loading) = (self.clone(), self.clone());
        state.section(
            "today",
            move || saving.save(),
            move |_, saved| {
                if loading.restore(saved).is_none() {
                    tracing::warn!("the saved totals of the day are of another version: they begin anew");
                }
            },
        );
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the counters.
    fn read(&self) -> MutexGuard<'_, State> {
        let families = self.lock().families.clone();
        // What runs code of the application holds no lock.
        let metrics = self.0.metrics.upgrade().map(Metrics);
        let read = metrics.map(|metrics| metrics.read_families_of(&families, false)).unwrap_or_default();
        let today = day(self.0.clock.unix());
        let mut state = self.lock();
        state.begin(today);
        for family in read.into_iter().filter(|family| family.kind == FamilyKind::Counter) {
            for series in &family.series {
                let labels = series.labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
                let now = series.number();
                if let Some(count) = state.count((family.name.to_string(), labels)) {
                    // A counter that is lower began anew. Two that read at once may come in the wrong order.
                    count.today += if now >= count.last { now - count.last } else { 0.0 };
                    count.last = count.last.max(now);
                }
            }
        }
        state
    }

    fn save(&self) -> Vec<u8> {
        let state = self.read();
        let mut out = vec![VERSION];
        out.extend_from_slice(&state.day.to_le_bytes());
        for ((family, labels), count) in &state.series {
            put(&mut out, family);
            out.push(u8::try_from(labels.len()).unwrap_or(u8::MAX));
            for (name, value) in labels.iter().take(usize::from(u8::MAX)) {
                put(&mut out, name);
                put(&mut out, value);
            }
            out.extend_from_slice(&count.today.to_le_bytes());
        }
        out
    }

    fn restore(&self, saved: &[u8]) -> Option<()> {
        let (version, mut rest) = saved.split_first()?;
        if *version != VERSION {
            return None;
        }
        let day = u64::from_le_bytes(*take(&mut rest)?);
        let mut loaded = Vec::new();
        while !rest.is_empty() {
            let family = text(&mut rest)?;
            let [labels] = *take::<1>(&mut rest)?;
            let labels = (0..labels).map(|_| Some((text(&mut rest)?, text(&mut rest)?))).collect::<Option<Labels>>()?;
            loaded.push(((family, labels), f64::from_le_bytes(*take(&mut rest)?)));
        }
        let mut state = self.read();
        // Another day's totals are over.
        if day == state.day {
            for (key, total) in loaded.into_iter().filter(|(_, total)| total.is_finite()) {
                if let Some(count) = state.count(key) {
                    count.today += total;
                }
            }
        }
        Some(())
    }
}

impl State {
    /// A day begins at nothing. A clock that is set back does not bring the day before back.
    fn begin(&mut self, day: u64) {
        if day > self.day {
            self.day = day;
            self.series.values_mut().for_each(|count| count.today = 0.0);
        }
    }

    fn count(&mut self, key: Key) -> Option<&mut Count> {
        if self.series.len() >= MAX_SERIES && !self.series.contains_key(&key) {
            return None;
        }
        Some(self.series.entry(key).or_default())
    }
}

fn put(out: &mut Vec<u8>, text: &str) {
    let text = steeple_core::text::cut(text, usize::from(u16::MAX));
    out.extend_from_slice(&u16::try_from(text.len()).unwrap_or(0).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (taken, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(taken)
}

fn text(rest: &mut &[u8]) -> Option<String> {
    let length = usize::from(u16::from_le_bytes(*take(rest)?));
    let (taken, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    String::from_utf8(taken.to_vec()).ok()
}

impl fmt::Debug for Today {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Today").finish_non_exhaustive()
    }
}
