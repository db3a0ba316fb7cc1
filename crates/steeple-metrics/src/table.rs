//! A map that is read without a lock, grows up to a fixed size and forgets nothing; and one that forgets, behind a lock.

use std::sync::{
    Mutex, OnceLock, PoisonError, RwLock,
    atomic::{AtomicBool, Ordering::Relaxed},
};

/// Open addressing over slots that are each written once.
pub(crate) struct Table<V> {
    slots: Box<[OnceLock<Entry<V>>]>,
    max_len: usize,
    is_full: AtomicBool,
    /// Which slots are taken, oldest first. Held while one is taken.
    order: Mutex<Vec<usize>>,
}

struct Entry<V> {
    hash: u64,
    value: V,
}

impl<V> Table<V> {
    /// A table of at most this many values; its size in memory is fixed from now on.
    pub(crate) fn new(max_len: usize) -> Self {
        let slots = max_len.saturating_mul(2).next_power_of_two().max(2);
        Self {
            slots: (0..slots).map(|_| OnceLock::new()).collect(),
            max_len,
            is_full: AtomicBool::new(max_len == 0),
            order: Mutex::new(Vec::new()),
        }
    }

    #[inline]
    pub(crate) fn get(&self, hash: u64, is: impl Fn(&V) -> bool) -> Option<&V> {
        self.probe(hash, is).ok()
    }

    /// Whether it is full.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full.load(Relaxed)
    }

    /// The value, or the place where it would go.
    #[inline]
    fn probe(&self, hash: u64, is: impl Fn(&V) -> bool) -> Result<&V, usize> {
        let mask = self.slots.len().wrapping_sub(1);
        #[expect(clippy::cast_possible_truncation, reason = "the low bits are wanted")]
        let mut place = hash as usize & mask;
        // At most half of the slots are taken, so there is an end.
        loop {
            match self.slots.get(place).and_then(OnceLock::get) {
                Some(entry) if entry.hash == hash && is(&entry.value) => return Ok(&entry.value),
                Some(_) => place = place.wrapping_add(1) & mask,
                None => return Err(place),
            }
        }
    }

    /// The value; if it is missing and there is room, the result of `make`. `make` sees how many there are.
    #[cold]
    pub(crate) fn get_or_insert(
        &self,
        hash: u64,
        is: impl Fn(&V) -> bool,
        make: impl FnOnce(usize) -> Option<V>,
    ) -> Option<&V> {
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let place = match self.probe(hash, is) {
            Ok(value) => return Some(value),
            Err(place) => place,
        };
        if order.len() >= self.max_len {
            return None;
        }
        let value = make(order.len())?;
        let entry = self.slots.get(place)?.get_or_init(|| Entry { hash, value });
        order.push(place);
        if order.len() >= self.max_len {
            self.is_full.store(true, Relaxed);
        }
        Some(&entry.value)
    }

    /// All values, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &V> {
        let order = self.order.lock().unwrap_or_else(PoisonError::into_inner).clone();
        order.into_iter().filter_map(|place| Some(&self.slots.get(place)?.get()?.value))
    }
}

impl<V> Table<V> {
    /// Removes the values that are over. What stays is found as before, and there is room for others.
    fn remove(&mut self, is_over: impl Fn(&V) -> bool, mut removed: impl FnMut(V)) {
        let order = std::mem::take(self.order.get_mut().unwrap_or_else(PoisonError::into_inner));
        let taken = order.into_iter().filter_map(|place| self.slots.get_mut(place)?.take());
        let entries: Vec<_> = taken.collect();
        self.is_full = AtomicBool::new(self.max_len == 0);
        for Entry { hash, value } in entries {
            if is_over(&value) {
                removed(value);
            } else {
                let _stays = self.get_or_insert(hash, |_| false, |_| Some(value));
            }
        }
    }
}

/// A [`Table`] whose values can be removed, where that is asked for. Only then it is behind a lock.
pub(crate) enum Room<V> {
    Fixed(Table<V>),
    Expiring(RwLock<Table<V>>),
}

impl<V> Room<V> {
    pub(crate) fn new(max_len: usize, expires: bool) -> Self {
        let table = Table::new(max_len);
        if expires { Self::Expiring(RwLock::new(table)) } else { Self::Fixed(table) }
    }

