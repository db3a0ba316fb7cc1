use proptest::prelude::*;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn minutes(n: u32) -> Duration {
    MINUTE.saturating_mul(n)
}

fn error_ratio() -> Policy {
    Policy { clear: 0.03, hold: minutes(2), keep_firing: minutes(3), min_samples: 20, ..Policy::new(Side::Above, 0.05) }
}

/// One reading a minute; a reading is a value with enough samples. Returns what happened, with the minute.
#[track_caller]
fn run(policy: &Policy, values: &[f64]) -> Vec<(u32, &'static str)> {
    let mut state = State::default();
    let mut out = Vec::new();
    for (minute, value) in (0..).zip(values) {
        let at = minutes(minute);
        let sample = Sample { value: *value, samples: 100, bad: 100 };
        if let Some(transition) = state.step(policy, at, at, &sample) {
            out.push((minute, name(&transition)));
        }
    }
    out
}

fn name(transition: &Transition) -> &'static str {
    match transition {
        Transition::Firing { .. } => "firing",
        Transition::Reminder { .. } => "reminder",
        Transition::Resolved { reason: ResolvedReason::Cleared, .. } => "resolved",
        Transition::Resolved { reason: ResolvedReason::NoData, .. } => "no data",
        Transition::KeptBack { .. } => "kept back",
    }
}

#[test]
fn an_alert_fires_after_its_hold_and_resolves_after_its_keep_firing() {
    let got = run(&error_ratio(), &[0.0, 0.2, 0.2, 0.2, 0.0, 0.0, 0.0, 0.0, 0.0]);
    assert_eq!(got, [(3, "firing"), (7, "resolved")]);
}

#[test]
fn a_breach_that_ends_in_time_is_not_reported() {
    assert_eq!(run(&error_ratio(), &[0.2, 0.2, 0.0, 0.2, 0.2, 0.0]), []);
}

#[test]
fn a_value_around_the_threshold_for_an_hour_fires_once() {
    let values: Vec<_> = (0..60).map(|minute| if minute % 2 == 0 { 0.06 } else { 0.045 }).collect();
    let policy = Policy { hold: Duration::ZERO, ..error_ratio() };
    assert_eq!(run(&policy, &values), [(0, "firing")]);
}

#[test]
fn without_data_the_state_stays_for_a_while() {
    let mut values = vec![0.2; 4];
    values.extend([f64::NAN; 20]);
    assert_eq!(run(&error_ratio(), &values), [(2, "firing"), (18, "no data")]);
    // The time without data does not count as breached.
    assert_eq!(run(&error_ratio(), &[0.2, f64::NAN, f64::NAN, f64::NAN, 0.0]), []);
}

#[test]
fn nineteen_requests_are_no_data_and_twenty_are() {
    for (samples, fires) in [(19, false), (20, true)] {
        let policy = Policy { hold: Duration::ZERO, ..error_ratio() };
        let sample = Sample { value: 1.0, samples, bad: samples };
        let fired = State::default().step(&policy, MINUTE, MINUTE, &sample).is_some();
        assert_eq!(fired, fires, "{samples} samples");
    }
}

#[test]
fn few_users_are_no_alert_before_the_process_is_old_enough() {
    let policy = Policy { min_uptime: minutes(60), ..Policy::new(Side::Below, 10.0) };
    let mut state = State::default();
    assert_eq!(state.step(&policy, minutes(59), minutes(59), &Sample::gauge(0.0)), None);
    assert!(state.step(&policy, minutes(60), minutes(60), &Sample::gauge(0.0)).is_some());
}

#[test]
fn reminders_come_less_and_less_often() {
    let policy = Policy { clear: 0.5, ..Policy::new(Side::Above, 0.5) };
    let mut state = State::default();
    let mut hours = Vec::new();
    for hour in 0..100_u32 {
        let at = Duration::from_secs(u64::from(hour).saturating_mul(3600));
        match state.step(&policy, at, at, &Sample::gauge(1.0)) {
            Some(Transition::Reminder { number, .. }) => hours.push((hour, number)),
            Some(Transition::Firing { .. }) => assert_eq!(hour, 0),
            Some(other @ (Transition::Resolved { .. } | Transition::KeptBack { .. })) => panic!("{other:?}"),
            None => (),
        }
    }
    assert_eq!(hours, [(4, 1), (12, 2), (28, 3), (52, 4), (76, 5)]);
}

#[test]
fn an_alert_inside_the_cooldown_is_notified_at_its_end() {
    let policy = Policy { cooldown: minutes(15), ..Policy::new(Side::Above, 0.5) };
    let mut state = State::default();
    let mut got = Vec::new();
    // Fires at 0, resolved at 1; fires and resolves at 3 and 4 and again from 6 on.
    for (minute, bad) in [(0, true), (1, false), (3, true), (4, false), (6, true), (10, true), (16, true), (17, false)]
    {
        let at = minutes(minute);
        let transition = state.step(&policy, at, at, &Sample::gauge(if bad { 1.0 } else { 0.0 }));
        got.extend(transition.map(|transition| (minute, transition)));
    }
    assert_eq!(
        got.iter().map(|(at, it)| (*at, name(it))).collect::<Vec<_>>(),
        [(0, "firing"), (1, "resolved"), (16, "firing"), (17, "resolved")]
    );
    assert!(matches!(got[2].1, Transition::Firing { suppressed: 1, since, .. } if since == minutes(6)), "{got:?}");
}

