//! What was: frames of the last day, and the values of watched indicators, in fixed memory.

mod clock;
mod frame;
mod mean;
mod now;
mod requests;
mod routes;
mod rule;
mod sampler;
mod simulated;

use std::{
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

pub use self::{
    clock::Clock,
    frame::{Frame, Tier},
    routes::{RouteFrame, RouteTrend},
    rule::Value,
    simulated::Simulated,
};
use self::{clock::Moment, rule::Rule, sampler::State};
use super::{Indicator, Window};
use crate::{BuildError, Metrics, metrics, state};

/// Most indicators that are watched at once.
const MAX_RULES: usize = 64;

/// So that a thread without metrics is soon gone.
const LONGEST_NAP: Duration = Duration::from_secs(1);

/// The past of a service in fixed memory, at most 4 MB: frames of a second, of 10 seconds and of a minute, what the 200
/// busiest routes did, and the values of [watched](Self::watch) indicators. A cheap clone. Made by [`Metrics::history`].
///
/// One thread, `steeple-history`, takes samples: every 10 seconds; every second while someone [looks](Self::viewer) or an
/// indicator is watched over less than a minute. It is started by the first call of [`start`](Self::start),
/// [`watch`](Self::watch), [`subscribe`](Self::subscribe) or [`viewer`](Self::viewer); until then it does not run. Requests pay
/// nothing.
///
/// # Examples
/// With a clock that stands still until it is advanced, samples are taken by hand:
/// ```
/// use std::time::Duration;
/// use steeple_metrics::{
///     Metrics,
///     indicator::{Clock, HistoryOptions, Indicator, Selector, Tier, Window},
/// };
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let metrics = Metrics::new()?;
/// let payments = metrics.counter("payments_total", "Payments.", ["result"])?;
/// let clock = Clock::manual(Duration::from_secs(1_790_000_000));
/// let history = metrics.history_with(HistoryOptions::new().clock(clock.clone()).without_thread());
/// let all = Selector::new("payments_total");
/// let failed = history.watch(
///     Indicator::counter_ratio(all.clone().label("result", "failed"), all),
///     Window::FIVE_MINUTES,
/// )?;
/// history.sample();
/// payments.add(["failed"], 1);
/// payments.add(["ok"], 3);
/// clock.advance(Duration::from_secs(10));
/// history.sample();
/// let value = failed.value();
/// assert_eq!((value.value, value.samples, value.bad), (Some(0.25), 4, 1));
/// assert_eq!(history.frames(Tier::TenSeconds, 0).len(), 1);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct History(Arc<Shared>);

struct Shared {
    metrics: Weak<metrics::Inner>,
    clock: Clock,
    has_thread: bool,
    is_running: AtomicBool,
    viewers: AtomicUsize,
    state: Mutex<State>,
    /// Held for a whole sample, so that two that are taken at once come one after the other.
    sampling: Mutex<()>,
    subscribers: Mutex<Vec<(u64, Arc<Subscriber>)>>,
    /// Set to wake the thread before its time.
    wake: (Mutex<bool>, Condvar),
}

type Subscriber = dyn Fn(&Sampled<'_>) + Send + Sync;

/// How a [`History`] is kept.
#[derive(Clone, Debug, Default)]
#[must_use = "options do nothing until a history is made with them"]
pub struct HistoryOptions {
    clock: Clock,
    without_thread: bool,
}

impl HistoryOptions {
    /// The machine's clock, and a thread when someone asks for samples.
    pub fn new() -> Self {
        Self::default()
    }

    /// The clock. Default: the machine's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Starts no thread, whatever comes: samples are taken by [`History::sample`].
    pub fn without_thread(mut self) -> Self {
        self.without_thread = true;
        self
    }
}

/// A sample that was just taken.
#[derive(Debug)]
#[non_exhaustive]
pub struct Sampled<'a> {
    /// When, on the wall clock, since the Unix epoch.
    pub unix: Duration,
    /// When, on a clock that never goes back.
    pub monotonic: Duration,
    /// Where it went.
    pub history: &'a History,
}

/// An indicator that is watched: made by [`History::watch`]. Dropped, it gives its place back.
#[must_use = "dropping it ends the watch"]
pub struct Watched {
    shared: Arc<Shared>,
    place: usize,
}

/// Someone looks at the frames of a second: while one of them lives, these are filled. Made by [`History::viewer`].
#[must_use = "dropping it ends the frames of a second"]
pub struct Viewer(Arc<Shared>);

/// A function that is called after each sample: made by [`History::subscribe`]. Dropped, it is called no more.
#[must_use = "dropping it ends the calls"]
pub struct Subscription {
    shared: Arc<Shared>,
    id: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Metrics {
    /// The past of these metrics: one for all who ask, made at the first call. It has no thread yet, and costs 0.3 MB.
    pub fn history(&self) -> History {
        self.history_with(HistoryOptions::new())
    }

    /// The same with options. Those of the first call stay.
    pub fn history_with(&self, options: HistoryOptions) -> History {
        let HistoryOptions { clock, without_thread } = options;
        let history = self.0.history.get_or_init(|| {
            History(Arc::new(Shared {
                metrics: Arc::downgrade(&self.0),
                clock,
                has_thread: !without_thread,
                is_running: AtomicBool::new(false),
                viewers: AtomicUsize::new(0),
                state: Mutex::new(State::new()),
                sampling: Mutex::new(()),
                subscribers: Mutex::default(),
                wake: (Mutex::new(false), Condvar::new()),
            }))
        });
        history.clone()
    }
}

impl History {
    /// Starts the thread that takes samples, unless it runs already or the options forbid it.
    ///
    /// # Errors
    /// When the system has no room for a thread.
    pub fn start(&self) -> io::Result<()> {
        let shared = &self.0;
        if !shared.has_thread || shared.is_running.swap(true, Relaxed) {
            return Ok(());
        }
        // It holds nothing but this, so that it ends when the metrics are gone.
        let shared = Arc::downgrade(shared);
        let started = std::thread::Builder::new().name("steeple-history".to_owned()).spawn(move || run(&shared));
        if let Err(error) = started {
            self.0.is_running.store(false, Relaxed);
            return Err(error);
        }
        Ok(())
    }

    /// The same for those who have no use for the error: it is logged.
    fn start_or_log(&self) {
        if let Err(error) = self.start() {
            tracing::error!(%error, "could not start the thread that samples the metrics");
        }
    }

    /// Takes a sample now.
    pub fn sample(&self) {
        self.sample_from(None);
    }

    /// Takes a sample of a service that is made up, in place of what the metrics have counted: for tests, with a
    /// [manual](Clock::manual) clock. Watched indicators and frames see it; the trends of [routes](Self::routes) do not.
    pub fn sample_of(&self, simulated: &Simulated) {
        self.sample_from(Some(simulated));
    }

    fn sample_from(&self, simulated: Option<&Simulated>) {
        let shared = &self.0;
        let Some(metrics) = shared.metrics.upgrade().map(Metrics) else { return };
        let at = {
            let _sampling = lock(&shared.sampling);
            let at = shared.clock.now();
            let has_viewer = shared.viewers.load(Relaxed) > 0;
            let plan = lock(&shared.state).plan(at, has_viewer);
            // What runs code of the application, or reads many cells, holds no lock that a reader waits for.
            let now = match simulated {
                Some(simulated) => sampler::made_up(&metrics, simulated),
                None => sampler::read(&metrics, &plan),
            };
            lock(&shared.state).take(at, &plan, now, &metrics, simulated);
            at
        };
        self.tell(at);
    }

    fn tell(&self, at: Moment) {
        let subscribers: Vec<Arc<Subscriber>> =
            lock(&self.0.subscribers).iter().map(|(_, subscriber)| Arc::clone(subscriber)).collect();
        let sampled = Sampled { unix: at.unix, monotonic: at.mono, history: self };
        for subscriber in subscribers {
            if catch_unwind(AssertUnwindSafe(|| subscriber(&sampled))).is_err() {
                tracing::error!("a subscriber of the metrics' history panicked; it is called again at the next sample");
            }
        }
    }

    /// Watches an indicator over a window, from now on. At most 64 at once; each has up to 35 KB.
    ///
    /// # Errors
    /// [`BuildError::is_indicator`] for one that can never have a value, [`BuildError::is_too_many`] where there is no room.
    pub fn watch(&self, indicator: Indicator, window: Window) -> Result<Watched, BuildError> {
        indicator.check()?;
        let place = lock(&self.0.state).add(Rule::new(indicator, window)).ok_or_else(BuildError::too_many)?;
        self.start_or_log();
        self.wake();
        Ok(Watched { shared: Arc::clone(&self.0), place })
    }

    /// Calls a function after each sample, on the thread that takes them: so it should not take long. A panic of it is caught.
    pub fn subscribe(&self, subscriber: impl Fn(&Sampled<'_>) + Send + Sync + 'static) -> Subscription {
        let id = {
            let mut subscribers = lock(&self.0.subscribers);
            let id = subscribers.iter().map(|(id, _)| *id).max().map_or(0, |id| id.saturating_add(1));
            subscribers.push((id, Arc::new(subscriber)));
            id
        };
        self.start_or_log();
        Subscription { shared: Arc::clone(&self.0), id }
    }

    /// Fills the frames of a second for as long as what it returns lives.
    pub fn viewer(&self) -> Viewer {
        self.0.viewers.fetch_add(1, Relaxed);
        self.start_or_log();
        self.wake();
        Viewer(Arc::clone(&self.0))
    }

    /// The frames of a tier whose number is above this one, oldest first. 0 for all.
    pub fn frames(&self, tier: Tier, above: u64) -> Vec<Frame> {
        lock(&self.0.state).frames(tier, above)
    }

    /// What the busiest routes did in the last hour: at most 200, in no order.
    pub fn routes(&self) -> Vec<RouteTrend> {
        lock(&self.0.state).routes()
    }

    /// The metrics that it is of. `None`: they are gone.
    pub fn metrics(&self) -> Option<Metrics> {
        self.0.metrics.upgrade().map(Metrics)
    }

    /// The clock.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// The frames of 10 seconds and of a minute, for a state that survives a deploy: about 0.2 MB.
    pub fn save(&self) -> Vec<u8> {
        lock(&self.0.state).save()
    }

    /// Puts frames that were [saved](Self::save) before those that there are. Returns whether they were understood: those of
    /// another version are not.
    pub fn restore(&self, saved: &[u8]) -> bool {
        lock(&self.0.state).restore(saved).is_some()
    }

    /// Puts frames of a tier before those that there are: what a server that scraped the service knows of it. Those that are
    /// not older than the oldest there are left out, and so are the oldest where there is no room.
    ///
    /// ```
    /// use std::time::Duration;
    /// use steeple_metrics::{Metrics, indicator::{Frame, Tier}};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let history = Metrics::new()?.history();
    /// let mut minute = Frame::ended(Duration::from_secs(1_790_000_000), 60.0);
    /// minute.requests = 300;
    /// history.prepend(Tier::Minute, vec![minute]);
    /// assert_eq!(history.frames(Tier::Minute, 0).len(), 1);
    /// # Ok(()) }
    /// ```
    pub fn prepend(&self, tier: Tier, mut frames: Vec<Frame>) {
        frames.sort_by_key(|frame| frame.unix);
        lock(&self.0.state).prepend(tier, frames);
    }

    /// How often frames were put before others, by [`restore`](Self::restore) or [`prepend`](Self::prepend). Frames have other
    /// numbers then: a reader starts again from the oldest.
    pub fn past(&self) -> u64 {
        lock(&self.0.state).past()
    }

    /// Saves the frames with a state that survives a deploy, and restores those of the instance that was adopted.
    pub fn keep_in(&self, state: &state::State) {
        let (saving, loading) = (self.clone(), self.clone());
        state.section(
            "history",
            move || saving.save(),
            move |_, saved| {
                if !loading.restore(saved) {
                    tracing::warn!("the saved history is of another version: it begins anew");
                }
            },
        );
    }

    fn wake(&self) {
        *lock(&self.0.wake.0) = true;
        self.0.wake.1.notify_all();
    }
}

/// The thread: a sample, and a sleep until the next one.
fn run(shared: &Weak<Shared>) {
    loop {
        let Some(history) = shared.upgrade().map(History) else { return };
        if history.0.metrics.strong_count() == 0 {
            return;
        }
        if catch_unwind(AssertUnwindSafe(|| history.sample())).is_err() {
            tracing::error!("a sample of the metrics panicked; the next one is taken as planned");
        }
        let period = {
            let has_viewer = history.0.viewers.load(Relaxed) > 0;
            lock(&history.0.state).period(has_viewer)
        };
        let mut left = period;
        while !left.is_zero() {
            let nap = left.min(LONGEST_NAP);
            let woken = lock(&history.0.wake.0);
            let (mut woken, timeout) = history
                .0
                .wake
                .1
                .wait_timeout_while(woken, nap, |woken| !*woken)
                .unwrap_or_else(PoisonError::into_inner);
            let is_woken = std::mem::take(&mut *woken);
            drop(woken);
            if is_woken || history.0.metrics.strong_count() == 0 {
                break;
            }
            if timeout.timed_out() {
                left = left.saturating_sub(nap);
            }
        }
    }
}

impl Watched {
    /// The value over the window, as of the last sample.
    pub fn value(&self) -> Value {
        lock(&self.shared.state).value(self.place)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        lock(&self.shared.state).remove(self.place);
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.0.viewers.fetch_sub(1, Relaxed);
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        lock(&self.shared.subscribers).retain(|(id, _)| *id != self.id);
    }
}

macro_rules! debug {
    ($($name:ident),+) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )+};
}

debug!(History, Watched, Viewer, Subscription);
