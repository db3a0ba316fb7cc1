//! `docs/metrics.md` lists the printed output: every family, its kind, labels, unit and meaning.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    time::Duration,
};

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use steeple_core::test_util::{ScriptedBody, Step};
use steeple_metrics::{GrpcType, Metrics, Names, push::PushOptions};

use tower::{Layer, ServiceExt, service_fn};

use crate::{
    messages,
    support::{TestBody, call, request, strict},
};

/// Kind, labels, unit, meaning.
type Row = (String, BTreeSet<String>, String, String);

/// Metrics that have seen one of everything.
async fn everything() -> Metrics {
    let metrics = Metrics::builder()
        .names(Names::Both)
        .build_info("docs", "1")
        .expire_idle(Duration::from_secs(3600))
        .apdex(Duration::from_secs(1))
        .grpc_method("pkg.S/Get", GrpcType::Unary)
        .build()
        .unwrap();
    for body in [ScriptedBody::new([Step::Data(b"x")]), ScriptedBody::new([Step::Fail("disk")])] {
        call(&metrics, request("GET", "/a"), |_| async { Ok::<_, Infallible>(Response::new(body)) }).await;
    }
    call(&metrics, request("GET", "/a"), |_| async {
        Ok::<_, Infallible>(Response::builder().status(500).body(TestBody::default()).unwrap())
    })
    .await;
    let mut rpc = Request::new(Full::default());
    *rpc.method_mut() = http::Method::POST;
    *rpc.uri_mut() = "/pkg.S/Get".parse().unwrap();
    rpc.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    // Without any status: `Unknown`, which is an error.
    call(&metrics, rpc, |_| async { Ok::<_, Infallible>(Response::new(TestBody::default())) }).await;
    for (call, answer) in [
        (outgoing(false), Ok(Response::new(TestBody::default()))),
        (outgoing(false), Err(std::fmt::Error)),
        (outgoing(true), Ok(Response::new(TestBody::default()))),
    ] {
        let client = metrics.client_layer().layer(service_fn(move |_| std::future::ready(answer.clone())));
        let _answered = client.oneshot(call).await;
    }
    messages::serve(&metrics, true, ScriptedBody::new([Step::Data(messages::TWO)])).await;
    let answer = Response::new(ScriptedBody::new([Step::Data(messages::TWO)]));
    let client = service_fn(move |_| std::future::ready(Ok::<_, Infallible>(answer.clone())));
    let answered = metrics.client_layer().layer(client).oneshot(messages::rpc(messages::TWO)).await.unwrap();
    let _read = answered.into_body().collect().await;
    metrics.watch_connections(|| steeple_metrics::Connections::new(1, 1, 2));
    metrics.cache().start("get").hit();
    drop(metrics.database().start("select", "users"));
    metrics.watch_runtime(&tokio::runtime::Handle::current());
    let nowhere = PushOptions::pushgateway("http://127.0.0.1:1", "docs").timeout(Duration::from_millis(50));
    assert!(nowhere.build(&metrics).unwrap().push().await.is_err());
    metrics
}

fn outgoing(grpc: bool) -> Request<TestBody> {
    let kind = if grpc { "application/grpc" } else { "text/plain" };
    let request = Request::post("http://a.example/pkg.S/Get").header("content-type", kind);
    request.body(TestBody::default()).unwrap()
}

fn printed(metrics: &Metrics) -> BTreeMap<String, Row> {
    let text = |accept| String::from_utf8(metrics.render(Some(accept), None).body.to_vec()).unwrap();
    let units: BTreeMap<_, _> = strict::openmetrics(&text("application/openmetrics-text;version=1.0.0"))
        .into_iter()
        .map(|family| (family.name, family.unit.unwrap_or_default()))
        .collect();
    let rows = strict::classic(&text("text/plain")).into_iter().map(|family| {
        let mut labels: BTreeSet<String> =
            family.samples.iter().flat_map(|sample| sample.labels.keys().cloned()).collect();
        labels.remove("le");
        let unit = units[family.name.strip_suffix("_total").unwrap_or(&family.name)].clone();
        (family.name, (family.kind, labels, unit, family.help))
    });
    rows.collect()
}

fn documented(page: &str) -> BTreeMap<String, Row> {
    let mut rows = BTreeMap::new();
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, unit, meaning] = cells[..] else { panic!("{line}: five columns") };
        let labels = labels.split(',').map(|label| label.trim().trim_matches('`').to_owned()).filter(|l| !l.is_empty());
        let row = (kind.to_owned(), labels.collect(), unit.to_owned(), meaning.to_owned());
        assert!(rows.insert(name.trim_matches('`').to_owned(), row).is_none(), "{name} twice");
    }
    rows
}

#[cfg(all(target_os = "linux", not(steeple_os_other)))]
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn every_family_is_documented_as_it_is_printed() {
    let metrics = everything().await;
    let page = metrics.render(None, None).body;
    crate::support::promtool(&["check", "metrics"], Some(std::str::from_utf8(&page).unwrap()));
    let printed = printed(&metrics);
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/metrics.md")).unwrap_or_default();
    // What only the facade counts, its own test looks at.
    let facade = ["What Steeple loses\n", "What sinks count\n", "Jobs\n"];
    let parts: Vec<_> =
        page.split("\n## ").filter(|part| !facade.iter().any(|heading| part.starts_with(heading))).collect();
    let documented = documented(&parts.join("\n## "));
    for (name, row) in &printed {
        let (kind, labels, unit, meaning) = row;
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        let line = format!("| `{name}` | {kind} | {} | {unit} | {meaning} |", labels.join(", "));
        assert_eq!(documented.get(name), Some(row), "docs/metrics.md should have:\n{line}");
    }
    let gone: Vec<_> = documented.keys().filter(|name| !printed.contains_key(*name)).collect();
    assert!(gone.is_empty(), "documented, but never printed: {gone:?}");
}
