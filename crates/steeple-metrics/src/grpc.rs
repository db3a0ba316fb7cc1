//! The families about gRPC calls, with the names that go-grpc-middleware made standard.

use std::{
    borrow::Cow,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use steeple_core::{End, GrpcStatus, TraceContext, clock::nanos};

use crate::{
    encode::{Encoder, Kind, Meta, Number, Source},
    folded::{Folded, Label},
    http::{ABORTS, EachRoute, Scratch},
    indicator::{Counts, RouteReading, Sum},
    layout::Layout,
    names::Names,
    series::{Exemplars, HistogramPlace, Labels, Name, OVERFLOW},
    shard::Cells,
    table::{Table, hash},
};

/// How many messages a gRPC method takes and gives, which cannot be seen from outside of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GrpcType {
    /// Not set.
    #[default]
    Unknown,
    /// One request, one response.
    Unary,
    /// A stream of requests, one response.
    ClientStream,
    /// One request, a stream of responses.
    ServerStream,
    /// Streams both ways.
    BidiStream,
}

impl GrpcType {
    /// The value of the label `grpc_type`, as go-grpc-middleware spells it; `unknown` where it is not set.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Unary => "unary",
            Self::ClientStream => "client_stream",
            Self::ServerStream => "server_stream",
            Self::BidiStream => "bidi_stream",
        }
    }
}

/// How many methods may have series before anything has shown that the service knows them.
const UNPROVEN: usize = 64;

const CODES: usize = 17;

/// Which end of the calls we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Server,
    Client,
}

/// A call that is over.
pub(crate) struct Handled<'a> {
    pub(crate) status: GrpcStatus,
    pub(crate) duration: Duration,
    pub(crate) trace: Option<&'a TraceContext>,
    pub(crate) failed: bool,
}

pub(crate) struct Grpc {
    side: Side,
    names: Names,
    layout: Arc<Layout>,
    methods: Table<Rpc>,
    overflow: Rpc,
    unproven: AtomicUsize,
    folded: Arc<Folded>,
    /// The kinds of methods that have no series yet.
    kinds: Vec<(Name, GrpcType)>,
}

struct Rpc {
    name: Name,
    kind: GrpcType,
    /// Whether the service is known to have this method: someone declared it, or it has answered with a message.
    proven: AtomicBool,
    labels: Labels,
    /// Calls that have begun, those that did not complete, by [`ABORTS`], and messages, [received](RECEIVED) and [sent](SENT).
    started: Cells,
    codes: [OnceLock<Box<Code>>; CODES],
}

struct Code {
    labels: Labels,
    otel: Option<Labels>,
    /// How many calls were handled, then how long they took.
    cells: Cells,
    duration: HistogramPlace,
    exemplars: Exemplars,
}

const HANDLED: usize = 0;

/// The cell after that of the calls that have begun.
const FIRST_ABORT: usize = 1;

const RECEIVED: usize = FIRST_ABORT + ABORTS.len();
const SENT: usize = RECEIVED + 1;

impl Grpc {
    pub(crate) fn new(
        names: Names,
        layout: Arc<Layout>,
        max_methods: usize,
        known: Vec<(Name, GrpcType)>,
        folded: Arc<Folded>,
    ) -> Self {
        let room = max_methods.max(known.len()).saturating_add(UNPROVEN);
        let grpc = Self {
            side: Side::Server,
            names,
            layout,
            methods: Table::new(room),
            overflow: Rpc::new(OVERFLOW.into(), GrpcType::Unknown, true),
            unproven: AtomicUsize::new(0),
            folded,
            kinds: Vec::new(),
        };
        for (name, kind) in known {
            let hash = hash([&*name]);
            grpc.methods.get_or_insert(hash, |rpc| rpc.name == name, |_| Some(Rpc::new(name.clone(), kind, true)));
        }
        grpc
    }

    /// For calls that we make. Their methods come from our own code, so none has to prove that it exists.
    pub(crate) fn client(
        names: Names,
        layout: Arc<Layout>,
        max_methods: usize,
        kinds: Vec<(Name, GrpcType)>,
        folded: Arc<Folded>,
    ) -> Self {
        Self { side: Side::Client, kinds, ..Self::new(names, layout, max_methods, Vec::new(), folded) }
    }

