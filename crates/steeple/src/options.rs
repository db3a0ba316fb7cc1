//! Time limits, and where they come from.

use std::time::Duration;

use crate::{
    ConfigError,
    env::{self, Lookup},
};

/// How a service ends. Kubernetes kills a process 30 s after SIGTERM by default: this stays below.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    /// From the signal to the end of the last request, the delay included.
    pub(crate) drain: Duration,
    /// From there on, for all sinks together.
    pub(crate) flush: Duration,
    /// How long connections are still accepted after the signal.
    pub(crate) delay: Duration,
}

impl Default for Ending {
    fn default() -> Self {
        Self { drain: Duration::from_secs(20), flush: Duration::from_secs(5), delay: Duration::ZERO }
    }
}

const DELAY: &str = "SHUTDOWN_DELAY";

impl Ending {
    pub(crate) fn from_env(env: &dyn Lookup) -> Result<Self, ConfigError> {
        let default = Self::default();
        Ok(Self { delay: env::duration(env, DELAY)?.unwrap_or(default.delay), ..default })
    }

    pub(crate) fn check(self) -> Result<Self, ConfigError> {
        if self.delay <= self.drain {
            return Ok(self);
        }
        let (delay, drain) = (self.delay, self.drain);
        let message = format!("{DELAY} is {delay:?}; it may be at most the drain timeout, {drain:?}");
        Err(ConfigError::new(Some(DELAY), &message))
    }
}

/// Time limits of connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connections {
    pub(crate) header_read_timeout: Duration,
    pub(crate) keep_alive_interval: Duration,
    pub(crate) keep_alive_timeout: Duration,
    /// How long accepting pauses where the process has no file descriptor left.
    pub(crate) accept_pause: Duration,
    /// How long requests that are cut off may take to end.
    pub(crate) cut_off_timeout: Duration,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            header_read_timeout: Duration::from_secs(30),
            keep_alive_interval: Duration::from_secs(30),
            keep_alive_timeout: Duration::from_secs(10),
            accept_pause: Duration::from_millis(100),
            cut_off_timeout: Duration::from_secs(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn by_default_a_service_has_ended_long_before_kubernetes_kills_it() {
        let Ending { drain, flush, delay } = Ending::default();
        assert!(delay.is_zero());
        assert!(drain.saturating_add(flush) <= Duration::from_secs(25), "{drain:?} and {flush:?}");
    }

    #[test]
    fn a_delay_is_part_of_the_time_for_draining() {
        let of = |text| Ending::from_env(&HashMap::from([("SHUTDOWN_DELAY", text)])).unwrap().check();
        let ending = of("5s").unwrap();
        assert_eq!((ending.delay, ending.drain), (Duration::from_secs(5), Ending::default().drain));
        assert_eq!(of("20s").unwrap().delay, ending.drain);
        let error = of("21s").unwrap_err();
        assert_eq!(error.variable(), Some("SHUTDOWN_DELAY"));
    }
}
