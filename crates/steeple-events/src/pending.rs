//! Events that wait for the success of their exchange.

use std::{
    fmt, mem,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use steeple_core::Exchange;

use crate::{Counter, Event, Events, Meter, Rejected, Role, record::Record};

/// The most events that wait on one exchange; more are dropped and counted.
const MAX_PENDING: usize = 64;

/// What waits on one exchange.
#[derive(Clone, Debug)]
struct Pending(Arc<Mutex<State>>);

#[derive(Debug)]
enum State {
    Open(List),
    /// Another list of the same exchange has taken this one's place.
    Moved,
    /// The exchange is over.
    Ended,
}

#[derive(Debug)]
struct List(Vec<Held>);

#[derive(Debug)]
struct Held {
    events: Events,
    record: Record,
    measured: Option<Measurement>,
}

/// What an event increments, kept until its exchange is over. The event does not outlive its call, so texts are copied.
pub(crate) struct Measurement {
    meter: Arc<dyn Meter>,
    role: Option<OwnedRole>,
    counter: Option<(&'static Counter, [String; 2])>,
}

impl fmt::Debug for Measurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Measurement").field("counter", &self.counter).finish_non_exhaustive()
    }
}

impl Measurement {
    pub(crate) fn of<E: Event>(event: &E, meter: &Arc<dyn Meter>) -> Self {
        Self {
            meter: Arc::clone(meter),
            role: event.role().map(OwnedRole::of),
            counter: event.counter().map(|(counter, labels)| (counter, labels.map(str::to_owned))),
        }
    }

    fn apply(&self) {
        if let Some(role) = &self.role {
            self.meter.role(role.as_role());
        }
        if let Some((counter, labels)) = &self.counter {
            let labels = labels.each_ref().map(String::as_str);
            self.meter.count(counter, labels.get(..counter.labels.len()).unwrap_or(&labels));
        }
    }
}

/// A [`Role`] that owns its texts.
enum OwnedRole {
    SignUp(String),
    Login(String),
    ProjectCreated(String),
    TaskCompleted(Option<Duration>),
    Payment(bool),
    Revenue(i64, String),
    Conversion(String, String),
}

impl OwnedRole {
    fn of(role: Role<'_>) -> Self {
        match role {
            Role::SignUp { source } => Self::SignUp(source.to_owned()),
            Role::Login { method } => Self::Login(method.to_owned()),
            Role::ProjectCreated { kind } => Self::ProjectCreated(kind.to_owned()),
            Role::TaskCompleted { duration } => Self::TaskCompleted(duration),
            Role::Payment { failed } => Self::Payment(failed),
            Role::Revenue { minor_units, currency } => Self::Revenue(minor_units, currency.to_owned()),
            Role::Conversion { from, to } => Self::Conversion(from.to_owned(), to.to_owned()),
        }
    }

    fn as_role(&self) -> Role<'_> {
        match self {
            Self::SignUp(source) => Role::SignUp { source },
            Self::Login(method) => Role::Login { method },
            Self::ProjectCreated(kind) => Role::ProjectCreated { kind },
            Self::TaskCompleted(duration) => Role::TaskCompleted { duration: *duration },
            Self::Payment(failed) => Role::Payment { failed: *failed },
            Self::Revenue(minor_units, currency) => Role::Revenue { minor_units: *minor_units, currency },
            Self::Conversion(from, to) => Role::Conversion { from, to },
        }
    }
}

/// Keeps an event until its exchange is over.
pub(crate) fn hold(exchange: &Exchange, events: &Events, record: Record, measured: Option<Measurement>) {
    let held = Held { events: events.clone(), record, measured };
    loop {
        let pending = exchange.get::<Pending>().unwrap_or_else(|| begin(exchange));
        let mut state = pending.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *state {
            State::Moved => (),
            State::Open(List(waiting)) if waiting.len() < MAX_PENDING => return waiting.push(held),
            State::Open(_) | State::Ended => {
                drop(state);
                held.reject();
                return;
            }
        }
    }
}

/// Puts a list beside the exchange. Two threads may do so at once: what the first one holds moves into the second.
fn begin(exchange: &Exchange) -> Pending {
    let pending = Pending(Arc::new(Mutex::new(State::Open(List(Vec::new())))));
    // Locked before others can find it, so that none finds it without what moves.
    let mut state = pending.0.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(other) = exchange.insert(pending.clone()) {
        let mut other = other.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = mem::replace(&mut *other, State::Moved);
    }
    drop(state);
    pending
}

/// The exchange is over: its events go out, or not. Those of other `Events` wait for their own observer.
pub(crate) fn end(exchange: &Exchange, events: &Events, succeeded: bool) {
    let Some(pending) = exchange.get::<Pending>() else { return };
    let mut state = pending.0.lock().unwrap_or_else(PoisonError::into_inner);
    let State::Open(list) = &mut *state else { return };
    let (ours, others): (Vec<_>, _) = mem::take(&mut list.0).into_iter().partition(|held| held.events.is_same(events));
    *state = if others.is_empty() { State::Ended } else { State::Open(List(others)) };
    drop(state);
    for held in ours {
        if succeeded {
            if let Some(measured) = &held.measured {
                measured.apply();
            }
            let _receipt = held.events.hand_over(held.record);
        } else {
            held.reject();
        }
    }
}

impl Held {
    fn reject(&self) {
        let _receipt = self.events.reject(Rejected::NotSuccessful);
    }
}

/// No layer of Steeple's ended the exchange: what still waits was not delivered, and is counted.
impl Drop for List {
    fn drop(&mut self) {
        for held in self.0.drain(..) {
            held.reject();
        }
    }
}
