//! Rules and gRPC methods, on services without a router.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::HashSet,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::BodyExt;
use proptest::prelude::*;
use prost::Message;
use steeple_core::{
    End, Exchange, ObserveLayer, Observer, Signal,
    test_util::{ScriptedBody, Step},
};
use steeple_transaction::{Naming, NamingBuilder, Pattern, ReportRouteLayer};
use tower::{Layer, ServiceBuilder, ServiceExt};

/// Remembers how the last exchange ended.
#[derive(Clone, Default)]
struct Last(Arc<Mutex<Option<(Exchange, End)>>>);

impl Observer for Last {
    type State = ();

    fn on_request(&self, _: &Exchange, _: &mut http::request::Parts) -> Option<()> {
        Some(())
    }

    fn on_end(&self, (): (), exchange: &Exchange, end: &End) {
        *self.0.lock().unwrap() = Some((exchange.clone(), end.clone()));
    }
}

impl Last {
    fn take(&self) -> (Exchange, End) {
        self.0.lock().unwrap().take().unwrap()
    }
}

/// Sends one request after the other through a service that answers each with `answer`.
struct Stack {
    layer: ObserveLayer<(Naming, Last)>,
    seen: Last,
    runtime: tokio::runtime::Runtime,
}

impl Stack {
    fn new(naming: Naming) -> Self {
        let seen = Last::default();
        let layer = ObserveLayer::new((naming, seen.clone()));
        Self { layer, seen, runtime: tokio::runtime::Builder::new_current_thread().build().unwrap() }
    }

    fn send(&self, request: Request<ScriptedBody>, answer: impl Fn() -> Response<ScriptedBody>) -> (Exchange, End) {
        self.runtime.block_on(async {
            let inner = tower::service_fn(|_| async { Ok::<_, Infallible>(answer()) });
            let response = self.layer.layer(inner).oneshot(request).await.unwrap();
            response.into_body().collect().await.unwrap();
        });
        self.seen.take()
    }

    fn get(&self, path: &str) -> Exchange {
        let request = Request::get(path).body(ScriptedBody::default()).unwrap();
        self.send(request, || Response::new(ScriptedBody::default())).0
    }

    /// Calls a gRPC method; the service gives this status, at once or after a message.
    fn call(&self, method: &str, status: &'static str, after_message: bool) -> String {
        let request = Request::post(format!("/{method}"))
            .header("content-type", "application/grpc")
            .body(ScriptedBody::default())
            .unwrap();
        let (exchange, end) = self.send(request, || {
            let status = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static(status))]);
            let (head, body) = if after_message {
                (HeaderMap::new(), ScriptedBody::new([Step::Data(b"\0\0\0\0\0"), Step::Trailers(status)]))
            } else {
                (status, ScriptedBody::default())
            };
            let mut response = Response::new(body);
            *response.headers_mut() = head;
            response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
            response
        });
        assert_eq!(end.grpc_status.unwrap().code().to_string(), status);
        assert_eq!(exchange.name().to_string(), exchange.rpc_method().unwrap());
        exchange.name().to_string()
    }
}

#[test]
fn the_first_rule_that_matches_wins() {
    let stack = Stack::new(
        Naming::builder()
            .rename("/v1/users/me", "/v1/users/me")
            .template("/v1/users/{id}")
            .rename(Pattern::regex(r"(?i)\.(css|js)$"), "/{asset}")
            .rename(Pattern::regex("^/v1/x"), "never: the next one is not reached, this is")
            .rename("/v1/**", "/v1/{*rest}")
            .build()
            .unwrap(),
    );
    for (path, name) in [
        ("/v1/users/me", "GET /v1/users/me"),
        ("/v1/users/7?q=/v1/users/me", "GET /v1/users/{id}"),
        ("/v1/a/b/STYLE.CSS", "GET /{asset}"),
        ("/v1/xylophone", "GET never: the next one is not reached, this is"),
        ("/v1", "GET /v1/{*rest}"),
        ("/v1/users/7/tasks", "GET /v1/{*rest}"),
        ("/v2", "GET unmatched"),
        ("/v1/../v2/%2e", "GET /v1/{*rest}"),
    ] {
        assert_eq!(stack.get(path).name().to_string(), name, "{path}");
    }
}

#[test]
fn a_skipped_exchange_is_left_out_of_the_rules_signals() {
    const ALL: [Signal; 4] = [Signal::Log, Signal::Metrics, Signal::Traces, Signal::Errors];
    let rules = Naming::builder().skip("/internal/**").skip_for("/favicon.ico", [Signal::Log]).skip_probes();
    let stack = Stack::new(rules.build().unwrap());
    let skipped = |path| ALL.map(|signal| stack.get(path).is_skipped(signal));
    assert_eq!(skipped("/internal/debug"), [true; 4]);
    assert_eq!(skipped("/favicon.ico"), [true, false, false, false]);
    assert_eq!(skipped("/users"), [false; 4]);
    for probe in ["/healthz", "/readyz", "/livez", "/metrics", "/grpc.health.v1.Health/Check"] {
        assert_eq!(skipped(probe), [true, false, true, false], "{probe}: still counted, its failures captured");
    }
    assert_eq!(skipped("/healthz/../users"), [false; 4], "a probe's path does not hide another");
}

