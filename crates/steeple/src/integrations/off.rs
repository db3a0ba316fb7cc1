//! An integration whose Cargo feature is off.

use std::convert::Infallible;

use super::{Integration, Setting, Setup, Started};
use crate::{ConfigError, env::Lookup};

pub(crate) use super::NoCalls as CallObserver;

/// No options, and nothing that runs.
#[derive(Debug, Default)]
pub(crate) struct Options;

/// Observes no jobs.
pub(crate) type JobObserver = ();

/// The observer of jobs.
pub(crate) const fn job_observer(_off: Option<&Infallible>) -> JobObserver {}

/// Observes nothing.
pub(crate) type Observer = ();

impl Integration for Options {
    type Handle = Infallible;
    type Observer = Observer;
    type CallObserver = CallObserver;
    const IS_COMPILED: bool = false;

    fn from_env(_env: &dyn Lookup) -> Result<Setting<Self>, ConfigError> {
        Ok(Setting::default())
    }

    fn start(self, _setup: &mut Setup<'_>) -> Result<Option<Started<Infallible>>, ConfigError> {
        Ok(None)
    }
}
