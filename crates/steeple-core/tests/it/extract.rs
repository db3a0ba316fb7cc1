//! The extractors for Axum.

use axum::{Router, body::Body, middleware::Next, routing::get};
use http::Request;
use http_body_util::BodyExt;
use steeple_core::{Exchange, ObserveLayer, RequestId, RequestIds, test_util::RecordingObserver};
use tower::ServiceExt;

fn app() -> Router {
    Router::new().route(
        "/who",
        get(|exchange: Exchange, id: RequestId| async move {
            exchange.set_name("who am I");
            format!("{} {} {}", id, exchange.request_id(), Exchange::current().is_some_and(|it| it.is_same(&exchange)))
        }),
    )
}

async fn ask(app: Router) -> Vec<String> {
    let request = Request::builder().uri("/who").header("x-request-id", "from-client").body(Body::empty()).unwrap();
    let response = app.oneshot(request).await.unwrap();
    let text = response.into_body().collect().await.unwrap().to_bytes();
    str::from_utf8(&text).unwrap().split(' ').map(str::to_owned).collect()
}

#[tokio::test]
async fn without_a_layer_extractors_return_one_unobserved_exchange() {
    let said = ask(app()).await;
    assert_eq!(said[0], said[1], "both extractors of a request hand out the same");
    assert_ne!(said[0], "from-client", "the client is not trusted");
    assert_eq!(said[2], "false");
}

#[tokio::test]
async fn with_a_layer_extractors_hand_out_its_exchange() {
    let observer = RecordingObserver::new();
    let said = ask(app().layer(ObserveLayer::new((RequestIds::new(), observer.clone())))).await;
    assert_eq!(said, ["from-client", "from-client", "true"]);
    assert_eq!(observer.ended()[0].0.name().to_string(), "who am I");
    assert_eq!(observer.ended()[0].0.route().unwrap().as_str(), "/who");
}

#[tokio::test]
async fn an_exchange_that_an_extractor_outside_of_the_layer_began_is_the_layers() {
    let observer = RecordingObserver::new();
    let outside = axum::middleware::from_fn(async |exchange: Exchange, request: axum::extract::Request, next: Next| {
        exchange.set_attribute("seen", true);
        next.run(request).await
    });
    ask(app().layer(ObserveLayer::new((RequestIds::new(), observer.clone()))).layer(outside)).await;
    let (exchange, _) = observer.ended().remove(0);
    assert_eq!((exchange.method(), exchange.route().unwrap().as_str()), ("GET", "/who"));
    assert!(exchange.has_ended() && exchange.attributes().len() == 1);
}