#[test]
fn a_path_longer_than_any_rule_is_unmatched() {
    let stack = Stack::new(Naming::builder().rename("/**", "all").build().unwrap());
    assert_eq!(stack.get(&format!("/{}", "a".repeat(8_000))).name().to_string(), "GET all");
    assert_eq!(stack.get(&format!("/{}", "a".repeat(9_000))).name().to_string(), "GET unmatched");
}

#[test]
fn a_rule_beats_a_template_that_is_reported_and_a_regular_expression_stays_linear() {
    let stack = Stack::new(Naming::builder().rename(Pattern::regex("^(/a*)*b$"), "b").build().unwrap());
    assert_eq!(stack.get(&format!("/{}", "a".repeat(8_000))).name().to_string(), "GET unmatched");
    assert_eq!(stack.get(&format!("/{}b", "a".repeat(8_000))).name().to_string(), "GET b");
    let exchange = Exchange::detached();
    exchange.report_route("/users/{id}");
    exchange.set_rule_name("rule");
    assert_eq!(exchange.name().target(), "rule");
}

#[test]
fn a_bad_rule_is_an_error_that_names_it() {
    #[track_caller]
    fn check(rules: NamingBuilder, says: &str) -> steeple_transaction::BuildError {
        let error = rules.build().unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        error
    }
    let rules = Naming::builder;
    assert!(check(rules().skip("healthz"), r#""healthz" is not a valid path pattern"#).is_pattern());
    let error = check(rules().skip(Pattern::regex("a(b")), r#""a(b" is not a valid regular expression"#);
    assert!(error.is_pattern() && std::error::Error::source(&error).unwrap().to_string().contains("unclosed group"));
    assert!(check(rules().skip(Pattern::regex(r"a(?:b)\1")), "is not a valid regular expression").is_pattern());
    assert!(check(rules().skip(Pattern::regex("(a{1000}){1000}")), "too large").is_pattern());
    assert!(check(rules().rename("/a", " "), r#"" " cannot be a name"#).is_name());
    assert!(check(rules().rename("/a", "line\nbreak"), r"line\nbreak").is_name());
    assert!(check(rules().rename("/a", "x".repeat(201)), "1 to 200").is_name());
    for bad in ["Service", "a/b/c", "", "a b/c", "/", "pkg.Service/"] {
        assert!(check(rules().grpc_methods([bad]), "is not a valid gRPC method").is_grpc(), "{bad}");
    }
    assert!(check(rules().grpc_descriptors(*b"\xff"), "FileDescriptorSet").is_grpc());
}

#[test]
fn a_method_is_known_once_a_call_of_it_ended_as_only_a_real_one_does() {
    for status in 0..=16 {
        let status: &'static str = status.to_string().leak();
        let real = !matches!(status, "1" | "2" | "4" | "7" | "8" | "12" | "14" | "16");
        let stack = Stack::new(Naming::new());
        let want = if real { "pkg.S/M" } else { "_OTHER" };
        assert_eq!(stack.call("pkg.S/M", status, false), want, "first call, status {status}");
        assert_eq!(stack.call("pkg.S/M", "0", false), "pkg.S/M");
        let want = if status == "12" { "_OTHER" } else { "pkg.S/M" };
        assert_eq!(stack.call("pkg.S/M", status, false), want, "known, status {status}");
    }
}

#[test]
fn a_stream_that_only_ever_ends_cancelled_is_known_by_its_messages() {
    let stack = Stack::new(Naming::new());
    assert_eq!(stack.call("pkg.S/Watch", "1", true), "pkg.S/Watch");
    assert_eq!(stack.call("pkg.S/Watch", "14", false), "pkg.S/Watch");
}

#[test]
fn a_page_for_everybody_does_not_make_a_method_real() {
    let stack = Stack::new(Naming::new());
    let request = Request::post("/made.Up/Method").header("content-type", "application/grpc");
    let (exchange, end) = stack.send(request.body(ScriptedBody::default()).unwrap(), || {
        let mut response = Response::new(ScriptedBody::new([Step::Data(b"<html>")]));
        response.headers_mut().insert("content-type", HeaderValue::from_static("text/html"));
        response
    });
    assert_eq!((end.response_body_bytes, exchange.name().to_string().as_str()), (6, "_OTHER"));
}

#[test]
fn a_method_that_is_named_keeps_its_name_when_it_is_refused() {
    let rules = Naming::builder().grpc_methods(["pkg.S/A", "/pkg.S/B"]).learn_grpc_methods(0);
    let stack = Stack::new(rules.build().unwrap());
    assert_eq!(stack.call("pkg.S/A", "16", false), "pkg.S/A");
    assert_eq!(stack.call("pkg.S/B", "7", false), "pkg.S/B");
    assert_eq!(stack.call("pkg.S/C", "0", false), "_OTHER", "nothing may be learned");
}

#[test]
fn a_descriptor_set_names_every_method_of_every_service() {
    let set = protox::compile(["greeter.proto"], [concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data")]).unwrap();
    let rules = Naming::builder().grpc_descriptors(set.encode_to_vec()).learn_grpc_methods(0);
    let stack = Stack::new(rules.build().unwrap());
    for method in ["greeter.v1.Greeter/Greet", "greeter.v1.Greeter/Watch", "greeter.v1.Other/Close"] {
        assert_eq!(stack.call(method, "16", false), method);
    }
    assert_eq!(stack.call("greeter.v1.Greeter/Close", "16", false), "_OTHER");
}

#[test]
fn ten_thousand_made_up_methods_are_one_name_and_real_ones_stay_apart() {
    let stack = Stack::new(Naming::new());
    let mut names = HashSet::new();
    for number in 0..10_000 {
        // An authentication layer refuses what the router would not know.
        names.insert(stack.call(&format!("made.Up/M{number}"), "16", false));
    }
    assert_eq!(names, HashSet::from(["_OTHER".to_owned()]));
    assert_eq!(stack.call("pkg.S/A", "0", true), "pkg.S/A");
    assert_eq!(stack.call("pkg.S/B", "5", false), "pkg.S/B");
}

#[test]
fn no_more_methods_are_learned_than_allowed() {
    let stack = Stack::new(Naming::builder().learn_grpc_methods(3).build().unwrap());
    let names: HashSet<_> = (0..100).map(|number| stack.call(&format!("pkg.S/M{number}"), "0", false)).collect();
    let want = ["pkg.S/M0", "pkg.S/M1", "pkg.S/M2", "_OTHER"].map(str::to_owned);
    assert_eq!(names, HashSet::from(want));
}

#[test]
fn a_method_that_panics_has_its_name() {
    let stack = Stack::new(Naming::new());
    let request = Request::post("/pkg.S/Boom").header("content-type", "application/grpc").body(String::new()).unwrap();
    let inner = tower::service_fn(|_| async {
        std::panic::resume_unwind(Box::new("on purpose"));
        #[expect(unreachable_code, reason = "names the type")]
        Ok::<_, Infallible>(Response::new(ScriptedBody::default()))
    });
    let future = stack.layer.layer(inner).oneshot(request);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| stack.runtime.block_on(future).is_ok()));
    assert!(panicked.is_err());
    assert_eq!(stack.seen.take().0.name().to_string(), "pkg.S/Boom");
}

#[test]
fn a_template_is_reported_although_the_request_was_made_anew() {
    let seen = Last::default();
    let service = ServiceBuilder::new()
        .layer(ObserveLayer::new(seen.clone()))
        .map_request(|_: Request<String>| Request::new(()))
        .layer(ReportRouteLayer::template("/users/{id}"))
        .service_fn(|_| async { Ok::<_, Infallible>(Response::new(http_body_util::Empty::<Bytes>::new())) });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(service.oneshot(Request::get("/users/1").body(String::new()).unwrap())).unwrap();
    assert_eq!(seen.take().0.name().to_string(), "GET /users/{id}");
}

proptest! {
    #[test]
    fn any_pattern_is_compiled_or_refused_and_never_panics(pattern: String, glob: bool, path in "/[ -~]{0,40}") {
        let pattern = if glob { Pattern::glob(pattern) } else { Pattern::regex(pattern) };
        if let Ok(naming) = Naming::builder().rename(pattern, "name").build()
            && let Ok(request) = Request::get(path).body(())
        {
            let (mut head, ()) = request.into_parts();
            let exchange = Exchange::detached();
            let state = naming.on_request(&exchange, &mut head);
            prop_assert!(state.is_none() && ["name", "unmatched"].contains(&exchange.name().target()));
        }
    }

    #[test]
    fn a_template_names_what_it_is_a_template_of(
        segments in prop::collection::vec(("[a-z.+-]{1,8}", any::<bool>()), 1..6)
    ) {
        let join = |parts: Vec<&str>| format!("/{}", parts.join("/"));
        let template = join(segments.iter().map(|(text, hole)| if *hole { "{x}" } else { text }).collect());
        let path = join(segments.iter().map(|(text, _)| text.as_str()).collect());
        let stack = Stack::new(Naming::builder().template(template.clone()).build().unwrap());
        let (name, longer) = (stack.get(&path).name(), stack.get(&format!("{path}/x")).name());
        prop_assert_eq!(name.target(), template);
        prop_assert_eq!(longer.target(), "unmatched");
    }
}
