use std::time::Duration;

use steeple_metrics::indicator::{Indicator, Unit, Window};

use crate::{
    BuildError, Severity,
    engine::{Policy, Side},
};

/// When an indicator is worth a notification.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use steeple_alerts::{Rule, Severity};
/// use steeple_metrics::indicator::Indicator;
///
/// let rule = Rule::new("checkout_slow", Indicator::quantile(0.95).of("POST", "/checkout"), Duration::from_secs(300))
///     .above(1.5)
///     .clear(1.0)
///     .hold(Duration::from_secs(180))
///     .min_samples(50)
///     .severity(Severity::High);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a rule does nothing until alerts are built with it"]
pub struct Rule {
    pub(crate) name: String,
    pub(crate) summary: Option<String>,
    pub(crate) indicator: Indicator,
    pub(crate) window: Duration,
    pub(crate) also_over: Option<Duration>,
    pub(crate) policy: Policy,
    has_threshold: bool,
    has_clear: bool,
    pub(crate) severity: Severity,
    pub(crate) runbook: Option<String>,
}

impl Rule {
    /// A rule over the last `window` of an indicator. It needs a threshold: [`above`](Self::above) or
    /// [`below`](Self::below).
    ///
    /// `name` identifies the alert everywhere: lower-case letters, digits and `_`, at most 64.
    pub fn new(name: impl Into<String>, indicator: Indicator, window: Duration) -> Self {
        Self {
            name: name.into(),
            summary: None,
            indicator,
            window,
            also_over: None,
            policy: Policy::new(Side::Above, f64::INFINITY),
            has_threshold: false,
            has_clear: false,
            severity: Severity::default(),
            runbook: None,
        }
    }

