use std::time::Instant;

use steeple_scrub::Scrubbed;

use crate::{Answer, DropReason, Reason};

/// Sends batches: the part of a pipeline that speaks to a receiver. For HTTP, write a [`Protocol`](crate::Protocol) instead:
/// [`Http`](crate::Http) makes an exporter of it.
///
/// - Every hook runs under `catch_unwind`. After a panic its items are counted as [`DropReason::Panicked`], and the exporter
///   is made again by the factory.
/// - Hooks run on the export thread, which all pipelines share: nothing in them may block or take more than a millisecond.
///   CPU-bound work belongs into [`scrub`](Self::scrub), [`prepare`](Self::prepare) and [`conclude`](Self::conclude), which run on
///   the helper thread for batches above [`OFFLOAD_BYTES`](Self::OFFLOAD_BYTES). If it may block all the same:
///   [`PipelineBuilder::own_thread`](crate::PipelineBuilder::own_thread).
/// - Nothing that an exporter logs or traces is recorded.
pub trait Exporter: Send + 'static {
    /// As it waits in the queue.
    type Item: Send + 'static;
    /// As it is sent: scrubbed and final. Ids and times are set before the first attempt, so that a second one sends the same.
    type Ready: Send + Sync + 'static;

    /// Batches that are sent at once, each by a separate exporter.
    const IN_FLIGHT: usize = 1;

    /// Batches above this many bytes are worked on by the helper thread. 0: all of them.
    const OFFLOAD_BYTES: usize = 64 * 1024;

    /// How much memory an item takes, in bytes; an estimate. Runs on the thread that pushes: keep it trivial.
    fn size(item: &Self::Item) -> usize;

    /// Removes secrets from an item, with [`Scrubber::scrub_with`](steeple_scrub::Scrubber::scrub_with).
    fn scrub(&mut self, item: Self::Item) -> Scrubbed<Self::Ready>;

    /// Whether an item is still to be sent: rate limits, consent, age. Runs before each attempt.
    ///
    /// # Errors
    /// The reason to drop it for.
    #[expect(unused_variables, reason = "named for those who write one")]
    fn admit(&mut self, ready: &Self::Ready) -> Result<(), DropReason> {
        Ok(())
    }

    /// Prepares a batch: encodes, compresses. Runs once per batch, and again for the rest of it after a split or a partial
    /// answer; the attempts that follow send the same.
    ///
    /// # Errors
    /// The batch cannot be written: it is halved, down to the item that cannot, which is dropped as [`DropReason::Internal`].
    #[expect(unused_variables, reason = "named for those who write one")]
    fn prepare(&mut self, batch: &[Scrubbed<Self::Ready>]) -> Result<(), Reason> {
        Ok(())
    }

    /// Sends the batch that was prepared last. Dropped at the deadline, which counts as [`Answer::InDoubt`].
    fn export(&mut self, batch: &[Scrubbed<Self::Ready>], deadline: Instant) -> impl Future<Output = Answer> + Send;

    /// How many bytes came back, which [`conclude`](Self::conclude) has to read.
    fn answer_bytes(&self) -> usize {
        0
    }

    /// Reads what came back, where that takes time. `answer` is what [`export`](Self::export) returned.
    #[expect(unused_variables, reason = "named for those who write one")]
    fn conclude(&mut self, batch: &[Scrubbed<Self::Ready>], answer: Answer) -> Answer {
        answer
    }

    /// Makes items on a timer, and at each flush: see [`PipelineBuilder::tick`](crate::PipelineBuilder::tick). They go through
    /// the queue like all others.
    fn tick(&mut self) -> Vec<Self::Item> {
        Vec::new()
    }

    /// An item arrived. Runs before a flush that waits for it goes on.
    #[expect(unused_variables, reason = "named for those who write one")]
    fn stored(&mut self, ready: &Self::Ready) {}

    /// An item is lost, after it left the queue and was scrubbed, by anything but a panic of the
    /// exporter. Runs before a flush that waits for it goes on.
    #[expect(unused_variables, reason = "named for those who write one")]
    fn dropped(&mut self, ready: &Self::Ready, reason: DropReason, why: &Reason) {}
}
