//! The families about outgoing calls: twins of those about exchanges.

use std::{fmt, sync::Arc};

use http::{request, response};
use steeple_core::{
    Exchange, GrpcStatus, Outcome, TraceContext,
    call::{Call, CallEnd, CallLayer, CallObserver},
    clock::nanos,
};

use crate::{
    GaugeFamily, GaugeGuard, Metrics,
    core::Core,
    encode::{Kind, Meta, Source},
    family::Family,
    folded::Label,
    grpc::{Grpc, Handled},
    series::OVERFLOW,
    table::{Table, hash},
};

/// Most series of a family about calls; more if the application's own families have more.
const MAX_SERIES: usize = 1000;

/// Measures outgoing calls: an observer of calls. A cheap clone. Made by [`Metrics::client_calls`].
///
/// Alone it is in [`Metrics::client_layer`]. Beside others in a tuple it goes behind what makes spans, so that its
/// exemplars have the ids of the call's own span; else they have those of the exchange that makes the call.
#[derive(Clone)]
pub struct ClientCalls(Arc<Calls>);

struct Calls {
    core: Arc<Core>,
    servers: Table<Arc<str>>,
    /// Stands for servers that found no room.
    other: Arc<str>,
    /// The label of a call without a known server.
    unknown: Arc<str>,
    in_flight: GaugeFamily<1>,
    duration: Duration,
    classic: Option<Classic>,
    otel: Option<OtelNames>,
    grpc: Arc<Grpc>,
}

/// By either convention this family has the same name, so that only its labels differ.
enum Duration {
    Classic(Arc<Family>),
    Otel(Arc<Family>),
}

impl Duration {
    fn family(&self) -> &Arc<Family> {
        match self {
            Self::Classic(family) | Self::Otel(family) => family,
        }
    }
}

struct Classic {
    requests: Arc<Family>,
    head: Arc<Family>,
    request_size: Arc<Family>,
    response_size: Arc<Family>,
    aborted: Arc<Family>,
}

struct OtelNames {
    active: GaugeFamily<3>,
    request_size: Arc<Family>,
    response_size: Arc<Family>,
}

const BY_STATUS: [&str; 5] = ["method", "server_address", "url_template", "status_code", "error_type"];
const BY_TARGET: [&str; 3] = ["method", "server_address", "url_template"];
const OTEL_DURATION: [&str; 7] = [
    "http_request_method",
    "server_address",
    "server_port",
    "url_template",
    "http_response_status_code",
    "error_type",
    "network_protocol_version",
];
const OTEL_SIZES: [&str; 4] = ["http_request_method", "server_address", "server_port", "url_template"];

impl Calls {
    fn new(core: &Arc<Core>) -> Self {
        let options = &core.calls;
        let room = core.max_family_series.max(MAX_SERIES);
        let family = |kind, name: &'static str, help: &'static str, labels: &[&'static str], layout| {
            Arc::new(Family::of_calls(Meta::new(kind, name, help, labels), layout, core, room))
        };
        let counter = |name, help, labels| family(Kind::Counter, name, help, labels, None);
        let gauge = |name, help, labels| family(Kind::Gauge, name, help, labels, None);
        let seconds = |name, help, labels| family(Kind::Histogram, name, help, labels, Some(Arc::clone(&core.latency)));
        let bytes = |name, help, labels| family(Kind::Histogram, name, help, labels, options.sizes.clone());
        let classic = options.names.has_classic().then(|| Classic {
            requests: counter("http_client_requests_total", "Outgoing requests that have ended.", &BY_STATUS),
            head: seconds(
                "http_client_response_head_seconds",
                "Time from an outgoing request to the response head.",
                &BY_TARGET,
            ),
            request_size: bytes(
                "http_client_request_size_bytes",
                "Bytes of outgoing request bodies whose length is declared.",
                &BY_TARGET,
            ),
            response_size: bytes(
                "http_client_response_size_bytes",
                "Bytes of response bodies that were read.",
                &BY_TARGET,
            ),
            aborted: counter(
                "http_client_requests_aborted_total",
                "Outgoing requests that did not complete, by how they ended.",
                &["method", "server_address", "url_template", "outcome"],
            ),
        });
        let otel = options.names.has_otel().then(|| OtelNames {
            active: GaugeFamily(gauge(
                "http_client_active_requests",
                "Number of active HTTP client requests.",
                &["http_request_method", "server_address", "server_port"],
            )),
            request_size: bytes(
                "http_client_request_body_size_bytes",
                "Size of HTTP client request bodies.",
                &OTEL_SIZES,
            ),
            response_size: bytes(
                "http_client_response_body_size_bytes",
                "Size of HTTP client response bodies.",
                &OTEL_SIZES,
            ),
        });
        let (name, help) =
            ("http_client_request_duration_seconds", "Time from an outgoing request to the last byte of the response.");
        let duration = if otel.is_some() {
            Duration::Otel(seconds(name, help, &OTEL_DURATION))
        } else {
            Duration::Classic(seconds(name, help, &BY_STATUS))
        };
        let servers = Table::new(options.max_servers.saturating_add(options.known_servers.len()));
        for known in &options.known_servers {
            servers.get_or_insert(hash([&**known]), |other| other == known, |_| Some(Arc::clone(known)));
        }
        Self {
            servers,
            other: OVERFLOW.into(),
            unknown: "".into(),
            in_flight: GaugeFamily(gauge(
                "http_client_requests_in_flight",
                "Outgoing requests that have begun and not ended.",
                &["server_address"],
            )),
            duration,
            classic,
            otel,
            grpc: Arc::new(Grpc::client(
                options.names,
                Arc::clone(&core.latency),
                options.max_grpc_methods,
                options.grpc_methods.clone(),
                Arc::clone(&core.folded),
            )),
            core: Arc::clone(core),
        }
    }

