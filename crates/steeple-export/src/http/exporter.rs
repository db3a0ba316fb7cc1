use std::{
    fmt,
    time::{Instant, SystemTime},
};

use steeple_scrub::Scrubbed;

use super::{Client, Protocol, Request, Response};
use crate::{Answer, DropReason, Exporter, Reason};

/// Speaks a [`Protocol`] over HTTP.
pub struct Http<P> {
    client: Client,
    protocol: P,
    request: Option<Request>,
    response: Option<Response>,
}

impl<P: Protocol> Http<P> {
    /// Sends with a client, of which several may have a clone.
    pub fn new(client: Client, protocol: P) -> Self {
        Self { client, protocol, request: None, response: None }
    }
}

impl<P: Protocol> Exporter for Http<P> {
    type Item = P::Item;
    type Ready = P::Ready;

    const IN_FLIGHT: usize = P::IN_FLIGHT;
    const OFFLOAD_BYTES: usize = P::OFFLOAD_BYTES;

    fn size(item: &P::Item) -> usize {
        P::size(item)
    }

    fn scrub(&mut self, item: P::Item) -> Scrubbed<P::Ready> {
        self.protocol.scrub(item)
    }

    fn admit(&mut self, ready: &P::Ready) -> Result<(), DropReason> {
        self.protocol.admit(ready)
    }

    fn prepare(&mut self, batch: &[Scrubbed<P::Ready>]) -> Result<(), Reason> {
        self.request = None;
        #[cfg_attr(not(feature = "gzip"), expect(unused_mut, reason = "compressed in place"))]
        let mut request = self.protocol.encode(batch)?;
        #[cfg(feature = "gzip")]
        request.compress()?;
        self.request = Some(request);
        Ok(())
    }

    async fn export(&mut self, _batch: &[Scrubbed<P::Ready>], deadline: Instant) -> Answer {
        self.response = None;
        let Some(mut request) = self.request.clone() else {
            return Answer::Rejected { cause: DropReason::Internal, why: "nothing was prepared".into() };
        };
        if let Err(why) = self.protocol.sign(&mut request, SystemTime::now()) {
            return Answer::retry(DropReason::Internal, why);
        }
        let response = match self.client.send(request, deadline).await {
            Ok(response) => response,
            Err(answer) => return answer,
        };
        if response.status.is_redirection() {
            let why = Reason::scrub(&format!("a redirect ({}), which is not followed", response.status.as_u16()));
            return Answer::rejected(why);
        }
        self.response = Some(response);
        // Replaced when it is judged.
        Answer::retry(DropReason::Internal, "the answer was not judged")
    }

    fn answer_bytes(&self) -> usize {
        self.response.as_ref().map_or(0, |response| response.body.len())
    }

    fn conclude(&mut self, batch: &[Scrubbed<P::Ready>], answer: Answer) -> Answer {
        match self.response.take() {
            Some(response) => self.protocol.judge(&response, batch),
            None => answer,
        }
    }

    fn tick(&mut self) -> Vec<P::Item> {
        self.protocol.tick()
    }

    fn stored(&mut self, ready: &P::Ready) {
        self.protocol.stored(ready);
    }

    fn dropped(&mut self, ready: &P::Ready, reason: DropReason, why: &Reason) {
        self.protocol.dropped(ready, reason, why);
    }
}

impl<P> fmt::Debug for Http<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").finish_non_exhaustive()
    }
}
