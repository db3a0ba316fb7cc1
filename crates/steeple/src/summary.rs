//! One line at the start with the setup, and one warning for each setting without effect.

use std::{
    fmt::{self, Write},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::env::Service;

/// What became of each integration.
#[derive(Debug, Default)]
pub(crate) struct Integrations {
    pub(crate) states: Vec<(&'static str, State)>,
    /// Which TLS provider the process has. Empty: nothing is sent over HTTP.
    pub(crate) tls: &'static str,
    pub(crate) unreachable: Unreachable,
}

/// Receivers that did not answer at the start. They are asked in the background, and the log may not be there yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unreachable(Arc<Mutex<Reports>>);

#[derive(Debug, Default)]
pub(crate) struct Reports {
    /// Each once: several sinks may have one receiver.
    pub(crate) all: Vec<String>,
    /// Whether the summary was logged, and what comes now is logged at once.
    pub(crate) is_logged: bool,
}

impl Unreachable {
    pub(crate) fn reports(&self) -> MutexGuard<'_, Reports> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) {
        let mut reports = self.reports();
        reports.is_logged = true;
        let all = reports.all.clone();
        drop(reports);
        for warning in all {
            tracing::warn!(target: "steeple::start", "{warning}");
        }
    }
}

/// What became of one.
#[derive(Debug)]
pub(crate) enum State {
    Off,
    Disabled,
    On { to: String, variable: Option<&'static str> },
}

impl Integrations {
    pub(crate) fn off(&mut self, name: &'static str) {
        self.states.push((name, State::Off));
    }

    pub(crate) fn disabled(&mut self, name: &'static str) {
        self.states.push((name, State::Disabled));
    }

    pub(crate) fn on(&mut self, name: &'static str, to: String, variable: Option<&'static str>) {
        self.states.push((name, State::On { to, variable }));
    }
}

impl fmt::Display for Integrations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, state)) in self.states.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{name}: ")?;
            state.fmt(f)?;
        }
        if !self.tls.is_empty() {
            write!(f, "; tls provider: {}", self.tls)?;
        }
        Ok(())
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Disabled => f.write_str("off (STEEPLE_DISABLE)"),
            Self::On { to, variable } => write!(f, "{to} ({})", variable.unwrap_or("set in code")),
        }
    }
}

/// The setup.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) service: Service,
    /// Where lines go, and which subscriber of `tracing` is the process's.
    pub(crate) log: String,
    /// Whose forwarding headers are believed.
    pub(crate) trust: String,
    pub(crate) integrations: Integrations,
    pub(crate) warnings: Vec<String>,
    pub(crate) addresses: Mutex<Vec<(&'static str, String)>>,
    logged: AtomicBool,
}

impl Summary {
    pub(crate) fn new(
        service: Service,
        log: String,
        trust: &str,
        integrations: Integrations,
        warnings: Vec<String>,
    ) -> Self {
        let trust = trust.to_owned();
        Self { service, log, trust, integrations, warnings, ..Self::default() }
    }

    /// Adds an address.
    pub(crate) fn listens(&self, what: &'static str, address: String) {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).push((what, address));
    }

    /// Logs it, the first time.
    pub(crate) fn log(&self) {
        if self.logged.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::info!(target: "steeple::start", "{self}");
        for warning in &self.warnings {
            tracing::warn!(target: "steeple::start", "{warning}");
        }
        self.integrations.unreachable.log();
    }
}

/// `shop 1.2.3 started: environment production; http 127.0.0.1:3000; log …; trace: off; …`
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Service { name, version, environment, region } = &self.service;
        f.write_str(name.as_deref().unwrap_or("service"))?;
        if let Some(version) = version {
            write!(f, " {version}")?;
        }
        f.write_str(" started")?;
        let mut parts = String::new();
        for (what, value) in [("environment", environment), ("region", region)] {
            if let Some(value) = value {
                write!(parts, "; {what} {value}")?;
            }
        }
        for (what, address) in &*self.addresses.lock().unwrap_or_else(PoisonError::into_inner) {
            write!(parts, "; {what} {address}")?;
        }
        write!(parts, "; log: {}; trusted proxies: {}; {}", self.log, self.trust, self.integrations)?;
        write!(f, ": {}", parts.trim_start_matches("; "))
    }
}