    /// A call that we make has begun.
    pub(crate) fn called(&self, method: &str) {
        self.rpc(method, true).started.add(0, 1);
    }

    /// Counts a call that we made. Returns the method that it was counted under.
    pub(crate) fn answered(&self, method: &str, received: u64, handled: &Handled<'_>) -> &str {
        let rpc = self.rpc(method, true);
        rpc.started.add(RECEIVED, received);
        self.handled(rpc, handled);
        &rpc.name
    }

    /// A call has begun. Counted now if its method is known; if not, at its end, when more is known of it.
    pub(crate) fn started(&self, method: &str) -> bool {
        let known = self.methods.get(hash([method]), |rpc| rpc.name == method);
        let counted = known.filter(|rpc| rpc.proven.load(Relaxed));
        if let Some(rpc) = counted {
            rpc.started.add(0, 1);
        }
        counted.is_some()
    }

    /// Counts a call. Returns the method that it was counted under.
    pub(crate) fn ended(&self, method: &str, was_counted: bool, trace: Option<&TraceContext>, end: &End) -> &str {
        let status = end.grpc_status.unwrap_or(GrpcStatus::UNKNOWN);
        // An answer with a message in it comes from a method that exists: those who turn calls away send none.
        let proven = status == GrpcStatus::OK || end.response_body_bytes > 0;
        let rpc = self.rpc(method, proven);
        if !was_counted {
            rpc.started.add(0, 1);
        }
        if let Some(abort) = ABORTS.iter().position(|abort| *abort == end.outcome) {
            rpc.started.add(abort.saturating_add(FIRST_ABORT), 1);
        }
        if let Some(received) = end.request_messages {
            rpc.started.add(RECEIVED, received);
        }
        rpc.started.add(SENT, end.response_messages);
        self.handled(rpc, &Handled { status, duration: end.latency(), trace, failed: end.is_server_error() });
        &rpc.name
    }

    fn handled(&self, rpc: &Rpc, handled: &Handled<'_>) {
        let status = handled.status;
        let Some(slot) = rpc.codes.get(usize::from(status.code())) else { return };
        let code = slot.get_or_init(|| Box::new(Code::new(rpc, status, self)));
        let row = code.cells.row();
        row.add(HANDLED, 1);
        let nanos = nanos(handled.duration);
        let cell = code.duration.record(row, nanos);
        if let Some(trace) = handled.trace {
            code.exemplars.offer(&code.duration.layout, cell, nanos, trace, handled.failed);
        }
    }

    fn kind_of(&self, method: &str) -> GrpcType {
        self.kinds.iter().find(|(name, _)| name == method).map_or(GrpcType::Unknown, |(_, kind)| *kind)
    }

    fn rpc(&self, method: &str, proven: bool) -> &Rpc {
        // Core has folded what the service does not implement.
        if method == OVERFLOW {
            return &self.overflow;
        }
        let hash = hash([method]);
        let is = |rpc: &Rpc| rpc.name == method;
        if let Some(rpc) = self.methods.get(hash, is) {
            if proven && !rpc.proven.load(Relaxed) && !rpc.proven.swap(true, Relaxed) {
                self.unproven.fetch_sub(1, Relaxed);
            }
            return rpc;
        }
        // A name that is too long for a label, or has a secret in it, is not that of a method.
        let is_showable =
            || method.len() <= self.folded.max_value() && matches!(self.folded.shown(method), Cow::Borrowed(_));
        if (proven || self.unproven.load(Relaxed) < UNPROVEN) && !self.methods.is_full() && is_showable() {
            let rpc = self.methods.get_or_insert(hash, is, |_| {
                if !proven && self.unproven.fetch_add(1, Relaxed) >= UNPROVEN {
                    self.unproven.fetch_sub(1, Relaxed);
                    return None;
                }
                Some(Rpc::new(method.to_owned().into(), self.kind_of(method), proven))
            });
            if let Some(rpc) = rpc {
                return rpc;
            }
        }
        self.folded.fold(Label::GrpcMethod);
        &self.overflow
    }

    /// Adds all methods up: counts into `to`, durations into `sum`.
    pub(crate) fn read_totals(&self, sum: &mut Sum<'_>, to: &mut Counts) {
        for rpc in self.all() {
            to.add(&rpc.counts());
            rpc.durations(sum);
        }
    }

