//! A panic goes on as it would without us, and says why where somebody asked.

use std::{
    cell::Cell,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full};
use steeple_core::{ObserveLayer, Outcome, record_panics, test_util::RecordingObserver};
use tower::{Layer, Service};

use crate::replay::{
    Replay,
    Step::{Head, Panic, PanicInCall},
    check_laws, play, quiet_scripted_panics, service,
};

#[test]
fn the_panic_itself_reaches_the_caller_unchanged() {
    quiet_scripted_panics();
    let script = [PanicInCall];
    let mut service = ObserveLayer::new(RecordingObserver::new()).layer(Replay::default().service(&script));
    let panic = catch_unwind(AssertUnwindSafe(|| {
        let _future = service.call(Replay::default().request());
    }));
    assert_eq!(panic.unwrap_err().downcast_ref::<&str>(), Some(&"scripted panic in call"));
}

#[test]
fn a_panic_is_noticed_with_its_message_and_place_where_that_was_asked_for() {
    quiet_scripted_panics(); // First: it keeps scripted panics from the hooks before it.
    record_panics();
    record_panics();
    let observer = RecordingObserver::new();
    for script in [&[PanicInCall][..], &[Panic], &[Head(200), Panic]] {
        let mut service = ObserveLayer::new(observer.clone()).layer(Replay::default().service(script));
        play(&mut service, Replay::default().request(), script, false);
    }
    let said: Vec<_> = observer.ended().iter().map(|(exchange, _)| exchange.error().unwrap().to_string()).collect();
    for (said, want) in
        said.iter().zip(["scripted panic in call", "scripted panic in the future", "scripted panic in the body"])
    {
        assert!(said.starts_with(want) && said.contains(".rs:"), "{said}");
    }
    assert!(observer.ended().iter().all(|(exchange, _)| exchange.errors().len() == 1), "once each");
    check_laws(&observer);
}

/// Panics when asked for its end, at this asking, counted from 1.
struct PanicsAboutItsEnd {
    askings: Cell<u32>,
    at: u32,
}

impl Body for PanicsAboutItsEnd {
    type Data = Bytes;
    type Error = String;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, String>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"a")))))
    }

    fn is_end_stream(&self) -> bool {
        self.askings.set(self.askings.get() + 1);
        assert!(self.askings.get() != self.at, "scripted panic about the end");
        false
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// Answers with a body that panics at this asking for its end, polls so many frames of it and drops it.
#[track_caller]
fn check_asked(at: u32, frames: usize, want: Outcome) {
    quiet_scripted_panics();
    let observer = RecordingObserver::new();
    let answers = service(move |_: Request<Empty<Bytes>>| async move {
        Response::new(PanicsAboutItsEnd { askings: Cell::new(0), at })
    });
    let mut service = ObserveLayer::new(observer.clone()).layer(answers);
    let _panic = catch_unwind(AssertUnwindSafe(|| {
        let response = service.call(Replay::default().request()).now_or_never().unwrap().unwrap();
        let mut body = response.into_body();
        for _ in 0..frames {
            let _frame = body.frame().now_or_never();
        }
    }));
    assert_eq!(observer.outcomes(), [want], "asking {at}");
    check_laws(&observer);
}

#[test]
fn a_body_that_panics_when_asked_for_its_end_has_panicked() {
    check_asked(1, 0, Outcome::Panicked); // with the head
    check_asked(2, 3, Outcome::Panicked); // with the first frame
    check_asked(3, 3, Outcome::Panicked);
}

#[test]
fn a_body_that_panics_in_its_drop_does_no_harm() {
    check_asked(3, 1, Outcome::CancelledInBody);
}

#[test]
fn an_error_that_panics_in_display_does_no_harm() {
    #[derive(Debug)]
    struct Rude;

    impl fmt::Display for Rude {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("scripted panic in an error")
        }
    }

    quiet_scripted_panics();
    let observer = RecordingObserver::new();
    let fails = tower::service_fn(|_: Request<Empty<Bytes>>| async { Err::<Response<Full<Bytes>>, _>(Rude) });
    let mut service = ObserveLayer::new(observer.clone()).layer(fails);
    let result = service.call(Replay::default().request()).now_or_never().unwrap();
    assert!(matches!(result, Err(Rude)));
    assert_eq!(observer.outcomes(), [Outcome::ServiceError]);
    check_laws(&observer);
}
