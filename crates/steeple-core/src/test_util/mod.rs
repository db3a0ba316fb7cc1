//! Doubles for tests of observers and services. Not covered by semver.

pub mod peer;

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, request};
use http_body::{Body, Frame, SizeHint};

use crate::{End, Exchange, Identity, Observer};

/// Remembers how every exchange ended.
#[derive(Clone, Debug, Default)]
pub struct RecordingObserver(Arc<Mutex<Recorded>>);

#[derive(Debug, Default)]
struct Recorded {
    started: usize,
    entered: usize,
    exited: usize,
    ended: Vec<(Exchange, End)>,
}

impl RecordingObserver {
    /// One that has seen nothing yet. Clones share what they see.
    pub fn new() -> Self {
        Self::default()
    }

    fn recorded<T>(&self, f: impl FnOnce(&mut Recorded) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many exchanges have begun.
    pub fn started(&self) -> usize {
        self.recorded(|recorded| recorded.started)
    }

    /// How many polls were entered, and how many left.
    pub fn polls(&self) -> (usize, usize) {
        self.recorded(|recorded| (recorded.entered, recorded.exited))
    }

    /// How many exchanges have begun and not ended.
    pub fn in_flight(&self) -> usize {
        self.recorded(|recorded| recorded.started.saturating_sub(recorded.ended.len()))
    }

    /// What ended, in that order.
    pub fn ended(&self) -> Vec<(Exchange, End)> {
        self.recorded(|recorded| recorded.ended.clone())
    }

    /// How the exchanges ended, in that order.
    pub fn outcomes(&self) -> Vec<crate::Outcome> {
        self.recorded(|recorded| recorded.ended.iter().map(|(_, end)| end.outcome).collect())
    }
}

impl Observer for RecordingObserver {
    type State = ();

    fn identity(&self) -> Option<Identity> {
        Some(Identity::of(&*self.0))
    }

    fn on_request(&self, _exchange: &Exchange, _request: &mut request::Parts) -> Option<()> {
        self.recorded(|recorded| recorded.started = recorded.started.saturating_add(1));
        Some(())
    }

    fn on_enter(&self, (): &mut (), _exchange: &Exchange) {
        self.recorded(|recorded| recorded.entered = recorded.entered.saturating_add(1));
    }

    fn on_exit(&self, (): &mut (), _exchange: &Exchange) {
        self.recorded(|recorded| recorded.exited = recorded.exited.saturating_add(1));
    }

    fn on_end(&self, (): (), exchange: &Exchange, end: &End) {
        self.recorded(|recorded| recorded.ended.push((exchange.clone(), end.clone())));
    }
}

/// One thing that a [`ScriptedBody`] does when it is polled.
#[derive(Clone, Debug)]
pub enum Step {
    /// Yields data.
    Data(&'static [u8]),
    /// Yields trailers.
    Trailers(HeaderMap),
    /// Is pending once, and wakes at once.
    Pending,
    /// Fails with this message.
    Fail(&'static str),
    /// Panics with this message.
    Panic(&'static str),
}

/// A body that does what the test sets.
#[derive(Clone, Debug, Default)]
pub struct ScriptedBody {
    steps: VecDeque<Step>,
    size: Option<u64>,
    admits_end: bool,
}

impl ScriptedBody {
    /// A body of these steps that declares no length and does not know its end before it is polled for it.
    pub fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().collect(), size: None, admits_end: false }
    }

    /// Declares a length.
    #[must_use]
    pub fn with_size(mut self, bytes: u64) -> Self {
        self.size = Some(bytes);
        self
    }

    /// Answers `is_end_stream` truly, as bodies that know their end do.
    #[must_use]
    pub fn admitting_its_end(mut self) -> Self {
        self.admits_end = true;
        self
    }
}

impl Body for ScriptedBody {
    type Data = Bytes;
    type Error = String;

    #[expect(clippy::panic, reason = "that is what the script asks for")]
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, String>>> {
        Poll::Ready(match self.steps.pop_front() {
            None => None,
            Some(Step::Data(data)) => Some(Ok(Frame::data(Bytes::from_static(data)))),
            Some(Step::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
            Some(Step::Fail(message)) => Some(Err(message.to_owned())),
            Some(Step::Panic(message)) => panic!("{message}"),
            Some(Step::Pending) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.admits_end && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.size.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
