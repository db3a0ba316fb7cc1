//! A small cache in front of the database.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use steeple::metrics::CacheOperation;

use super::measured::Measured;

/// Keeps up to a fixed number of values by their number; the oldest goes first.
#[derive(Debug)]
pub(super) struct Cache<V> {
    capacity: usize,
    kept: Mutex<Kept<V>>,
    measured: Measured,
}

#[derive(Debug)]
struct Kept<V> {
    values: HashMap<i64, V>,
    oldest_first: VecDeque<i64>,
    /// Counts calls of `forget`: values read before one must not be kept after it.
    forgotten: u64,
}

/// What a look-up found.
#[derive(Debug)]
pub(super) enum Lookup<V> {
    Hit(V),
    /// Not there. The ticket is needed to keep what the database says.
    Miss(Ticket),
}

/// The right to keep a value that was read after a miss, void once something was forgotten since.
#[derive(Debug)]
pub(super) struct Ticket {
    key: i64,
    forgotten: u64,
}

impl<V: Clone> Cache<V> {
    pub(super) fn new(capacity: usize, measured: Measured) -> Self {
        let kept = Kept { values: HashMap::new(), oldest_first: VecDeque::new(), forgotten: 0 };
        Self { capacity, kept: Mutex::new(kept), measured }
    }

    pub(super) fn get(&self, key: i64) -> Lookup<V> {
        let kept = self.lock();
        if let Some(value) = kept.values.get(&key) {
            self.measured.cached("get", CacheOperation::hit);
            return Lookup::Hit(value.clone());
        }
        self.measured.cached("get", CacheOperation::miss);
        Lookup::Miss(Ticket { key, forgotten: kept.forgotten })
    }

    /// Keeps `value`, unless it may be out of date by now. Says whether it did.
    pub(super) fn keep(&self, ticket: &Ticket, value: V) -> bool {
        let mut kept = self.lock();
        if kept.forgotten != ticket.forgotten {
            // Counts as dropped, and that is what becomes of the value.
            self.measured.cached("set", drop);
            return false;
        }
        if kept.values.insert(ticket.key, value).is_none() {
            kept.oldest_first.push_back(ticket.key);
        }
        while kept.oldest_first.len() > self.capacity {
            if let Some(oldest) = kept.oldest_first.pop_front() {
                kept.values.remove(&oldest);
            }
        }
        self.measured.cached("set", CacheOperation::ok);
        true
    }

    /// Drops the value, because the database holds another one now. Says whether there was one.
    pub(super) fn forget(&self, key: i64) -> bool {
        let mut kept = self.lock();
        kept.forgotten = kept.forgotten.wrapping_add(1);
        let known = kept.values.remove(&key).is_some();
        if known {
            kept.oldest_first.retain(|other| *other != key);
            self.measured.cached("delete", CacheOperation::hit);
        } else {
            self.measured.cached("delete", CacheOperation::miss);
        }
        known
    }

    /// Every change is complete before the lock goes, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, Kept<V>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn miss(cache: &Cache<&'static str>, key: i64) -> Ticket {
        match cache.get(key) {
            Lookup::Miss(ticket) => ticket,
            Lookup::Hit(value) => panic!("{key} is kept: {value}"),
        }
    }

    #[test]
    fn what_was_kept_is_found_until_it_is_forgotten() {
        let cache = Cache::new(2, Measured::default());
        assert!(cache.keep(&miss(&cache, 1), "a"));
        assert!(matches!(cache.get(1), Lookup::Hit("a")));
        assert!(cache.forget(1));
        assert!(!cache.forget(1));
        miss(&cache, 1);
    }

    #[test]
    fn a_value_read_before_a_change_is_not_kept_after_it() {
        let cache = Cache::new(2, Measured::default());
        let before = miss(&cache, 1);
        cache.forget(1);
        assert!(!cache.keep(&before, "old"));
        miss(&cache, 1);
    }

    #[test]
    fn the_oldest_value_makes_room() {
        let cache = Cache::new(2, Measured::default());
        for (key, value) in [(1, "a"), (2, "b"), (3, "c")] {
            assert!(cache.keep(&miss(&cache, key), value));
        }
        miss(&cache, 1);
        assert!(matches!(cache.get(2), Lookup::Hit("b")));
        assert!(matches!(cache.get(3), Lookup::Hit("c")));
    }
}
