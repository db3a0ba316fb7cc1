//! Between the store and the sinks: rows become events again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use steeple_core::{User, clock};
use steeple_export::{
    Flush, Pipeline, Reason, Sink,
    store::{
        NewRow, Row, Settled,
        spool::{SinkId, SinkOptions, ToRow},
    },
};

use crate::{
    Outlet, Tracked,
    hold::{Hold, Outbox},
    record::{Content, Record},
    settling::Feeding,
    stored,
};

impl ToRow for Record {
    fn row(&self) -> Option<NewRow> {
        let storing = self.storing.as_ref()?;
        let content = Content::of(self, &storing.scrubber);
        let user = self.context.user.as_ref().and_then(User::id);
        stored::row(self, content, user.map(|user| storing.outbox.key_of(user)))
    }
}

/// Hands the rows of one sink to its pipeline, until it ends or is dropped.
#[derive(Debug)]
pub(crate) struct Feed {
    _task: steeple_export::Task,
    end: End,
}

/// Ends a sink that the store feeds.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pipeline: Pipeline<Tracked>,
    ended: Arc<AtomicBool>,
}

impl End {
    pub(crate) const fn pipeline(&self) -> &Pipeline<Tracked> {
        &self.pipeline
    }

    /// Ends the pipeline. What is under way has no time left; it stays in the store.
    pub(crate) fn close(&self) -> Flush {
        // Before rows come back without an answer.
        self.ended.store(true, Ordering::Release);
        self.pipeline.begin_shutdown(clock::now())
    }
}

/// How a sink reads: enough rows for a batch to gather while another one is sent.
pub(crate) fn options(outbox: &Outbox, lanes: usize, batch_items: usize, feeding: Feeding) -> SinkOptions {
    let window = batch_items.saturating_mul(lanes).saturating_mul(2).clamp(64, 4_000);
    let options = SinkOptions::default().window(window).per_key(lanes > 1).in_doubt(feeding.in_doubt);
    options.replay_rate(outbox.replay_rate)
}

/// How often a feed looks whether its pipeline has room again.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Rows that are read at once, in bytes.
const READ: usize = 2 << 20;

impl Feed {
    pub(crate) fn start(outbox: Outbox, sink: SinkId, outlet: Outlet) -> std::io::Result<Self> {
        let end = End { pipeline: outlet.pipeline().clone(), ended: Arc::default() };
        let ended = Arc::clone(&end.ended);
        let task = steeple_export::spawn(async move {
            while outbox.spool.readable(sink).await.is_ok() {
                // The pipeline is bounded, and nothing is to be dropped there.
                while outlet.pipeline().stats().queued_bytes > Outlet::MAX_OUT {
                    steeple_export::sleep(LOOK_EVERY).await;
                }
                if ended.load(Ordering::Acquire) {
                    return;
                }
                match outbox.spool.read(sink, 2_000, READ).await {
                    Ok(rows) => rows.iter().for_each(|row| hand_over(&outbox, sink, &outlet, &ended, row)),
                    Err(_unreadable) => steeple_export::sleep(outbox.retry_after).await,
                }
            }
        })?;
        Ok(Self { _task: task, end })
    }

    pub(crate) const fn end(&self) -> &End {
        &self.end
    }
}

fn hand_over(outbox: &Outbox, sink: SinkId, outlet: &Outlet, ended: &Arc<AtomicBool>, row: &Row) {
    let Some(mut record) = stored::record(&row.row) else {
        outbox.spool.settle(sink, row.seq, Settled::Dead(Reason::from("not an event of this version")));
        return;
    };
    if !outlet.admits(&record) {
        if record.kind.is_event() && outlet.misses(&record) {
            outlet.skip();
        }
        outbox.spool.settle(sink, row.seq, Settled::Dropped);
        return;
    }
    record.hold = Some(Hold {
        outbox: outbox.clone(),
        sink,
        seq: row.seq,
        tries: row.tries,
        key: row.row.key.clone(),
        ended: Arc::clone(ended),
        settled: AtomicBool::new(false),
    });
    // Dropped, it settles itself.
    outlet.pipeline().push(Tracked(Arc::new(record)));
}
