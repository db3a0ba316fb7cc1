//! How many users there are, in fixed memory.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Mutex, PoisonError,
        atomic::{
            AtomicU8, AtomicU64,
            Ordering::{Relaxed, Release},
        },
    },
    time::{Duration, Instant},
};

use steeple_core::clock;

use crate::{
    Metrics,
    encode::{Encoder, Kind, Meta, Number, Source},
    layout::to_f64,
    series::{Labels, Name},
};

/// Registers of a sketch: a standard error of 1.04/√2048 = 2.3 %.
const REGISTERS: usize = 2048;
const INDEX_BITS: u32 = REGISTERS.trailing_zeros();

/// The rank of a hash whose bits behind the index are all 0.
const MAX_RANK: usize = 64 - INDEX_BITS as usize + 1;

/// The window is this many slots long; the newest is still filling.
const SLOTS: usize = 6;
const FULL_SLOTS: u64 = 5;

/// Estimates how many distinct users there were over a sliding window.
///
/// One `HyperLogLog` sketch per sixth of the window, merged when someone asks: 12 KiB in all. The hash has a different key
/// in every process, so that a client cannot choose user ids that count as many.
pub(crate) struct ActiveUsers {
    started: Instant,
    slot_seconds: u64,
    key: RandomState,
    slots: [Slot; SLOTS],
    /// Held while a slot begins anew.
    turning: Mutex<()>,
    /// The application's own count; [`NOT_SET`] where it is estimated here.
    set: AtomicU64,
    /// A second name for the same number.
    alias: Option<String>,
}

/// No service has so many.
const NOT_SET: u64 = u64::MAX;

struct Slot {
    /// Which sixth of a window since the start it is about, plus one; 0 for none.
    period: AtomicU64,
    registers: Box<[AtomicU8]>,
}

impl ActiveUsers {
    pub(crate) fn new(window: Duration) -> Self {
        let slot = || Slot { period: AtomicU64::new(0), registers: (0..REGISTERS).map(|_| AtomicU8::new(0)).collect() };
        Self {
            started: clock::now(),
            // The newest slot is filling, so that five full ones and it cover the window.
            slot_seconds: window.as_secs().div_ceil(FULL_SLOTS).max(1),
            key: RandomState::new(),
            slots: std::array::from_fn(|_| slot()),
            turning: Mutex::new(()),
            set: AtomicU64::new(NOT_SET),
            alias: None,
        }
    }

    /// Under a second name as well.
    pub(crate) fn with_alias(self, alias: Option<String>) -> Self {
        Self { alias, ..self }
    }

    /// Sets the count, which then replaces the estimate.
    pub(crate) fn set(&self, users: u64) {
        self.set.store(users, Relaxed);
    }

    fn period(&self, at: Instant) -> u64 {
        let seconds = at.saturating_duration_since(self.started).as_secs();
        seconds.checked_div(self.slot_seconds).unwrap_or(0).saturating_add(1)
    }

    /// This user was here at this time.
    pub(crate) fn seen(&self, user: &str, at: Instant) {
        let period = self.period(at);
        let place = usize::try_from(period).unwrap_or(0) % SLOTS;
        let Some(slot) = self.slots.get(place) else { return };
        if slot.period.load(Relaxed) != period {
            self.turn(slot, period);
        }
        let hash = self.key.hash_one(user);
        let rank = (hash << INDEX_BITS).leading_zeros().min(64 - INDEX_BITS).saturating_add(1);
        let register = usize::try_from(hash >> (64 - INDEX_BITS)).ok().and_then(|index| slot.registers.get(index));
        if let (Some(register), Ok(rank)) = (register, u8::try_from(rank))
            && register.load(Relaxed) < rank
        {
            register.fetch_max(rank, Relaxed);
        }
    }

    #[cold]
    fn turn(&self, slot: &Slot, period: u64) {
        let _turning = self.turning.lock().unwrap_or_else(PoisonError::into_inner);
        // A late end of an exchange does not bring an old period back.
        if slot.period.load(Relaxed) < period {
            for register in &slot.registers {
                register.store(0, Relaxed);
            }
            slot.period.store(period, Release);
        }
    }

    /// How many distinct users there were in the window that ends at this time.
    pub(crate) fn estimate(&self, at: Instant) -> f64 {
        let set = self.set.load(Relaxed);
        if set != NOT_SET {
            return to_f64(set);
        }
        let now = self.period(at);
        let mut merged = [0_u8; REGISTERS];
        for slot in &self.slots {
            let period = slot.period.load(Relaxed);
            if period > 0 && period <= now && now.saturating_sub(period) < SLOTS as u64 {
                for (merged, register) in merged.iter_mut().zip(&slot.registers) {
                    *merged = (*merged).max(register.load(Relaxed));
                }
            }
        }
        estimate(&merged)
    }
}

