use std::{
    fmt,
    time::{Instant, SystemTime},
};

use steeple_scrub::Scrubbed;

use super::{Client, Protocol, Request, Response};
use crate::{Answer, DropReason, Exporter, Reason};

/// Who a request is from: credentials that are renewed, signatures, and what it means when they are not accepted. For systems that
/// speak several [`Protocol`]s with the same credentials. Hooks run as [`Exporter`] describes.
pub trait Authorize: Send + 'static {
    /// Waits for what [`sign`](Self::sign) needs. Runs before each attempt.
    ///
    /// # Errors
    /// What becomes of the batch, which is not sent: [`Answer::Paused`], [`Answer::retry`].
    fn prepare(&mut self) -> impl Future<Output = Result<(), Answer>> + Send {
        async { Ok(()) }
    }

    /// Finishes a copy of the request before each attempt, after [`Protocol::sign`]. `now` is the wall clock.
    ///
    /// # Errors
    /// The request cannot be sent now. It is tried again.
    #[expect(unused_variables, reason = "named for those who write one")]
    fn sign(&mut self, request: &mut Request, now: SystemTime) -> Result<(), Reason> {
        Ok(())
    }

    /// What an answer means that is about credentials. `None`: it is the protocol's to judge.
    #[expect(unused_variables, reason = "named for those who write one")]
    fn judge(&mut self, response: &Response) -> Option<Answer> {
        None
    }
}

/// Requests that need nothing but their protocol.
impl Authorize for () {}

/// Speaks a [`Protocol`] over HTTP.
pub struct Http<P, A = ()> {
    client: Client,
    protocol: P,
    authorize: A,
    request: Option<Request>,
    response: Option<Response>,
}

impl<P: Protocol> Http<P> {
    /// Sends with a client, of which several may have a clone.
    pub fn new(client: Client, protocol: P) -> Self {
        Self::authorized(client, protocol, ())
    }
}

impl<P: Protocol, A: Authorize> Http<P, A> {
    /// Sends with a client, and with what `authorize` adds to each attempt.
    pub fn authorized(client: Client, protocol: P, authorize: A) -> Self {
        Self { client, protocol, authorize, request: None, response: None }
    }
}

impl<P: Protocol, A: Authorize> Exporter for Http<P, A> {
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
        if let Err(answer) = self.authorize.prepare().await {
            return answer;
        }
        let now = SystemTime::now();
        let signed = self.protocol.sign(&mut request, now).and_then(|()| self.authorize.sign(&mut request, now));
        if let Err(why) = signed {
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
            Some(response) => self.authorize.judge(&response).unwrap_or_else(|| self.protocol.judge(&response, batch)),
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

impl<P, A> fmt::Debug for Http<P, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").finish_non_exhaustive()
    }
}
