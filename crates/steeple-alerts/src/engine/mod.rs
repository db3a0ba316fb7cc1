//! The state of one rule: pure, without a clock. The caller of [`State::step`] passes the time.

use std::time::Duration;

/// The shortest time between a notification and a reminder.
pub const MIN_REPEAT: Duration = Duration::from_secs(300);

/// When a rule fires and when it is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// Which side of the thresholds is bad.
    pub side: Side,
    /// Beyond this value the rule is breached.
    pub raise: f64,
    /// At this value, or on the good side of it, the breach is over. Between the two the state stays.
    pub clear: f64,
    /// How long the rule is breached before it fires. Time without data does not count. Default: zero.
    pub hold: Duration,
    /// How long the value has been good before the alert is resolved. Default: zero.
    pub keep_firing: Duration,
    /// With fewer samples than this in the window, the rule has no data. Default: 0.
    pub min_samples: u64,
    /// Fewer bad samples than this in the window do not breach. Default: 0.
    pub min_bad: u64,
    /// No data before the process is this old. Default: zero.
    pub min_uptime: Duration,
    /// How long a state is kept without data; after that, an alert is resolved. Default: 15 minutes.
    pub no_data_timeout: Duration,
    /// How long after a resolved alert the rule does not notify. Alerts that came and went in the meantime are reported at its end. Default: 15
    /// minutes.
    pub cooldown: Duration,
    /// How long after the notification a reminder follows; each later one takes twice as long. At least [`MIN_REPEAT`]. Default: 4
    /// hours.
    pub repeat: Duration,
    /// The longest time between two reminders. Default: 24 hours.
    pub max_repeat: Duration,
}

/// Which side of a threshold is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Higher values are worse: an error ratio.
    Above,
    /// Lower values are worse: active users.
    Below,
}

impl Policy {
    /// A rule that is breached beyond `raise` on this side, with the defaults otherwise.
    pub const fn new(side: Side, raise: f64) -> Self {
        Self {
            side,
            raise,
            clear: raise,
            hold: Duration::ZERO,
            keep_firing: Duration::ZERO,
            min_samples: 0,
            min_bad: 0,
            min_uptime: Duration::ZERO,
            no_data_timeout: Duration::from_secs(900),
            cooldown: Duration::from_secs(900),
            repeat: Duration::from_secs(14_400),
            max_repeat: Duration::from_secs(86_400),
        }
    }

    fn is_breached(&self, sample: &Sample) -> bool {
        sample.bad >= self.min_bad
            && match self.side {
                Side::Above => sample.value > self.raise,
                Side::Below => sample.value < self.raise,
            }
    }

    fn is_clear(&self, sample: &Sample) -> bool {
        sample.bad < self.min_bad
            || match self.side {
                Side::Above => sample.value <= self.clear,
                Side::Below => sample.value >= self.clear,
            }
    }

    /// The worse of two values. NaN stands for no value.
    fn worst(&self, one: f64, other: f64) -> f64 {
        match (one.is_nan(), other.is_nan()) {
            (true, _) => other,
            (false, true) => one,
            (false, false) => self.worse(one, other),
        }
    }

    /// Of two numbers, the better.
    pub(crate) fn better(&self, one: f64, other: f64) -> f64 {
        match self.side {
            Side::Above => one.min(other),
            Side::Below => one.max(other),
        }
    }

    /// Of two numbers, the worse.
    fn worse(&self, one: f64, other: f64) -> f64 {
        match self.side {
            Side::Above => one.max(other),
            Side::Below => one.min(other),
        }
    }
}

/// What a rule's indicator reads at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// The indicator's value. Not a number: no data.
    pub value: f64,
    /// How many samples the value was made of. `u64::MAX` for a gauge.
    pub samples: u64,
    /// How many of them were bad. `u64::MAX` where the indicator does not distinguish good from bad.
    pub bad: u64,
}

impl Sample {
    /// A value that needs no minimum of samples: a gauge.
    pub const fn gauge(value: f64) -> Self {
        Self { value, samples: u64::MAX, bad: u64::MAX }
    }

    /// No data.
    pub const fn none() -> Self {
        Self { value: f64::NAN, samples: 0, bad: 0 }
    }
}

/// Where a rule is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// All is well.
    #[default]
    Inactive,
    /// Breached, but not for long enough.
    Pending,
    /// Breached for long enough.
    Firing,
    /// Still an alert, and good again, but not for long enough.
    Recovering,
}

impl Phase {
    /// `inactive`, `pending`, `firing`, `recovering`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Recovering => "recovering",
        }
    }
}

