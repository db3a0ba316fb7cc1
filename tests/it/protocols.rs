//! The code that is generated from the examples' protocols is committed: running an example does not build a compiler
//! of protocols first. `STEEPLE_REGENERATE=1` writes it.

use std::{env, fs, path::Path};

use steeple::metrics::GrpcType;

#[test]
fn the_committed_code_of_the_protocols_is_what_their_files_make() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let files = ["greeter", "taskboard"];
    let protocols = files.map(|name| examples.join(format!("proto/{name}.proto")));
    let descriptors = protox::compile(protocols, [examples.join("proto")]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let config = tonic_prost_build::configure().build_transport(false).out_dir(directory.path());
    config.emit_rerun_if_changed(false).compile_fds(descriptors).unwrap();
    for name in files {
        let name = format!("{name}.v1.rs");
        let made = fs::read_to_string(directory.path().join(&name)).unwrap();
        let committed = examples.join("src/generated").join(&name);
        if env::var_os("STEEPLE_REGENERATE").is_some() {
            fs::write(&committed, &made).unwrap();
        }
        let committed = fs::read_to_string(committed).unwrap();
        assert!(made == committed, "{name} is not what its protocol makes: run this test with STEEPLE_REGENERATE=1");
    }
}

#[test]
fn the_descriptor_set_that_names_methods_also_gives_the_metrics_their_grpc_type() {
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/proto");
    let mut compiler = protox::Compiler::new([&proto]).unwrap();
    let set = compiler.open_files([proto.join("taskboard.proto")]).unwrap().encode_file_descriptor_set();
    let steeple = steeple::Steeple::builder()
        .without_log_setup()
        .naming(|naming| naming.grpc_descriptors(set))
        .metrics(|metrics| metrics.grpc_method("taskboard.v1.TaskBoard/GetTask", GrpcType::BidiStream))
        .build()
        .unwrap();
    let values = steeple.metrics().values();
    let started = |kind: &str, method: &str| {
        let series = format!(
            r#"grpc_server_started_total{{grpc_type="{kind}",grpc_service="taskboard.v1.TaskBoard",grpc_method="{method}"}}"#
        );
        values.get(&series).copied()
    };
    assert_eq!(started("server_stream", "WatchTasks"), Some(0.0), "{values:?}");
    assert_eq!(started("bidi_stream", "GetTask"), Some(0.0), "what the application has set stays: {values:?}");
}
