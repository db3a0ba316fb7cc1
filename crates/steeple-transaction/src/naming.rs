use http::{header, request, response};
use steeple_core::{End, Exchange, GrpcStatus, ObserveLayer, Observer, Outcome};

use crate::{
    GrpcMethod, NamingBuilder,
    methods::KnownMethods,
    rules::{CompiledRules, LEARNED_METHODS},
};

/// Names exchanges by rules, and folds gRPC methods that do not exist into `_OTHER`.
///
/// Goes first in a tuple, `(Naming::new(), log, metrics, …)`, so that at the end of an exchange the others see its
/// final name; as a separate [layer](Self::layer) it goes inside of theirs, as their end comes after its own. Does
/// nothing for what a router or a handler names: that is in the exchange already.
///
/// Cost: without rules nothing; with rules one pass over the path, however many there are, which allocates only while
/// it warms up. A gRPC call whose method is known costs a look-up without a lock.
///
/// # Examples
/// ```
/// use steeple_core::ObserveLayer;
/// use steeple_transaction::Naming;
///
/// let plain = Naming::new().layer();
/// let ruled = Naming::builder().skip("/healthz").template("/users/{id}").build()?.layer();
/// # let _: (ObserveLayer<Naming>, ObserveLayer<Naming>) = (plain, ruled);
/// # Ok::<(), steeple_transaction::BuildError>(())
/// ```
#[derive(Debug)]
#[must_use = "an observer does nothing until a layer gets it"]
pub struct Naming {
    rules: Option<CompiledRules>,
    methods: KnownMethods,
    described: Vec<GrpcMethod>,
}

/// Rides along with a gRPC call whose method is not known yet.
#[derive(Debug)]
pub struct NamingState {
    /// The response began as one with messages, not as a mere status.
    answers: bool,
}

impl Naming {
    /// No rules; learns up to 256 gRPC methods.
    pub fn new() -> Self {
        Self::default()
    }

    /// Rules for names, and which exchanges to skip. Default: no rules; learns up to 256 gRPC methods.
    pub fn builder() -> NamingBuilder {
        NamingBuilder::new()
    }

    /// Names the exchanges of a service by itself.
    pub fn layer(self) -> ObserveLayer<Self> {
        ObserveLayer::new(self)
    }

    /// The gRPC methods of the descriptor sets that the builder was given, with what streams.
    pub fn grpc_methods(&self) -> &[GrpcMethod] {
        &self.described
    }

    pub(crate) fn from_parts(rules: Option<CompiledRules>, methods: KnownMethods, described: Vec<GrpcMethod>) -> Self {
        Self { rules, methods, described }
    }
}

impl Default for Naming {
    fn default() -> Self {
        Self::from_parts(None, KnownMethods::new(&[], LEARNED_METHODS), Vec::new())
    }
}

impl Observer for Naming {
    type State = NamingState;

    fn on_request(&self, exchange: &Exchange, request: &mut request::Parts) -> Option<NamingState> {
        if let Some(rules) = &self.rules {
            rules.apply(exchange, request.uri.path());
        }
        let method = exchange.rpc_method()?;
        if self.methods.contains(method) {
            return None;
        }
        if !self.methods.can_learn() {
            exchange.fold_rpc_method();
            return None;
        }
        Some(NamingState { answers: false })
    }

    fn on_response(&self, state: &mut NamingState, _exchange: &Exchange, response: &mut response::Parts) {
        let is_grpc = |value: &http::HeaderValue| value.as_bytes().starts_with(b"application/grpc");
        state.answers = response.headers.get(header::CONTENT_TYPE).is_some_and(is_grpc)
            && !response.headers.contains_key("grpc-status");
    }

    fn on_end(&self, state: NamingState, exchange: &Exchange, end: &End) {
        // An invalid method is `_OTHER` already, and stays so without being learned.
        let Some(method) = exchange.rpc_method().filter(|method| *method != "_OTHER") else { return };
        let real = state.answers && end.response_body_bytes > 0
            || end.outcome == Outcome::Panicked
            || end.grpc_status.is_some_and(is_of_a_real_method);
        let known = if real { self.methods.insert(method) } else { self.methods.contains(method) };
        if !known {
            exchange.fold_rpc_method();
        }
    }
}

/// Whether a call that ends so has reached a method, and was not turned away on the way to it.
fn is_of_a_real_method(status: GrpcStatus) -> bool {
    !matches!(
        status.as_str(),
        "CANCELLED"
            | "UNKNOWN"
            | "DEADLINE_EXCEEDED"
            | "PERMISSION_DENIED"
            | "RESOURCE_EXHAUSTED"
            | "UNIMPLEMENTED"
            | "UNAVAILABLE"
            | "UNAUTHENTICATED"
    )
}