    fn sources(&self) -> Vec<Arc<dyn Source>> {
        let mut sources: Vec<Arc<dyn Source>> = vec![
            Arc::clone(&self.in_flight.0) as _,
            Arc::clone(self.duration.family()) as _,
            Arc::clone(&self.grpc) as _,
        ];
        if let Some(Classic { requests, head, request_size, response_size, aborted }) = &self.classic {
            sources
                .extend([requests, head, request_size, response_size, aborted].map(|family| Arc::clone(family) as _));
        }
        if let Some(OtelNames { active, request_size, response_size }) = &self.otel {
            sources.extend([&active.0, request_size, response_size].map(|family| Arc::clone(family) as _));
        }
        sources
    }

    fn server(&self, call: &Call) -> Arc<str> {
        let Some(host) = call.server_address() else { return Arc::clone(&self.unknown) };
        if host.len() <= self.core.folded.max_value()
            && let Some(server) = self.servers.get(hash([host]), |server| **server == *host)
        {
            return Arc::clone(server);
        }
        self.new_server(host)
    }

    #[cold]
    fn new_server(&self, host: &str) -> Arc<str> {
        let folded = &self.core.folded;
        if !self.servers.is_full() {
            let host = &*folded.shown(host);
            let made = self.servers.get_or_insert(hash([host]), |server| **server == *host, |_| Some(host.into()));
            if let Some(made) = made {
                return Arc::clone(made);
            }
        }
        folded.fold(Label::ServerAddress);
        Arc::clone(&self.other)
    }

    /// The label `server_port`: empty where the server found no room.
    fn port(&self, call: &Call, server: &Arc<str>) -> String {
        let port = call.server_port().filter(|_| !Arc::ptr_eq(server, &self.other));
        port.map_or_else(String::new, |port| port.to_string())
    }
}

/// What [`ClientCalls`] remembers of a call while it lasts.
#[derive(Debug)]
pub struct ClientCall {
    server: Arc<str>,
    trace: Option<TraceContext>,
    version: &'static str,
    _in_flight: (GaugeGuard, Option<GaugeGuard>),
}

impl CallObserver for ClientCalls {
    type State = ClientCall;

    fn on_request(&self, call: &mut Call, _request: &mut request::Parts) -> Option<ClientCall> {
        let calls = &self.0;
        let server = calls.server(call);
        if let Some(method) = call.rpc_method() {
            calls.grpc.called(method);
        }
        let active = calls.otel.as_ref().map(|otel| {
            let port = calls.port(call, &server);
            otel.active.hold([call.method(), &server, &port])
        });
        let trace = call.trace().copied().or_else(|| Exchange::current()?.trace().copied());
        Some(ClientCall {
            trace: trace.filter(TraceContext::is_sampled),
            version: "",
            _in_flight: (calls.in_flight.hold([&server]), active),
            server,
        })
    }

    fn on_response(&self, state: &mut ClientCall, _call: &Call, response: &response::Parts) {
        state.version = match response.version {
            http::Version::HTTP_09 => "0.9",
            http::Version::HTTP_10 => "1.0",
            http::Version::HTTP_2 => "2",
            http::Version::HTTP_3 => "3",
            _ => "1.1",
        };
    }

