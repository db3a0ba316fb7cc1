//! Observers in tuples, `Option` and `Arc`; and observers that panic.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{request, response};
use steeple_core::{End, Exchange, ObserveLayer, Observer, Outcome, observer_panics, test_util::RecordingObserver};
use tower::Layer;

use crate::replay::{
    Replay,
    Step::{self, Drop, Fail, Frame, Head, Panic, PanicInCall, Pending},
    check_laws, play,
};

/// Writes down which hook was called, under a name.
#[derive(Clone)]
struct Diary(&'static str, Arc<Mutex<Vec<String>>>);

impl Diary {
    fn new() -> Self {
        Self("", Arc::default())
    }

    fn of(&self, name: &'static str) -> Self {
        Self(name, Arc::clone(&self.1))
    }

    fn write(&self, hook: &str) {
        self.1.lock().unwrap().push(format!("{}.{hook}", self.0));
    }

    fn read(&self) -> Vec<String> {
        self.1.lock().unwrap().clone()
    }
}

impl Observer for Diary {
    type State = u32;

    fn on_request(&self, _: &Exchange, _: &mut request::Parts) -> Option<u32> {
        self.write("request");
        (self.0 != "absent").then_some(0)
    }

    fn on_response(&self, state: &mut u32, _: &Exchange, _: &mut response::Parts) {
        *state += 1;
        self.write("response");
    }

    fn on_enter(&self, _: &mut u32, _: &Exchange) {
        self.write("enter");
    }

    fn on_exit(&self, _: &mut u32, _: &Exchange) {
        self.write("exit");
    }

    fn on_end(&self, state: u32, _: &Exchange, end: &End) {
        assert_eq!(state, u32::from(end.status.is_some()), "each observer has its own state");
        self.write("end");
    }
}

fn replay<O: Observer>(observer: O, script: &[Step]) {
    let mut service = ObserveLayer::new(observer).layer(Replay::default().service(script));
    play(&mut service, Replay::default().request(), script, false);
}

#[test]
fn hooks_come_in_their_order_from_left_to_right_and_exits_from_right_to_left() {
    let diary = Diary::new();
    replay((diary.of("a"), diary.of("b")), &[Pending, Head(200), Frame(b"x")]);
    let poll = ["a.enter", "b.enter", "b.exit", "a.exit"];
    let want: Vec<_> = ["a.request", "b.request"]
        .into_iter()
        .chain([poll; 3].concat()) // `call`, and two polls of the future
        .chain(["a.response", "b.response"])
        .chain([poll; 2].concat()) // a frame, and none
        .chain(["a.end", "b.end"])
        .collect();
    assert_eq!(diary.read(), want);
}

#[test]
fn an_observer_that_does_not_watch_is_not_called_again() {
    let diary = Diary::new();
    replay((diary.of("a"), diary.of("absent"), None::<Diary>, ()), &[Head(200)]);
    assert_eq!(diary.read().iter().filter(|line| line.starts_with("absent")).collect::<Vec<_>>(), ["absent.request"]);
    let alone = Diary::new();
    replay(alone.of("absent"), &[Head(200)]);
    assert_eq!(alone.read(), ["absent.request"]);
}

#[track_caller]
fn check_same<O: Observer>(wrap: impl FnOnce(Diary) -> O, script: &[Step], want: &[String]) {
    let diary = Diary::new();
    replay(wrap(diary.of("a")), script);
    assert_eq!(diary.read(), want);
}

#[test]
fn an_observer_watches_the_same_in_a_tuple_an_option_an_arc_or_nested() {
    let script = [Pending, Head(200), Frame(b"x"), Drop];
    let alone = Diary::new();
    replay(alone.of("a"), &script);
    check_same(|it| (it,), &script, &alone.read());
    check_same(Some, &script, &alone.read());
    check_same(Arc::new, &script, &alone.read());
    check_same(|it| Arc::new((Some(Arc::new(it)), None::<Diary>)), &script, &alone.read());
    check_same(|it| ((), ((), (it,), ())), &script, &alone.read());
}

#[test]
fn eight_observers_fit_into_a_tuple_and_tuples_nest() {
    let all: [_; 9] = std::array::from_fn(|_| RecordingObserver::new());
    let it = |place: usize| all[place].clone();
    replay(((it(0), it(1), it(2), it(3), it(4), it(5), it(6), it(7)), it(8)), &[Head(200), Frame(b"x")]);
    for observer in &all {
        assert_eq!(observer.outcomes(), [Outcome::Completed]);
        check_laws(observer);
    }
}

/// Panics in the hook of this name.
struct PanicsIn(&'static str);

impl PanicsIn {
    fn hook(&self, name: &'static str) {
        assert!(self.0 != name, "scripted panic in {name}");
    }
}

impl Observer for PanicsIn {
    type State = ();

    fn on_request(&self, _: &Exchange, _: &mut request::Parts) -> Option<()> {
        self.hook("on_request");
        Some(())
    }

    fn on_response(&self, (): &mut (), _: &Exchange, _: &mut response::Parts) {
        self.hook("on_response");
    }

    fn on_enter(&self, (): &mut (), _: &Exchange) {
        self.hook("on_enter");
    }

    fn on_exit(&self, (): &mut (), _: &Exchange) {
        self.hook("on_exit");
    }

    fn on_end(&self, (): (), _: &Exchange, _: &End) {
        self.hook("on_end");
    }
}

steeple_core::observers! {
    /// A tuple of the same three, with names.
    struct Named {
        first: Diary,
        panics: Option<PanicsIn>,
        absent: (),
        last: Diary,
    }
}

impl Named {
    fn new(diary: &Diary, panics: Option<&'static str>) -> Self {
        Self { first: diary.of("a"), panics: panics.map(PanicsIn), absent: (), last: diary.of("b") }
    }
}

#[test]
fn named_observers_watch_as_a_tuple_of_them_does_also_beside_one_that_panics() {
    let _one = counting();
    for script in [
        &[Pending, Head(200), Frame(b"x")][..],
        &[Head(200), Frame(b"x"), Drop],
        &[Pending, Drop],
        &[Fail("broken")],
        &[Panic],
    ] {
        let tuple = Diary::new();
        replay((tuple.of("a"), tuple.of("b")), script);
        for panics in HOOKS.map(Some).into_iter().chain([None]) {
            let named = Diary::new();
            replay(Named::new(&named, panics), script);
            assert_eq!(named.read(), tuple.read(), "{panics:?} with {script:?}");
        }
    }
}

#[test]
fn an_observer_that_is_off_takes_no_space_in_the_state_of_the_others() {
    assert_eq!(size_of::<<(Diary, ()) as Observer>::State>(), size_of::<<(Diary,) as Observer>::State>());
}

const HOOKS: [&str; 5] = ["on_request", "on_response", "on_enter", "on_exit", "on_end"];

/// The count of panics is the process's: one test at a time.
fn counting() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn an_observer_that_panics_changes_nothing_for_the_client_and_is_counted() {
    let _one = counting();
    let script = [Pending, Head(200), Frame(b"x")];
    for hook in HOOKS {
        let before = observer_panics();
        let mut service = ObserveLayer::new(PanicsIn(hook)).layer(Replay::default().service(&script));
        let played = play(&mut service, Replay::default().request(), &script, false);
        assert!(!played.panicked, "{hook}");
        assert_eq!((played.head.unwrap().status.as_u16(), played.data), (200, b"x".to_vec()), "{hook}");
        let polls = 5; // `call`, two of the future, two of the body
        let want = if matches!(hook, "on_enter" | "on_exit") { polls } else { 1 };
        assert_eq!(observer_panics() - before, want, "{hook}");
    }
}

#[test]
fn an_observer_that_panics_costs_its_neighbours_nothing() {
    let _one = counting();
    for hook in HOOKS {
        for (script, want) in [
            (&[Pending, Head(200), Frame(b"x")][..], Outcome::Completed),
            (&[Head(200), Frame(b"x"), Drop], Outcome::CancelledInBody),
            (&[Pending, Drop], Outcome::Cancelled),
            (&[Fail("broken")], Outcome::ServiceError),
            (&[Panic], Outcome::Panicked),
        ] {
            let diary = Diary::new();
            replay((diary.of("a"), PanicsIn(hook), diary.of("a")), script);
            let alone = Diary::new();
            replay((alone.of("a"), alone.of("a")), script);
            assert_eq!(diary.read(), alone.read(), "{hook} with {script:?}");
            let (left, right) = (RecordingObserver::new(), RecordingObserver::new());
            replay((left.clone(), Arc::new((PanicsIn(hook),)), right.clone()), script);
            for observer in [left, right] {
                assert_eq!(observer.outcomes(), [want], "{hook} with {script:?}");
                check_laws(&observer);
            }
        }
    }
}

#[test]
fn an_observer_that_panics_while_a_panic_unwinds_does_not_abort_the_process() {
    let _one = counting();
    for hook in HOOKS {
        for script in [&[PanicInCall][..], &[Panic], &[Head(200), Frame(b"x"), Panic]] {
            let mut service = ObserveLayer::new(PanicsIn(hook)).layer(Replay::default().service(script));
            let played = play(&mut service, Replay::default().request(), script, false);
            assert!(played.panicked, "the service's own panic goes on: {hook} with {script:?}");
        }
    }
}

#[test]
fn an_observer_whose_panic_payload_panics_does_no_harm() {
    struct Bomb;

    impl std::ops::Drop for Bomb {
        fn drop(&mut self) {
            panic!("scripted panic of a panic");
        }
    }

    struct Bomber;

    impl Observer for Bomber {
        type State = ();

        fn on_request(&self, _: &Exchange, _: &mut request::Parts) -> Option<()> {
            Some(())
        }

        fn on_end(&self, (): (), _: &Exchange, _: &End) {
            std::panic::panic_any(Bomb);
        }
    }

    let _one = counting();
    let before = observer_panics();
    let recording = RecordingObserver::new();
    replay((Bomber, recording.clone()), &[Head(200), Frame(b"x")]);
    assert_eq!(recording.outcomes(), [Outcome::Completed]);
    assert!(observer_panics() - before >= 1);
}
