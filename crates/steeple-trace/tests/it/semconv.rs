//! What a real receiver got, held against the convention's own list: name by name, type by type.

use std::{collections::BTreeSet, convert::Infallible, process::Command, time::Duration};

use axum::{Router, body::Body, routing::get as on_get};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use steeple_core::{
    Exchange, User,
    test_util::{ScriptedBody, Step},
};
use steeple_trace::{Otlp, Trace, UrlTemplate};
use tower::{Layer, ServiceExt, service_fn};

use crate::{
    receiver::{Receiver, missing, python},
    support::ask,
};

fn list() -> Value {
    serde_json::from_str(include_str!("../data/semconv-1.44.0.json")).unwrap()
}

/// Makes every kind of span that this crate makes, with all that it can say.
async fn make_all(trace: &Trace) {
    let app = Router::new()
        .route(
            "/users/{id}",
            on_get(|exchange: axum::Extension<Exchange>| async move {
                exchange.set_user(User::new("u-1"));
                exchange.set_client_address("192.0.2.7".parse().unwrap());
                exchange.record_error(&std::io::Error::other("disk full"));
                (StatusCode::BAD_GATEWAY, [("etag", "7")])
            }),
        )
        .layer(trace.layer());
    for method in ["GET", "BREW"] {
        let request = Request::builder()
            .method(method)
            .uri("/users/7?color=red")
            .header("host", "shop.example:8080")
            .header("user-agent", "curl/8")
            .header("x-tenant", "a");
        ask(&app, request.body(Body::empty()).unwrap()).await;
    }
    let answer = |code: &'static str| {
        move |_: Request<Body>| async move {
            let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), code.parse().unwrap())]);
            let mut response = Response::new(ScriptedBody::new([Step::Data(b"m"), Step::Trailers(trailers)]));
            response.headers_mut().insert("etag", "7".parse().unwrap());
            Ok::<_, Infallible>(response)
        }
    };
    let call = || {
        Request::post("http://board.example:50051/board.v1.Tasks/Get")
            .header("content-type", "application/grpc")
            .header("x-tenant", "a")
            .body(Body::empty())
            .unwrap()
    };
    for code in ["0", "12", "14"] {
        let response = trace.layer().layer(service_fn(|request: Request<_>| {
            let _body: Request<Body> = request;
            answer(code)(Request::new(Body::empty()))
        }));
        response.oneshot(call()).await.unwrap().into_body().collect().await.unwrap();
        let client = trace.client_layer().layer(service_fn(answer(code)));
        client.oneshot(call()).await.unwrap().into_body().collect().await.unwrap();
    }
    let mut request = Request::get("https://api.example/users/7?page=2").body(Body::empty()).unwrap();
    request.extensions_mut().insert(UrlTemplate("/users/{id}"));
    let client = trace.client_layer().layer(service_fn(answer("0")));
    client.oneshot(request).await.unwrap().into_body().collect().await.unwrap();
}

/// The type that the list knows an attribute by, also by its template: `http.request.header.<key>`.
fn listed<'l>(list: &'l Value, name: &str) -> Option<(&'l str, String)> {
    let types = list["types"].as_object().unwrap();
    let exact = types.get(name).and_then(Value::as_str).filter(|kind| !kind.starts_with("template"));
    if let Some(kind) = exact {
        return Some((kind, name.to_owned()));
    }
    types.iter().find_map(|(template, kind)| {
        let of = kind.as_str()?.strip_prefix("template[")?.strip_suffix(']')?;
        let rest = name.strip_prefix(template.as_str())?.strip_prefix('.')?;
        (!rest.is_empty()).then(|| (of, template.clone()))
    })
}

