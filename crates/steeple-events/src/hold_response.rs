use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http::{Request, Response, StatusCode};
use steeple_core::{Exchange, clock};
use tower_layer::Layer;
use tower_service::Service;

use crate::{NotStored, Receipt};

/// The most events of one exchange that a response waits for; more are not waited for.
#[cfg(feature = "outbox")]
const MAX_HELD: usize = 64;

/// What a response becomes whose events were not stored in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AtTimeout {
    /// It goes out as it is. The default.
    #[default]
    LetGo,
    /// 503 goes out in its place, with `Retry-After: 1` and no body: the client cannot take for done what may be lost.
    Unavailable,
}

/// Holds the head of a response back until the events are stored that the handler has tracked: for routes whose answer says
/// that something was done for good.
///
/// It waits for what [`track`](crate::Events::track) was called with in the exchange, not for
/// [`on_success`](crate::Events::on_success), which comes later. Errors (400 and above) are not held. The wait is the
/// attribute `events.wait_ms` of the exchange. Latency histograms leave it out ([`Exchange::add_wait`]).
///
/// # Examples
/// ```
/// use steeple_events::{AtTimeout, HoldResponseLayer};
///
/// let layer = HoldResponseLayer::new().at_timeout(AtTimeout::Unavailable);
/// # let _unused = layer;
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "a layer does nothing until it is put onto a route"]
pub struct HoldResponseLayer {
    at_timeout: AtTimeout,
    synced: bool,
}

impl HoldResponseLayer {
    /// Waits until the events are stored, and lets go at the timeout of receipts.
    pub fn new() -> Self {
        Self::default()
    }

    /// What becomes of the response at the timeout. Default: [`AtTimeout::LetGo`].
    pub fn at_timeout(mut self, at_timeout: AtTimeout) -> Self {
        self.at_timeout = at_timeout;
        self
    }

    /// Waits until the events are on the disk (`fsync`). Default: until they survive the end of the process.
    pub fn synced(mut self, synced: bool) -> Self {
        self.synced = synced;
        self
    }
}

impl<S> Layer<S> for HoldResponseLayer {
    type Service = HoldResponse<S>;

    fn layer(&self, inner: S) -> HoldResponse<S> {
        HoldResponse { inner, options: *self }
    }
}

/// See [`HoldResponseLayer`].
#[derive(Clone, Debug)]
pub struct HoldResponse<S> {
    inner: S,
    options: HoldResponseLayer,
}

/// The receipts of one exchange.
#[derive(Clone, Default)]
struct Held(Arc<Mutex<Vec<Receipt>>>);

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held")
    }
}

/// An event of this exchange was tracked.
#[cfg(feature = "outbox")]
pub(crate) fn note(receipt: &Receipt) {
    if let Some(held) = Exchange::current().and_then(|exchange| exchange.get::<Held>()) {
        let mut receipts = held.0.lock().unwrap_or_else(PoisonError::into_inner);
        if receipts.len() < MAX_HELD {
            receipts.push(receipt.clone());
        }
    }
}

impl<S, B, R> Service<Request<B>> for HoldResponse<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    R: Default + Send,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let exchange = request.extensions().get::<Exchange>().cloned().or_else(Exchange::current);
        let held = Held::default();
        if let Some(exchange) = &exchange {
            let _before = exchange.insert(held.clone());
        }
        let (response, options) = (self.inner.call(request), self.options);
        Box::pin(async move {
            let response = response.await?;
            if response.status().as_u16() >= 400 {
                return Ok(response);
            }
            let receipts = std::mem::take(&mut *held.0.lock().unwrap_or_else(PoisonError::into_inner));
            if receipts.is_empty() {
                return Ok(response);
            }
            let waiting = Waiting { begin: clock::now(), exchange: exchange.as_ref() };
            let mut is_stored = true;
            for receipt in &receipts {
                let outcome = if options.synced { receipt.synced().await } else { receipt.stored().await };
                match outcome {
                    Ok(()) | Err(NotStored::Rejected(_)) => {}
                    Err(NotStored::Dropped { .. }) => is_stored = false,
                    Err(NotStored::Timeout) => {
                        is_stored = false;
                        break;
                    }
                }
            }
            drop(waiting);
            if let Some(exchange) = &exchange {
                exchange.set_attribute("events.stored", is_stored);
            }
            if is_stored || options.at_timeout == AtTimeout::LetGo {
                return Ok(response);
            }
            let mut unavailable = Response::new(R::default());
            *unavailable.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            unavailable.headers_mut().insert(http::header::RETRY_AFTER, http::HeaderValue::from_static("1"));
            Ok(unavailable)
        })
    }
}

/// A response that is held back, until it is not or its client goes away.
struct Waiting<'a> {
    begin: Instant,
    exchange: Option<&'a Exchange>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(exchange) = self.exchange {
            let wait = clock::now().saturating_duration_since(self.begin);
            exchange.add_wait(wait);
            exchange.set_attribute("events.wait_ms", millis(wait));
        }
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