    /// One method: its counts, with its durations in `sum`. `None`: it has had no call.
    pub(crate) fn read_route(&self, method: &str, sum: &mut Sum<'_>) -> Option<Counts> {
        let rpc = self.all().find(|rpc| rpc.name == method)?;
        rpc.durations(sum);
        Some(rpc.counts())
    }

    /// Calls `each` with every method.
    pub(crate) fn each_route(&self, each: &mut EachRoute<'_>) {
        for rpc in self.all() {
            each("", &rpc.name, &rpc.counts(), &|sum| rpc.durations(sum));
        }
    }

    /// What there is now, by method.
    pub(crate) fn read_routes(&self, sum: &mut Sum<'_>, out: &mut Vec<RouteReading>) {
        for rpc in self.all() {
            sum.clear();
            rpc.durations(sum);
            let counts = Counts { latency: sum.latency(), ..rpc.counts() };
            let codes = GrpcStatus::all().zip(&rpc.codes).filter_map(|(status, code)| Some((status, code.get()?)));
            let exemplars = codes.flat_map(|(status, code)| code.exemplars.read(u16::from(status.code())));
            out.push(RouteReading::new("", rpc.name.clone(), counts, exemplars.collect(), None));
        }
    }

    fn all(&self) -> impl Iterator<Item = &Rpc> {
        let overflow = Some(&self.overflow).filter(|rpc| !rpc.started.is_untouched());
        self.methods.iter().chain(overflow)
    }
}

impl Rpc {
    fn new(name: Name, kind: GrpcType, proven: bool) -> Self {
        let labels = Labels::new(go_pairs(&name, kind));
        let codes = [const { OnceLock::new() }; CODES];
        Self { name, kind, proven: AtomicBool::new(proven), labels, started: Cells::new(SENT + 1), codes }
    }

    fn durations(&self, sum: &mut Sum<'_>) {
        for code in self.codes() {
            sum.add(&code.duration, &code.cells);
        }
    }

    /// What its calls have come to, without their durations.
    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for (status, code) in GrpcStatus::all().zip(&self.codes) {
            let Some(code) = code.get() else { continue };
            let handled = code.cells.sum(HANDLED);
            counts.requests = counts.requests.wrapping_add(handled);
            counts.classes.add(http_twin(status), handled);
            if status.is_server_error() {
                counts.errors = counts.errors.wrapping_add(handled);
            }
        }
        for (cell, outcome) in (FIRST_ABORT..).zip(ABORTS) {
            counts.aborted.add(outcome, self.started.sum(cell));
        }
        counts
    }

    fn codes(&self) -> impl Iterator<Item = &Code> {
        self.codes.iter().filter_map(OnceLock::get).map(|code| &**code)
    }
}

impl Code {
    fn new(rpc: &Rpc, status: GrpcStatus, grpc: &Grpc) -> Self {
        let duration = HistogramPlace::new(Arc::clone(&grpc.layout), 1);
        let mut pairs = go_pairs(&rpc.name, rpc.kind);
        pairs.push(("grpc_code".into(), status.camel_case().into()));
        let otel = grpc.names.has_otel().then(|| {
            let mut pairs: Vec<(Name, Name)> = vec![
                ("rpc_system_name".into(), "grpc".into()),
                ("rpc_method".into(), rpc.name.clone()),
                ("rpc_response_status_code".into(), status.as_str().into()),
            ];
            let failed = match grpc.side {
                Side::Server => status.is_server_error(),
                Side::Client => status != GrpcStatus::OK,
            };
            if failed {
                pairs.push(("error_type".into(), status.as_str().into()));
            }
            Labels::new(pairs)
        });
        let cells = Cells::new(duration.end());
        Self { labels: Labels::new(pairs), otel, cells, duration, exemplars: Exemplars::default() }
    }
}

fn go_pairs(name: &str, kind: GrpcType) -> Vec<(Name, Name)> {
    let (service, method) = name.split_once('/').unwrap_or((OVERFLOW, OVERFLOW));
    vec![
        ("grpc_type".into(), kind.as_str().into()),
        ("grpc_service".into(), service.to_owned().into()),
        ("grpc_method".into(), method.to_owned().into()),
    ]
}

