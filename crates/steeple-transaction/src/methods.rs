use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

/// The gRPC methods that are known to be real. Grows to a fixed size, never shrinks; reading takes no lock.
///
/// Open addressing over slots that are written once. At most half of them are ever full, so that a search ends.
#[derive(Debug)]
pub(crate) struct KnownMethods {
    slots: Box<[OnceLock<Box<str>>]>,
    hasher: RandomState,
    room: AtomicUsize,
}

impl KnownMethods {
    /// Knows these and can learn as many more.
    pub(crate) fn new(declared: &[String], learn: usize) -> Self {
        let most = declared.len().saturating_add(learn);
        let slots = most.saturating_mul(2).max(1);
        let known = Self {
            slots: std::iter::repeat_with(OnceLock::new).take(slots).collect(),
            hasher: RandomState::new(),
            room: AtomicUsize::new(most),
        };
        for method in declared {
            known.insert(method);
        }
        // Declared twice is there once, and leaves no room for more to learn than was asked for.
        known.room.store(learn, Ordering::Relaxed);
        known
    }

    pub(crate) fn contains(&self, method: &str) -> bool {
        self.probe(method).map_while(OnceLock::get).any(|known| **known == *method)
    }

    pub(crate) fn can_learn(&self) -> bool {
        self.room.load(Ordering::Relaxed) > 0
    }

    /// Returns whether the method is known now.
    pub(crate) fn insert(&self, method: &str) -> bool {
        if self.contains(method) {
            return true;
        }
        let take = |room: usize| room.checked_sub(1);
        if self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err() {
            return false;
        }
        for slot in self.probe(method) {
            if slot.set(method.into()).is_ok() {
                return true;
            }
            if slot.get().is_some_and(|known| **known == *method) {
                // Someone else was quicker.
                self.room.fetch_add(1, Ordering::Relaxed);
                return true;
            }
        }
        false
    }

    /// The slots where a method may be, in order.
    fn probe(&self, method: &str) -> impl Iterator<Item = &OnceLock<Box<str>>> {
        let hash = usize::try_from(self.hasher.hash_one(method) >> 32).unwrap_or_default();
        let start = hash.checked_rem(self.slots.len()).unwrap_or_default();
        let (before, after) = self.slots.split_at(start);
        after.iter().chain(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_declared_is_known_and_the_room_for_more_is_fixed() {
        let known = KnownMethods::new(&["a/A".to_owned(), "a/B".to_owned(), "a/A".to_owned()], 3);
        assert!(known.contains("a/A") && known.contains("a/B") && !known.contains("a/C"));
        for method in ["a/1", "a/2", "a/3", "a/1"] {
            assert!(known.insert(method), "{method}");
        }
        assert!(!known.insert("a/4") && !known.contains("a/4") && !known.can_learn());
        assert!(known.contains("a/1") && known.insert("a/B"), "known methods stay known");
    }

    #[test]
    fn nothing_is_learned_where_the_room_is_used_up() {
        let known = KnownMethods::new(&[], 0);
        assert!(!known.contains("a/A") && !known.insert("a/A") && !known.can_learn());
    }

    #[test]
    fn many_threads_learn_the_same_methods_once() {
        let known = KnownMethods::new(&[], 100);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for number in 0..100 {
                        // A full table may be a moment's illusion: the other threads give back what they took twice.
                        while !known.insert(&format!("pkg.S/M{number}")) {
                            std::thread::yield_now();
                        }
                    }
                });
            }
        });
        assert!((0..100).all(|number| known.contains(&format!("pkg.S/M{number}"))));
        assert!(!known.can_learn());
    }
}