/// Something to send to the channels.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Transition {
    /// The alert fires.
    Firing {
        /// The value now.
        value: f64,
        /// When it began to fire, in wall-clock time since the Unix epoch.
        since: Duration,
        /// How many alerts of this rule the cooldown kept back since the last notification.
        suppressed: u64,
    },
    /// The alert still fires.
    Reminder {
        /// The value now.
        value: f64,
        /// When it began to fire.
        since: Duration,
        /// How many reminders there have been, this one included.
        number: u32,
    },
    /// The alert is over.
    Resolved {
        /// The value now; `None` without data.
        value: Option<f64>,
        /// The worst value while it fired.
        peak: f64,
        /// When it began to fire.
        since: Duration,
        /// How long it fired.
        lasted: Duration,
        /// Why it is over.
        reason: ResolvedReason,
    },
    /// The cooldown has ended: alerts that fired in it were kept back, and are over.
    KeptBack {
        /// How many there were.
        suppressed: u64,
        /// When the first of them began to fire.
        since: Duration,
        /// The worst value of all of them.
        peak: f64,
    },
}

/// Why an alert is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResolvedReason {
    /// The value is good again.
    Cleared,
    /// There has been no data for [`Policy::no_data_timeout`].
    NoData,
}

/// What of a [`State`] survives the process: all times are on the wall clock.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Saved {
    /// Whether channels were notified that it fires, and not yet that it is over.
    pub announced: bool,
    /// When it began to fire, since the Unix epoch.
    pub firing_since: Duration,
    /// The worst value while it fired.
    pub peak: f64,
    /// Until when the rule does not notify.
    pub quiet_until: Duration,
    /// When it is time for the next reminder.
    pub remind_at: Duration,
    /// How many reminders there have been.
    pub reminders: u32,
    /// Until when the cooldown lasts.
    pub cooldown_until: Duration,
    /// How many alerts it has kept back.
    pub suppressed: u64,
    /// When the first of them began to fire.
    pub suppressed_since: Duration,
    /// The worst value of those that are over.
    pub suppressed_peak: f64,
}

impl Saved {
    /// Nothing is known.
    pub const fn new() -> Self {
        Self {
            announced: false,
            firing_since: Duration::ZERO,
            peak: f64::NAN,
            quiet_until: Duration::ZERO,
            remind_at: Duration::ZERO,
            reminders: 0,
            cooldown_until: Duration::ZERO,
            suppressed: 0,
            suppressed_since: Duration::ZERO,
            suppressed_peak: f64::NAN,
        }
    }
}

impl Default for Saved {
    fn default() -> Self {
        Self::new()
    }
}

/// The state of one rule.
///
/// Whatever the samples, these hold: no `Resolved` without a `Firing` before it, no second `Firing` without a `Resolved`
/// between them, at least [`Policy::cooldown`] between a `Resolved` and the next `Firing`, at least [`MIN_REPEAT`] between a
/// notification and a reminder, and each alert that a cooldown kept back is in the count of one `Firing` or `KeptBack`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct State {
    phase: Phase,
    /// How long the rule has been breached with data, while it is pending; good, while it recovers.
    held: Duration,
    /// The last step.
    last: Option<Duration>,
    /// How long there has been no data.
    without_data: Duration,
    has_data: bool,
    value: Option<f64>,
    peak: f64,
    firing_since: Duration,
    fired_at: Duration,
    /// How long it had fired in a process before this one.
    fired_before: Duration,
    /// A `Firing` was handed out, and no `Resolved` yet.
    announced: bool,
    /// Monotonic: until then the rule does not notify.
    quiet_until: Duration,
    /// Monotonic: until then alerts are counted as kept back.
    cooldown_until: Duration,
    kept_back: KeptBack,
    remind_at: Duration,
    reminders: u32,
}

/// Alerts that fired in a cooldown.
#[derive(Clone, Copy, Debug, PartialEq)]
struct KeptBack {
    count: u64,
    /// When the first began to fire, on the wall clock.
    since: Duration,
    /// The worst value of those that are over.
    peak: f64,
}

impl KeptBack {
    const NONE: Self = Self { count: 0, since: Duration::ZERO, peak: f64::NAN };
}

impl Default for State {
    fn default() -> Self {
        Self {
            phase: Phase::Inactive,
            held: Duration::ZERO,
            last: None,
            without_data: Duration::ZERO,
            has_data: false,
            value: None,
            peak: f64::NAN,
            firing_since: Duration::ZERO,
            fired_at: Duration::ZERO,
            fired_before: Duration::ZERO,
            announced: false,
            quiet_until: Duration::ZERO,
            cooldown_until: Duration::ZERO,
            kept_back: KeptBack::NONE,
            remind_at: Duration::ZERO,
            reminders: 0,
        }
    }
}