#[test]
fn alerts_that_came_and_went_in_the_cooldown_are_notified_at_its_end_once() {
    let policy = Policy { cooldown: minutes(15), ..Policy::new(Side::Above, 0.5) };
    let mut state = State::default();
    let mut got = Vec::new();
    // Fires at 0, resolved at 1; fires from 3 to 4 and from 6 to 8, and is good from then on.
    for minute in 0..40 {
        let value = match minute {
            0 => 0.9,
            3 => 0.7,
            6 | 7 => 0.8,
            _ => 0.1,
        };
        let at = minutes(minute);
        let transition = state.step(&policy, at, at, &Sample::gauge(value));
        got.extend(transition.map(|transition| (minute, transition)));
    }
    assert_eq!(
        got.iter().map(|(at, it)| (*at, name(it))).collect::<Vec<_>>(),
        [(0, "firing"), (1, "resolved"), (16, "kept back")]
    );
    assert_eq!(got[2].1, Transition::KeptBack { suppressed: 2, since: minutes(3), peak: 0.8 });
}

#[test]
fn alerts_kept_back_by_a_cooldown_are_notified_after_a_restart_and_after_a_silence_and_without_data() {
    let policy = Policy { cooldown: minutes(15), ..Policy::new(Side::Above, 0.5) };
    let mut before = State::default();
    for (minute, value) in [(0, 0.9), (1, 0.1), (3, 0.7), (4, 0.1), (5, 0.6)] {
        let at = minutes(minute);
        before.step(&policy, at, at, &Sample::gauge(value));
    }
    let saved = before.save(minutes(5), minutes(5));
    let mut state = State::default();
    state.adopt(&policy, Duration::ZERO, minutes(6), &saved);
    // The one that fires still is not counted twice.
    assert_eq!(state.step(&policy, minutes(1), minutes(7), &Sample::gauge(0.8)), None);
    assert_eq!(state.step(&policy, minutes(2), minutes(8), &Sample::gauge(0.1)), None);
    state.keep_quiet(minutes(30));
    assert_eq!(state.step(&policy, minutes(29), minutes(35), &Sample::none()), None);
    let told = state.step(&policy, minutes(30), minutes(36), &Sample::none());
    assert_eq!(told, Some(Transition::KeptBack { suppressed: 2, since: minutes(3), peak: 0.8 }));
    assert_eq!(state.step(&policy, minutes(31), minutes(37), &Sample::gauge(0.1)), None);
}

#[test]
fn a_silence_goes_on_where_an_alert_ends_in_it() {
    let policy = Policy { cooldown: minutes(5), ..Policy::new(Side::Above, 0.5) };
    let mut state = State::default();
    assert!(state.step(&policy, minutes(0), minutes(0), &Sample::gauge(0.9)).is_some());
    state.keep_quiet(minutes(60));
    assert!(matches!(
        state.step(&policy, minutes(1), minutes(1), &Sample::gauge(0.1)),
        Some(Transition::Resolved { .. })
    ));
    for minute in [10, 59] {
        assert_eq!(state.step(&policy, minutes(minute), minutes(minute), &Sample::gauge(0.9)), None, "{minute}");
    }
    // What fired after the cooldown was silenced, and not kept back by the cooldown.
    let told = state.step(&policy, minutes(60), minutes(60), &Sample::gauge(0.9));
    assert!(matches!(told, Some(Transition::Firing { suppressed: 0, .. })), "{told:?}");
}

#[test]
fn a_reminder_comes_after_five_minutes_at_least() {
    let policy = Policy { repeat: Duration::ZERO, ..Policy::new(Side::Above, 0.5) };
    let mut state = State::default();
    let told: Vec<_> = (0..=15)
        .filter_map(|minute| {
            let at = minutes(minute);
            state.step(&policy, at, at, &Sample::gauge(0.9)).map(|told| (minute, name(&told)))
        })
        .collect();
    assert_eq!(told, [(0, "firing"), (5, "reminder"), (15, "reminder")]);
}

#[test]
fn resolved_says_how_bad_it_was_and_how_long() {
    let policy = Policy::new(Side::Above, 0.5);
    let mut state = State::default();
    let mut last = None;
    for (minute, value) in [(0, 0.6), (1, 0.9), (2, 0.7), (3, 0.1)] {
        let at = minutes(minute);
        last = state.step(&policy, at, minutes(100).saturating_add(at), &Sample::gauge(value)).or(last);
    }
    let want = Transition::Resolved {
        value: Some(0.1),
        peak: 0.9,
        since: minutes(100),
        lasted: minutes(3),
        reason: ResolvedReason::Cleared,
    };
    assert_eq!(last, Some(want));
}

