//! So many failures in a while for each address: ten a minute, if nothing else is set.

use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

const MAX_FAILURES: u32 = 10;
/// Addresses that are remembered. The one whose minute began first makes room.
const MAX_ADDRESSES: usize = 256;

/// Who has failed lately. An address that is not known is one address.
#[derive(Debug)]
pub(super) struct Failures {
    window: Duration,
    failed: Mutex<Vec<Failed>>,
}

#[derive(Clone, Copy, Debug)]
struct Failed {
    who: Option<IpAddr>,
    since: Duration,
    count: u32,
}

impl Failures {
    pub(super) fn new(window: Duration) -> Self {
        Self { window, failed: Mutex::default() }
    }

    /// How long an address has to wait until it may try again.
    pub(super) fn wait(&self, who: Option<IpAddr>, now: Duration) -> Option<Duration> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = failed.iter().find(|failed| failed.who == who)?;
        let passed = now.checked_sub(failed.since).unwrap_or(self.window);
        (failed.count >= MAX_FAILURES && passed < self.window).then(|| self.window.saturating_sub(passed))
    }

    pub(super) fn add(&self, who: Option<IpAddr>, now: Duration) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = failed.iter_mut().find(|failed| failed.who == who) {
            if now.checked_sub(known.since).unwrap_or(self.window) >= self.window {
                (known.since, known.count) = (now, 0);
            }
            known.count = known.count.saturating_add(1);
            return;
        }
        if failed.len() >= MAX_ADDRESSES
            && let Some((oldest, _)) = failed.iter().enumerate().min_by_key(|(_, failed)| failed.since)
        {
            failed.swap_remove(oldest);
        }
        failed.push(Failed { who, since: now, count: 1 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_failures_in_a_minute_lock_an_address_out_for_the_rest_of_it() {
        let failures = Failures::new(Duration::from_secs(60));
        let (one, other) = (Some(IpAddr::from([192, 0, 2, 1])), Some(IpAddr::from([192, 0, 2, 2])));
        let at = |seconds: u64| Duration::from_secs(1_790_000_000 + seconds);
        for second in 0..10 {
            assert_eq!(failures.wait(one, at(second)), None);
            failures.add(one, at(second));
        }
        assert_eq!(failures.wait(one, at(10)), Some(Duration::from_secs(50)));
        assert_eq!((failures.wait(other, at(10)), failures.wait(None, at(10))), (None, None));
        assert_eq!(failures.wait(one, at(60)), None);
        failures.add(one, at(60));
        assert_eq!(failures.wait(one, at(61)), None, "a new minute");
    }

    #[test]
    fn any_number_of_addresses_take_fixed_room() {
        let failures = Failures::new(Duration::from_secs(60));
        for n in 0..10_000_u32 {
            failures.add(Some(IpAddr::from(n.to_be_bytes())), Duration::from_secs(u64::from(n)));
        }
        assert_eq!(failures.failed.lock().unwrap_or_else(PoisonError::into_inner).len(), MAX_ADDRESSES);
    }
}