impl State {
    /// Where the rule is.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether there is data at all.
    pub const fn has_data(&self) -> bool {
        self.has_data
    }

    /// The last value that was read.
    pub const fn value(&self) -> Option<f64> {
        self.value
    }

    /// When the alert began to fire, in wall-clock time, while it is one.
    pub fn firing_since(&self) -> Option<Duration> {
        self.is_alert().then_some(self.firing_since)
    }

    /// Whether the rule is an alert now: firing or recovering.
    pub fn is_alert(&self) -> bool {
        matches!(self.phase, Phase::Firing | Phase::Recovering)
    }

    /// Whether its beginning was sent to channels, and its end was not yet.
    pub const fn is_announced(&self) -> bool {
        self.announced
    }

    /// Does not notify before `until`, in monotonic time: what fires until then, and still does, is sent then. The end
    /// of an alert that was sent is still sent.
    pub fn keep_quiet(&mut self, until: Duration) {
        self.quiet_until = self.quiet_until.max(until);
        self.remind_at = self.remind_at.max(until);
    }

    /// What of it is to survive the process.
    pub fn save(&self, mono: Duration, wall: Duration) -> Saved {
        // An alert that fires still is counted by the next process, if it does there.
        let waits = self.is_alert() && !self.announced && self.fired_at < self.cooldown_until;
        Saved {
            announced: self.announced,
            firing_since: self.firing_since,
            peak: self.peak,
            quiet_until: wall.saturating_add(self.quiet_until.saturating_sub(mono)),
            remind_at: wall.saturating_add(self.remind_at.saturating_sub(mono)),
            reminders: self.reminders,
            cooldown_until: wall.saturating_add(self.cooldown_until.saturating_sub(mono)),
            suppressed: self.kept_back.count.saturating_sub(u64::from(waits)),
            suppressed_since: self.kept_back.since,
            suppressed_peak: self.kept_back.peak,
        }
    }

    /// Takes over what the process before knew: an alert that it announced is not announced again, and its end is. May come
    /// after the first steps.
    pub fn adopt(&mut self, policy: &Policy, mono: Duration, wall: Duration, saved: &Saved) {
        let later = |at: Duration| mono.saturating_add(at.saturating_sub(wall));
        self.quiet_until = self.quiet_until.max(later(saved.quiet_until));
        self.cooldown_until = self.cooldown_until.max(later(saved.cooldown_until));
        if saved.suppressed > 0 {
            let own = self.kept_back;
            self.kept_back = KeptBack {
                count: own.count.saturating_add(saved.suppressed),
                since: saved.suppressed_since,
                peak: policy.worst(own.peak, saved.suppressed_peak),
            };
        }
        if !saved.announced {
            return;
        }
        if !self.is_alert() {
            self.enter(Phase::Firing);
            self.fired_at = mono;
        }
        self.firing_since = saved.firing_since.min(wall);
        self.fired_before = wall.saturating_sub(self.firing_since).saturating_sub(mono.saturating_sub(self.fired_at));
        self.peak = policy.worst(self.peak, saved.peak);
        if !self.announced {
            (self.announced, self.kept_back, self.reminders) = (true, KeptBack::NONE, saved.reminders);
            self.remind_at = mono.saturating_add(saved.remind_at.saturating_sub(wall));
        }
    }

    /// One more reading. `mono` is the monotonic time since the process began, `wall` the time since the Unix epoch.
    ///
    /// Returns what to send to channels. At most one thing happens in a step.
    pub fn step(&mut self, policy: &Policy, mono: Duration, wall: Duration, sample: &Sample) -> Option<Transition> {
        let stepped = self.advance(policy, mono, wall, sample);
        stepped.or_else(|| self.tell_of_kept_back(mono))
    }

    /// At the end of the cooldown, what it has kept back, unless that fires now or is about to.
    fn tell_of_kept_back(&mut self, mono: Duration) -> Option<Transition> {
        if self.phase != Phase::Inactive || mono < self.quiet_until || self.kept_back.count == 0 {
            return None;
        }
        let KeptBack { count, since, peak } = std::mem::replace(&mut self.kept_back, KeptBack::NONE);
        Some(Transition::KeptBack { suppressed: count, since, peak })
    }

