//! What a rule is evaluated over.

use steeple_metrics::indicator::{History, Value, Watched};

use crate::{
    BuildError, Rule,
    engine::{Policy, Sample},
    rule::Windows,
};

/// A rule's indicator over its windows.
pub(crate) struct Watching {
    over: Watched,
    also: Option<Watched>,
}

impl Watching {
    pub(crate) fn start(history: &History, rule: &Rule, windows: Windows) -> Result<Self, BuildError> {
        let watch = |window| {
            let watched = history.watch(rule.indicator.clone(), window);
            watched.map_err(|error| BuildError::rule(rule.name(), &error.to_string()))
        };
        Ok(Self { over: watch(windows.over)?, also: windows.also.map(watch).transpose()? })
    }

    /// The value that both windows have reached. None, where one has none.
    pub(crate) fn sample(&self, policy: &Policy) -> Sample {
        let Value { value, samples, bad, .. } = self.over.value();
        let value = match (&self.also, value) {
            (None, value) => value,
            (Some(also), value) => value.zip(also.value().value).map(|(one, other)| policy.better(one, other)),
        };
        value.map_or_else(Sample::none, |value| Sample { value, samples, bad })
    }
}
