//! The stream: one encoded frame for all who watch.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, Stream, future::BoxFuture, stream};
use steeple_metrics::indicator::Viewer;
use tokio::sync::{Notify, broadcast};

use crate::{
    Dashboard,
    frame::{Cursor, encode},
    lock::lock,
};

/// Most streams at once. Browsers that find no room ask every few seconds instead.
const MAX_STREAMS: usize = 16;
/// Frames that a slow reader may be behind. After that it gets the whole again.
const BEHIND: usize = 8;

/// The last event of a stream. Pages name the reason for what comes next, and ask for the instance that follows.
const END: &[u8] = b"event: end\ndata: {}\n\n";

type WhenEnded = dyn Fn() -> BoxFuture<'static, ()> + Send + Sync;

/// Everyone who watches.
pub(crate) struct Hub {
    frames: broadcast::Sender<Bytes>,
    /// Where the last frame ended that was sent to all.
    cursor: Mutex<Option<Cursor>>,
    streams: Arc<AtomicUsize>,
    has_ended: Arc<AtomicBool>,
    ending: Arc<Notify>,
    /// A stream on which nothing comes for longer is cut by some proxies.
    heartbeat: Duration,
    /// What else ends the streams.
    when: Mutex<Option<Arc<WhenEnded>>>,
}

/// A place among the streams.
struct Place {
    streams: Arc<AtomicUsize>,
    requests: Option<crate::Requests>,
    _viewer: Viewer,
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.streams.fetch_sub(1, Relaxed) == 1
            && let Some(requests) = &self.requests
        {
            requests.set_viewers(false);
        }
    }
}

impl Hub {
    pub(crate) fn new(heartbeat: Duration) -> Self {
        Self {
            frames: broadcast::Sender::new(BEHIND),
            cursor: Mutex::new(None),
            streams: Arc::default(),
            has_ended: Arc::default(),
            ending: Arc::default(),
            heartbeat,
            when: Mutex::new(None),
        }
    }

    /// Ends every stream, and lets none begin.
    pub(crate) fn end(&self) {
        self.has_ended.store(true, Relaxed);
        self.ending.notify_waiters();
    }

    pub(crate) fn end_when(&self, when: Arc<WhenEnded>) {
        *lock(&self.when) = Some(when);
    }

    /// Sends new data to all open pages. Called after each sample; without an open page, it does nothing.
    pub(crate) fn publish(&self, dashboard: &Dashboard) {
        let mut cursor = lock(&self.cursor);
        if self.frames.receiver_count() == 0 {
            *cursor = None;
            return;
        }
        let since = cursor.unwrap_or_else(|| encode(dashboard, None).0);
        let (end, frame) = encode(dashboard, Some(since));
        *cursor = Some(end);
        // An error means that no page is open any more.
        let _gone = self.frames.send(event(&frame));
    }

    /// The whole first, then changes. `None`: too many streams, or the end has begun.
    pub(crate) fn stream(
        &self,
        dashboard: &Dashboard,
    ) -> Option<impl Stream<Item = Result<Bytes, broadcast::error::RecvError>> + use<>> {
        if self.has_ended.load(Relaxed) {
            return None;
        }
        let room = |count: usize| (count < MAX_STREAMS).then(|| count.saturating_add(1));
        self.streams.fetch_update(Relaxed, Relaxed, room).ok()?;
        let requests = dashboard.0.requests.clone();
        if let Some(requests) = &requests {
            requests.set_viewers(true);
        }
        let place = Place { streams: Arc::clone(&self.streams), requests, _viewer: dashboard.0.history.viewer() };
        // Before the whole is written, so that nothing falls in between; points in both are drawn once.
        let receiver = self.frames.subscribe();
        let when = lock(&self.when).clone();
        let reader = Reader {
            dashboard: dashboard.clone(),
            receiver,
            ended: when.map(|when| when()),
            ending: Arc::clone(&self.ending),
            has_ended: Arc::clone(&self.has_ended),
            heartbeat: self.heartbeat,
            is_first: true,
            is_over: false,
            _place: place,
        };
        Some(stream::unfold(reader, |mut reader| async move {
            let next = reader.next().await?;
            Some((Ok(next), reader))
        }))
    }
}

struct Reader {
    dashboard: Dashboard,
    receiver: broadcast::Receiver<Bytes>,
    ended: Option<BoxFuture<'static, ()>>,
    ending: Arc<Notify>,
    has_ended: Arc<AtomicBool>,
    heartbeat: Duration,
    is_first: bool,
    is_over: bool,
    _place: Place,
}

impl Reader {
    /// The next event. The last one reports that the shutdown has begun.
    async fn next(&mut self) -> Option<Bytes> {
        if self.is_over {
            return None;
        }
        let more = self.more().await;
        self.is_over = more.is_none();
        Some(more.unwrap_or(Bytes::from_static(END)))
    }

    async fn more(&mut self) -> Option<Bytes> {
        let mut ending = pin!(self.ending.notified());
        // Registered before the flag is read, so that no end falls in between.
        ending.as_mut().enable();
        if self.has_ended.load(Relaxed) {
            return None;
        }
        let mut ended = match &mut self.ended {
            Some(ended) => ended.fuse().boxed(),
            None => std::future::pending().boxed(),
        };
        if std::mem::take(&mut self.is_first) {
            return if ended.as_mut().now_or_never().is_some() {
                None
            } else {
                Some(event(&self.dashboard.frame(None)))
            };
        }
        let received = tokio::select! {
            () = ending => return None,
            () = ended => return None,
            received = tokio::time::timeout(self.heartbeat, self.receiver.recv()) => received,
        };
        match received {
            Ok(Ok(frame)) => Some(frame),
            Ok(Err(broadcast::error::RecvError::Lagged(_))) => Some(event(&self.dashboard.frame(None))),
            Ok(Err(broadcast::error::RecvError::Closed)) => None,
            Err(_elapsed) => Some(Bytes::from_static(b": still here\n\n")),
        }
    }
}

/// JSON has no line breaks: it is one line of an event.
fn event(json: &Bytes) -> Bytes {
    [b"data: ".as_slice(), json, b"\n\n"].concat().into()
}
