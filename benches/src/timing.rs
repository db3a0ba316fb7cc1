//! Times of apps, on one thread and on two.
#![expect(
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "what measures reads the clock itself, and a float holds its nanoseconds"
)]

use std::{
    fs, hint,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use axum::body::Body;
use http::Request;

use crate::workload::{App, answer};

/// An app and what makes a batch of requests for it.
#[derive(Clone)]
pub struct Timed {
    app: App,
    requests: Arc<dyn Fn() -> Vec<Request<Body>> + Send + Sync>,
}

/// What one slice of time showed.
#[derive(Clone, Copy, Debug)]
pub struct Slice {
    /// Nanoseconds a request.
    pub nanos: f64,
    /// Whether the threads had their cores to themselves: of their time, less than a hundredth was spent waiting for one.
    pub quiet: bool,
}

impl std::fmt::Debug for Timed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Timed").finish_non_exhaustive()
    }
}

impl Timed {
    /// Times this app with these requests.
    pub fn new(app: App, requests: impl Fn() -> Vec<Request<Body>> + Send + Sync + 'static) -> Self {
        Self { app, requests: Arc::new(requests) }
    }

    /// One batch: the sum of nanoseconds and how many requests they were. Making requests is off the clock.
    pub fn batch(&mut self) -> (f64, usize) {
        self.timed(|| ())
    }

    fn timed(&mut self, meet: impl Fn()) -> (f64, usize) {
        let requests = (self.requests)();
        let count = requests.len();
        meet();
        let start = Instant::now();
        for request in requests {
            answer(&mut self.app, request);
        }
        (start.elapsed().as_nanos() as f64, count)
    }

    /// So many batches on this thread.
    pub fn slice(&mut self, batches: usize) -> Slice {
        slice(batches, || self.batch())
    }
}

/// So many pieces of work on this thread, as one slice.
pub fn timed(times: usize, mut work: impl FnMut()) -> Slice {
    slice(1, || {
        let start = Instant::now();
        work();
        (start.elapsed().as_nanos() as f64, times)
    })
}

fn slice(batches: usize, mut batch: impl FnMut() -> (f64, usize)) -> Slice {
    let (start, waited) = (Instant::now(), waited_nanos());
    let (mut nanos, mut requests) = (0.0, 0);
    for _ in 0..batches {
        let (more_nanos, more_requests) = batch();
        nanos += more_nanos;
        requests += more_requests;
    }
    let quiet = (waited_nanos() - waited) * 100.0 < start.elapsed().as_nanos() as f64;
    Slice { nanos: nanos / requests as f64, quiet }
}

/// How long this thread has waited for a core, of Linux's own account. Nothing elsewhere.
fn waited_nanos() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').nth(1).and_then(|waited| waited.parse().ok()).unwrap_or_default()
}

/// A second thread that answers the same kind of requests at the same time.
///
/// Both make their requests, meet, and answer a batch side by side. Without the meeting one would often be making
/// requests while the other answers, and contention would look smaller than it is.
#[derive(Debug)]
pub struct Partner {
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// One more than the app to run, 0 for none, [`OVER`] at the end.
    turn: AtomicUsize,
    /// How many have arrived at the meeting, of all times.
    arrived: AtomicUsize,
    quiet: AtomicBool,
    nanos: AtomicU64,
}

const OVER: usize = usize::MAX;

impl Shared {
    fn meet(&self) {
        // Two come to each meeting: the second makes the number even.
        let mine = self.arrived.fetch_add(1, Ordering::AcqRel);
        let both = (mine | 1).wrapping_add(1);
        wait(|| self.arrived.load(Ordering::Acquire) >= both);
    }
}

/// Spins at first: who waits is to be there at once. After a while the core may be somebody else's.
fn wait(mut done: impl FnMut() -> bool) {
    let mut spins = 0_u32;
    while !done() {
        if spins < 100_000 {
            spins += 1;
            hint::spin_loop();
        } else {
            thread::yield_now();
        }
    }
}