    fn on_end(&self, state: ClientCall, call: &Call, end: &CallEnd<'_>) {
        let calls = &self.0;
        let failed = end.error_class().is_some();
        let trace = state.trace.as_ref();
        if let Some(method) = call.rpc_method() {
            let status = grpc_status(end);
            let handled = Handled { status, duration: end.duration, trace, failed };
            #[cfg_attr(not(feature = "otel"), expect(unused_variables, reason = "only the SDK uses it"))]
            let counted_as = calls.grpc.answered(method, end.response_messages, &handled);
            #[cfg(feature = "otel")]
            if let Some(otel) = &calls.core.otel {
                otel.rpc_call(counted_as, status, end);
            }
            return;
        }
        let server = &*state.server;
        let template = call.url_template().unwrap_or_default();
        let status = end.status.as_ref().map_or("", http::StatusCode::as_str);
        let class = end.error_class().unwrap_or_default();
        // The duration of a stream of events or of another protocol is not a latency.
        let timed = !end.is_event_stream && end.outcome != Outcome::Upgraded;
        let target = [call.method(), server, template];
        let by_status = [call.method(), server, template, status, class];
        if let Some(classic) = &calls.classic {
            classic.requests.add(&by_status, 1);
            if let Some(head) = end.head_after.filter(|_| timed) {
                classic.head.record_of(&target, nanos(head), trace, failed);
            }
            if let Some(bytes) = call.request_body_bytes() {
                classic.request_size.record_of(&target, bytes, None, false);
            }
            if end.status.is_some() {
                classic.response_size.record_of(&target, end.response_body_bytes, None, false);
            }
            if !matches!(end.outcome, Outcome::Completed | Outcome::Upgraded) {
                classic.aborted.add(&[call.method(), server, template, end.outcome.as_str()], 1);
            }
        }
        if let Some(otel) = &calls.otel {
            let target = [call.method(), server, &calls.port(call, &state.server), template];
            if let Some(bytes) = call.request_body_bytes() {
                otel.request_size.record_of(&target, bytes, None, false);
            }
            if end.status.is_some() {
                otel.response_size.record_of(&target, end.response_body_bytes, None, false);
            }
        }
        if timed {
            match &calls.duration {
                Duration::Classic(family) => family.record_of(&by_status, nanos(end.duration), trace, failed),
                Duration::Otel(family) => {
                    let port = calls.port(call, &state.server);
                    let labels = [call.method(), server, &port, template, status, class, state.version];
                    family.record_of(&labels, nanos(end.duration), trace, failed);
                }
            }
        }
        #[cfg(feature = "otel")]
        if let Some(otel) = &calls.core.otel {
            let template = calls.core.folded.shown(template);
            let port = calls.port(call, &state.server);
            otel.call(call, (server, &port, &template), state.version, timed, end);
        }
    }
}

/// The status of a call without an answer: as other clients of gRPC have it, one that its caller gave up
/// was cancelled, and one that never got through found no server available.
fn grpc_status(end: &CallEnd<'_>) -> GrpcStatus {
    end.grpc_status.unwrap_or(match end.outcome {
        Outcome::Cancelled | Outcome::CancelledInBody => GrpcStatus::CANCELLED,
        Outcome::ServiceError => GrpcStatus::UNAVAILABLE,
        Outcome::Completed | Outcome::Upgraded | Outcome::BodyError | Outcome::Panicked => GrpcStatus::UNKNOWN,
    })
}

impl Metrics {
    /// Measures outgoing calls. The families appear with the first call of this.
    pub fn client_calls(&self) -> &ClientCalls {
        self.0.client.get_or_init(|| {
            let calls = Calls::new(&self.0.core);
            self.add_or_yield("outgoing calls", &calls.sources());
            ClientCalls(Arc::new(calls))
        })
    }

    /// A layer that measures outgoing calls, for a client that nothing else watches.
    ///
    /// # Examples
    /// ```
    /// use tower::{Layer, ServiceExt, service_fn};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let metrics = steeple_metrics::Metrics::new()?;
    /// // In place of `service_fn`: hyper's client or tonic's channel.
    /// let client = metrics.client_layer().layer(service_fn(|_: http::Request<String>| async {
    ///     Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
    /// }));
    /// client.oneshot(http::Request::get("http://api.example/users/7").body(String::new())?).await?;
    /// let page = String::from_utf8_lossy(&metrics.render(None, None).body).into_owned();
    /// let series = "method=\"GET\",server_address=\"api.example\",url_template=\"\",status_code=\"200\",error_type=\"\"";
    /// assert!(page.contains(&format!("http_client_requests_total{{{series}}} 1\n")), "{page}");
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn client_layer(&self) -> CallLayer<ClientCalls> {
        CallLayer::new(self.client_calls().clone())
    }
}

impl fmt::Debug for ClientCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCalls").finish_non_exhaustive()
    }
}