    /// What `f` does with the table; nothing is removed meanwhile. `f` does not come here again.
    #[inline]
    pub(crate) fn with<T>(&self, f: impl FnOnce(&Table<V>) -> T) -> T {
        match self {
            Self::Fixed(table) => f(table),
            Self::Expiring(table) => f(&table.read().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// Removes the values that are over and hands them to `removed`, before anyone else sees that they are gone.
    pub(crate) fn remove(&self, is_over: impl Fn(&V) -> bool, removed: impl FnMut(V)) {
        let Self::Expiring(table) = self else { return };
        // Nothing waits where there is nothing to remove.
        if self.with(|table| table.iter().filter(|value| is_over(value)).count()) > 0 {
            table.write().unwrap_or_else(PoisonError::into_inner).remove(is_over, removed);
        }
    }
}

/// Hashes texts: fast, and different in every process.
pub(crate) fn hash<'a>(texts: impl IntoIterator<Item = &'a str>) -> u64 {
    const MIX: u64 = 0xf135_7aea_2e62_a9c5;
    static SEED: OnceLock<u64> = OnceLock::new();
    let mut state = *SEED.get_or_init(|| {
        use std::hash::{BuildHasher, RandomState};
        RandomState::new().hash_one(0)
    });
    for text in texts {
        let bytes = text.as_bytes();
        for word in bytes.as_chunks::<8>().0 {
            state = (state ^ u64::from_le_bytes(*word)).wrapping_mul(MIX).rotate_left(26);
        }
        // The end once more, or all of a short text: overlapping reads take no loop over bytes.
        let end = match (bytes.last_chunk::<8>(), bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
            (Some(last), _, _) => u64::from_le_bytes(*last),
            (None, Some(first), Some(last)) => {
                u64::from(u32::from_le_bytes(*first)) | (u64::from(u32::from_le_bytes(*last)) << 32)
            }
            _ => bytes.iter().fold(0, |word, byte| (word << 8) | u64::from(*byte)),
        };
        let length = (text.len() as u64).rotate_left(56);
        state = (state ^ end ^ length).wrapping_mul(MIX).rotate_left(26);
    }
    state ^ (state >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_keeps_what_it_has_room_for_and_nothing_else() {
        let table = Table::new(100);
        let insert =
            |text: String| table.get_or_insert(hash([&*text]), |v| *v == text, |_| Some(text.clone())).is_some();
        let kept = (0..1_000).filter(|n| insert(format!("/route/{n}"))).count();
        assert_eq!((kept, table.iter().count()), (100, 100));
        for n in 0..100 {
            let text = format!("/route/{n}");
            assert_eq!(table.get(hash([&*text]), |v| *v == text), Some(&text));
        }
        assert!(table.get(hash(["/route/100"]), |v| v == "/route/100").is_none());
        assert_eq!(table.iter().next().map(String::as_str), Some("/route/0"));
    }

    #[test]
    fn what_is_removed_leaves_its_room_and_what_stays_is_found() {
        let room = Room::new(100, true);
        let insert = |n: u32| {
            let text = n.to_string();
            room.with(|table| table.get_or_insert(hash([&*text]), |v| *v == text, |_| Some(text.clone())).is_some())
        };
        let has = |n: u32| {
            let text = n.to_string();
            room.with(|table| table.get(hash([&*text]), |v| *v == text).is_some())
        };
        for round in 0..10 {
            assert_eq!((0..100).filter(|n| insert(round * 100 + n)).count(), 100, "round {round}");
            assert!(!insert(5_000) && room.with(Table::is_full));
            let mut removed = Vec::new();
            room.remove(|text| text.ends_with(['1', '3', '5', '7', '9']), |text| removed.push(text));
            assert_eq!(removed.len(), 50);
            assert!((0..100).all(|n| has(round * 100 + n) == (n % 2 == 0)));
            room.remove(|_| true, |text| removed.push(text));
            assert_eq!((removed.len(), room.with(|table| table.iter().count())), (100, 0));
        }
        let fixed = Room::new(1, false);
        fixed.with(|table| table.get_or_insert(1, |_| true, |_| Some(7)).copied());
        fixed.remove(|_| true, |_| panic!("it is not to be removed"));
        assert_eq!(fixed.with(|table| table.iter().count()), 1);
    }

    #[test]
    fn threads_that_insert_the_same_value_get_the_same_one() {
        let table = Table::<String>::new(64);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for n in 0..64 {
                        let text = n.to_string();
                        table.get_or_insert(hash([&*text]), |v| *v == text, |_| Some(text.clone())).unwrap();
                    }
                });
            }
        });
        assert_eq!(table.iter().count(), 64);
    }

    #[test]
    fn texts_that_are_split_elsewhere_hash_elsewhere() {
        assert_ne!(hash(["ab", "c"]), hash(["a", "bc"]));
        assert_ne!(hash(["a", ""]), hash(["a"]));
        assert_ne!(hash(["a\0"]), hash(["a"]));
    }
}
