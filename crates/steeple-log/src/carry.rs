//! Spans carry the exchange that they were opened in.

use std::cell::RefCell;

use steeple_core::{Carrier, EnteredCarrier, Exchange};
use tracing::{Subscriber, span};
use tracing_subscriber::{
    layer::{self, Layer},
    registry::LookupSpan,
};

/// A layer for a `tracing` subscriber: a span carries the exchange that it was opened in, wherever the span is entered.
///
/// `tokio::spawn(future.instrument(Span::current()))` then keeps the request's ids on Steeple's lines, its user, Sentry's hub and
/// [`Exchange::current`], as [`Exchange::scope`] does. The subscriber that Steeple sets up has this layer.
///
/// - Only spans carry: where the handler opened none and none is around it, [`Span::current`] is empty.
/// - Where an exchange is current already, it stays.
/// - Cost: for each span that is opened in an exchange a small allocation, and a hub where Sentry is on.
///
/// [`Span::current`]: tracing::Span::current
///
/// # Examples
/// ```
/// use tracing_subscriber::{Layer, layer::SubscriberExt};
///
/// let own = tracing_subscriber::registry()
///     .with(tracing_subscriber::fmt::layer())
///     .with(steeple_log::ExchangeLayer::new().with_filter(tracing_subscriber::filter::LevelFilter::INFO));
/// # let _ = own;
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "a layer does nothing until a subscriber gets it"]
pub struct ExchangeLayer(());

/// The exchange that was current when a span was opened, kept beside it. What goes along with it is asked for then: elsewhere
/// observers no longer know, such as Sentry, whose hub is bound to the thread.
struct Opened(Carrier);

/// What a span has bound to this thread.
struct Bound {
    span: span::Id,
    /// How often the span was entered since.
    depth: usize,
    _carrier: EnteredCarrier,
}

thread_local! {
    /// At most one: where an exchange is current, no span binds another.
    static BOUND: RefCell<Option<Bound>> = const { RefCell::new(None) };
}

impl ExchangeLayer {
    /// The layer.
    pub const fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for ExchangeLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, _attributes: &span::Attributes<'_>, id: &span::Id, ctx: layer::Context<'_, S>) {
        if let Some((span, exchange)) = ctx.span(id).zip(Exchange::current()) {
            // Before the extensions are locked: what goes along may open spans.
            let opened = Opened(exchange.carrier());
            span.extensions_mut().replace(opened);
        }
    }

    fn on_enter(&self, id: &span::Id, ctx: layer::Context<'_, S>) {
        if again(id) || Exchange::current().is_some() {
            return;
        }
        let carrier = ctx.span(id).and_then(|span| {
            let extensions = span.extensions();
            let Opened(carrier) = extensions.get()?;
            Some(carrier.clone())
        });
        if let Some(carrier) = carrier {
            let bound = Bound { span: id.clone(), depth: 1, _carrier: carrier.enter() };
            // A thread that is ending has no place for it: the binding ends at once.
            let _before = BOUND.try_with(|place| place.try_borrow_mut().ok()?.replace(bound));
        }
    }

    fn on_exit(&self, id: &span::Id, _ctx: layer::Context<'_, S>) {
        // The binding ends after the place is free: what it carries may enter spans as well.
        let _ended = BOUND.try_with(|place| {
            let mut place = place.try_borrow_mut().ok()?;
            let bound = place.as_mut().filter(|bound| bound.span == *id)?;
            bound.depth = bound.depth.saturating_sub(1);
            if bound.depth == 0 { place.take() } else { None }
        });
    }
}

/// Whether the span is the one that has bound its exchange here; then it is entered once more.
fn again(id: &span::Id) -> bool {
    let count = |place: &RefCell<Option<Bound>>| {
        let mut place = place.try_borrow_mut().ok()?;
        let bound = place.as_mut().filter(|bound| bound.span == *id)?;
        bound.depth = bound.depth.saturating_add(1);
        Some(())
    };
    BOUND.try_with(count).ok().flatten().is_some()
}

#[cfg(test)]
mod tests {
    use std::thread;

    use tracing::{Instrument, Span, subscriber};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    fn is_current(exchange: &Exchange) -> bool {
        Exchange::current().is_some_and(|current| current.is_same(exchange))
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_task_instrumented_with_a_span_of_the_handler_has_its_exchange() {
        let _guard = subscriber::set_default(tracing_subscriber::registry().with(ExchangeLayer::new()));
        let (one, other) = (Exchange::detached(), Exchange::detached());
        let task = |exchange: &Exchange| {
            let expected = exchange.clone();
            exchange.in_scope(|| {
                let span = tracing::info_span!("handler");
                let _entered = span.enter();
                let work = async move {
                    for _ in 0..3 {
                        assert!(is_current(&expected));
                        // The same span again, a span inside, and another exchange inside.
                        Span::current().in_scope(|| assert!(is_current(&expected)));
                        tracing::info_span!("inner").in_scope(|| assert!(is_current(&expected)));
                        let inner = Exchange::detached();
                        inner.in_scope(|| Span::current().in_scope(|| assert!(is_current(&inner))));
                        assert!(is_current(&expected));
                        tokio::task::yield_now().await;
                    }
                };
                tokio::spawn(work.instrument(Span::current()))
            })
        };
        let tasks = [task(&one), task(&other), task(&one)];
        assert!(Exchange::current().is_none());
        for task in tasks {
            task.await.unwrap();
            assert!(Exchange::current().is_none());
        }
    }

    #[test]
    fn a_span_entered_on_another_thread_takes_its_exchange_there_and_leaves_nothing_also_when_it_unwinds() {
        let subscriber = tracing_subscriber::registry().with(ExchangeLayer::new());
        let _guard = subscriber::set_default(subscriber);
        let exchange = Exchange::detached();
        let span = exchange.in_scope(|| tracing::info_span!("work"));
        let dispatch = tracing::dispatcher::get_default(Clone::clone);
        let work = move || {
            tracing::dispatcher::with_default(&dispatch, || {
                let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    let _entered = span.enter();
                    assert!(is_current(&exchange));
                    std::panic::resume_unwind(Box::new("out"));
                }));
                assert!(panicked.is_err());
                assert!(Exchange::current().is_none());
                BOUND.with_borrow(|bound| assert!(bound.is_none()));
            });
        };
        thread::spawn(work).join().unwrap();
    }

    #[test]
    fn a_span_of_no_exchange_carries_none() {
        let _guard = subscriber::set_default(tracing_subscriber::registry().with(ExchangeLayer::new()));
        let span = tracing::info_span!("background");
        Exchange::detached().in_scope(|| span.in_scope(|| assert!(Exchange::current().is_some())));
        span.in_scope(|| assert!(Exchange::current().is_none()));
    }
}