impl Partner {
    /// Starts the thread with apps of its own: clones, so that they share what services of two connections share.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(mut apps: Vec<Timed>, batches: usize) -> std::io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new().name("partner".to_owned()).spawn(move || {
            loop {
                wait(|| theirs.turn.load(Ordering::Acquire) != 0);
                let turn = theirs.turn.load(Ordering::Acquire);
                let Some(app) = turn.checked_sub(1).and_then(|at| apps.get_mut(at)) else { return };
                let slice = slice(batches, || app.timed(|| theirs.meet()));
                theirs.quiet.store(slice.quiet, Ordering::Relaxed);
                theirs.nanos.store(slice.nanos.to_bits(), Ordering::Relaxed);
                theirs.turn.store(0, Ordering::Release);
            }
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// So many batches of the app at this place, on both threads at once.
    pub fn slice(&self, at: usize, app: &mut Timed, batches: usize) -> Slice {
        self.shared.turn.store(at + 1, Ordering::Release);
        let mine = slice(batches, || app.timed(|| self.shared.meet()));
        wait(|| self.shared.turn.load(Ordering::Acquire) == 0);
        let theirs = f64::from_bits(self.shared.nanos.load(Ordering::Relaxed));
        let quiet = mine.quiet && self.shared.quiet.load(Ordering::Relaxed);
        Slice { nanos: f64::midpoint(mine.nanos, theirs), quiet }
    }
}

impl Drop for Partner {
    fn drop(&mut self) {
        self.shared.turn.store(OVER, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _its_panic = thread.join();
        }
    }
}

/// Slices of several apps in turn, and what they show.
#[derive(Debug)]
pub struct Rounds {
    slices: Vec<Vec<Slice>>,
}

impl Rounds {
    /// For so many apps, the first of them the one that the others are compared with.
    pub fn new(apps: usize) -> Self {
        Self { slices: vec![Vec::new(); apps] }
    }

    /// Adds a slice of the app at this place. Each round must add one of each.
    pub fn add(&mut self, at: usize, slice: Slice) {
        if let Some(slices) = self.slices.get_mut(at) {
            slices.push(slice);
        }
    }

    /// Median nanoseconds a request of one app, and the median over rounds of its ratio to the first.
    ///
    /// Rounds in which the machine took a core away from either are left out, unless more than nine in ten are such.
    pub fn of(&self, at: usize) -> (f64, f64) {
        let (Some(bare), Some(mine)) = (self.slices.first(), self.slices.get(at)) else { return (f64::NAN, f64::NAN) };
        let pairs = || bare.iter().zip(mine);
        let quiet = pairs().filter(|(bare, mine)| bare.quiet && mine.quiet).count();
        let choosy = quiet * 10 > mine.len();
        let kept = || pairs().filter(|(bare, mine)| !choosy || (bare.quiet && mine.quiet));
        let mut nanos: Vec<f64> = kept().map(|(_, mine)| mine.nanos).collect();
        let mut ratios: Vec<f64> = kept().map(|(bare, mine)| mine.nanos / bare.nanos).collect();
        (crate::output::median(&mut nanos), crate::output::median(&mut ratios))
    }

    /// The share of slices in which nobody had to wait for a core.
    pub fn quiet_share(&self) -> f64 {
        let all = self.slices.iter().flatten().count();
        self.slices.iter().flatten().filter(|slice| slice.quiet).count() as f64 / all as f64
    }
}

#[cfg(test)]
mod tests {
    use super::{Rounds, Slice};

    fn rounds(slices: &[(f64, f64, bool)]) -> Rounds {
        let mut rounds = Rounds::new(2);
        for (bare, mine, quiet) in slices {
            rounds.add(0, Slice { nanos: *bare, quiet: true });
            rounds.add(1, Slice { nanos: *mine, quiet: *quiet });
        }
        rounds
    }

    #[test]
    fn rounds_in_which_a_core_was_taken_away_are_left_out() {
        let rounds = rounds(&[(100.0, 200.0, true), (100.0, 900.0, false), (100.0, 900.0, false)]);
        assert_eq!(format!("{:?}", rounds.of(1)), "(200.0, 2.0)");
    }

    #[test]
    fn where_no_round_was_quiet_all_count_and_the_share_says_so() {
        let rounds = rounds(&[(100.0, 200.0, false), (100.0, 300.0, false), (100.0, 400.0, false)]);
        assert_eq!(format!("{:?}", rounds.of(1)), "(300.0, 3.0)");
        assert!((rounds.quiet_share() - 0.5).abs() < 1e-9);
    }
}
