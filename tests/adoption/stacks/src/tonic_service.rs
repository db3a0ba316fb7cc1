//! Tonic's own server with an interceptor, health checks and reflection, and a client of it with an interceptor around Steeple's layer.

use steeple::testing::Recorder;
use tokio::net::TcpListener;
use tokio_stream::{StreamExt, wrappers::TcpListenerStream};
use tonic::{
    Request, Status,
    codegen::InterceptedService,
    service::Interceptor,
    transport::{Channel, Server},
};
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, health_client::HealthClient, health_server::HealthServer},
    server::HealthService,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};
use tower::ServiceBuilder;

use crate::Outcome;

/// Lets those in who know the word.
#[derive(Clone)]
struct Guard;

impl Interceptor for Guard {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        match request.metadata().get("x-word") {
            Some(word) if word == "friend" => Ok(request),
            _ => Err(Status::unauthenticated("password=hunter2hunter2 is wrong")),
        }
    }
}

pub async fn run() -> Outcome {
    let recorder = Recorder::new();
    let steeple = recorder.steeple().clone();
    let (reporter, _) = tonic_health::server::health_reporter();
    reporter.set_service_status("shop", ServingStatus::Serving).await;
    let health = HealthServer::with_interceptor(HealthService::from_health_reporter(reporter), Guard);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = Server::builder()
        .layer(steeple.layer())
        .add_service(health)
        .add_service(reflection)
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), async {
            let _closed = stopped.await;
        });
    let serving = tokio::spawn(server);

    let channel = Channel::from_shared(format!("http://{address}"))?.connect().await?;
    // The interceptor is around Steeple's layer, as `with_interceptor` puts it.
    let observed = ServiceBuilder::new().layer(steeple.client_layer()).service(channel.clone());
    let friend = |mut request: Request<()>| {
        request.metadata_mut().insert("x-word", tonic::metadata::MetadataValue::from_static("friend"));
        Ok(request)
    };
    let mut client = HealthClient::new(InterceptedService::new(observed, friend));
    let check = |service: &str| HealthCheckRequest { service: service.to_owned() };
    client.check(check("shop")).await?;
    assert_eq!(client.check(check("nowhere")).await.unwrap_err().code(), tonic::Code::NotFound);
    let refused = HealthClient::new(channel.clone()).check(check("shop")).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unauthenticated);
    let mut reflection = ServerReflectionClient::new(channel);
    let list = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = reflection.server_reflection_info(tokio_stream::once(list)).await?.into_inner();
    assert!(answers.next().await.is_some());
    drop(answers);
    drop((client, reflection));
    let _sent = stop.send(());
    serving.await??;

    let ends: Vec<_> = recorder.lines().into_iter().filter(|line| line.is_end()).collect();
    let of = |name: &str, status: &str| {
        let is_it = |line: &&steeple::testing::Line| {
            line.name() == Some(name) && line.text("rpc.response.status_code") == Some(status)
        };
        ends.iter().filter(is_it).count()
    };
    let health = "grpc.health.v1.Health/Check";
    assert_eq!(of(health, "OK"), 0, "a check that goes well is on no line: {ends:?}");
    assert_eq!((of(health, "NOT_FOUND"), of(health, "UNAUTHENTICATED")), (1, 1), "{ends:?}");
    assert_eq!(of("grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "OK"), 1, "{ends:?}");
    assert!(ends.iter().all(|line| !line.as_str().contains("hunter2")), "{ends:?}");
    let refused = ends.iter().find(|line| line.text("rpc.response.status_code") == Some("UNAUTHENTICATED"));
    assert!(
        refused.and_then(|line| line.text("client.address")).is_some(),
        "Tonic's own server knows its peer: {refused:?}"
    );
    let calls = recorder.metric("grpc_client_handled_total", &[("grpc_method", "Check")]);
    assert_eq!(calls, Some(2.0), "what the service calls itself is counted");
    Ok(())
}