    fn advance(&mut self, policy: &Policy, mono: Duration, wall: Duration, sample: &Sample) -> Option<Transition> {
        let passed = self.last.map_or(Duration::ZERO, |last| mono.saturating_sub(last));
        self.last = Some(mono);
        self.has_data = !sample.value.is_nan() && sample.samples >= policy.min_samples && mono >= policy.min_uptime;
        if !self.has_data {
            return self.step_without_data(policy, mono, passed);
        }
        self.without_data = Duration::ZERO;
        self.value = Some(sample.value);
        let (breached, clear) = (policy.is_breached(sample), policy.is_clear(sample));
        match self.phase {
            Phase::Inactive if breached => {
                self.enter(Phase::Pending);
                self.fire_if_held(policy, mono, wall, sample)
            }
            Phase::Inactive => None,
            Phase::Pending if breached => {
                self.held = self.held.saturating_add(passed);
                self.fire_if_held(policy, mono, wall, sample)
            }
            Phase::Pending => {
                self.enter(Phase::Inactive);
                None
            }
            Phase::Firing if clear => {
                self.enter(Phase::Recovering);
                self.resolve_if_held(policy, mono)
            }
            Phase::Firing => {
                self.peak = policy.worse(self.peak, sample.value);
                self.announce(policy, mono, sample.value)
            }
            Phase::Recovering if clear => {
                self.held = self.held.saturating_add(passed);
                self.resolve_if_held(policy, mono)
            }
            Phase::Recovering => {
                self.enter(Phase::Firing);
                self.peak = policy.worse(self.peak, sample.value);
                self.announce(policy, mono, sample.value)
            }
        }
    }

    /// The state stays as it is, for a while.
    fn step_without_data(&mut self, policy: &Policy, mono: Duration, passed: Duration) -> Option<Transition> {
        self.without_data = self.without_data.saturating_add(passed);
        if self.without_data < policy.no_data_timeout {
            return None;
        }
        match self.phase {
            Phase::Inactive => None,
            Phase::Pending => {
                self.enter(Phase::Inactive);
                None
            }
            Phase::Firing | Phase::Recovering => self.resolve(policy, mono, None, ResolvedReason::NoData),
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.held = Duration::ZERO;
    }

    fn fire_if_held(&mut self, policy: &Policy, mono: Duration, wall: Duration, sample: &Sample) -> Option<Transition> {
        if self.held < policy.hold {
            return None;
        }
        self.enter(Phase::Firing);
        (self.firing_since, self.fired_at, self.peak) = (wall, mono, sample.value);
        self.fired_before = Duration::ZERO;
        if mono < self.cooldown_until {
            if self.kept_back.count == 0 {
                self.kept_back.since = wall;
            }
            self.kept_back.count = self.kept_back.count.saturating_add(1);
        }
        self.announce(policy, mono, sample.value)
    }

    /// Says that the alert fires, or still fires, if it is time to.
    fn announce(&mut self, policy: &Policy, mono: Duration, value: f64) -> Option<Transition> {
        if !self.announced {
            if mono < self.quiet_until {
                return None;
            }
            self.announced = true;
            self.reminders = 0;
            self.remind_at = mono.saturating_add(policy.repeat.max(MIN_REPEAT));
            let kept_back = std::mem::replace(&mut self.kept_back, KeptBack::NONE).count;
            // An alert that waited for the end of the cooldown is the one that is sent, and not one of those kept back.
            let suppressed = kept_back.saturating_sub(u64::from(self.fired_at < self.cooldown_until));
            return Some(Transition::Firing { value, since: self.firing_since, suppressed });
        }
        if mono < self.remind_at {
            return None;
        }
        self.reminders = self.reminders.saturating_add(1);
        let repeat = policy.repeat.max(MIN_REPEAT);
        let wait = repeat.saturating_mul(1_u32.checked_shl(self.reminders).unwrap_or(u32::MAX));
        self.remind_at = mono.saturating_add(wait.min(policy.max_repeat.max(repeat)));
        Some(Transition::Reminder { value, since: self.firing_since, number: self.reminders })
    }

    fn resolve_if_held(&mut self, policy: &Policy, mono: Duration) -> Option<Transition> {
        if self.held < policy.keep_firing {
            return None;
        }
        self.resolve(policy, mono, self.value, ResolvedReason::Cleared)
    }

    fn resolve(
        &mut self,
        policy: &Policy,
        mono: Duration,
        value: Option<f64>,
        reason: ResolvedReason,
    ) -> Option<Transition> {
        self.enter(Phase::Inactive);
        self.without_data = Duration::ZERO;
        if !std::mem::take(&mut self.announced) {
            // No channel knows of it.
            if self.kept_back.count > 0 {
                self.kept_back.peak = policy.worst(self.kept_back.peak, self.peak);
            }
            return None;
        }
        self.cooldown_until = mono.saturating_add(policy.cooldown);
        self.quiet_until = self.quiet_until.max(self.cooldown_until);
        Some(Transition::Resolved {
            value,
            peak: self.peak,
            since: self.firing_since,
            lasted: mono.saturating_sub(self.fired_at).saturating_add(self.fired_before),
            reason,
        })
    }
}

#[cfg(test)]
mod tests;
