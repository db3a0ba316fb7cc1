//! The known methods are global to the process, so this test has a separate one.

use http::{Method, Request};
use steeple::{Steeple, core::Exchange};
use tower::{Layer, ServiceExt, service_fn};

#[tokio::test]
async fn methods_of_the_applications_own_are_known_and_those_that_it_left_out_are_not() {
    let build = |methods: [&str; 2]| Steeple::builder().without_log_setup().known_methods(methods).build();
    let steeple = build(["GET", "PURGE"]).unwrap();
    assert!(build(["GET", "PURGE"]).is_ok(), "said twice");
    assert_eq!(build(["GET", "BREW"]).unwrap_err().variable(), Some("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS"));
    for (method, known) in [("PURGE", "PURGE"), ("POST", "_OTHER")] {
        let service = steeple.layer().layer(service_fn(move |request: Request<_>| {
            let _body: String = { request.into_body() };
            assert_eq!(Exchange::current().unwrap().method(), known);
            std::future::ready(Ok::<_, std::convert::Infallible>(http::Response::new(String::new())))
        }));
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = Request::builder().method(method).uri("/").body(String::new()).unwrap();
        service.oneshot(request).await.unwrap();
    }
    let page = steeple.metrics().render(None, None).body;
    let page = String::from_utf8_lossy(&page);
    let total =
        |method| format!("\nhttp_requests_total{{method=\"{method}\",route=\"unmatched\",status_code=\"200\"}} 1\n");
    for method in ["PURGE", "_OTHER"] {
        assert!(page.contains(&total(method)), "{method}: {page}");
    }
    assert!(page.contains("\nhttp_requests_in_flight 0\n") && !page.contains("POST"), "{page}");
}