/// The improved estimator, which has no bias for few, for many, or between.
///
/// # Source
/// Otmar Ertl, New cardinality estimation algorithms for `HyperLogLog` sketches, 2017, algorithm 6.
#[expect(clippy::cast_precision_loss, reason = "2,048 is exact")]
fn estimate(registers: &[u8; REGISTERS]) -> f64 {
    let m = REGISTERS as f64;
    let mut counts = [0_u32; MAX_RANK + 1];
    for rank in registers {
        if let Some(count) = counts.get_mut(usize::from(*rank)) {
            *count = count.saturating_add(1);
        }
    }
    let [empty, between @ .., full] = counts;
    let mut z = m * tau(1.0 - f64::from(full) / m);
    for count in between.iter().rev() {
        z = 0.5 * (z + f64::from(*count));
    }
    z += m * sigma(f64::from(empty) / m);
    m * m / (2.0 * std::f64::consts::LN_2 * z)
}

fn sigma(x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut x, mut y, mut z) = (x, 1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z <= before {
            return z;
        }
    }
}

fn tau(x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut x, mut y, mut z) = (x, 1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if z >= before {
            return z / 3.0;
        }
    }
}

impl Metrics {
    /// Sets how many users are active, where the application knows better than the requests do. From then on this number is shown
    /// and read by alerts and the dashboard, in place of the estimate. Nothing happens
    /// [`without_active_users`](crate::MetricsBuilder::without_active_users).
    #[doc(alias = "setActiveUsers")]
    pub fn set_active_users(&self, users: u64) {
        if let Some(active) = &self.0.core.users {
            active.set(users);
        }
    }
}

impl Source for ActiveUsers {
    fn families(&self) -> Vec<Meta> {
        let gauge = |name: Name| {
            Meta::new(Kind::Gauge, name, "Distinct users of the last minutes, estimated to a few percent.", &[])
        };
        let alias = self.alias.clone().map(|name| gauge(name.into()));
        std::iter::once(gauge("active_users".into())).chain(alias).collect()
    }

    fn write(&self, to: &mut dyn Encoder) {
        for meta in self.families() {
            to.begin(&meta);
            to.value(&Labels::new([]), Number::Float(self.estimate(clock::now()).round()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_is_near_the_truth_for_few_and_for_many() {
        for (users, allowed) in [(0, 0.0), (1, 0.01), (10, 0.5), (100, 5.0), (5_000, 500.0), (100_000, 10_000.0)] {
            // Keys are random, and with one in fifty two of ten users fall together: the middle of some keys.
            let mut estimates = [(); 7].map(|()| {
                let active = ActiveUsers::new(Duration::from_mins(5));
                for user in 0..users {
                    for _ in 0..2 {
                        active.seen(&format!("user-{user}"), active.started);
                    }
                }
                active.estimate(active.started)
            });
            estimates.sort_by(f64::total_cmp);
            let [_, _, _, estimate, ..] = estimates;
            assert!((estimate - f64::from(users)).abs() <= allowed, "{users} users, {estimate} estimated");
        }
    }

    #[test]
    fn the_estimate_has_no_bias() {
        for users in [500_u64, 2_000, 5_000, 8_000, 20_000, 200_000] {
            // Each number's hash is another one in each of the rounds, and the same in every run of this test.
            let rounds = 60;
            let errors = (0..rounds).map(|round| {
                let mut registers = [0_u8; REGISTERS];
                for user in 0..users {
                    let mut hash = (user + (round << 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                    hash ^= hash >> 31;
                    let rank = (hash << INDEX_BITS).leading_zeros().min(64 - INDEX_BITS) + 1;
                    let register = &mut registers[usize::try_from(hash >> (64 - INDEX_BITS)).unwrap()];
                    *register = (*register).max(u8::try_from(rank).unwrap());
                }
                estimate(&registers) / crate::layout::to_f64(users) - 1.0
            });
            let errors: Vec<f64> = errors.collect();
            let bias = errors.iter().sum::<f64>() / crate::layout::to_f64(rounds);
            let deviation =
                (errors.iter().map(|error| error * error).sum::<f64>() / crate::layout::to_f64(rounds)).sqrt();
            assert!(bias.abs() < 0.008 && deviation < 0.03, "{users} users: bias {bias:.4}, deviation {deviation:.4}");
        }
    }

    fn estimated(active: &ActiveUsers, seconds: u64) -> String {
        let at = active.started.checked_add(Duration::from_secs(seconds)).unwrap();
        format!("{:.0}", active.estimate(at))
    }

    #[test]
    fn users_leave_when_the_window_has_passed_them() {
        let active = ActiveUsers::new(Duration::from_mins(5));
        let at = |seconds| active.started + Duration::from_secs(seconds);
        active.seen("early", at(0));
        for second in (0..=240).step_by(30) {
            active.seen("always", at(second));
        }
        assert_eq!(estimated(&active, 240), "2");
        assert_eq!(estimated(&active, 400), "1", "the early one is gone");
        active.seen("late", at(10_000));
        assert_eq!(estimated(&active, 10_000), "1", "an old slot begins anew");
    }
}
