//! What the names of fields reveal is worked out once on each thread: a program has a few dozen of them.
//!
//! Bounded: 256 names of at most 40 bytes a thread, in 14 KiB, which a thread allocates for the first field that it scrubs.

use std::cell::RefCell;

use crate::{memo::fingerprint, name::Class, policy::Policy};

/// Longer names are worked out each time.
const MAX_LEN: usize = 40;
/// Two names of each: where a third comes, the older one goes.
const SETS: usize = 128;

#[derive(Clone, Copy)]
struct Entry {
    /// By whose policy: another one judges otherwise.
    policy: u64,
    name: [u8; MAX_LEN],
    /// No name is remembered with this many bytes: [`UNUSED`].
    len: u8,
    class: Class,
}

const UNUSED: Entry = Entry { policy: 0, name: [0; MAX_LEN], len: u8::MAX, class: Class::Open };

thread_local! {
    static KNOWN: RefCell<Vec<[Entry; 2]>> = const { RefCell::new(Vec::new()) };
}

/// The same as [`Policy::classify`].
pub(crate) fn classify(policy: &Policy, name: &[u8]) -> Class {
    if name.len() > MAX_LEN {
        return policy.classify(name);
    }
    let remembered = KNOWN.try_with(|known| remembered(&mut *known.try_borrow_mut().ok()?, policy, name));
    remembered.ok().flatten().unwrap_or_else(|| policy.classify(name))
}

fn remembered(known: &mut Vec<[Entry; 2]>, policy: &Policy, name: &[u8]) -> Option<Class> {
    if known.is_empty() {
        known.resize(SETS, [UNUSED; 2]);
    }
    let set = usize::try_from(fingerprint(name) >> 57).ok()?;
    let [newer, older] = known.get_mut(set)?;
    let is = |entry: &Entry| {
        entry.policy == policy.id
            && usize::from(entry.len) == name.len()
            && entry.name.get(..name.len()).is_some_and(|known| known == name)
    };
    if is(newer) {
        return Some(newer.class);
    }
    if is(older) {
        return Some(older.class);
    }
    let mut entry =
        Entry { policy: policy.id, len: u8::try_from(name.len()).ok()?, class: policy.classify(name), ..UNUSED };
    entry.name.get_mut(..name.len())?.copy_from_slice(name);
    *older = std::mem::replace(newer, entry);
    Some(entry.class)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Scrubber;

    proptest! {
        #[test]
        fn a_name_that_comes_again_reveals_the_same(names in prop::collection::vec("[a-z._A-Z0-9-]{0,44}|pass(word)?|pin", 1..300)) {
            let policies = [Scrubber::default(), Scrubber::builder().deny_keys(["shop"]).except_keys(["pin"]).build().unwrap()];
            for _ in 0..3 {
                for name in &names {
                    for scrubber in &policies {
                        let name = name.as_bytes();
                        prop_assert_eq!(classify(&scrubber.policy, name), scrubber.policy.classify(name));
                    }
                }
            }
        }
    }

    #[test]
    fn one_policy_does_not_judge_by_what_another_one_found() {
        let lenient = Scrubber::builder().except_keys(["password"]).build().unwrap();
        let strict = Scrubber::default();
        for _ in 0..2 {
            assert_eq!(classify(&lenient.policy, b"password"), Class::Open);
            assert_eq!(classify(&strict.policy, b"password"), Class::Strong);
        }
    }
}