/// A status of the class that HTTP has for it. A call that was cancelled has none.
fn http_twin(status: GrpcStatus) -> u16 {
    match status {
        GrpcStatus::OK => 200,
        GrpcStatus::CANCELLED => 499,
        status if status.is_server_error() => 500,
        _ => 400,
    }
}

const BY_METHOD: [&str; 3] = ["grpc_type", "grpc_service", "grpc_method"];

fn classic_families(side: Side) -> [Meta; 3] {
    let [started, handled, handling] = match side {
        Side::Server => ["grpc_server_started_total", "grpc_server_handled_total", "grpc_server_handling_seconds"],
        Side::Client => ["grpc_client_started_total", "grpc_client_handled_total", "grpc_client_handling_seconds"],
    };
    [
        Meta::new(Kind::Counter, started, "Calls that have begun.", &BY_METHOD),
        Meta::new(
            Kind::Counter,
            handled,
            "Calls that have ended, by their status.",
            &["grpc_type", "grpc_service", "grpc_method", "grpc_code"],
        ),
        Meta::new(Kind::Histogram, handling, "Time from the call's head to its last byte.", &BY_METHOD),
    ]
}

/// Messages that came in and, of a server, that went out: what a client sends is not looked into.
fn message_families(side: Side) -> (Meta, Option<Meta>) {
    let family = |name, help| Meta::new(Kind::Counter, name, help, &BY_METHOD);
    match side {
        Side::Server => (
            family("grpc_server_msg_received_total", "Messages of requests that were read."),
            Some(family("grpc_server_msg_sent_total", "Messages of responses that were sent.")),
        ),
        Side::Client => (family("grpc_client_msg_received_total", "Messages of responses that were read."), None),
    }
}

fn otel_families(side: Side) -> [Meta; 1] {
    let (name, help) = match side {
        Side::Server => ("rpc_server_call_duration_seconds", "Duration of RPC server calls."),
        Side::Client => ("rpc_client_call_duration_seconds", "Duration of RPC client calls."),
    };
    [Meta::new(
        Kind::Histogram,
        name,
        help,
        &["rpc_system_name", "rpc_method", "rpc_response_status_code", "error_type"],
    )]
}

impl Source for Grpc {
    fn families(&self) -> Vec<Meta> {
        let mut families = Vec::new();
        if self.names.has_classic() {
            families.extend(classic_families(self.side));
            let (received, sent) = message_families(self.side);
            families.push(received);
            families.extend(sent);
        }
        if self.names.has_otel() {
            families.extend(otel_families(self.side));
        }
        families
    }

    fn write(&self, to: &mut dyn Encoder) {
        let mut scratch = Scratch::default();
        if self.names.has_classic() {
            let [started, handled, handling] = classic_families(self.side);
            to.begin(&started);
            for rpc in self.all() {
                to.value(&rpc.labels, Number::Whole(rpc.started.sum(0)));
            }
            to.begin(&handled);
            for code in self.all().flat_map(Rpc::codes) {
                to.value(&code.labels, Number::Whole(code.cells.sum(HANDLED)));
            }
            to.begin(&handling);
            for rpc in self.all().filter(|rpc| rpc.codes().next().is_some()) {
                scratch.clear();
                for code in rpc.codes() {
                    scratch.add(&code.duration, &code.cells, &code.exemplars);
                }
                scratch.write(&rpc.labels, &self.layout, to);
            }
        }
        if self.names.has_classic() {
            let (received, sent) = message_families(self.side);
            to.begin(&received);
            // Zero may mean that the bytes that the service reads are not counted.
            for (rpc, messages) in self.all().map(|rpc| (rpc, rpc.started.sum(RECEIVED))).filter(|(_, sum)| *sum > 0) {
                to.value(&rpc.labels, Number::Whole(messages));
            }
            if let Some(sent) = sent {
                to.begin(&sent);
                for rpc in self.all() {
                    to.value(&rpc.labels, Number::Whole(rpc.started.sum(SENT)));
                }
            }
        }
        if self.names.has_otel() {
            let [duration] = otel_families(self.side);
            to.begin(&duration);
            for code in self.all().flat_map(Rpc::codes) {
                if let Some(labels) = &code.otel {
                    scratch.write_one(labels, &code.duration, &code.cells, Some(&code.exemplars), to);
                }
            }
        }
    }
}
