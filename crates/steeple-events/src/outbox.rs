//! Between the store and the sinks: rows become events again.

use steeple_core::User;
use steeple_export::{
    DropReason, Reason,
    store::{
        NewRow,
        spool::{Feed, FeedOptions, Hold, SinkId, SinkOptions, ToRow},
    },
};

use std::sync::Arc;

use crate::{
    Outlet, Tracked,
    hold::Outbox,
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

/// How a sink reads: enough rows for a batch to gather while another one is sent.
pub(crate) fn options(outbox: &Outbox, lanes: usize, batch_items: usize, feeding: Feeding) -> SinkOptions {
    let window = batch_items.saturating_mul(lanes).saturating_mul(2).clamp(64, 4_000);
    let options = SinkOptions::default().window(window).per_key(lanes > 1).in_doubt(feeding.in_doubt);
    options.replay_rate(outbox.replay_rate)
}

/// Hands the rows of one sink to its pipeline, until it ends or is dropped.
pub(crate) fn feed(outbox: &Outbox, sink: SinkId, outlet: Outlet) -> std::io::Result<Feed<Tracked>> {
    let options = FeedOptions::default().again(outbox.retry_after).keep_refused(true);
    let pipeline = outlet.pipeline().clone();
    Feed::start(&outbox.spool, sink, pipeline, options, move |row, hold| event(&outlet, row, hold))
}

fn event(outlet: &Outlet, row: &NewRow, hold: Hold) -> Option<Tracked> {
    let Some(mut record) = stored::record(row) else {
        hold.lost(DropReason::Internal, &Reason::from("not an event of this version"));
        return None;
    };
    if !outlet.admits(&record) {
        if record.kind.is_event() && outlet.misses(&record) {
            outlet.skip();
        }
        hold.skip();
        return None;
    }
    record.hold = Some(hold);
    Some(Tracked(Arc::new(record)))
}