#[tokio::test]
async fn every_attribute_that_arrives_is_on_the_list_with_its_type_and_nothing_required_is_missing() {
    let Some(receiver) = Receiver::start() else { return };
    let trace = Trace::builder()
        .otlp(Otlp::new().endpoint(receiver.http_endpoint()))
        .peer(|_| Some("10.0.0.1:4321".parse().unwrap()))
        .request_header("x-tenant")
        .captured_response_header("etag")
        .build()
        .unwrap();
    make_all(&trace).await;
    assert!(trace.flush(Duration::from_secs(10)).await.is_complete());
    let list = list();
    let mut kinds = BTreeSet::new();
    for span in receiver.spans(9) {
        let attributes = span["attributes"].as_array().unwrap();
        let is_rpc = attributes.iter().any(|attribute| attribute["key"] == "rpc.system.name");
        let group = match (span["kind"].as_str().unwrap(), is_rpc) {
            ("SPAN_KIND_SERVER", false) => "span.http.server",
            ("SPAN_KIND_SERVER", true) => "span.rpc.grpc.call.server",
            ("SPAN_KIND_CLIENT", false) => "span.http.client",
            ("SPAN_KIND_CLIENT", true) => "span.rpc.grpc.call.client",
            other => panic!("{other:?}"),
        };
        kinds.insert(group);
        let of_group = list["spans"][group].as_object().unwrap();
        let mut seen = BTreeSet::new();
        for attribute in attributes {
            let name = attribute["key"].as_str().unwrap();
            let (kind, entry) = listed(&list, name).unwrap_or_else(|| panic!("{name} is not on the list"));
            let value = attribute["value"].as_object().unwrap();
            let matches = match kind {
                "string" => value.contains_key("stringValue"),
                "int" => value.contains_key("intValue"),
                "string[]" => {
                    value["arrayValue"]["values"][0].as_object().is_some_and(|v| v.contains_key("stringValue"))
                }
                other => panic!("{name}: {other}"),
            };
            assert!(matches, "{name} is a {kind}, and came as {value:?}");
            // `rpc.system.name` is asked for in the notes of these groups; who the user is, belongs to any span.
            let belongs = of_group.contains_key(&entry) || matches!(name, "rpc.system.name" | "user.id");
            assert!(belongs, "{name} does not belong to {group}");
            assert!(seen.insert(entry) || kind == "string[]", "{name} is there twice");
        }
        for (name, level) in of_group {
            let required = level == "required" || (level == "recommended" && is_told(group, name));
            assert!(!required || seen.contains(name), "{group} {} lacks {name}: {seen:?}", span["name"]);
        }
        for event in span["events"].as_array().into_iter().flatten() {
            assert_eq!(event["name"], "exception");
            for attribute in event["attributes"].as_array().unwrap() {
                let name = attribute["key"].as_str().unwrap();
                assert_eq!(listed(&list, name).map(|(kind, _)| kind), Some("string"), "{name}");
            }
        }
    }
    assert_eq!(kinds.len(), 4);
    for resource in receiver.spans(9)[0]["resource"]["attributes"].as_array().unwrap() {
        let name = resource["key"].as_str().unwrap();
        assert_eq!(listed(&list, name).map(|(kind, _)| kind), Some("string"), "{name}");
    }
}

/// Recommended attributes that can be known here: a client's own peer cannot, it is the connection pool's.
fn is_told(group: &str, name: &str) -> bool {
    let server = group.ends_with("server");
    match name {
        "http.request.resend_count" => false,
        _ => server || !name.starts_with("network.peer"),
    }
}

#[test]
fn the_names_are_those_of_opentelemetrys_own_package() {
    let Some(python) = python() else { return missing("OpenTelemetry's Python packages") };
    let script = "
import importlib, json, pkgutil
from opentelemetry import semconv
names = set()
for root in ('opentelemetry.semconv.attributes', 'opentelemetry.semconv._incubating.attributes'):
    for module in pkgutil.iter_modules(importlib.import_module(root).__path__):
        for key, value in vars(importlib.import_module(root + '.' + module.name)).items():
            if key.isupper() and isinstance(value, str):
                names.add(value)
print(json.dumps(sorted(names)))
";
    let output = Command::new(python).args(["-W", "ignore", "-c", script]).output().unwrap();
    if !output.status.success() {
        return missing("opentelemetry-semantic-conventions");
    }
    let known: BTreeSet<String> = serde_json::from_slice(&output.stdout).unwrap();
    let ours = include_str!("../../src/attributes/mod.rs").split("pub(crate) const OURS").next().unwrap();
    let names = ours.lines().filter(|line| line.contains(": &str = ")).map(|line| line.split('"').nth(1).unwrap());
    let names: Vec<_> = names.collect();
    assert!(names.len() > 20);
    for name in names {
        assert!(known.contains(name), "{name}");
    }
}