#[test]
fn an_alert_that_the_process_before_announced_is_not_announced_again_and_its_end_is() {
    let policy = Policy::new(Side::Above, 0.5);
    let mut before = State::default();
    let fired = before.step(&policy, minutes(100), minutes(1_000), &Sample::gauge(0.9));
    assert!(matches!(fired, Some(Transition::Firing { .. })), "{fired:?}");
    let saved = before.save(minutes(110), minutes(1_010));
    // Adopted before the first reading, after one that was good, and after one that was bad and held back.
    for readings in [&[][..], &[0.1], &[0.6]] {
        let mut state = State::default();
        state.keep_quiet(minutes(2));
        for reading in readings {
            assert_eq!(state.step(&policy, minutes(1), minutes(1_011), &Sample::gauge(*reading)), None);
        }
        state.adopt(&policy, minutes(2), minutes(1_012), &saved);
        assert_eq!(state.step(&policy, minutes(3), minutes(1_013), &Sample::gauge(0.7)), None, "{readings:?}");
        let over = state.step(&policy, minutes(4), minutes(1_014), &Sample::gauge(0.1));
        let Some(Transition::Resolved { peak, since, lasted, .. }) = over else { panic!("{over:?}") };
        assert_eq!((peak, since, lasted), (0.9, minutes(1_000), minutes(14)), "{readings:?}");
    }
}

#[test]
fn a_cooldown_goes_on_after_a_restart() {
    let policy = Policy { cooldown: minutes(15), ..Policy::new(Side::Above, 0.5) };
    let mut before = State::default();
    for (minute, value) in [(0, 0.9), (1, 0.1)] {
        let at = minutes(minute);
        assert!(before.step(&policy, at, at, &Sample::gauge(value)).is_some());
    }
    let mut state = State::default();
    state.adopt(&policy, Duration::ZERO, minutes(6), &before.save(minutes(5), minutes(5)));
    for (minute, fires) in [(1, false), (9, false), (10, true)] {
        let at = minutes(minute);
        let fired = state.step(&policy, at, at.saturating_add(minutes(6)), &Sample::gauge(0.9));
        assert_eq!(fired.is_some(), fires, "{minute}");
    }
}

proptest! {
    #[test]
    fn firing_and_resolved_alternate_and_the_cooldown_is_kept(
        readings in prop::collection::vec((0..3_u8, 0..400_u64, 0..40_u64), 0..300),
        hold in 0..200_u64, keep_firing in 0..200_u64, cooldown in 0..2_000_u64, no_data in 1..500_u64,
        repeat in 0..600_u64,
    ) {
        let policy = Policy {
            clear: 0.3,
            hold: Duration::from_secs(hold),
            keep_firing: Duration::from_secs(keep_firing),
            cooldown: Duration::from_secs(cooldown),
            no_data_timeout: Duration::from_secs(no_data),
            repeat: Duration::from_secs(repeat),
            min_samples: 20,
            ..Policy::new(Side::Above, 0.6)
        };
        let mut state = State::default();
        let (mut now, mut firing, mut resolved_at, mut last_told) = (Duration::ZERO, false, None, None);
        // Alerts that came and went without a word.
        let mut hidden = 0_u64;
        for (kind, step, samples) in readings {
            now = now.saturating_add(Duration::from_secs(step));
            let value = match kind { 0 => 0.1, 1 => 0.5, _ => 0.9 };
            let was_alert = state.is_alert();
            let told = state.step(&policy, now, now, &Sample { value, samples, bad: samples });
            if was_alert && !state.is_alert() && !matches!(told, Some(Transition::Resolved { .. })) {
                hidden = hidden.saturating_add(1);
            }
            let Some(told) = told else { continue };
            match told {
                Transition::Firing { suppressed, .. } => {
                    prop_assert!(!firing);
                    prop_assert_eq!(suppressed, std::mem::take(&mut hidden));
                    prop_assert!(resolved_at.is_none_or(|at: Duration| now.saturating_sub(at) >= policy.cooldown));
                    firing = true;
                    last_told = Some(now);
                }
                Transition::Reminder { .. } => {
                    prop_assert!(firing);
                    prop_assert!(last_told.is_some_and(|at: Duration| now.saturating_sub(at) >= policy.repeat.max(MIN_REPEAT)));
                    last_told = Some(now);
                }
                Transition::Resolved { .. } => {
                    prop_assert!(firing);
                    firing = false;
                    resolved_at = Some(now);
                }
                Transition::KeptBack { suppressed, .. } => {
                    prop_assert!(!firing && suppressed > 0);
                    prop_assert!(resolved_at.is_some_and(|at: Duration| now.saturating_sub(at) >= policy.cooldown));
                    prop_assert_eq!(suppressed, std::mem::take(&mut hidden));
                }
            }
            prop_assert_eq!(state.is_announced(), firing);
        }
    }
}
