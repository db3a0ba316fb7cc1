#!/usr/bin/env bash
# OpenTelemetry's own Python packages: the protobuf classes that decode what an exporter sent, and the list of attribute names.
set -euo pipefail
: "${STEEPLE_PEERS_DIR:?where to put what is not a Debian package}"
venv="$STEEPLE_PEERS_DIR/otlp"
if ! "$venv/bin/python" -c 'import grpc, opentelemetry.proto.trace.v1.trace_pb2, opentelemetry.semconv' 2>/dev/null; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check opentelemetry-proto==1.45.2 grpcio==1.85.1 opentelemetry-semantic-conventions==0.66b2
fi
