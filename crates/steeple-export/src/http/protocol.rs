use std::time::SystemTime;

use steeple_scrub::Scrubbed;

use super::{Request, Response};
use crate::{Answer, DropReason, Reason};

/// What a receiver wants to be sent, and what its answers mean: without I/O, so that both are tables of tests.
///
/// [`Http`](super::Http) makes an exporter of it. Hooks run as [`Exporter`](crate::Exporter) describes.
///
/// # Examples
/// ```
/// use steeple_export::{Client, Endpoint, Http, Pipeline, Protocol, Reason, Request};
/// use steeple_scrub::{Scrubbed, Scrubber};
///
/// /// One event a line.
/// struct Lines(Endpoint);
///
/// impl Protocol for Lines {
///     type Item = String;
///     type Ready = String;
///
///     fn size(item: &String) -> usize {
///         item.len()
///     }
///
///     fn scrub(&mut self, item: String) -> Scrubbed<String> {
///         Scrubber::default().text(&item).into_owned()
///     }
///
///     fn encode(&mut self, batch: &[Scrubbed<String>]) -> Result<Request, Reason> {
///         let lines: String = batch.iter().map(|line| format!("{line}\n")).collect();
///         Ok(Request::post(&self.0).content_type("text/plain").body(lines))
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::builder().build()?;
/// let endpoint = Endpoint::parse("http://localhost:9/lines")?;
/// client.check(&endpoint)?;
/// let pipeline = Pipeline::builder("lines").build(move || Ok(Http::new(client.clone(), Lines(endpoint.clone()))))?;
/// # drop(pipeline);
/// # Ok(())
/// # }
/// ```
pub trait Protocol: Send + 'static {
    /// As it waits in the queue.
    type Item: Send + 'static;
    /// As it is sent: scrubbed and final. Ids and times are set before the first attempt, so that a second one sends the same.
    type Ready: Send + Sync + 'static;

    /// Requests at once, each by a separate instance of the protocol.
    const IN_FLIGHT: usize = 1;

    /// Batches above this many bytes are scrubbed, encoded and compressed by the helper thread. 0: all of them.
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

    /// Writes the request for a batch. Runs once per batch, and again for the rest of it after a split or a partial answer.
    ///
    /// # Errors
    /// The batch cannot be written: it is halved, down to the item that cannot, which is dropped as
    /// [`DropReason::Internal`].
    fn encode(&mut self, batch: &[Scrubbed<Self::Ready>]) -> Result<Request, Reason>;

    /// Finishes a copy of the request before each attempt, when its body is final: signatures and dates. `now` is the wall clock.
    ///
    /// # Errors
    /// The request cannot be sent now, such as for want of credentials. It is tried again.
    #[expect(unused_variables, reason = "named for those who write one")]
    fn sign(&mut self, request: &mut Request, now: SystemTime) -> Result<(), Reason> {
        Ok(())
    }

    /// What an answer means. Redirects never get here: they are refused. Default: [`Answer::of`].
    #[expect(unused_variables, reason = "named for those who write one")]
    fn judge(&mut self, response: &Response, batch: &[Scrubbed<Self::Ready>]) -> Answer {
        Answer::of(response)
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