    /// Measures its indicator over this time, in place of what [`new`](Self::new) has set.
    pub fn over(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Fires only if the indicator is beyond the threshold over this shorter window too, and resolves as soon as it is good over it:
    /// the long window keeps a short spike from firing, the short one ends an alert once its cause is gone. The minimum numbers of
    /// samples count in the long window. Default: no second window.
    ///
    /// # Source
    /// Google, "The Site Reliability Workbook", chapter 5, "Multiwindow, Multi-Burn-Rate Alerts".
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use steeple_alerts::Rule;
    /// use steeple_metrics::indicator::Indicator;
    ///
    /// let hour = Duration::from_secs(3_600);
    /// let rule = Rule::new("errors", Indicator::error_ratio(), hour).also_over(hour / 12).above(0.02);
    /// ```
    pub fn also_over(mut self, window: Duration) -> Self {
        self.also_over = Some(window);
        self
    }

    /// Measures this indicator, in place of what [`new`](Self::new) has set.
    pub fn measure(mut self, indicator: Indicator) -> Self {
        self.indicator = indicator;
        self
    }

    /// Fires above this value, in the indicator's unit: a ratio from 0 to 1, seconds, a number.
    pub fn above(mut self, threshold: f64) -> Self {
        (self.policy.side, self.policy.raise, self.has_threshold) = (Side::Above, threshold, true);
        self
    }

    /// Fires below this value.
    pub fn below(mut self, threshold: f64) -> Self {
        (self.policy.side, self.policy.raise, self.has_threshold) = (Side::Below, threshold, true);
        self
    }

    /// Is over at this value, which lies on the good side of the threshold. Default: the threshold.
    pub fn clear(mut self, value: f64) -> Self {
        (self.policy.clear, self.has_clear) = (value, true);
        self
    }

    /// Fires after this long beyond the threshold: `for` in Prometheus. Default: at once.
    pub fn hold(mut self, hold: Duration) -> Self {
        self.policy.hold = hold;
        self
    }

    /// Is over after this long on the good side: `keep_firing_for` in Prometheus. Default: at once.
    pub fn keep_firing(mut self, keep_firing: Duration) -> Self {
        self.policy.keep_firing = keep_firing;
        self
    }

    /// With fewer samples than this in the window, the rule has no data. Default: 0.
    pub fn min_samples(mut self, samples: u64) -> Self {
        self.policy.min_samples = samples;
        self
    }

    /// Fewer bad samples than this in the window do not fire. Default: 0.
    pub fn min_bad(mut self, samples: u64) -> Self {
        self.policy.min_bad = samples;
        self
    }

    /// Does not fire before the process is this old. Default: zero.
    pub fn min_uptime(mut self, uptime: Duration) -> Self {
        self.policy.min_uptime = uptime;
        self
    }

    /// Does not notify for this long after the alert was resolved. At the end, one notification has the alerts that were kept back: with the
    /// alert, if it fires. Default: 15 minutes.
    pub fn cooldown(mut self, cooldown: Duration) -> Self {
        self.policy.cooldown = cooldown;
        self
    }

    /// Reminds after this long, then after twice as long, and so on. At least 5 minutes. Default: 4 hours.
    pub fn repeat(mut self, repeat: Duration) -> Self {
        self.policy.repeat = repeat;
        self
    }

    /// How much the alert matters. Default: [`Severity::Medium`].
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// What the rule means, in a sentence. Default: made from the indicator.
    pub fn summary(mut self, summary: impl Into<String>) -> Self {
        self.summary = Some(summary.into());
        self
    }

    /// Where to read what to do about it. Default: none.
    pub fn runbook(mut self, url: impl Into<String>) -> Self {
        self.runbook = Some(url.into());
        self
    }

    /// The rule's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How much its alerts matter.
    pub const fn get_severity(&self) -> Severity {
        self.severity
    }

    /// What the rule watches.
    pub fn indicator(&self) -> &Indicator {
        &self.indicator
    }

    /// The time over which its indicator is measured.
    pub const fn window(&self) -> Duration {
        self.window
    }

    /// The second window, see [`also_over`](Self::also_over).
    pub const fn second_window(&self) -> Option<Duration> {
        self.also_over
    }

    /// When it fires and when it is over. The threshold is infinite until one is set.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What the rule means, in a sentence, if [`summary`](Self::summary) has set one.
    pub fn summary_text(&self) -> Option<&str> {
        self.summary.as_deref()
    }

    /// Checks the rule: a rule that can never fire, or never be over, is refused.
    pub(crate) fn check(&mut self) -> Result<Windows, BuildError> {
        let refuse = |what: &str| Err(BuildError::rule(&self.name, what));
        let plain = |name: &str| {
            (1..=64).contains(&name.len())
                && name.starts_with(|c: char| c.is_ascii_lowercase())
                && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        };
        if !plain(&self.name) {
            return refuse("its name has 1 to 64 lower-case letters, digits and `_`, a letter first");
        }
        if !self.has_threshold || !self.policy.raise.is_finite() {
            return refuse("it needs a finite threshold: `above` or `below`");
        }
        if !self.has_clear {
            self.policy.clear = self.policy.raise;
        }
        let Policy { side, raise, clear, .. } = self.policy;
        let reachable = match side {
            Side::Above => clear <= raise,
            Side::Below => clear >= raise,
        };
        if !clear.is_finite() || !reachable {
            return refuse("`clear` lies on the good side of its threshold");
        }
        let possible = match (self.indicator.unit(), side) {
            (Unit::Ratio, Side::Above) => (0.0..1.0).contains(&raise),
            (Unit::Ratio, Side::Below) => raise > 0.0 && raise <= 1.0,
            (_, Side::Above) => true,
            (_, Side::Below) => raise > 0.0,
        };
        if !possible {
            return refuse("no value of its indicator is beyond its threshold; a ratio is from 0 to 1");
        }
        self.indicator.check().map_err(|error| BuildError::rule(&self.name, &error.to_string()))?;
        let window = |time: Duration| {
            Window::new(time)
                .map_err(|_too_long| BuildError::rule(&self.name, "its window is from 1 second to 24 hours"))
        };
        Ok(Windows { over: window(self.window)?, also: self.also_over.map(window).transpose()? })
    }
}

/// What a rule measures over.
#[derive(Clone, Copy)]
pub(crate) struct Windows {
    pub(crate) over: Window,
    pub(crate) also: Option<Window>,
}
