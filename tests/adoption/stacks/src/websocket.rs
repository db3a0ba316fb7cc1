//! A chat over WebSocket: lines after the upgrade have the ids of the request that began it.

use axum::{
    Router,
    extract::ws::{Message, WebSocket, WebSocketUpgrade},
    response::Response,
    routing::get,
};
use futures_util::{SinkExt, StreamExt};
use steeple::{Exchange, User, testing::Recorder};
use tokio_tungstenite::tungstenite;

use crate::Outcome;

async fn chat(upgrade: WebSocketUpgrade, exchange: Exchange) -> Response {
    exchange.set_user(User::new("u-7"));
    let carrier = exchange.carrier();
    upgrade.on_upgrade(move |socket| carrier.scope(talk(socket)))
}

async fn talk(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if let Message::Text(text) = message {
            tracing::info!(length = text.len(), "heard");
            if socket.send(Message::Text(text)).await.is_err() {
                break;
            }
        }
    }
    tracing::info!("left");
}

pub async fn run() -> Outcome {
    let recorder = Recorder::new();
    let steeple = recorder.steeple().clone();
    let app = Router::new().route("/chat", get(chat)).layer(steeple.layer());
    let listener = steeple.bind("127.0.0.1:0").await?;
    let address = listener.address();
    let serving = tokio::spawn({
        let steeple = steeple.clone();
        async move { steeple.serve(listener, app).await }
    });

    let (mut socket, answer) = tokio_tungstenite::connect_async(format!("ws://{address}/chat")).await?;
    let id = answer.headers()["x-request-id"].to_str()?.to_owned();
    for text in ["hello", "how are you"] {
        socket.send(tungstenite::Message::text(text)).await?;
        let answer = socket.next().await.ok_or("an answer")??;
        assert_eq!(answer.into_text()?.as_str(), text);
    }
    socket.close(None).await?;
    while let Some(Ok(_rest)) = socket.next().await {}
    steeple.shutdown().begin();
    serving.await??;

    let line = recorder.line("GET /chat");
    assert_eq!((line.text("outcome"), line.number("http.response.status_code")), (Some("upgraded"), Some(101.0)));
    let lines = recorder.lines();
    let heard: Vec<_> = lines.iter().filter(|line| ["heard", "left"].contains(&line.message())).collect();
    assert_eq!(heard.len(), 3, "{lines:?}");
    for heard in heard {
        assert_eq!(heard.text("request_id"), Some(&*id), "{heard:?}");
        assert_eq!((heard.text("user.id"), heard.text("http.route")), (Some("u-7"), Some("/chat")), "{heard:?}");
    }
    assert_eq!(recorder.metric("http_requests_total", &[("route", "/chat"), ("status_code", "101")]), Some(1.0));
    Ok(())
}
